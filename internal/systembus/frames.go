// SPDX-License-Identifier: GPL-3.0-or-later

package systembus

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"

	"github.com/godbus/dbus/v5"
)

const (
	// What a message has at most, in bytes: in all, and in the fields of its header (D-Bus Specification, "Message Format").
	maxMessage = 1 << 27
	maxFields  = 1 << 26
	// fixedHeader is the length of the header before its fields.
	fixedHeader = 16
)

// frames is a connection to a bus on which messages that nobody asked for are passed over, without being kept or decoded,
// when they are longer than max or godbus cannot decode them. Any local user may send us a signal of up to 32 MiB,
// which godbus would turn into gigabytes; and would end the connection at what it cannot decode. Answers have any length:
// they come from services that were called and from the bus, for the bus lets nobody answer who was not called.
//
// Not being a *net.UnixConn, it has godbus not offer to take file descriptors, which the bus then does not pass on: nobody
// would close them.
type frames struct {
	io.WriteCloser
	in      *bufio.Reader
	max     int              // bytes of a signal or a call; decoded, a message takes some fifty times its length
	begun   bool             // the authentication is over, messages follow
	message io.LimitedReader // what is left of the message that is being read
	log     *slog.Logger
	told    bool // that a message was passed over
}

func newFrames(conn io.ReadWriteCloser, longest int, log *slog.Logger) *frames {
	in := bufio.NewReaderSize(conn, longest)
	return &frames{WriteCloser: conn, in: in, max: longest, message: io.LimitedReader{R: in}, log: log}
}

// Write looks out for the end of the authentication. Before it the bus sends no message, and godbus reads on one goroutine
// with its writing.
func (f *frames) Write(p []byte) (int, error) {
	if !f.begun && string(p) == "BEGIN\r\n" {
		f.begun = true
	}
	return f.WriteCloser.Write(p)
}

func (f *frames) Read(p []byte) (int, error) {
	if !f.begun {
		return f.in.Read(p)
	}
	if f.message.N == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	return f.message.Read(p)
}

// next goes to the beginning of the next message that is to be read.
func (f *frames) next() error {
	for {
		header, err := f.in.Peek(fixedHeader)
		if err != nil {
			return err
		}
		length, err := messageLength(header)
		if err != nil {
			f.log.Warn("the system bus sends what is no message; connecting to it anew", "error", err)
			return err
		}
		kind := dbus.Type(header[1])
		ok := kind == dbus.TypeMethodReply || kind == dbus.TypeError
		if !ok && length <= f.max {
			message, err := f.in.Peek(length)
			if err != nil {
				return err
			}
			ok = decodes(message)
		}
		if ok {
			f.message.N = int64(length)
			return nil
		}
		if !f.told {
			f.told = true
			f.log.Warn("ignoring a message on the system bus that is too long or cannot be decoded, and further ones without a word",
				"type", kind, "bytes", length)
		}
		if _, err := f.in.Discard(length); err != nil {
			return err
		}
	}
}

// messageLength tells the length of a message from the fixed part of its header (D-Bus Specification, "Message Format").
func messageLength(header []byte) (int, error) {
	var order binary.ByteOrder
	switch header[0] {
	case 'l':
		order = binary.LittleEndian
	case 'B':
		order = binary.BigEndian
	default:
		return 0, fmt.Errorf("cannot read a D-Bus message: its byte order is %q, neither 'l' nor 'B'", header[0])
	}
	if header[3] != 1 {
		return 0, fmt.Errorf("cannot read a D-Bus message: its protocol is version %d, not 1", header[3])
	}
	body, fields := int64(order.Uint32(header[4:])), int64(order.Uint32(header[12:]))
	length := fixedHeader + (fields+7)&^7 + body
	if fields > maxFields || length > maxMessage {
		return 0, fmt.Errorf("cannot read a D-Bus message: it has %d bytes, %d of them fields of the header; at most %d and %d are allowed",
			length, fields, maxMessage, maxFields)
	}
	return int(length), nil
}

// decodes tells whether godbus decodes a message, and not more than it nor less.
func decodes(message []byte) bool {
	r := bytes.NewReader(message)
	_, err := dbus.DecodeMessage(r)
	return err == nil && r.Len() == 0
}
