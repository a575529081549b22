package netwatch

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// message is what one rtnetlink message says of a link, or of one of its addresses when addr is valid.
type message struct {
	index uint32
	name  string // of a link
	addr  netip.Addr
	up    bool // the link can carry packets; the address can be used
	gone  bool // the link or address does not exist any more
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
	raw, err := syscall.ParseNetlinkMessage(datagram)
	if err != nil {
		return nil, fmt.Errorf("cannot parse a netlink datagram of %d bytes: %w", len(datagram), err)
	}
	var messages []message
	for _, r := range raw {
		var (
			m     message
			about bool
			err   error
		)
		switch r.Header.Type {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			m, about, err = parseLink(r)
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			m, about, err = parseAddr(r)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot parse netlink message of type %d, %d bytes: %w", r.Header.Type, len(r.Data), err)
		}
		if about {
			messages = append(messages, m)
		}
	}
	return messages, nil
}

func parseLink(r syscall.NetlinkMessage) (message, bool, error) {
	attrs, err := attributes(r, unix.SizeofIfInfomsg)
	if err != nil {
		return message{}, false, err
	}
	if r.Data[0] != unix.AF_UNSPEC {
		return message{}, false, nil // a bridge speaking of its ports, not of links
	}
	// struct ifinfomsg: family, padding, type (2), index (4), flags (4), change (4)
	flags := binary.NativeEndian.Uint32(r.Data[8:])
	m := message{
		index: binary.NativeEndian.Uint32(r.Data[4:]),
		up:    r.Header.Type == unix.RTM_NEWLINK && flags&linkUp == linkUp,
		gone:  r.Header.Type == unix.RTM_DELLINK,
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_IFNAME {
			m.name = strings.TrimRight(string(a.Value), "\x00")
		}
	}
	return m, true, nil
}

func parseAddr(r syscall.NetlinkMessage) (message, bool, error) {
	attrs, err := attributes(r, unix.SizeofIfAddrmsg)
	if err != nil {
		return message{}, false, err
	}
	// struct ifaddrmsg: family, prefix length, flags, scope, index (4)
	flags := uint32(r.Data[2])
	m := message{
		index: binary.NativeEndian.Uint32(r.Data[4:]),
		gone:  r.Header.Type == unix.RTM_DELADDR,
	}
	var local, address netip.Addr
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFA_LOCAL: // ours, where IFA_ADDRESS is the other end of a point-to-point link
			local, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_FLAGS: // all 32 bits of them
			if len(a.Value) >= 4 {
				flags = binary.NativeEndian.Uint32(a.Value)
			}
		}
	}
	if m.addr = local; !local.IsValid() {
		m.addr = address
	}
	m.up = !m.gone && flags&addrUnusable == 0
	return m, m.addr.IsValid(), nil
}

// attributes returns what follows the fixed header of size bytes.
func attributes(r syscall.NetlinkMessage, size int) ([]syscall.NetlinkRouteAttr, error) {
	if len(r.Data) < size {
		return nil, fmt.Errorf("it is shorter than its header of %d bytes", size)
	}
	return syscall.ParseNetlinkRouteAttr(&r)
}

// table holds what exists and whether it is up. The kernel repeats itself: an IPv6 address is announced anew with every
// router advertisement, a link with every change of any of its attributes. Only what was not up before is an event.
type table struct {
	links map[uint32]link
	addrs map[place]bool
}

type link struct {
	name string
	up   bool
}

type place struct {
	index uint32
	addr  netip.Addr
}

func newTable() table {
	return table{links: map[uint32]link{}, addrs: map[place]bool{}}
}

// apply enters the messages and returns what came up by them.
func (t table) apply(messages []message) []Event {
	var events []Event
	for _, m := range messages {
		if m.addr.IsValid() {
			at := place{m.index, m.addr}
			if m.up && !t.addrs[at] {
				events = append(events, Event{Kind: AddrUp, Iface: t.links[m.index].name, Addr: m.addr})
			}
			t.addrs[at] = m.up
			if m.gone {
				delete(t.addrs, at)
			}
			continue
		}
		if m.up && !t.links[m.index].up {
			events = append(events, Event{Kind: LinkUp, Iface: m.name})
		}
		t.links[m.index] = link{m.name, m.up}
		if m.gone {
			delete(t.links, m.index)
		}
	}
	return events
}
