// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/mdns"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// multicast is what announces itself by mDNS, and the service of this host that browses. It has chances of its own: a run without it is the
// same whether this exists or not.
type multicast struct {
	*world
	rng     *rand.Rand
	on      bool // in this run
	off     bool // zeroconf is false in the configuration
	running bool // the service
	since   time.Duration
	life    int           // counts lives of the service
	last    time.Duration // when the daemon was told last
	there   map[hearing]bool
	heard   map[hearing]bool // by the service of this life
}

// hearing is a discovery controller that an interface of this host hears.
type hearing struct {
	port  *port
	iface string
}

// settling is how long a service that browses needs until it has heard all, with what the daemon waits.
const settling = 12 * time.Second

func (c *multicast) init(w *world, seed uint64) {
	*c = multicast{world: w, rng: rand.New(rand.NewPCG(seed, 2)), running: true, there: map[hearing]bool{}, heard: map[hearing]bool{}}
	c.on = c.chance(0.2)
}

func (c *multicast) chance(p float64) bool { return c.rng.Float64() < p }

func (c *multicast) between(a, b time.Duration) time.Duration {
	return a + time.Duration(c.rng.Int64N(int64(b-a)+1))
}

// begin has some of the discovery controllers announce themselves.
func (c *multicast) begin() {
	if !c.on {
		return
	}
	for _, p := range c.fabric.ports {
		for _, iface := range []string{eth0, eth1} {
			if p.discovery && p.transport == tid.TCP && c.chance(0.6) {
				c.there[hearing{p, iface}] = true
			}
		}
	}
	c.serviceStarts()
	c.after(c.between(0, 20*time.Second), c.happen)
}

// all is everything that could be announced, in an order that is always the same.
func (c *multicast) all() (all []hearing) {
	for _, p := range c.fabric.ports {
		for _, iface := range []string{eth0, eth1} {
			if p.discovery && p.transport == tid.TCP {
				all = append(all, hearing{p, iface})
			}
		}
	}
	return all
}

// happen is what others do, again and again.
func (c *multicast) happen() {
	if c.calm {
		return
	}
	all := c.all()
	switch at := c.rng.Float64(); {
	case len(all) == 0:
	case at < 0.5: // one comes or goes
		c.turn(all[c.rng.IntN(len(all))])
	case at < 0.6: // one flaps
		h := all[c.rng.IntN(len(all))]
		for i := range 1 + c.rng.IntN(6) {
			c.after(time.Duration(i)*c.between(10*time.Millisecond, 3*time.Second), func() {
				if !c.calm {
					c.turn(h)
				}
			})
		}
	case at < 0.75: // an array's service is restarted: a burst of withdrawals
		before := c.there
		c.there, c.heard = map[hearing]bool{}, map[hearing]bool{}
		c.tracef("mdns: all is withdrawn")
		c.tell()
		c.after(c.between(10*time.Millisecond, 30*time.Second), func() {
			for _, h := range all {
				if before[h] && !c.there[h] && !c.calm {
					c.turn(h)
				}
			}
		})
	case at < 0.9:
		c.serviceEnds()
	default: // it restarts at once
		c.serviceEnds()
		c.serviceStarts()
	}
	c.after(c.between(0, 40*time.Second), c.happen)
}

func (c *multicast) turn(h hearing) {
	if c.there[h] {
		delete(c.there, h)
		delete(c.heard, h)
		c.tracef("mdns: %s is announced on %s no more", h.port.traddr, h.iface)
		c.tell()
		return
	}
	c.there[h] = true
	c.tracef("mdns: %s is announced on %s", h.port.traddr, h.iface)
	c.hears(h)
}

// hears has the service hear an announcement, sooner or later.
func (c *multicast) hears(h hearing) {
	life := c.life
	c.after(c.between(time.Millisecond, 4*time.Second), func() {
		if c.running && c.life == life && c.there[h] && !c.heard[h] {
			c.heard[h] = true
			c.tell()
		}
	})
}

func (c *multicast) serviceEnds() {
	if !c.running {
		return
	}
	c.tracef("mdns: the service ends")
	c.running, c.heard = false, map[hearing]bool{}
	c.life++
	c.tell()
	c.after(c.between(10*time.Millisecond, 4*time.Minute), c.serviceStarts)
}

func (c *multicast) serviceStarts() {
	if c.running && c.life > 0 {
		return
	}
	c.tracef("mdns: the service starts")
	c.running, c.since = true, c.now
	c.life++
	for _, h := range c.all() {
		if c.there[h] {
			c.hears(h)
		}
	}
	c.tell()
	c.settles()
}

// settles tells the daemon once more when the service has heard all.
func (c *multicast) settles() { c.after(settling+time.Millisecond, c.tell) }

// daemonStarts begins to tell a new daemon, which has the service browse for it anew.
func (c *multicast) daemonStarts() {
	if c.on {
		c.since, c.last = c.now, 0
		c.tell()
		c.settles()
	}
}

// tell reports to the daemon, at most once a second.
func (c *multicast) tell() {
	if !c.on || !c.shell.running || c.last > c.now {
		return
	}
	c.last = max(c.now, c.last+time.Second) + 1
	c.shell.within(c.last-c.now, func() { c.shell.post(core.MDNSReported{Report: c.report()}) })
}

func (c *multicast) report() mdns.Report {
	switch {
	case c.off:
		return mdns.Report{}
	case !c.running:
		return mdns.Report{Problem: "Avahi does not run"}
	}
	r := mdns.Report{Service: "Avahi", Complete: c.now >= c.since+settling}
	for h := range c.heard {
		r.Found = append(r.Found, mdns.Announcement{Instance: "array at " + h.port.traddr, Iface: h.iface, TID: tid.TID{
			Transport: tid.TCP, Traddr: h.port.traddr, Trsvcid: h.port.trsvcid, NQN: tid.DiscoveryNQN, HostIface: h.iface,
		}})
	}
	slices.SortFunc(r.Found, mdns.Compare)
	return r
}

// configured is whether the next configuration has zeroconf.
func (c *multicast) configured() bool {
	if c.on && c.chance(0.3) {
		c.off = !c.off
		if !c.off {
			c.since = c.now
		}
		c.tell()
		c.settles()
	}
	return c.on && !c.off
}

// heal has the service run.
func (c *multicast) heal() {
	if c.on {
		c.serviceStarts()
	}
}

// wishes are what is announced.
func (c *multicast) wishes() (list []wish.Wish) {
	if !c.on || !c.fabric.config.Settings.Zeroconf {
		return nil
	}
	for _, h := range c.all() {
		if c.there[h] {
			list = append(list, wish.Wish{Kind: tid.Discovery, TID: tid.TID{
				Transport: tid.TCP, Traddr: h.port.traddr, Trsvcid: h.port.trsvcid, NQN: tid.DiscoveryNQN, HostIface: h.iface, HostNQN: hostNQN, HostID: hostID,
			}})
		}
	}
	return list
}

// withdrawnIsForgotten: when all has settled, nothing is said to be announced that is not, and nothing that is not announced is kept by mDNS
// longer than retention says.
func (k *watch) withdrawnIsForgotten(t *core.TargetView) {
	c := &k.multicast
	for _, source := range t.Sources {
		for _, iface := range []string{eth0, eth1} {
			p := k.fabric.port(t.Wish.TID)
			if source == fmt.Sprintf("%sarray at %s on %s", core.MDNSSource, t.Wish.TID.Traddr, iface) && (p == nil || !c.there[hearing{p, iface}] || !k.fabric.config.Settings.Zeroconf) {
				k.violate("withdrawnIsForgotten", "%v is said to be announced", t.Wish.TID)
			}
		}
	}
}
