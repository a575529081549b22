// SPDX-License-Identifier: GPL-3.0-or-later

// Package uevent reads the kernel's uevents: the messages that say that a device appeared, changed or went away. It
// parses them and decides nothing; an event is a hint to look at sysfs.
package uevent

import (
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"

	goudev "github.com/pilebones/go-udev/netlink"
	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/netlink"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// ErrLost says that events were lost or could not be read: resynchronise with sysfs and go on receiving.
var ErrLost = netlink.ErrLost

// kernelGroup is the multicast group of the kernel's own messages. udevd sends on group 2; it is not needed here.
const kernelGroup = 1

// maxMessage is above the longest uevent: a path of at most 4096 bytes and 2048 of variables (UEVENT_BUFFER_SIZE in
// include/linux/kobject.h).
const maxMessage = 16 << 10

// Event is one uevent.
type Event struct {
	Action    string // add, remove, change, move, online, offline, bind or unbind
	Subsystem string // "nvme", "fc", "infiniband" …; empty for the few that have none
	DevPath   string // the device below /sys, beginning with "/devices/" for devices
	Seq       uint64 // SEQNUM, counting every uevent since boot
	Vars      map[string]string
}

// Source is a subscription to the kernel's uevents. Receive belongs to one goroutine; Close may be called from any.
type Source struct {
	socket *netlink.Socket
	buf    []byte
}

// Open subscribes. rcvbuf is the size of the receive buffer in bytes, 0 for the kernel's default of some 200 KiB; an event
// takes about 1 to 2 KiB of it, so a host with many controllers wants some MiB.
func Open(rcvbuf int) (*Source, error) {
	socket, err := netlink.Open(unix.NETLINK_KOBJECT_UEVENT, kernelGroup, rcvbuf)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for uevents: %w", err)
	}
	return &Source{socket: socket, buf: make([]byte, maxMessage)}, nil
}

// Receive waits for the next event of the subsystems nvme, fc and infiniband. An error that is ErrLost asks for a
// resynchronisation and leaves the Source usable; os.ErrClosed means that Close was called; any other error is final.
func (s *Source) Receive() (Event, error) {
	for {
		n, err := s.socket.Receive(s.buf)
		if err != nil {
			return Event{}, fmt.Errorf("cannot receive a uevent: %w", err)
		}
		if !concerns(s.buf[:n]) {
			continue
		}
		event, err := Parse(s.buf[:n])
		if err != nil {
			return Event{}, fmt.Errorf("%w: %w", ErrLost, err)
		}
		return event, nil
	}
}

// concerns tells whether a message is, or may be, of one of the subsystems that are looked at. It comes before go-udev,
// which refuses values with a "=" and paths with a "@" in them: other devices have such, and must not cost a
// resynchronisation. A message that is cut off may be of any subsystem.
func concerns(message []byte) bool {
	strs := bytes.Split(message, []byte{0})
	if len(strs[len(strs)-1]) > 0 || !bytes.Contains(strs[0], []byte("@/")) {
		return true
	}
	for _, str := range strs[1:] {
		if subsystem, ok := bytes.CutPrefix(str, []byte("SUBSYSTEM=")); ok {
			switch string(subsystem) {
			case "nvme", "fc", "infiniband":
				return true
			}
			return false
		}
	}
	return false
}

// Close ends the subscription and wakes Receive.
func (s *Source) Close() error {
	return s.socket.Close()
}

// Parse reads a message of the kernel: "action@devpath" and "KEY=value" strings, each ended by a NUL (lib/kobject_uevent.c).
// Messages of udevd are refused.
func Parse(message []byte) (Event, error) {
	// go-udev panics on a message without a NUL, drops a last string without one, and takes udevd's format too.
	if !bytes.HasSuffix(message, []byte{0}) {
		return Event{}, fmt.Errorf("cannot parse uevent %.80q: it is cut off", message)
	}
	if bytes.HasPrefix(message, []byte("libudev\x00")) {
		return Event{}, fmt.Errorf("cannot parse uevent %.80q: it is not the kernel's", message)
	}
	raw, err := goudev.ParseUEvent(message)
	if err != nil {
		return Event{}, fmt.Errorf("cannot parse uevent %.80q: %w", message, err)
	}
	seq, err := strconv.ParseUint(raw.Env["SEQNUM"], 10, 64)
	if err != nil {
		return Event{}, fmt.Errorf("cannot parse uevent %.80q: SEQNUM %q is no number", message, raw.Env["SEQNUM"])
	}
	return Event{
		Action:    raw.Action.String(),
		Subsystem: raw.Env["SUBSYSTEM"],
		DevPath:   raw.KObj,
		Seq:       seq,
		Vars:      raw.Env,
	}, nil
}

// DeviceName returns the name, such as "nvme3", of the fabrics controller that the event is about, and whether it is
// about one: local PCIe controllers live elsewhere in the device tree, and namespaces have another subsystem.
func DeviceName(e Event) (string, bool) {
	name := path.Base(e.DevPath)
	ok := e.Subsystem == "nvme" && strings.HasPrefix(e.DevPath, "/devices/virtual/nvme-fabrics/") && paths.CheckDevice(name) == nil
	if !ok {
		return "", false
	}
	return name, true
}
