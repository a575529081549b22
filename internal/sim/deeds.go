// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

func sortedKeys[V any](set map[string]V) []string { return slices.Sorted(maps.Keys(set)) }

// deeds are everything that happens from outside.
func deeds() []deed {
	return []deed{
		{"a port flaps", 3, (*world).flap},
		{"all ports go away and come back", 0.3, (*world).reboot},
		{"a log page changes", 3, (*world).changePage},
		{"the HCA is reset", 0.3, (*world).resetRDMA},
		{"a Fibre Channel port leaves", 2, (*world).leaveFabric},
		{"Fibre Channel equipment is replaced", 1, (*world).replace},
		{"an administrator rescans", 0.5, func(w *world) { w.shell.postIf(core.Request{Op: core.RequestRescan}) }},
		{"a user connects", 1, (*world).userConnects},
		{"a user disconnects", 2, (*world).userDisconnects},
		{"a user discovers", 1, (*world).userDiscovers},
		{"stas connects", 1, (*world).stasConnects},
		{"stas disconnects", 1, (*world).stasDisconnects},
		{"two tools take one controller", 0.7, (*world).twoToolsConnect},
		{"another tool takes a controller", 0.5, (*world).otherToolTakes},
		{"the udev rule connects", 1, (*world).autoconnects},
		{"the udev rule is masked or unmasked", 0.5, (*world).switchAutoconnects},
		{"a tool removes an owner", 1, (*world).ownerVanishes},
		{"the exclusions change", 1, (*world).changeExclusions},
		{"an administrator stops a unit", 1, (*world).adminStops},
		{"an administrator restarts a unit", 0.5, (*world).adminRestarts},
		{"the configuration is reloaded", 0.7, (*world).reload},
		{"the configuration is reloaded and has an error", 0.3, (*world).reloadBroken},
		{"the daemon is killed", 1, (*world).killDaemon},
		{"the daemon is killed in the middle of something", 1, (*world).trapDaemon},
		{"the bus goes away", 1, func(w *world) { w.systemd.dropBus(w.between(10*time.Millisecond, 20*time.Second)) }},
		{"uevents are lost", 1, (*world).overrun},
		{"the system was suspended", 0.2, func(w *world) { w.shell.postIf(core.EventsLost{Why: "the system was suspended"}) }},
		{"an interface goes down", 1, func(w *world) { w.network.linkFails() }},
		{"an address goes away", 0.7, func(w *world) { w.network.addressGoes() }},
		{"an interface of the boot firmware comes or goes", 0.5, func(w *world) { w.boot.interfaceIsNamed() }},
		{"a host name changes", 1, func(w *world) { w.names.nameChanges() }},
		{"the resolver goes away", 0.5, func(w *world) { w.names.resolverFails() }},
		{"containers start", 0.5, func(w *world) { w.network.containersStart() }},
		{"network events are lost", 0.3, func(w *world) { w.network.eventsAreLost() }},
	}
}

// postIf posts if there is a daemon.
func (s *shell) postIf(ev core.Event) {
	if s.running {
		s.post(ev)
	}
}

func (w *world) anyPort() *port { return w.fabric.ports[w.rng.IntN(len(w.fabric.ports))] }

func (w *world) fall(p *port, h health) {
	p.health = h
	w.tracef("target: %s %s is %s", p.nqn, p.traddr, healthNames[h])
	for _, c := range w.kernel.all() {
		if c.port == p && !c.removing {
			w.after(w.between(0, 5*time.Second), func() {
				if !p.up() || w.chance(0.5) {
					w.kernel.lose(c)
				}
			})
		}
	}
}

func (w *world) rise(p *port) {
	if p.health != healthy {
		w.tracef("target: %s %s is back", p.nqn, p.traddr)
		p.health = healthy
	}
}

func (w *world) flap() {
	p := w.anyPort()
	w.fall(p, health(1+w.rng.IntN(len(healthNames)-1)))
	if !p.dead {
		w.after(w.between(10*time.Millisecond, time.Minute), func() { w.rise(p) })
	}
}

func (w *world) reboot() {
	away := w.between(time.Second, 2*time.Minute)
	for _, p := range w.fabric.ports {
		w.fall(p, silent)
		if !p.dead {
			w.after(away+w.between(0, 5*time.Second), func() { w.rise(p) })
		}
	}
}

func (w *world) changePage() {
	var dcs []*port
	for _, p := range w.fabric.ports {
		if p.discovery {
			dcs = append(dcs, p)
		}
	}
	dc := dcs[w.rng.IntN(len(dcs))]
	w.newPage(dc)
	for _, c := range w.kernel.all() {
		if c.port == dc && c.State == "live" && !c.aenOut {
			c.aenOut = true
			w.kernel.uevent(c, "log page changed")
		}
	}
}

func (w *world) resetRDMA() {
	for _, c := range w.kernel.all() {
		if c.Transport == tid.RDMA {
			w.kernel.delete(c, nil)
		}
	}
	w.after(w.between(100*time.Millisecond, 10*time.Second), func() { w.shell.postIf(core.Kick{Transport: tid.RDMA, Why: "an RDMA device appeared"}) })
}

// anyFCPort returns a port of the Fibre Channel fabric, nil if none is there.
func (w *world) anyFCPort() *port {
	var there []*port
	for _, p := range w.fabric.ports {
		if p.transport == tid.FC && !p.absent {
			there = append(there, p)
		}
	}
	if there == nil {
		return nil
	}
	return there[w.rng.IntN(len(there))]
}

// leaveFabric takes a port out of the Fibre Channel fabric for a while. The kernel tells when it is back.
func (w *world) leaveFabric() {
	p := w.anyFCPort()
	if p == nil {
		return
	}
	p.absent = true
	w.fall(p, p.health)
	w.after(w.between(10*time.Millisecond, 2*time.Minute), func() { w.enterFabric(p) })
}

func (w *world) enterFabric(p *port) {
	if p.absent && !p.dead {
		p.absent = false
		w.tracef("target: %s %s is in the fabric", p.nqn, p.traddr)
		w.kernel.announce(p)
	}
}

// replace puts another port in the place of one, for good. What log pages say of it becomes true when they change.
func (w *world) replace() {
	old := w.anyFCPort()
	n := 100 + len(w.fabric.ports)
	if old == nil || n > 130 {
		return
	}
	next := *old
	w.zone(&next, n)
	next.absent, next.health, next.dead = true, healthy, false
	next.entries = slices.Clone(old.entries)
	for i, e := range next.entries {
		if e.Subtype == discoverylog.Current { // what it says of itself is true from the beginning
			next.entries[i].Traddr = next.traddr
		}
	}
	old.absent, old.dead = true, true
	w.fall(old, old.health)
	w.fabric.ports = append(w.fabric.ports, &next)
	w.after(w.between(0, time.Minute), func() { w.enterFabric(&next) })
}

// connectAs is a connect by somebody else, who does not look at our lock.
// mostWriters is for how many connects before theirs people and tools still begin one. A line of hundreds to dead ports would hold up
// the kernel for long after the faults have ceased.
const mostWriters = 20

func (w *world) connectAs(maker string, x wish.Wish, done func(*controller)) {
	if w.kernel.serving(x.TID) != nil && w.chance(0.8) {
		return
	}
	if len(w.kernel.writers) > mostWriters {
		return
	}
	w.kernel.connect(&process{world: w}, x, maker, func(device string, errno syscall.Errno) {
		if errno == 0 && done != nil {
			done(w.kernel.find(device))
		}
	})
}

func (w *world) userConnects() { w.connectAs(makerUser, w.wishFor(w.anyPort()), nil) }

func (w *world) userDisconnects() {
	if all := w.kernel.all(); len(all) > 0 {
		w.kernel.delete(all[w.rng.IntN(len(all))], nil)
	}
}

func (w *world) userDiscovers() {
	for _, p := range w.fabric.ports {
		if p.discovery && p.up() && w.chance(0.7) {
			w.connectAs(makerUser, w.wishFor(p), func(c *controller) {
				w.after(w.between(100*time.Millisecond, 2*time.Second), func() { w.kernel.delete(c, nil) })
			})
			return
		}
	}
}

func (w *world) stasConnects() {
	w.connectAs(makerStas, w.wishFor(w.anyPort()), func(c *controller) {
		if w.chance(0.8) {
			w.own(c, makerStas)
		} else { // it writes its entry a moment later
			w.after(w.between(0, 20*time.Millisecond), func() { w.own(c, makerStas) })
		}
	})
}

// twoToolsConnect has two tools believe that a controller is theirs. Each writes its entry a while after it looked, and the last one counts.
func (w *world) twoToolsConnect() {
	w.connectAs([]string{makerStas, makerOther}[w.rng.IntN(2)], w.wishFor(w.anyPort()), func(c *controller) {
		for _, tool := range []string{makerStas, makerOther} {
			w.after(w.between(0, 2*time.Second), func() { w.own(c, tool) })
		}
	})
}

// otherToolTakes has a tool write its entry for a controller that it found connected, which it did some time ago.
func (w *world) otherToolTakes() {
	if all := w.kernel.all(); len(all) > 0 {
		c := all[w.rng.IntN(len(all))]
		w.after(w.between(0, time.Second), func() { w.own(c, makerOther) })
	}
}

// own writes the registry's entry of a controller for a tool.
func (w *world) own(c *controller, tool string) {
	if w.kernel.find(c.Name) == c {
		w.disk.registry[c.Name] = ownership{tool, w.kernel.seq}
		w.tracef("%s owns %s", tool, c.Name)
	}
}

func (w *world) stasDisconnects() {
	for _, c := range w.kernel.all() {
		if owner := w.disk.registry[c.Name].owner; (owner == makerStas || owner == makerOther) && w.chance(0.5) {
			w.kernel.delete(c, nil)
			return
		}
	}
}

// autoconnects is what nvme-cli 3's udev units do while they are in force.
func (w *world) autoconnects() {
	if !w.disk.autoconnect {
		return
	}
	w.connectAs(makerAutoconnect, w.wishFor(w.anyPort()), func(c *controller) {
		w.disk.registry[c.Name] = ownership{makerAutoconnect, w.kernel.seq}
	})
}

func (w *world) switchAutoconnects() {
	w.disk.autoconnect, w.disk.switched = !w.disk.autoconnect, w.now
	w.tracef("the udev rule is in force: %t", w.disk.autoconnect)
}

// ownerVanishes is what a bare `nvme connect` of nvme-cli 3.0-rc1 does to an entry that is there.
func (w *world) ownerVanishes() {
	if all := sortedKeys(w.disk.registry); len(all) > 0 {
		name := all[w.rng.IntN(len(all))]
		w.tracef("the registry loses the entry of %s, of %s", name, w.disk.registry[name].owner)
		if c := w.kernel.find(name); c != nil {
			c.disowned = true
		}
		delete(w.disk.registry, name)
	}
}

func (w *world) changeExclusions() {
	w.disk.exclusions ^= 1 << w.rng.IntN(len(rules)-1)
	w.watch.changed = w.now
	w.tracef("exclusions: %v", excluded(w.disk.exclusions))
	if w.shell.running {
		w.shell.within(w.latency(20*time.Millisecond), w.shell.loadExclusions)
	}
}

func (s *shell) loadExclusions() {
	set := s.disk.exclusions
	s.within(1, func() {
		s.watch.exclusions = set
		s.step(core.ExclusionsLoaded{List: s.lab.exclusions[set]})
	})
}

func (w *world) anyUnit() *service {
	if len(w.systemd.units) == 0 {
		return nil
	}
	return w.systemd.units[w.rng.IntN(len(w.systemd.units))]
}

func (w *world) adminStops() {
	if u := w.anyUnit(); u != nil {
		w.tracef("administrator: systemctl stop %s", short(u.name))
		w.watch.adminStops(u)
		w.systemd.stop(u.name, issue{}, nil)
	}
}

func (w *world) adminRestarts() {
	if u := w.anyUnit(); u != nil {
		w.tracef("administrator: systemctl restart %s", short(u.name))
		delete(w.watch.stopped, u.name)
		w.systemd.restart(u.name, issue{}, nil)
	}
}

func (w *world) reload() {
	if w.chance(0.6) {
		w.newConfig()
	}
	switch { // the tables are those of this boot, but the configuration says whether they count, and has the defaults of their parameters
	case w.mix.boots > 0 && w.chance(0.2):
		w.boot.off = !w.boot.off
	case w.mix.boots > 0 && w.chance(0.3):
		w.boot.newTables()
	}
	w.reloadSame()
}

func (w *world) reloadSame() { w.load(w.fabric.config) }

// reloadBroken has the daemon load files with an error, which leaves what it concerns as it is.
func (w *world) reloadBroken() {
	broken := w.fabric.config
	broken.Errors = []string{"it does not parse"}
	w.load(broken)
}

func (w *world) load(cfg config.Config) {
	if w.shell.running {
		w.shell.loadExclusions()
		w.watch.reloading()
		w.shell.loadTables()
		w.shell.post(core.ConfigLoaded{Config: cfg})
	}
}

func (w *world) killDaemon() {
	if !w.shell.running {
		return
	}
	w.shell.crash()
	w.after(w.between(10*time.Millisecond, 20*time.Second), func() {
		if !w.shell.running {
			w.shell.begin()
		}
	})
}

// trapDaemon kills the daemon in the middle of whatever it does soon: between two effects of one step, or within one that takes
// several steps itself.
func (w *world) trapDaemon() {
	if w.shell.running {
		w.shell.trap = 1 + w.rng.IntN(40)
	}
}

// overrun drops uevents until the reader notices.
func (w *world) overrun() {
	if w.kernel.deaf || !w.shell.running {
		return
	}
	w.kernel.deaf = true
	w.shell.within(w.between(time.Millisecond, 3*time.Second), func() {
		w.kernel.deaf = false
		w.shell.post(core.EventsLost{Why: "uevents were dropped"})
	})
}

// calmDown ends the time of faults: everything that can come back does.
func (w *world) calmDown() {
	w.calm = true
	w.shell.trap = 0
	w.tracef("=== the faults cease")
	for _, p := range w.fabric.ports {
		if !p.dead {
			w.rise(p)
			w.enterFabric(p)
		}
	}
	w.names.heal()
	w.network.heal()
	w.multicast.heal()
	if !w.systemd.bus {
		w.systemd.bus = true
		w.shell.postIf(core.BusUp{})
	}
	if w.kernel.deaf {
		w.kernel.deaf = false
		w.shell.postIf(core.EventsLost{Why: "uevents were dropped"})
	}
	if !w.shell.running {
		w.shell.begin()
	}
	if w.chance(0.5) {
		w.reloadSame()
	}
}

// bound is how long after the faults ceased everything must be connected: the longest back-off, one comparison, a job that
// was begun before and hangs until its result is given up, and connects that wait for their turn.
func (w *world) bound() time.Duration {
	return w.mix.reconnectMax*11/10 + time.Minute + (2*time.Minute + jobGrace) + 70*time.Second + 30*time.Second +
		time.Minute // addresses of a name that nobody has, one after the other
}
