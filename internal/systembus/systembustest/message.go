// SPDX-License-Identifier: GPL-3.0-or-later

package systembustest

import (
	"bytes"
	"encoding/binary"

	"github.com/godbus/dbus/v5"
)

// OddBody is an "a{bs}" of one element, which D-Bus allows and godbus does not.
const OddBody = "\x0a\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00x\x00"

// Signal is systemd's JobNew, sent to one name, with a body that is written down already.
func Signal(dest, signature string, body []byte) []byte {
	msg := &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(dest),
		dbus.FieldPath:        dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/systemd1")),
		dbus.FieldInterface:   dbus.MakeVariant("org.freedesktop.systemd1.Manager"),
		dbus.FieldMember:      dbus.MakeVariant("JobNew"),
		dbus.FieldSignature:   dbus.MakeVariant(dbus.ParseSignatureMust(signature)),
	}}
	var b bytes.Buffer
	if err := msg.EncodeTo(&b, binary.LittleEndian); err != nil {
		panic(err)
	}
	return WithBody(b.Bytes(), body)
}

// WithBody is a message of little-endian byte order that has none yet with a body.
func WithBody(head, body []byte) []byte {
	message := append(bytes.Clone(head), body...)
	binary.LittleEndian.PutUint32(message[4:], uint32(len(body)))
	binary.LittleEndian.PutUint32(message[8:], 1) // a serial, which must not be 0
	return message
}
