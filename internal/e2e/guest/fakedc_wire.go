// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// Types of NVMe/TCP protocol data units.
const (
	pduICReq       = 0x00
	pduICResp      = 0x01
	pduCapsuleCmd  = 0x04
	pduCapsuleResp = 0x05
	pduC2HData     = 0x07

	pduLast = 1 << 2 // flag: the last data unit of a command
)

var le = binary.LittleEndian

// pdu is one protocol data unit as received: its header, and the data that came with it.
type pdu struct {
	kind   byte
	header []byte
	data   []byte
}

// readPDU reads one unit. The peer is the kernel's initiator: lengths are checked only so far that nothing panics.
func readPDU(conn net.Conn) (pdu, error) {
	common := make([]byte, 8)
	if _, err := io.ReadFull(conn, common); err != nil {
		return pdu{}, err
	}
	total, header := int(le.Uint32(common[4:])), int(common[2])
	if header < 8 || total < header || total > 1<<20 {
		return pdu{}, fmt.Errorf("cannot read a unit with a header of %d and %d bytes in all", header, total)
	}
	rest := make([]byte, total-8)
	if _, err := io.ReadFull(conn, rest); err != nil {
		return pdu{}, err
	}
	return pdu{kind: common[0], header: append(common, rest[:header-8]...), data: rest[header-8:]}, nil
}

// commonHeader begins a unit with a header of that many bytes and so much data.
func commonHeader(kind, flags byte, header, data int) []byte {
	unit := make([]byte, header, header+data)
	unit[0], unit[1], unit[2] = kind, flags, byte(header)
	if data > 0 {
		unit[3] = byte(header)
	}
	le.PutUint32(unit[4:], uint32(header+data))
	return unit
}

// icResp accepts the connection, without digests.
func icResp() []byte {
	unit := commonHeader(pduICResp, 0, 128, 0)
	le.PutUint32(unit[12:], 1<<20) // the largest data unit that we take
	return unit
}

// capsuleResp completes the command with that identifier.
func capsuleResp(command uint16, result uint64, status uint16) []byte {
	unit := commonHeader(pduCapsuleResp, 0, 24, 0)
	le.PutUint64(unit[8:], result)
	le.PutUint16(unit[20:], command)
	le.PutUint16(unit[22:], status<<1)
	return unit
}

// c2hData answers the command with data.
func c2hData(command uint16, data []byte) []byte {
	unit := commonHeader(pduC2HData, pduLast, 24, len(data))
	le.PutUint16(unit[8:], command)
	le.PutUint32(unit[16:], uint32(len(data)))
	return append(unit, data...)
}
