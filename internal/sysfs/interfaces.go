// SPDX-License-Identifier: GPL-3.0-or-later

package sysfs

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/netlink"
)

// network asks for the interfaces of this host: those of kernelNetwork ask the kernel, tests have stand-ins.
type network struct {
	dump   func(protocol int, kind uint16, body []byte) ([][]byte, error)
	nameOf func(index uint32) (string, error) // "" if there is no such interface
}

func kernelNetwork() network { return network{netlink.Dump, interfaceName} }

// interfaces returns the index of the interface that holds each IP address of the host. Where several interfaces hold one
// address, it is one of them. It dumps the addresses once, however many there are: Addrs of net.Interface does so for each
// interface. The interfaces themselves are not dumped: that takes the kernel ten times as long.
func (n network) interfaces() (map[netip.Addr]uint32, error) {
	addrs, err := n.dump(unix.NETLINK_ROUTE, unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, fmt.Errorf("cannot list the addresses of this host: %w", err)
	}
	table := make(map[netip.Addr]uint32, len(addrs))
	for _, addr := range addrs {
		if index, ip, _ := netlink.ParseAddress(addr); ip.IsValid() {
			table[ip] = index
		}
	}
	return table, nil
}

// interfaceName returns the name of the interface with an index (netdevice(7)), "" if there is none.
func interfaceName(index uint32) (string, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return "", fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("unknown") // the answer replaces it
	if err != nil {
		return "", err
	}
	request.SetUint32(index)
	err = unix.IoctlIfreq(fd, unix.SIOCGIFNAME, request)
	switch {
	case errors.Is(err, unix.ENODEV):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("cannot get the name of interface %d: %w", index, err)
	}
	return request.Name(), nil
}
