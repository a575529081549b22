// SPDX-License-Identifier: GPL-3.0-or-later

package netlink

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// lo is a device that every kernel has and whose uevents nobody minds.
const lo = "/sys/devices/virtual/net/lo/uevent"

// open listens for uevents.
func open(t *testing.T, rcvbuf int) *Socket {
	t.Helper()
	s, err := Open(unix.NETLINK_KOBJECT_UEVENT, 1, rcvbuf)
	if err != nil {
		t.Skipf("cannot listen for uevents here: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// trigger makes the kernel send n uevents.
func trigger(t *testing.T, n int) {
	t.Helper()
	for range n {
		if err := os.WriteFile(lo, []byte("change"), 0); err != nil {
			t.Skipf("cannot trigger a uevent here: %v", err)
		}
	}
}

func TestCloseWakesReceive(t *testing.T) {
	s := open(t, 0)
	done := make(chan error)
	go func() {
		var err error
		for err == nil { // events of other devices may come
			_, err = s.Receive(make([]byte, 16<<10))
		}
		done <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Receive ended with %v, want os.ErrClosed", err)
	}
}

func TestOpenFails(t *testing.T) {
	_, err := Open(99, 1, 0)
	if want := "cannot open a netlink socket: protocol not supported"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
}

// A message of a process comes before one of the kernel; only the latter is received.
func TestForgedMessage(t *testing.T) {
	s := open(t, 0)
	var self unix.Sockaddr
	if err := s.raw.Control(func(fd uintptr) { self, _ = unix.Getsockname(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	port := self.(*unix.SockaddrNetlink).Pid
	for _, to := range []*unix.SockaddrNetlink{{Family: unix.AF_NETLINK, Pid: port}, {Family: unix.AF_NETLINK, Groups: 1}} {
		if err := unix.Sendto(fd, []byte("forged"), 0, to); err != nil {
			t.Skipf("cannot send to port %d, groups %d: %v", to.Pid, to.Groups, err)
		}
	}
	trigger(t, 1)
	buf := make([]byte, 16<<10)
	n, err := s.Receive(buf)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(buf[:n], []byte("forged")) {
		t.Error("a message of a process was taken for the kernel's")
	}
}

func TestOverrun(t *testing.T) {
	s := open(t, 1) // the kernel rounds up to its minimum, room for one or two events
	trigger(t, 50)
	buf := make([]byte, 16<<10)
	for {
		_, err := s.Receive(buf)
		if errors.Is(err, ErrLost) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Receive(buf); err != nil {
		t.Errorf("the socket is not usable after an overrun: %v", err)
	}
	// Whatever comes before the buffer is empty is dropped: that the emptied buffer is told too makes up for it.
	var err error
	for err == nil {
		_, err = s.Receive(buf)
	}
	if want := "messages of the kernel were lost: the receive buffer had overrun and is empty again"; !errors.Is(err, ErrLost) || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	trigger(t, 1)
	if _, err := s.Receive(buf); err != nil {
		t.Errorf("the socket is not usable after the buffer was emptied: %v", err)
	}
}

func TestTruncated(t *testing.T) {
	s := open(t, 0)
	trigger(t, 2)
	_, err := s.Receive(make([]byte, 8))
	if want := "messages of the kernel were lost: one is longer than 8 bytes"; !errors.Is(err, ErrLost) || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	if _, err := s.Receive(make([]byte, 16<<10)); err != nil {
		t.Errorf("the socket is not usable after a truncated message: %v", err)
	}
}

func TestFromKernel(t *testing.T) {
	credentials := func(pid int32, uid uint32) []byte {
		return unix.UnixCredentials(&unix.Ucred{Pid: pid, Uid: uid})
	}
	kernel := &unix.SockaddrNetlink{Groups: 1}
	tests := []struct {
		name string
		from unix.Sockaddr
		oob  []byte
		want bool
	}{
		{"kernel", kernel, credentials(0, 0), true},
		{"unicast", &unix.SockaddrNetlink{}, credentials(0, 0), false},
		{"process by port", &unix.SockaddrNetlink{Pid: 17, Groups: 1}, credentials(0, 0), false},
		{"root's process by credentials", kernel, credentials(17, 0), false},
		{"user", kernel, credentials(0, 1000), false},
		{"no credentials", kernel, nil, false},
		{"no netlink address", &unix.SockaddrUnix{}, credentials(0, 0), false},
		{"no address", nil, credentials(0, 0), false},
	}
	for _, test := range tests {
		if got := fromKernel(test.from, test.oob); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// Whatever comes with a message, only the kernel's port and the kernel's process make it the kernel's.
func FuzzFromKernel(f *testing.F) {
	kernel := unix.UnixCredentials(&unix.Ucred{})
	f.Add(uint32(0), uint32(1), kernel)
	f.Add(uint32(17), uint32(1), kernel)
	f.Add(uint32(0), uint32(1), unix.UnixCredentials(&unix.Ucred{Pid: 17, Uid: 1000}))
	f.Add(uint32(0), uint32(1), kernel[:20])
	f.Fuzz(func(t *testing.T, port, groups uint32, oob []byte) {
		got := fromKernel(&unix.SockaddrNetlink{Pid: port, Groups: groups}, oob)
		if got && (port != 0 || groups == 0 || len(oob) < unix.CmsgLen(unix.SizeofUcred)) {
			t.Errorf("port %d, groups %d, %x: taken for the kernel", port, groups, oob)
		}
	})
}
