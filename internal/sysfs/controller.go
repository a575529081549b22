// SPDX-License-Identifier: GPL-3.0-or-later

// Package sysfs reads what the kernel says of NVMe over Fabrics controllers. Local PCIe controllers are told by their
// place in the device tree and never read.
package sysfs

import (
	"net/netip"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Controller is one controller as /sys/class/nvme/nvmeN showed it at one moment. Unset and unreadable attributes, and the
// kernel's own words for "nothing" ("none", "(efault)"), are empty.
type Controller struct {
	Name       string // nvmeN
	Transport  string
	Traddr     string // normalised as tid.New does
	Trsvcid    string
	NQN        string // subsysnqn; a DC may show a unique NQN although it was connected by the well-known one
	HostNQN    string
	HostID     string
	HostTraddr string // what the connect pinned
	HostIface  string // what the connect pinned
	SrcAddr    string // TCP only, and only while connected: the local address in use, with its zone if it is link-local
	SrcIface   string // the interface that holds SrcAddr or, where that is unset, HostTraddr; found by the reader
	State      string // new, live, resetting, connecting, deleting, "deleting (no IO)", dead
	Type       string // cntrltype: io, discovery, admin, reserved

	// LossTimeout is ctrl_loss_tmo: how long the kernel tries to reconnect before it deletes the controller; negative is
	// forever. It is read of a controller that is not live, and 0 of any other or where the kernel does not tell.
	LossTimeout time.Duration
}

// Serves tells whether c is the connection that t wishes for, by the rules of docs/design.md, "TID". What
// cannot be known of c is judged so that it errs on the harmless side:
//
//   - A host NQN that c or t leaves open does not part them; the host ID never does.
//   - c without an NQN, a Fibre Channel controller that has never reached its target, serves nothing: it may be anybody's.
//   - A TCP controller that was not pinned and has lost its connection does not show its source address: it may well be the
//     one that t pins, so it serves t. The opposite guess would connect a second time, for good; this one is
//     corrected when the kernel has reconnected. Other transports never show a source address, and there only
//     what was pinned counts.
func (c Controller) Serves(t tid.TID) bool {
	return c.inUse() &&
		c.Transport == t.Transport &&
		c.servesNQN(t.NQN) &&
		c.servesTarget(t) &&
		(c.HostNQN == "" || t.HostNQN == "" || tid.SameNQN(c.HostNQN, t.HostNQN)) &&
		(t.HostTraddr == "" || c.servesHostTraddr(t)) &&
		(t.HostIface == "" || c.servesHostIface(t.HostIface))
}

// ServesSurely tells whether c serves t and not only may do so for all that it shows at the moment. Who takes a controller over needs
// to know.
func (c Controller) ServesSurely(t tid.TID) bool {
	known := !c.sourceUnknown()
	return c.Serves(t) &&
		(t.HostTraddr == "" || known || c.HostTraddr != "") &&
		(t.HostIface == "" || known || c.HostTraddr != "" || c.HostIface != "")
}

// inUse tells whether the kernel uses c or is still trying to.
func (c Controller) inUse() bool {
	switch c.State {
	case "new", "live", "resetting", "connecting":
		return true
	}
	return false
}

func (c Controller) servesNQN(nqn string) bool {
	if nqn == tid.DiscoveryNQN && c.Type == "discovery" {
		return true
	}
	return c.NQN != "" && tid.SameNQN(c.NQN, nqn)
}

func (c Controller) servesTarget(t tid.TID) bool {
	switch c.Transport {
	case tid.TCP, tid.RDMA:
		return c.Trsvcid == t.Trsvcid && sameIP(c.Traddr, c.iface(), t.Traddr, t.HostIface)
	}
	return tid.SameAddr(c.Transport, c.Traddr, t.Traddr) // the others have no service to choose
}

func (c Controller) servesHostTraddr(t tid.TID) bool {
	if c.Transport != tid.TCP && c.Transport != tid.RDMA {
		return tid.SameAddr(c.Transport, c.HostTraddr, t.HostTraddr)
	}
	if c.sourceUnknown() && c.HostTraddr == "" {
		return true
	}
	return sameIP(c.HostTraddr, c.iface(), t.HostTraddr, t.HostIface) ||
		sameIP(c.SrcAddr, c.iface(), t.HostTraddr, t.HostIface)
}

func (c Controller) servesHostIface(iface string) bool {
	if c.sourceUnknown() && c.HostIface == "" && c.HostTraddr == "" {
		return true
	}
	return c.HostIface == iface || c.SrcIface == iface
}

// sourceUnknown tells whether the source address, which a TCP connection always has, is not shown at the moment.
func (c Controller) sourceUnknown() bool { return c.Transport == tid.TCP && c.SrcAddr == "" }

// iface is the interface that c uses, as far as it is known.
func (c Controller) iface() string {
	if c.HostIface != "" {
		return c.HostIface
	}
	return c.SrcIface
}

// sameIP tells whether two IP addresses are one. An address without a zone that is used on an interface is in the zone of
// that interface: fe80::1%eth0 and fe80::1 by way of eth0 name one host.
func sameIP(a, ifaceA, b, ifaceB string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	if errX != nil || errY != nil {
		return false
	}
	x, y = x.Unmap(), y.Unmap()
	if x.Zone() == "" && y.Zone() == "" {
		return x == y
	}
	if x.Zone() == "" {
		x = x.WithZone(ifaceA)
	}
	if y.Zone() == "" {
		y = y.WithZone(ifaceB)
	}
	return x == y
}
