// SPDX-License-Identifier: GPL-3.0-or-later

// Package rdma tells what listens for connections on this host's RDMA devices, and which addresses they have.
package rdma

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/netlink"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// Listener is what waits for connections at an address of an RDMA device (an rdma_cm_id, rdma_cm(7)).
type Listener struct {
	Device string         // such as mlx5_0
	Addr   netip.AddrPort // without a zone
	Owner  string         // the kernel module that listens, such as nvmet_rdma; "" for a program
}

// Requests of the kernel's RDMA netlink interface, and what is in the answers (include/uapi/rdma/rdma_netlink.h).
const (
	getDevices       = 5<<10 + 1  // RDMA_NL_NLDEV, RDMA_NLDEV_CMD_GET
	getConnectionIDs = 5<<10 + 11 // RDMA_NL_NLDEV, RDMA_NLDEV_CMD_RES_CM_ID_GET

	attrDeviceIndex   = 1
	attrDeviceName    = 2
	attrOwner         = 29 // RDMA_NLDEV_ATTR_RES_KERN_NAME
	attrConnectionIDs = 30
	attrConnectionID  = 31
	attrSource        = 33 // struct __kernel_sockaddr_storage
	attrDestination   = 34
)

// Listeners lists what listens on every RDMA device. Without such a device there is nothing, and no error.
func Listeners() ([]Listener, error) {
	devices, err := netlink.Dump(unix.NETLINK_RDMA, getDevices, nil)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list RDMA devices: %w", err)
	}
	var all []Listener
	for _, device := range devices {
		index, ok := first(device, attrDeviceIndex)
		if !ok || len(index) != 4 {
			continue
		}
		request := binary.NativeEndian.AppendUint16(nil, unix.SizeofNlAttr+4)
		request = binary.NativeEndian.AppendUint16(request, attrDeviceIndex)
		answers, err := netlink.Dump(unix.NETLINK_RDMA, getConnectionIDs, append(request, index...))
		if err != nil {
			return nil, fmt.Errorf("cannot list what listens on an RDMA device: %w", err)
		}
		for _, answer := range answers {
			all = append(all, parse(answer)...)
		}
	}
	return all, nil
}

// parse reads an answer about the connection identifiers of one device. A listener has an address of its own and none of
// a peer, or one of zeros; the numbers of the states (enum rdma_cm_state) are not in the kernel's uapi headers.
func parse(answer []byte) []Listener {
	name, _ := first(answer, attrDeviceName)
	table, _ := first(answer, attrConnectionIDs)
	var all []Listener
	for kind, id := range netlink.Attributes(table) {
		if kind != attrConnectionID {
			continue
		}
		source, _ := first(id, attrSource)
		addr, ok := sockaddr(source)
		destination, _ := first(id, attrDestination)
		if peer, connected := sockaddr(destination); !ok || connected && peer.Port() != 0 {
			continue
		}
		owner, _ := first(id, attrOwner)
		all = append(all, Listener{Device: text(name), Addr: addr, Owner: text(owner)})
	}
	return all
}

// first returns the value of the first attribute of a kind.
func first(attributes []byte, kind uint16) ([]byte, bool) {
	for k, value := range netlink.Attributes(attributes) {
		if k == kind {
			return value, true
		}
	}
	return nil, false
}

// text is a string of the kernel's, which ends with a zero byte.
func text(value []byte) string {
	s, _, _ := strings.Cut(string(value), "\x00")
	return s
}

// sockaddr reads a struct sockaddr_in or sockaddr_in6.
func sockaddr(b []byte) (netip.AddrPort, bool) {
	if len(b) < unix.SizeofSockaddrInet6 {
		return netip.AddrPort{}, false
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port), true
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port), true
	}
	return netip.AddrPort{}, false
}

// Has tells whether an RDMA device of this host can be listened on at addr. RoCE devices have the addresses of their network
// interfaces in their tables of GIDs. Others do not show theirs, so that any InfiniBand or iWARP device counts.
func Has(root paths.Root, addr netip.Addr) bool {
	ports, _ := filepath.Glob(filepath.Join(root.InfiniBand(), "*", "ports", "*"))
	for _, port := range ports {
		device := filepath.Dir(filepath.Dir(port))
		if line(filepath.Join(port, "link_layer")) != "Ethernet" || strings.HasPrefix(line(filepath.Join(device, "node_type")), "4:") {
			return true
		}
		gids, _ := filepath.Glob(filepath.Join(port, "gids", "*"))
		for _, file := range gids {
			// The kernel writes all 16 bytes, an IPv4 address as ::ffff:a.b.c.d.
			if gid, err := netip.ParseAddr(line(file)); err == nil && gid.Unmap() == addr.Unmap().WithZone("") {
				return true
			}
		}
	}
	return false
}

// line is the only line of a file in sysfs, "" if it cannot be read: unused places of tables cannot.
func line(file string) string {
	text, _ := os.ReadFile(file)
	return strings.TrimSpace(string(text))
}
