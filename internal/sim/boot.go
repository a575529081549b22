// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"slices"
	"strconv"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// boot is what the firmware left, and what a daemon makes of it.
type boot struct {
	*world
	tables []nbft.Connection // host-iface not filled in
	hidden map[string]bool   // interfaces that have no name yet, as before their driver is loaded
	off    bool              // by the configuration
}

func (b *boot) init(w *world) { b.world, b.hidden = w, map[string]bool{} }

// newTables has the firmware boot from some of what there is.
func (b *boot) newTables() {
	b.tables = nil
	for i, p := range b.fabric.ports {
		for b.chance(b.mix.boots) && p.transport == tid.TCP {
			x := b.wishFor(p)
			x.Owner, x.TID.HostTraddr, x.TID.HostIface = wish.OwnerNBFT, "", ""
			c := nbft.Connection{Wish: x, Table: "NBFT", From: "SSNS " + strconv.Itoa(i)}
			if b.chance(0.7) { // over an HFI
				l := b.network.anyLink()
				c.Wish.TID.HostTraddr, c.DHCP = l.addr, b.chance(0.5)
				c.Link.MAC[5] = l.addr[len(l.addr)-1]
			}
			if !slices.ContainsFunc(b.tables, func(o nbft.Connection) bool { return o.Wish.TID == c.Wish.TID && o.Host == c.Host }) {
				b.tables = append(b.tables, c)
			}
		}
	}
}

// wishes is what the tables wish for over the interfaces that are there.
func (b *boot) wishes() (connections []nbft.Connection) {
	if b.off {
		return nil
	}
	for _, c := range b.tables {
		if c.Link != (nbft.Link{}) {
			if iface := interfaceOf(c.Wish.TID.HostTraddr); !b.hidden[iface] {
				c.Wish.TID.HostIface = iface
			}
		}
		connections = append(connections, c)
	}
	return connections
}

// interfaceIsNamed has an interface that the tables name come or go.
func (b *boot) interfaceIsNamed() {
	l := b.network.anyLink()
	b.hidden[l.name] = !b.hidden[l.name]
	b.tracef("boot: %s is there: %t", l.name, !b.hidden[l.name])
	b.network.kick(l.name, nil, "link "+l.name+" is up")
}

// postTables tells the daemon what the tables wish for, if there are any.
func (s *shell) postTables() {
	if len(s.boot.tables) > 0 {
		s.loadTables()
	}
}

func (s *shell) loadTables() { s.post(core.NBFTLoaded{Connections: s.boot.wishes()}) }

// covers tells whether the tables name the target of a wish, by a path that it names or leaves open: it is theirs then.
func (b *boot) covers(x wish.Wish) bool {
	return slices.ContainsFunc(b.wishes(), func(c nbft.Connection) bool {
		t, o := c.Wish.TID, x.TID
		return c.Wish.Kind == x.Kind && t.Transport == o.Transport && t.Traddr == o.Traddr && t.Trsvcid == o.Trsvcid && t.NQN == o.NQN &&
			(o.HostTraddr == "" || o.HostTraddr == t.HostTraddr) && (o.HostIface == "" || o.HostIface == t.HostIface)
	})
}

// fromAnywhere tells whether a wish is of the tables and may go without its host-traddr, which was not this host's at some time; or whether
// it inherited that from such a discovery controller.
func (b *boot) fromAnywhere(x wish.Wish) bool {
	if slices.ContainsFunc(b.fabric.config.Connections, func(c config.Connection) bool { return c.Wish.TID == x.TID }) {
		return false
	}
	return slices.ContainsFunc(b.wishes(), func(c nbft.Connection) bool {
		t := c.Wish.TID
		return c.DHCP && (t == x.TID || c.Wish.Kind == tid.Discovery && t.HostTraddr != "" && t.HostTraddr == x.TID.HostTraddr)
	})
}
