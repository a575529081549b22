// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fc"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Makers of controllers besides our units, whose name is the maker of theirs.
const (
	makerStas        = "stas"
	makerUser        = "user"
	makerOther       = "othertool"
	makerAutoconnect = "autoconnect"
)

// controller is one controller of the kernel, from the write that makes it to its removal.
type controller struct {
	sysfs.Controller // what sysfs shows now
	port             *port
	asked            tid.TID // what the connect named
	maker            string  // unit name, or who else
	source           string  // the local address that its connection uses, also while sysfs does not show it
	lossTMO          time.Duration
	liveSince        time.Duration
	aenOut           bool // an AEN was sent and the page not read since: the target sends no other
	outage           int  // counts losses of the association, to tell timers of earlier ones
	disowned         bool // another program removed its owner from the registry
	removing         bool
	removed          []func() // who waits for the end of delete_controller
}

// theirs tells whether no unit of ours has made the controller.
func (c *controller) theirs() bool {
	return c.orchestrated() || c.maker == makerUser || c.maker == makerAutoconnect
}

// orchestrated tells whether another orchestrator has made the controller.
func (c *controller) orchestrated() bool { return c.maker == makerStas || c.maker == makerOther }

// kernel holds the controllers, serialises connects and sends uevents.
type kernel struct {
	*world
	lastGone    time.Duration // when a controller went last, or the kernel sent any other uevent
	foreignGone time.Duration // when one of another orchestrator went last
	slots       []*controller // by instance; nil is free. nvme0 is the local disk, which nobody here sees.
	seq         uint64        // uevent_seqnum
	writers     []*write      // the first one is being carried out
	last        map[string]time.Duration
	deaf        bool // the receive buffer is full: events are dropped until the reader is told
}

// write is a write to /dev/nvme-fabrics.
type write struct {
	by     *process
	wish   wish.Wish
	maker  string
	begun  time.Duration
	made   *controller
	done   func(device string, errno syscall.Errno)
	answer bool // the caller was answered or is gone
}

func (k *kernel) init(w *world) {
	k.world, k.slots, k.last = w, make([]*controller, 1), map[string]time.Duration{}
}

func (k *kernel) find(name string) *controller {
	for _, c := range k.slots {
		if c != nil && c.Name == name {
			return c
		}
	}
	return nil
}

// all returns the controllers in the order of their numbers.
func (k *kernel) all() []*controller {
	var all []*controller
	for _, c := range k.slots {
		if c != nil {
			all = append(all, c)
		}
	}
	return all
}

// serving returns the controller that `nvme-discoverctl connect` would find.
func (k *kernel) serving(t tid.TID) *controller {
	for _, c := range k.slots {
		if c != nil && c.Serves(t) {
			return c
		}
	}
	return nil
}

// connect queues a write; done is called with the device or the errno, unless the process is killed first.
func (k *kernel) connect(by *process, w wish.Wish, maker string, done func(string, syscall.Errno)) {
	wr := &write{by: by, wish: w, maker: maker, done: done, begun: k.now}
	by.onKill = func() time.Duration {
		wr.answer = true
		if len(k.writers) == 0 || k.writers[0] != wr {
			return 0
		}
		dies := k.between(10*time.Millisecond, 100*time.Millisecond) // the signal aborts it, if it is not done before
		k.after(dies, func() { k.finish(wr, syscall.EINTR) })
		return dies
	}
	k.writers = append(k.writers, wr)
	if len(k.writers) == 1 {
		k.carryOut(wr)
	}
}

func (k *kernel) carryOut(wr *write) {
	if wr.answer { // killed while it waited
		k.after(0, func() { k.finish(wr, syscall.EINTR) })
		return
	}
	t := wr.wish.TID
	if wr.wish.Kind == tid.IO && k.duplicate(t) {
		k.after(time.Millisecond, func() { k.finish(wr, syscall.EALREADY) })
		return
	}
	port := k.fabric.port(t)
	if t.Transport == tid.FC && (port == nil || port.absent || !slices.Contains(port.seenBy, t.HostTraddr)) {
		k.after(time.Millisecond, func() { k.finish(wr, syscall.ENOENT) })
		return
	}
	wr.made = k.create(wr, port)
	took, errno := port.answer(k.world, t)
	if _, unreachable := k.network.route(t.Transport, t.HostTraddr, t.HostIface); unreachable != 0 {
		took, errno = time.Millisecond, unreachable
	}
	if t.Transport == tid.FC { // the association is tried afterwards
		took, errno = 20*time.Millisecond, 0
	}
	if !k.calm && errno == 0 && k.chance(k.mix.connectFails) {
		errno = syscall.EIO
	}
	k.after(took, func() { k.finish(wr, errno) })
}

// duplicate is the kernel's own idea of one: what the connects named, not what came of it.
func (k *kernel) duplicate(t tid.TID) bool {
	for _, c := range k.slots {
		if c != nil && !c.removing && c.asked == t {
			return true
		}
	}
	return false
}

// create takes the lowest free number and shows the controller half-made, as it is while it connects.
func (k *kernel) create(wr *write, p *port) *controller {
	t := wr.wish.TID
	n := 1
	for n < len(k.slots) && k.slots[n] != nil {
		n++
	}
	if n == len(k.slots) {
		k.slots = append(k.slots, nil)
	}
	c := &controller{port: p, asked: t, maker: wr.maker, lossTMO: 600 * time.Second}
	c.Controller = sysfs.Controller{
		Name: fmt.Sprintf("nvme%d", n), Transport: t.Transport, Traddr: t.Traddr, Trsvcid: t.Trsvcid,
		HostNQN: t.HostNQN, HostID: t.HostID, HostTraddr: t.HostTraddr, HostIface: t.HostIface,
		State: "connecting", Type: "reserved",
	}
	if tmo, ok := wr.wish.Params.Get(param.CtrlLossTMO); ok {
		fmt.Sscan(tmo, (*int64)(&c.lossTMO))
		c.lossTMO *= time.Second
	}
	c.SrcIface = interfaceOf(c.HostTraddr)
	k.slots[n] = c
	delete(k.disk.unitOf, c.Name) // the record of an earlier instance is not believed: state.Dir.UnitOf
	k.uevent(c, "add")
	return c
}

func (k *kernel) finish(wr *write, errno syscall.Errno) {
	if len(k.writers) == 0 || k.writers[0] != wr {
		return
	}
	k.writers = k.writers[1:]
	if len(k.writers) > 0 {
		k.carryOut(k.writers[0])
	}
	if wr.made != nil && errno == 0 {
		_, errno = k.network.route(wr.made.Transport, wr.made.HostTraddr, wr.made.HostIface) // which may have broken meanwhile
	}
	name := ""
	switch {
	case wr.made == nil:
	case wr.made.removing: // somebody deleted it meanwhile
		errno = syscall.EIO
	case errno != 0:
		k.tracef("kernel: %s of %s fails: %v", wr.made.Name, wr.maker, errno)
		k.vanish(wr.made)
	case wr.wish.TID.Transport == tid.FC && !wr.made.port.up():
		name = wr.made.Name
		wr.made.outage++
		k.reconnect(wr.made, wr.made.outage, k.now)
	default:
		name = wr.made.Name
		k.watch.made(wr)
		k.live(wr.made)
	}
	if !wr.answer {
		wr.by.onKill = nil
		wr.done(name, errno)
	}
}

// live brings the association up, first or again.
func (k *kernel) live(c *controller) {
	first := c.Type == "reserved"
	c.State, c.NQN, c.Type = "live", c.port.nqn, "io"
	if c.port.discovery {
		c.Type = "discovery"
	}
	c.source, _ = k.network.route(c.Transport, c.HostTraddr, c.HostIface)
	if c.Transport == tid.TCP {
		c.SrcAddr, c.SrcIface = c.source, interfaceOf(c.source)
	}
	c.liveSince = k.now
	c.aenOut = false
	k.tracef("kernel: %s of %s is live: %s %s", c.Name, c.maker, c.NQN, c.Traddr)
	if !first && c.port.discovery {
		k.uevent(c, "rediscover")
	}
	k.uevent(c, "connected")
	if ends := c.port.endsAfter; ends > 0 && !k.calm {
		outage := c.outage
		k.after(ends, func() {
			if c.State == "live" && c.outage == outage && !k.calm {
				k.tracef("kernel: the discovery controller of %s ends the connection", c.Name)
				if c.port.mildly {
					k.lose(c)
				} else {
					k.delete(c, nil)
				}
			}
		})
	}
}

// lose breaks the association: the kernel notices after a while and tries again until ctrl_loss_tmo. No uevent tells.
func (k *kernel) lose(c *controller) {
	if c.State != "live" {
		return
	}
	c.port.ended(k.now)
	c.outage++
	outage := c.outage
	c.State = "resetting"
	since := k.now
	k.watch.lost(c)
	k.after(k.between(time.Millisecond, 300*time.Millisecond), func() {
		if c.outage == outage && !c.removing {
			c.State, c.SrcAddr = "connecting", ""
			c.SrcIface = interfaceOf(c.HostTraddr)
			k.reconnect(c, outage, since)
		}
	})
}

func (k *kernel) reconnect(c *controller, outage int, since time.Duration) {
	if c.outage != outage || c.removing {
		return
	}
	patience := c.lossTMO
	_, unreachable := k.network.route(c.Transport, c.HostTraddr, c.HostIface)
	if c.port.absent {
		patience = min(patience, devLossTMO)
	}
	switch {
	case c.port.up() && unreachable == 0:
		k.live(c)
	case k.now-since >= patience:
		k.tracef("kernel: gives %s up", c.Name)
		k.delete(c, nil)
	default:
		k.after(min(k.between(time.Second, 10*time.Second), since+patience-k.now), func() { k.reconnect(c, outage, since) })
	}
}

// devLossTMO is how long the kernel keeps the controllers of a Fibre Channel port that is gone.
const devLossTMO = 60 * time.Second

// kickstart announces every port that the kernel knows, which is one that is gone, too, as long as it has controllers.
func (k *kernel) kickstart() {
	for _, p := range k.fabric.ports {
		if !p.absent || slices.ContainsFunc(k.slots, func(c *controller) bool { return c != nil && c.port == p }) {
			k.announce(p)
		}
	}
}

// announce tells of a port with a discovery controller, for each port of this host that sees it.
func (k *kernel) announce(p *port) {
	if !p.announced {
		return
	}
	for _, hba := range p.seenBy {
		k.seq++
		if k.deaf || !k.shell.running {
			continue
		}
		k.shell.within(k.latency(3*time.Millisecond), func() {
			k.shell.post(core.FCDiscovered{Announcement: fc.Announcement{Traddr: p.traddr, HostTraddr: hba}})
		})
	}
}

// delete removes a controller, as delete_controller does, which waits for the end.
func (k *kernel) delete(c *controller, done func()) {
	if k.find(c.Name) != c {
		if done != nil {
			done()
		}
		return
	}
	if done != nil {
		c.removed = append(c.removed, done)
	}
	if c.removing {
		return
	}
	if c.State == "live" {
		c.port.ended(k.now)
	}
	c.removing = true
	c.outage++
	c.State = "deleting"
	k.after(k.latency(100*time.Millisecond), func() { k.vanish(c) })
}

// vanish takes a controller out of sysfs. Its name is free as soon as the event is out.
func (k *kernel) vanish(c *controller) {
	c.removing = true
	c.outage++
	c.State = "dead"
	k.uevent(c, "remove")
	for i := range k.slots {
		if k.slots[i] == c {
			k.slots[i] = nil
		}
	}
	seq, name := k.seq, c.Name
	k.lastGone = k.now
	if k.foreign(name) {
		k.foreignGone = k.now
	}
	k.after(k.latency(20*time.Millisecond), func() { k.disk.prune(k.world, name, seq) }) // the udev rule
	for _, done := range c.removed {
		done()
	}
}

// uevent sends an event to whoever listens now. The events of one device keep their order, those of others do not.
func (k *kernel) uevent(c *controller, what string) {
	k.seq++
	seq, name := k.seq, c.Name
	k.lastGone = k.now
	if !k.shell.running {
		return
	}
	if k.deaf {
		k.watch.missed = k.now
		k.tracef("kernel: uevent %d %s of %s is dropped", seq, what, name)
		return
	}
	times := 1
	if !k.calm && k.chance(k.mix.duplicates) {
		times = 2
	}
	life := k.shell.life
	for range times {
		at := max(k.last[name]+1, k.now+k.latency(3*time.Millisecond))
		k.last[name] = at
		k.after(at-k.now, func() {
			if k.shell.life == life {
				k.shell.uevent(name, what, seq)
			}
		})
	}
}
