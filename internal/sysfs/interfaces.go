package sysfs

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/netlink"
)

// hostInterfaces returns the interface of every IP address of the host. Where several interfaces hold one address, it is with
// one of them. dump is netlink.Dump, or a stand-in in tests. It is called twice, however many interfaces there are: Addrs of
// net.Interface dumps all addresses of the host for each interface.
func hostInterfaces(dump func(protocol int, kind uint16, body []byte) ([][]byte, error)) (map[netip.Addr]string, error) {
	addrs, err := dump(unix.NETLINK_ROUTE, unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, err
	}
	links, err := dump(unix.NETLINK_ROUTE, unix.RTM_GETLINK, make([]byte, unix.SizeofIfInfomsg))
	if err != nil {
		return nil, err
	}
	names := make(map[uint32]string, len(links))
	for _, link := range links {
		if index, name := parseLink(link); name != "" {
			names[index] = name
		}
	}
	table := make(map[netip.Addr]string, len(addrs))
	for _, addr := range addrs {
		index, ip := parseAddr(addr)
		if name := names[index]; name != "" && ip.IsValid() { // an interface without a name has gone since
			table[ip] = name
		}
	}
	return table, nil
}

// parseLink reads the body of an RTM_NEWLINK message: struct ifinfomsg, whose index is at 4, and attributes. The name is "" if
// the message has none.
func parseLink(body []byte) (index uint32, name string) {
	if len(body) < unix.SizeofIfInfomsg {
		return 0, ""
	}
	for kind, value := range netlink.Attributes(body[unix.SizeofIfInfomsg:]) {
		if kind == unix.IFLA_IFNAME {
			name = strings.TrimRight(string(value), "\x00")
		}
	}
	return binary.NativeEndian.Uint32(body[4:]), name
}

// parseAddr reads the body of an RTM_NEWADDR message: struct ifaddrmsg, whose index is at 4, and attributes. The address is
// invalid if the message has none. IFA_LOCAL is the host's own address; where there is one, IFA_ADDRESS may be the other end
// of a point-to-point link.
func parseAddr(body []byte) (index uint32, addr netip.Addr) {
	if len(body) < unix.SizeofIfAddrmsg {
		return 0, netip.Addr{}
	}
	var local, other netip.Addr
	for kind, value := range netlink.Attributes(body[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			other, _ = netip.AddrFromSlice(value)
		}
	}
	if !local.IsValid() {
		local = other
	}
	return binary.NativeEndian.Uint32(body[4:]), local.Unmap()
}
