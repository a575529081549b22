// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"strings"
	"syscall"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// nobody is the user and group whom all may fear and none should.
const nobody = 65534

// AsNobody runs do as a user without any right.
func AsNobody(t T, do func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine. The system calls are raw, for Go's own change every thread.
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, nobody, nobody, nobody); errno != 0 {
			done <- fmt.Errorf("cannot give up the group: %w", errno)
			return
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			done <- fmt.Errorf("cannot give up the user: %w", errno)
			return
		}
		done <- do()
	}()
	if err := <-done; err != nil {
		t.Fatalf("as nobody: %v", err)
	}
}

// Forger is an unprivileged user of the system bus who speaks in systemd's name.
type Forger struct {
	t    T
	conn *dbus.Conn
	raw  net.Conn // below conn
}

// NewForger connects to the system bus as nobody.
func NewForger(t T) *Forger {
	t.Helper()
	f := &Forger{t: t}
	AsNobody(t, func() error {
		raw, err := net.Dial("unix", "/run/dbus/system_bus_socket")
		if err != nil {
			return err
		}
		conn, err := dbus.NewConn(raw)
		if err != nil {
			return err
		}
		if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(fmt.Sprint(nobody))}); err != nil {
			return err
		}
		f.conn, f.raw = conn, raw
		return conn.Hello()
	})
	t.Cleanup(func() { f.conn.Close() })
	return f
}

// Name is the forger's unique name.
func (f *Forger) Name() string { return f.conn.Names()[0] }

// Victim finds the unique name of a process.
func (f *Forger) Victim(pid string) string {
	f.t.Helper()
	var all []string
	if err := f.conn.BusObject().Call("org.freedesktop.DBus.ListNames", 0).Store(&all); err != nil {
		f.t.Fatalf("cannot list the names on the bus: %v", err)
	}
	for _, name := range all {
		var owner uint32
		err := f.conn.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixProcessID", 0, name).Store(&owner)
		if err == nil && strings.HasPrefix(name, ":") && fmt.Sprint(owner) == pid {
			return name
		}
	}
	f.t.Fatalf("process %s is not on the bus", pid)
	return ""
}

// Signal sends a signal of systemd's manager, or of the bus itself, to one name.
func (f *Forger) Signal(victim, path, iface, member string, body ...any) {
	f.t.Helper()
	call := f.conn.Send(&dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(victim),
		dbus.FieldPath:        dbus.MakeVariant(dbus.ObjectPath(path)),
		dbus.FieldInterface:   dbus.MakeVariant(iface),
		dbus.FieldMember:      dbus.MakeVariant(member),
		dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(body...)),
	}}, nil)
	if call != nil && call.Err != nil {
		f.t.Fatalf("cannot send a signal: %v", call.Err)
	}
}

// Job forges the life of one job of a unit, beginning and end.
func (f *Forger) Job(victim string, id int, unit, result string) {
	f.t.Helper()
	const path, iface = "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
	job := dbus.ObjectPath(fmt.Sprintf("%s/job/%d", path, id))
	f.Signal(victim, path, iface, "JobNew", uint32(id), job, unit)
	f.Signal(victim, path, iface, "JobRemoved", uint32(id), job, unit, result)
}

// Large sends a signal that has a body of size bytes, an array of variants of one byte each: decoded, it takes a few dozen
// times as much memory.
func (f *Forger) Large(victim string, size int) {
	f.t.Helper()
	msg := &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(victim),
		dbus.FieldPath:        dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/systemd1")),
		dbus.FieldInterface:   dbus.MakeVariant("org.freedesktop.systemd1.Manager"),
		dbus.FieldMember:      dbus.MakeVariant("JobRemoved"),
		dbus.FieldSignature:   dbus.MakeVariant(dbus.ParseSignatureMust("av")),
	}}
	var b bytes.Buffer
	if err := msg.EncodeTo(&b, binary.LittleEndian); err != nil {
		f.t.Fatalf("cannot write a signal down: %v", err)
	}
	header := b.Bytes()
	binary.LittleEndian.PutUint32(header[4:], uint32(size))
	binary.LittleEndian.PutUint32(header[8:], 1) // a serial, which must not be 0
	body := binary.LittleEndian.AppendUint32(nil, uint32(size-4))
	body = append(body, bytes.Repeat([]byte{1, 'y', 0, 7}, size/4-1)...)
	if _, err := f.raw.Write(append(header, body...)); err != nil {
		f.t.Fatalf("cannot send a large signal: %v", err)
	}
}

// Settle waits until the bus has passed on what was sent.
func (f *Forger) Settle() {
	f.t.Helper()
	if err := f.conn.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		f.t.Fatalf("the bus has thrown the forger out: %v", err)
	}
}

// SendUevent sends a uevent from a process to everybody who hears the kernel's.
func SendUevent(text string) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return unix.Sendto(fd, []byte(text), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1})
}

// Removal is the text of the uevent that tells of a controller's end.
func Removal(device string) string {
	path := "/devices/virtual/nvme-fabrics/ctl/" + device
	return strings.Join([]string{
		"remove@" + path, "ACTION=remove", "DEVPATH=" + path, "SUBSYSTEM=nvme", "DEVNAME=" + device, "SEQNUM=999999999", "",
	}, "\x00")
}
