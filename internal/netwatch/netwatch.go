// SPDX-License-Identifier: GPL-3.0-or-later

// Package netwatch tells when an interface comes up or gets an address: the moments at which a target that could not be
// reached is worth another attempt. It reports and decides nothing.
package netwatch

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/netlink"
)

// ErrLost says that events were lost or could not be read: take it that any address may have come up, and go on receiving.
var ErrLost = netlink.ErrLost

// Kind tells the two kinds of events apart.
type Kind int

const (
	// AddrUp is an address that can be used now and could not before.
	AddrUp Kind = iota
	// LinkUp is an interface that can carry packets now and could not before.
	LinkUp
)

// Event is one thing that appeared. What goes away is not reported.
type Event struct {
	Kind  Kind
	Iface string       // "" if the kernel has not named it yet
	Addrs []netip.Addr // of AddrUp: that one; of LinkUp: all that can be used, sorted. Without IPv6 zones: Iface is the zone

	Hardware bool // of LinkUp: it is a port of a device, not one that software makes (kernels from 5.14 on tell)
}

// maxMessage is what the kernel itself allows for one datagram of several messages (netlink(7) suggests 8192 bytes, link
// messages with many virtual functions are longer).
const maxMessage = 64 << 10

// rcvbuf holds some thousand messages; an overrun costs one round of retries and is no tragedy.
const rcvbuf = 1 << 20

// Source is a subscription to changes of links and addresses. Receive belongs to one goroutine; Close may be called from
// any.
type Source struct {
	socket  socket
	dump    func() (table, error) // asks the kernel for all links and addresses
	buf     []byte
	known   table
	pending []Event
}

// socket is what a Source needs of a *netlink.Socket.
type socket interface {
	Receive(buf []byte) (int, error)
	Close() error
}

// Open subscribes. What is up already is not reported.
func Open() (*Source, error) {
	socket, err := netlink.Open(unix.NETLINK_ROUTE, unix.RTMGRP_LINK|unix.RTMGRP_IPV4_IFADDR|unix.RTMGRP_IPV6_IFADDR, rcvbuf)
	if err != nil {
		return nil, fmt.Errorf("cannot watch the network: %w", err)
	}
	known, err := dump()
	if err != nil {
		socket.Close()
		return nil, err
	}
	return &Source{socket: socket, dump: dump, buf: make([]byte, maxMessage), known: known}, nil
}

// Receive waits for the next event. An error that is ErrLost leaves the Source usable; os.ErrClosed means that Close was
// called; any other error is final. An overrun is told once, when what the buffer held has been received: the kernel drops messages
// until then, and what it says of links and addresses before that would be newer than what the buffer holds.
func (s *Source) Receive() (Event, error) {
	for len(s.pending) == 0 {
		n, err := s.socket.Receive(s.buf)
		if err == nil {
			var messages []message
			if messages, err = parse(s.buf[:n]); err == nil {
				s.pending = s.known.apply(messages)
				continue
			}
			err = fmt.Errorf("%w: %w", ErrLost, err)
		}
		if errors.Is(err, netlink.ErrOverrun) { // what the buffer holds comes first
			continue
		}
		if errors.Is(err, ErrLost) {
			// What is up by now is covered by the caller's reaction to ErrLost.
			known, dumpErr := s.dump()
			if dumpErr != nil {
				return Event{}, dumpErr
			}
			s.known = known
		}
		return Event{}, fmt.Errorf("cannot watch the network: %w", err)
	}
	event := s.pending[0]
	s.pending = s.pending[1:]
	return event, nil
}

// Close ends the subscription and wakes Receive.
func (s *Source) Close() error {
	return s.socket.Close()
}

// dump asks the kernel for all links and addresses.
func dump() (table, error) {
	known := newTable()
	for _, request := range []int{unix.RTM_GETLINK, unix.RTM_GETADDR} {
		answer, err := syscall.NetlinkRIB(request, unix.AF_UNSPEC)
		if err != nil {
			return table{}, fmt.Errorf("cannot list links and addresses: %w", err)
		}
		messages, err := parse(answer)
		if err != nil {
			return table{}, fmt.Errorf("cannot list links and addresses: %w", err)
		}
		known.apply(messages)
	}
	return known, nil
}
