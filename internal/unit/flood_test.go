// SPDX-License-Identifier: GPL-3.0-or-later

package unit

import (
	"bytes"
	"encoding/binary"
	"net"
	"runtime"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/nvme-discoverd/nvme-discoverd/internal/systembus"
	"github.com/nvme-discoverd/nvme-discoverd/internal/systembus/systembustest"
)

// variants is the body of an "av" of bytes.
func variants(n int) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(4*n)), bytes.Repeat([]byte{1, 'y', 0, 7}, n)...)
}

// TestFlood lets another user send what would end a daemon that took it in: a message that is gigabytes when decoded, many
// of the longest that are decoded, ones that godbus cannot decode, and file descriptors, with which it panics.
func TestFlood(t *testing.T) {
	f := newFixture(t)
	made, result := f.start()
	raw, err := net.Dial("unix", f.bus.Socket)
	if err != nil {
		t.Fatal(err)
	}
	mallory, err := dbus.NewConn(raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mallory.Close() })
	if err := mallory.Auth(nil); err != nil {
		t.Fatal(err)
	}
	if err := mallory.Hello(); err != nil {
		t.Fatal(err)
	}
	victim := f.manager.current.bus.(*systembus.Conn).Names()[0]
	large, medium := systembustest.Signal(victim, "av", variants(1<<20)), systembustest.Signal(victim, "av", variants(190))
	odd := systembustest.Signal(victim, "a{bs}", []byte(systembustest.OddBody))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := raw.Write(large); err != nil {
		t.Fatal(err)
	}
	f.passedOn(mallory)
	f.noEvents()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
		t.Errorf("%d bytes of memory were taken, as if the messages were decoded or kept", n)
	}
	for range 500 {
		if _, err := raw.Write(medium); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := raw.Write(odd); err != nil {
		t.Fatal(err)
	}
	f.passedOn(mallory)
	f.noEvents()

	envoy := f.bus.Connect()
	envoy.Send(&dbus.Message{Type: dbus.TypeSignal, Body: []any{[]dbus.UnixFD{0}}, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(victim),
		dbus.FieldPath:        dbus.MakeVariant(managerPath),
		dbus.FieldInterface:   dbus.MakeVariant(managerInterface),
		dbus.FieldMember:      dbus.MakeVariant("JobNew"),
		dbus.FieldSignature:   dbus.MakeVariant(dbus.ParseSignatureMust("ah")),
	}}, nil)
	f.passedOn(envoy)
	f.noEvents()
	f.systemd.endJob(made.job, testUnit, "done")
	f.wantResult(result, Done, "")
}

// passedOn waits until the bus has passed on what conn has sent.
func (f *fixture) passedOn(conn *dbus.Conn) {
	f.t.Helper()
	if err := conn.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		f.t.Fatal(err)
	}
}
