// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/netlink"
)

// network is what this host knows of its own network at one moment.
type network struct {
	links map[int][]netip.Prefix // the addresses of each interface, with the length of their prefix
	own   map[netip.Addr]bool
	names func(index int) string // "" if there is no such interface
}

// readNetwork asks the kernel. It dumps the addresses once, however many interfaces there are.
func readNetwork() (network, error) {
	dumped, err := netlink.Dump(unix.NETLINK_ROUTE, unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return network{}, fmt.Errorf("cannot list the addresses of this host: %w", err)
	}
	n := network{links: map[int][]netip.Prefix{}, own: map[netip.Addr]bool{}, names: remembered(linkName)}
	for _, body := range dumped {
		index, addr, bits := netlink.ParseAddress(body)
		if prefix := netip.PrefixFrom(addr, bits); prefix.IsValid() {
			n.links[int(index)] = append(n.links[int(index)], prefix)
			n.own[prefix.Addr()] = true
		}
	}
	return n, nil
}

// remembered asks for each index once.
func remembered(name func(int) string) func(int) string {
	known := map[int]string{}
	return func(index int) string {
		if _, ok := known[index]; !ok {
			known[index] = name(index)
		}
		return known[index]
	}
}

func linkName(index int) string {
	link, err := net.InterfaceByIndex(index)
	if err != nil {
		return ""
	}
	return link.Name
}

func (n network) name(index int) string { return n.names(index) }

func (n network) owns(addr netip.Addr) bool { return n.own[addr] }

// source returns the address of an interface from which an address in its network is reached, the zero Addr if it has none. A link-local
// address has its zone.
func (n network) source(index int, to netip.Addr) netip.Addr {
	for _, prefix := range n.links[index] {
		if prefix.Contains(to.WithZone("")) {
			return prefix.Addr().WithZone(to.Zone())
		}
	}
	return netip.Addr{}
}
