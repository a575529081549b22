// SPDX-License-Identifier: GPL-3.0-or-later

package netwatch

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// message is what one rtnetlink message says of a link, or of one of its addresses when addr is valid.
type message struct {
	index uint32
	name  string // of a link
	addr  netip.Addr
	up    bool // the link can carry packets; the address can be used
	gone  bool // the link or address does not exist any more

	hardware bool // the link is a device's
}

// linkUp are the flags of a link that can carry packets: up by the administrator's will, with a carrier, and in operational
// state "up" or, for drivers that know no such thing, "unknown" (include/uapi/linux/if.h; dev_get_flags sets IFF_RUNNING
// by the operational state).
const linkUp = unix.IFF_UP | unix.IFF_LOWER_UP | unix.IFF_RUNNING

// addrUnusable are the flags of an IPv6 address to which no socket can be bound: duplicate address detection has not
// ended, or has found a duplicate (include/uapi/linux/if_addr.h). The kernel sends RTM_NEWADDR again when it has ended.
const addrUnusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED

// parse reads a datagram of rtnetlink(7), which may hold several messages; those that are not about links and addresses
// are passed over.
func parse(datagram []byte) ([]message, error) {
	var messages []message
	for rest := datagram; len(rest) > 0; {
		// struct nlmsghdr: length (4), type (2), flags (2), sequence (4), port (4)
		if len(rest) < unix.SizeofNlMsghdr {
			return nil, fmt.Errorf("cannot parse a netlink datagram of %d bytes: its last header is cut off", len(datagram))
		}
		length := binary.NativeEndian.Uint32(rest)
		if length < unix.SizeofNlMsghdr || uint64(length) > uint64(len(rest)) {
			return nil, fmt.Errorf("cannot parse a netlink datagram of %d bytes: a message claims %d of the last %d", len(datagram), length, len(rest))
		}
		kind, body := binary.NativeEndian.Uint16(rest[4:]), rest[unix.SizeofNlMsghdr:length]
		rest = rest[min(align(int(length)), len(rest)):]
		m, ok, err := parseMessage(kind, body)
		if err != nil {
			return nil, fmt.Errorf("cannot parse a netlink message of type %d, %d bytes: %w", kind, len(body), err)
		}
		if ok {
			messages = append(messages, m)
		}
	}
	return messages, nil
}

// parseMessage reads one message and tells whether it is about a link or an address.
func parseMessage(kind uint16, body []byte) (message, bool, error) {
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return parseLink(kind, body)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return parseAddr(kind, body)
	}
	return message{}, false, nil
}

func parseLink(kind uint16, body []byte) (message, bool, error) {
	var name []byte
	hardware := false
	err := attributes(body, unix.SizeofIfInfomsg, func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			name = value
		case unix.IFLA_PARENT_DEV_NAME:
			hardware = true
		}
	})
	if err != nil {
		return message{}, false, err
	}
	// struct ifinfomsg: family, padding, type (2), index (4), flags (4), change (4)
	if body[0] != unix.AF_UNSPEC {
		return message{}, false, nil // a bridge speaking of its ports, not of links
	}
	flags := binary.NativeEndian.Uint32(body[8:])
	return message{
		index: binary.NativeEndian.Uint32(body[4:]),
		name:  strings.TrimRight(string(name), "\x00"),
		up:    kind == unix.RTM_NEWLINK && flags&linkUp == linkUp,
		gone:  kind == unix.RTM_DELLINK,

		hardware: hardware,
	}, true, nil
}

func parseAddr(kind uint16, body []byte) (message, bool, error) {
	var local, other, all []byte
	err := attributes(body, unix.SizeofIfAddrmsg, func(kind uint16, value []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local = value
		case unix.IFA_ADDRESS:
			other = value
		case unix.IFA_FLAGS:
			all = value
		}
	})
	if err != nil {
		return message{}, false, err
	}
	// struct ifaddrmsg: family, prefix length, flags, scope, index (4)
	flags := uint32(body[2])
	if len(all) == 4 {
		flags = binary.NativeEndian.Uint32(all)
	}
	// IFA_LOCAL is ours; where there is one, IFA_ADDRESS may be the other end of a point-to-point link.
	addr, ok := netip.AddrFromSlice(local)
	if !ok {
		addr, ok = netip.AddrFromSlice(other)
	}
	return message{
		index: binary.NativeEndian.Uint32(body[4:]),
		addr:  addr,
		up:    kind == unix.RTM_NEWADDR && flags&addrUnusable == 0,
		gone:  kind == unix.RTM_DELADDR,
	}, ok, nil
}

// attributes calls each with the type and the value of what follows the fixed header of size bytes: struct rtattr, length (2) and
// type (2), each with its value. (The syscall package's parser panics on a last one without padding.) A link has some fifty of them,
// and links may change all the time: nothing is made of those that nobody wants.
func attributes(body []byte, size int, each func(kind uint16, value []byte)) error {
	if len(body) < size {
		return fmt.Errorf("it is shorter than its header of %d bytes", size)
	}
	for rest := body[size:]; len(rest) >= unix.SizeofRtAttr; {
		length := int(binary.NativeEndian.Uint16(rest))
		if length < unix.SizeofRtAttr || length > len(rest) {
			return fmt.Errorf("an attribute claims %d of the last %d bytes", length, len(rest))
		}
		each(binary.NativeEndian.Uint16(rest[2:]), rest[unix.SizeofRtAttr:length])
		rest = rest[min(align(length), len(rest)):]
	}
	return nil
}

// align rounds up to the 4 bytes at which messages and attributes begin.
func align(length int) int { return (length + 3) &^ 3 }

// table holds what exists and whether it is up. The kernel repeats itself: an IPv6 address is announced anew with every
// router advertisement, a link with every change of any of its attributes. Only what was not up before is an event.
type table struct {
	links map[uint32]link
	addrs map[uint32]map[netip.Addr]bool // by link: whether the address can be used
}

type link struct {
	name string
	up   bool
}

func newTable() table {
	return table{links: map[uint32]link{}, addrs: map[uint32]map[netip.Addr]bool{}}
}

// apply enters the messages and returns what came up by them.
func (t table) apply(messages []message) []Event {
	var events []Event
	for _, m := range messages {
		came := false
		event := Event{Kind: LinkUp, Iface: m.name, Hardware: m.hardware}
		if m.addr.IsValid() {
			came = t.applyAddr(m)
			event = Event{Kind: AddrUp, Iface: t.links[m.index].name, Addrs: []netip.Addr{m.addr}}
		} else if came = t.applyLink(m); came {
			event.Addrs = t.usable(m.index)
		}
		if came {
			events = append(events, event)
		}
	}
	return events
}

// applyAddr reports whether the address can be used and could not before.
func (t table) applyAddr(m message) bool {
	addrs := t.addrs[m.index]
	came := m.up && !addrs[m.addr]
	switch {
	case !m.gone && addrs == nil:
		t.addrs[m.index] = map[netip.Addr]bool{m.addr: m.up}
	case !m.gone:
		addrs[m.addr] = m.up
	default:
		delete(addrs, m.addr)
		if len(addrs) == 0 {
			delete(t.addrs, m.index)
		}
	}
	return came
}

// applyLink reports whether the link can carry packets and could not before, or not under this name: kernels since Linux 6.2 rename
// links that are up.
func (t table) applyLink(m message) bool {
	before := t.links[m.index]
	came := m.up && (!before.up || before.name != m.name)
	t.links[m.index] = link{m.name, m.up}
	if m.gone {
		delete(t.links, m.index)
		delete(t.addrs, m.index) // its number is given out again
	}
	return came
}

// usable returns the addresses of a link that can be used, sorted.
func (t table) usable(index uint32) []netip.Addr {
	var addrs []netip.Addr
	for addr, up := range t.addrs[index] {
		if up {
			addrs = append(addrs, addr)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}
