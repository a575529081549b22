// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// The two interfaces of the host.
const (
	eth0, eth0Addr = "eth0", "192.0.2.1"
	eth1, eth1Addr = "eth1", "192.0.2.2"
)

// link is an interface of this host. Both of its faults end by themselves, or when the time of faults is over.
type link struct {
	name, addr string
	down       bool // it carries nothing
	bare       bool // its address is gone
}

func (l *link) usable() bool { return !l.down && !l.bare }

// network is what connections leave this host by. All targets are on one subnet that both interfaces are in.
type network struct {
	*world
	links []*link
}

func (n *network) init(w *world) {
	n.world, n.links = w, []*link{{name: eth0, addr: eth0Addr}, {name: eth1, addr: eth1Addr}}
}

// route returns the source address that a connection with these pins would use now, or why it cannot be made. One that pins nothing goes by
// eth0, and by eth1 when that is not usable. On Fibre Channel it is the port of this host.
func (n *network) route(transport, hostTraddr, hostIface string) (source string, errno syscall.Errno) {
	if transport == tid.FC {
		return hostTraddr, 0
	}
	errno = syscall.ENETUNREACH
	if hostTraddr != "" {
		errno = syscall.EADDRNOTAVAIL
	}
	for _, l := range n.links {
		switch {
		case hostTraddr != "" && (l.bare || l.addr != hostTraddr), hostIface != "" && l.name != hostIface:
			continue
		case l.usable():
			return l.addr, 0
		}
		errno = syscall.ENETUNREACH
	}
	return "", errno
}

// interfaceOf is the interface that has an address when it has one.
func interfaceOf(addr string) string {
	switch addr {
	case eth0Addr:
		return eth0
	case eth1Addr:
		return eth1
	}
	return ""
}

// cut breaks what goes by an interface: not at once, for the kernel notices when a keep-alive fails.
func (n *network) cut(l *link) {
	for _, c := range n.kernel.all() {
		if c.Transport != tid.FC && c.source == l.addr && !c.removing {
			n.after(n.between(0, 5*time.Second), func() {
				if !l.usable() && c.source == l.addr {
					n.kernel.lose(c)
				}
			})
		}
	}
}

func (n *network) anyLink() *link { return n.links[n.rng.IntN(len(n.links))] }

// linkFails takes an interface down for a while.
func (n *network) linkFails() {
	l := n.anyLink()
	l.down = true
	n.tracef("network: %s is down", l.name)
	n.cut(l)
	n.after(n.between(10*time.Millisecond, time.Minute), func() { n.linkUp(l) })
}

func (n *network) linkUp(l *link) {
	if !l.down {
		return
	}
	l.down = false
	n.tracef("network: %s is up", l.name)
	var addrs []netip.Addr
	if !l.bare {
		addrs = []netip.Addr{netip.MustParseAddr(l.addr)}
	}
	n.kick(l.name, addrs, "link "+l.name+" is up")
}

// addressGoes takes the address of an interface away for a while.
func (n *network) addressGoes() {
	l := n.anyLink()
	l.bare = true
	n.tracef("network: %s has no address", l.name)
	n.cut(l)
	n.after(n.between(10*time.Millisecond, time.Minute), func() { n.addressComes(l) })
}

func (n *network) addressComes(l *link) {
	if !l.bare {
		return
	}
	l.bare = false
	n.tracef("network: %s has its address", l.name)
	n.kick(l.name, []netip.Addr{netip.MustParseAddr(l.addr)}, "an address appeared on "+l.name)
}

// containersStart brings up interfaces that no target is reached by.
func (n *network) containersStart() {
	for i := range 1 + n.rng.IntN(5) {
		name := "veth" + strconv.Itoa(i)
		n.kick(name, nil, "link "+name+" is up")
		n.kick(name, []netip.Addr{netip.MustParseAddr("172.17.0." + strconv.Itoa(2+i))}, "an address appeared on "+name)
	}
}

// eventsAreLost has the daemon try everything.
func (n *network) eventsAreLost() { n.kick("", nil, "network events may have been lost") }

// kick tells the daemon what came up.
func (n *network) kick(iface string, addrs []netip.Addr, why string) {
	if !n.shell.running {
		return
	}
	n.shell.within(n.latency(time.Millisecond), func() {
		n.shell.postTables() // an interface that they name may have come
		for _, transport := range []string{tid.TCP, tid.RDMA} {
			n.shell.post(core.Kick{Transport: transport, Iface: iface, Addrs: slices.Clone(addrs), Why: why})
		}
	})
}

// heal ends every fault of the network.
func (n *network) heal() {
	for _, l := range n.links {
		n.addressComes(l)
		n.linkUp(l)
	}
}
