// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
)

// shell is the daemon without its core: what internal/daemon does with effects and sources.
type shell struct {
	*world
	seed    uint64
	machine *core.Machine
	running bool
	life    int                 // counts daemons
	queues  map[string][]func() // per unit or device; a key that is present is busy
	waiters []*waiter
	tick    uint64          // the timer that counts
	trap    int             // after how many more doings of the daemon it is killed; 0 is not
	own     map[string]bool // units that a job of this daemon stops
	left    map[string]bool // units that a job stops for which nobody waits: of an earlier daemon, or the bus went away
}

func (s *shell) init(w *world, seed uint64) { s.world, s.seed = w, seed }

// begin starts a daemon on what is there.
func (s *shell) begin() {
	s.running = true
	s.life++
	s.stats.Lives++
	s.machine = core.New(s.seed + uint64(s.life))
	s.queues = map[string][]func(){}
	s.recorded.begin()
	s.trap = 0
	s.own, s.left = map[string]bool{}, maps.Clone(s.disk.stopping)
	s.watch.begin()
	s.kernel.last = map[string]time.Duration{}
	s.kernel.deaf = false
	s.tracef("daemon: starts")
	s.loadExclusions()
	s.loadTables()
	s.post(core.RetainedLoaded{List: s.disk.retained})
	s.post(core.ConfigLoaded{Config: s.fabric.config})
	if s.systemd.bus {
		s.within(s.latency(10*time.Millisecond), func() { s.post(core.BusUp{}) })
	} else {
		s.post(core.BusDown{Err: "there is no connection to the system bus"})
	}
	s.lookEvery(lookInterval)
	s.multicast.daemonStarts()
}

// lookInterval is how often the daemon looks at the state of its controllers.
const lookInterval = 2 * time.Second

// lookEvery looks at the controllers that the machine knows, now and then, and tells it of those whose state is another one.
func (s *shell) lookEvery(interval time.Duration) {
	s.within(interval, func() {
		view := s.machine.View()
		known := map[string]string{}
		for t := range view.Targets.All() {
			known[t.Device] = t.DeviceState
		}
		for _, d := range view.Unwanted {
			known[d.Name] = d.State
		}
		for _, name := range sortedKeys(known) {
			if c := s.kernel.find(name); c == nil || c.State == known[name] {
				continue
			}
			s.queue(name, func(done func()) {
				s.device(name, func(d *core.Device) {
					if d != nil {
						s.post(core.DeviceNoticed{Device: *d})
					}
					done()
				})
			})
		}
		s.lookEvery(interval)
	})
}

// crash ends the daemon at once. Its jobs go on in systemd.
func (s *shell) crash() {
	if !s.running {
		return
	}
	s.tracef("daemon: is killed")
	s.running = false
	s.life++
	for _, wt := range s.waiters {
		wt.told = true
	}
	s.waiters = nil
}

// within goes on after a while, if this daemon still runs.
func (s *shell) within(d time.Duration, do func()) {
	life := s.life
	s.after(d, func() {
		if s.life == life && s.running && !s.trapped() {
			do()
		}
	})
}

// trapped kills the daemon if its time has come.
func (s *shell) trapped() bool {
	if s.trap == 0 {
		return false
	}
	if s.trap--; s.trap > 0 {
		return false
	}
	s.killDaemon()
	return true
}

// post hands an event to the loop.
func (s *shell) post(ev core.Event) { s.within(1, func() { s.step(ev) }) }

func (s *shell) step(ev core.Event) {
	if s.broken != nil {
		return
	}
	s.stats.Steps++
	if s.tracing != nil {
		s.tracef("-> %s", describe(ev))
	}
	if s.lab.Change != nil {
		ev = s.lab.Change(ev)
	}
	s.recorded.steps(ev)
	effects := s.advance(ev)
	s.recorded.stepped(ev, effects)
	for _, effect := range effects {
		if s.trapped() { // the rest of the effects is never begun
			return
		}
		if s.tracing != nil {
			s.tracef("   <- %v", effect)
		}
		s.watch.effect(effect)
		s.do(effect)
	}
	s.watch.stepped(ev, len(effects))
	s.tick++
	tick := s.tick
	if at := s.machine.Deadline(); !at.IsZero() {
		in := at.Sub(epoch) - s.now
		if s.lab.Ignore["noPastDeadline"] { // else nothing else would ever happen
			in = max(in, 10*time.Millisecond)
		}
		s.within(in, func() {
			if s.tick == tick {
				s.step(core.Tick{})
			}
		})
	}
}

// advance steps the machine; a panic of it breaks the run, not the test.
func (s *shell) advance(ev core.Event) (effects []core.Effect) {
	defer func() {
		if r := recover(); r != nil {
			s.violate(invariantOfPanic, "%v", r)
		}
	}()
	return s.machine.Step(epoch.Add(s.now), ev)
}

// queue runs functions of one key one after the other. Each calls its argument when it is done.
func (s *shell) queue(key string, f func(done func())) {
	run := func() {
		f(func() {
			rest := s.queues[key]
			if len(rest) == 0 {
				delete(s.queues, key)
				return
			}
			s.queues[key] = rest[1:]
			rest[0]()
		})
	}
	if waiting, busy := s.queues[key]; busy {
		s.queues[key] = append(waiting, run)
		return
	}
	s.queues[key] = nil
	run()
}

// soon queues something short.
func (s *shell) soon(key string, do func()) {
	s.queue(key, func(done func()) {
		s.within(s.latency(300*time.Microsecond), func() {
			do()
			done()
		})
	})
}

func (s *shell) do(effect core.Effect) {
	is := issue{effect, s.now}
	switch e := effect.(type) {
	case core.Probe:
		s.probe(e)
	case core.Resolve:
		s.resolve(e)
	case core.StartUnit:
		s.job(core.OpStart, e.Unit, unit.DefaultConnectTimeout, func(wt *waiter) { s.systemd.start(e.Unit, e.Wish, is, wt) })
	case core.RestartUnit:
		s.job(core.OpRestart, e.Unit, unit.DefaultConnectTimeout+unit.DefaultDisconnectTimeout, func(wt *waiter) { s.systemd.restart(e.Unit, is, wt) })
	case core.StopUnit:
		s.job(core.OpStop, e.Unit, unit.DefaultDisconnectTimeout, func(wt *waiter) { s.systemd.stop(e.Unit, is, wt) })
	case core.AskUnit:
		s.ask(e)
	case core.ReadLog:
		s.readLog(e)
	case core.Kickstart:
		s.kickstart(e)
	case core.TakeSnapshot:
		s.snapshot(e)
	case core.ForgetState:
		s.soon(e.Unit, func() { s.disk.forget(e.Device, e.Unit) })
	case core.Judge:
		s.within(s.latency(time.Millisecond), func() { s.post(core.Judged{TID: e.TID, Page: core.JudgeAnew(e.Page, e.Origin)}) })
	case core.RestoreDevid:
		s.restoreDevid(e)
	case core.RestoreOwner:
		s.restoreOwner(e)
	case core.KeepRetained:
		s.soon("retained", func() { s.disk.retained = e.List })
	case core.MarkStopped:
		s.soon(e.Unit, func() { s.disk.stopped[e.Unit] = true })
	case core.UnmarkStopped:
		s.soon(e.Unit, func() { delete(s.disk.stopped, e.Unit) })
	}
}

// restoreDevid is that of the daemon's reader.
func (s *shell) restoreDevid(e core.RestoreDevid) {
	s.queue(e.Unit, func(done func()) {
		s.device(e.Device, func(d *core.Device) {
			if d != nil && s.disk.devid[e.Unit] == "" && d.Unit == e.Unit && d.Serves(e.TID) {
				s.disk.devid[e.Unit] = e.Device
			}
			done()
		})
	})
}

// restoreOwner is that of the daemon's reader, with the time between its steps.
func (s *shell) restoreOwner(e core.RestoreOwner) {
	s.queue(e.Unit, func(done func()) {
		s.deviceOf(e.Unit, func(d *core.Device) {
			if d == nil || d.Name != e.Device || !d.Serves(e.TID) || d.Owner != "" && d.Owner != makerAutoconnect {
				done()
				return
			}
			s.within(s.latency(200*time.Microsecond), func() {
				if s.disk.registry[e.Device].owner == d.Owner {
					s.disk.registry[e.Device] = ownership{string(e.Owner), d.Seq}
				}
				seq := s.kernel.seq
				s.within(s.latency(100*time.Microsecond), func() {
					s.disk.prune(s.world, e.Device, seq)
					done()
				})
			})
		})
	})
}

func (s *shell) probe(e core.Probe) {
	if _, errno := s.network.route(tid.TCP, e.Target.HostTraddr, e.Target.HostIface); errno != 0 {
		s.within(s.latency(time.Millisecond), func() {
			s.post(core.ProbeDone{Target: e.Target, Mute: e.Mute, Err: errno.Error(), Errno: int(errno)})
		})
		return
	}
	health := refusing
	for _, p := range s.fabric.ports {
		if p.traddr == e.Target.Traddr && p.trsvcid == e.Target.Trsvcid {
			health = p.health
		}
	}
	done := core.ProbeDone{Target: e.Target, Mute: e.Mute}
	took := s.latency(2 * time.Millisecond)
	switch {
	case health == refusing:
		done.Err = "connection refused"
	case health == silent:
		took, done.Err = 3*time.Second, "timed out"
	case health == mute && e.Mute:
		took, done.Err = 5*time.Second, "no answer"
	}
	s.within(took, func() { s.post(done) })
}

const jobGrace = 30 * time.Second // as in internal/daemon

// job makes a call to systemd, waits for the end of its job and reads what it left.
func (s *shell) job(op core.Op, name string, timeout time.Duration, call func(*waiter)) {
	s.queue(name, func(next func()) {
		stops := op != core.OpStart
		if stops {
			s.stopBegins(name)
		}
		ended := func(o core.Outcome) {
			if stops {
				s.stopEnds(name, o == core.Lost)
			}
			s.within(s.latency(300*time.Microsecond), func() {
				done := core.JobDone{Unit: name, Op: op, Outcome: o}
				post := func() {
					s.post(done)
					next()
				}
				if op == core.OpStop {
					post()
					return
				}
				s.deviceOf(name, func(d *core.Device) {
					done.Device = d
					if failure, ok := s.disk.results[name]; ok {
						delete(s.disk.results, name)
						if o != core.Done {
							done.Failure = &failure
						}
					}
					post()
				})
			})
		}
		if !s.systemd.bus {
			ended(core.Lost)
			return
		}
		s.within(s.latency(100*time.Microsecond), func() {
			life := s.life
			wt := s.systemd.newWaiter(timeout+jobGrace, func(o core.Outcome) {
				if s.life == life {
					ended(o)
				}
			})
			s.after(s.latency(time.Millisecond), func() { // a call that was sent is carried out, whatever becomes of the caller
				call(wt)
			})
		})
	})
}

// stopBegins and stopEnds keep the records of the daemon's own jobs that stop a unit, as its stops do.
func (s *shell) stopBegins(unit string) {
	s.own[unit] = true
	delete(s.left, unit)
	s.disk.stopping[unit] = true
}

func (s *shell) stopEnds(unit string, lost bool) {
	delete(s.own, unit)
	if lost {
		s.left[unit] = true
	} else {
		delete(s.disk.stopping, unit)
	}
}

// settleStops returns the units whose record nobody waits for, and removes the records of those whose job is over.
func (s *shell) settleStops(snap *core.Snapshot) []string {
	units := sortedKeys(s.left)
	for _, unit := range units {
		busy := func(u core.UnitInfo) bool {
			return u.Name == unit && (u.Job != "" || u.Active == "deactivating" || u.Active == "activating")
		}
		if snap.UnitsKnown && !slices.ContainsFunc(snap.Units, busy) {
			delete(s.left, unit)
			delete(s.disk.stopping, unit)
		}
	}
	return units
}

func (s *shell) ask(e core.AskUnit) {
	answer := core.UnitState{Unit: e.Unit, Token: e.Token}
	session := s.systemd.session
	s.within(s.latency(2*time.Millisecond), func() {
		if !s.systemd.bus || s.systemd.session != session {
			s.post(answer)
			return
		}
		answer.Known = true
		answer.Info = core.UnitInfo{Name: e.Unit, Active: "inactive"}
		if u := s.systemd.find(e.Unit); u != nil {
			answer.Info = u.info()
		}
		s.within(max(s.latency(time.Millisecond), s.systemd.announced-s.now), func() {
			s.deviceOf(e.Unit, func(d *core.Device) {
				answer.Device = d
				// The executor's queue of the unit lets no other answer come between the taking of a result and the answer with it.
				u := s.systemd.find(e.Unit)
				ours := u != nil && u.job != nil && len(u.job.waiters) > 0 // whose result the end of the job has
				if failure, ok := s.disk.results[e.Unit]; ok && answer.Info.Active == "inactive" && !ours {
					delete(s.disk.results, e.Unit)
					answer.Failure = &failure
				}
				s.post(answer)
			})
		})
	})
}

func (u *service) info() core.UnitInfo {
	info := core.UnitInfo{Name: u.name, Active: u.active(), Argv: u.argv}
	if u.job != nil {
		info.Job = u.job.kind
	}
	return info
}

// device reads one controller: the number first, then sysfs, then what the files say.
func (s *shell) device(name string, done func(*core.Device)) {
	seq := s.kernel.seq
	s.within(s.latency(200*time.Microsecond), func() {
		c := s.kernel.find(name)
		if c == nil {
			done(nil)
			return
		}
		d := &core.Device{Controller: c.Controller, Seq: seq}
		s.within(s.latency(100*time.Microsecond), func() {
			d.Owner = s.disk.registry[name].owner
			d.Unit = s.disk.unitOf[name]
			done(d)
		})
	})
}

func (s *shell) deviceOf(unit string, done func(*core.Device)) {
	name := s.disk.devid[unit]
	if name == "" {
		done(nil)
		return
	}
	s.device(name, func(d *core.Device) {
		if d != nil && d.Unit != unit {
			d = nil
		}
		done(d)
	})
}

// uevent takes an event in as it comes from the socket.
func (s *shell) uevent(name, what string, seq uint64) {
	switch what {
	case "remove":
		s.soon(name, func() { s.post(core.DeviceRemoved{Name: name, Seq: seq}) })
	case "log page changed": // nothing has to be read to know what it is about
		s.soon(name, func() { s.post(core.LogChanged{Device: name}) })
	case "connected", "rediscover":
		s.queue(name, func(done func()) {
			s.device(name, func(d *core.Device) {
				switch {
				case d == nil:
				case !s.calm && s.chance(s.mix.readFails):
					s.watch.missed = s.now
					s.post(core.EventsLost{Why: "a controller could not be read"})
				default:
					s.post(core.DeviceSeen{Device: *d, Why: what, Reconnected: what == "rediscover"})
				}
				done()
			})
		})
	}
}

func (s *shell) readLog(e core.ReadLog) {
	took := s.latency(5 * time.Millisecond)
	if !s.calm && s.chance(s.mix.slow) {
		took = s.between(0, 30*time.Second)
	}
	asked := s.kernel.find(e.Device)
	if asked != nil && s.disk.unitOf[e.Device] == "" && s.watch.told[e.Device] != "" { // the unit ended, and the machine has not heard of it
		s.device(e.Device, func(d *core.Device) {
			if d != nil {
				s.post(core.DeviceSeen{Device: *d, Why: "the end of its unit was not heard"})
			}
			s.post(core.LogFailed{Device: e.Device, Token: e.Token, Err: "no unit has it any more"})
		})
		return
	}
	s.watch.reading(asked)
	s.within(took, func() {
		c := s.kernel.find(e.Device)
		if c == nil || c != asked || c.State != "live" || !c.port.discovery || !s.calm && s.chance(s.mix.logFails) {
			s.post(core.LogFailed{Device: e.Device, Token: e.Token, Err: "input/output error"})
			return
		}
		page := discoverylog.Page{Generation: c.port.gen, Entries: c.port.entries}
		pages := core.JudgePages(page, e.Readers)
		c.aenOut = false
		s.within(s.latency(2*time.Millisecond), func() { s.post(core.LogRead{Device: e.Device, Token: e.Token, Pages: pages}) })
	})
}

func (s *shell) kickstart(e core.Kickstart) {
	s.within(s.latency(time.Millisecond), func() {
		done := core.Kickstarted{Token: e.Token, Failed: !s.calm && s.chance(s.mix.readFails)}
		done.NoFC = !slices.ContainsFunc(s.fabric.ports, func(p *port) bool { return p.transport == tid.FC })
		if !done.Failed {
			s.kernel.kickstart()
		}
		s.post(done)
	})
}

// snapshot reads everything, one thing after the other, while the world goes on.
func (s *shell) snapshot(e core.TakeSnapshot) {
	s.watch.asked = s.now
	snap := core.Snapshot{Token: e.Token, Devids: map[string]string{}}
	if !s.calm && s.chance(s.mix.readFails) {
		s.within(s.latency(time.Millisecond), func() { s.post(core.SnapshotFailed{Token: e.Token, Err: "permission denied"}) })
		return
	}
	step := func(next func()) { s.within(s.latency(30*time.Millisecond), next) }
	session := s.systemd.session
	step(func() {
		if s.systemd.bus && s.systemd.session == session {
			snap.UnitsKnown, snap.Autoconnect = true, s.disk.autoconnect
			for _, u := range s.systemd.units {
				snap.Units = append(snap.Units, u.info())
			}
		}
		step(func() {
			for unit, device := range s.disk.devid {
				snap.Devids[unit] = device
			}
			snap.Stopped = sortedKeys(s.disk.stopped)
			seq := s.kernel.seq
			step(func() {
				for _, c := range s.kernel.all() {
					snap.Devices = append(snap.Devices, core.Device{Controller: c.Controller, Seq: seq})
				}
				step(func() {
					for i := range snap.Devices {
						d := &snap.Devices[i]
						d.Owner, d.Unit = s.disk.registry[d.Name].owner, s.disk.unitOf[d.Name]
					}
					step(func() {
						snap.Stopping = s.settleStops(&snap)
						s.post(snap)
					})
				})
			})
		})
	})
}

// busDown answers every call that waits, and tells the loop.
func (s *shell) busDown() {
	waiting := s.waiters
	s.waiters = nil
	if !s.running {
		return
	}
	s.post(core.BusDown{Err: "the connection to the system bus was lost"})
	for _, wt := range waiting {
		wt.tell(core.Lost)
	}
}

// describe is one line for an event.
func describe(ev core.Event) string {
	device := func(d *core.Device) string {
		if d == nil {
			return "no device"
		}
		return fmt.Sprintf("%s[%s %s %s src=%s owner=%s unit=%s seq=%d]", d.Name, d.State, d.NQN, d.Traddr, d.SrcAddr, d.Owner, short(d.Unit), d.Seq)
	}
	switch ev := ev.(type) {
	case core.ConfigLoaded:
		s := "configuration:"
		for _, c := range ev.Config.Connections {
			s += " " + c.Host + c.Wish.TID.String() + "=" + short(c.Wish.TID.UnitName())
		}
		return s
	case core.NBFTLoaded:
		s := "tables of the boot firmware:"
		for _, c := range ev.Connections {
			s += " " + c.Host + c.Wish.TID.String() + "=" + short(c.Wish.TID.UnitName())
		}
		return s
	case core.ExclusionsLoaded:
		return "exclusions loaded"
	case core.Snapshot:
		s := fmt.Sprintf("snapshot %d, units known %v", ev.Token, ev.UnitsKnown)
		for _, d := range ev.Devices {
			s += " " + device(&d)
		}
		for _, u := range ev.Units {
			s += fmt.Sprintf(" %s:%s/%s", short(u.Name), u.Active, u.Job)
		}
		for _, unit := range sortedKeys(ev.Devids) {
			s += fmt.Sprintf(" %s=%s", short(unit), ev.Devids[unit])
		}
		return s
	case core.DeviceSeen:
		return ev.Why + ": " + device(&ev.Device)
	case core.DeviceNoticed:
		return "noticed: " + device(&ev.Device)
	case core.JobDone:
		s := fmt.Sprintf("job %s of %s: %s, %s", [...]string{"none", "start", "restart", "stop"}[ev.Op], short(ev.Unit), ev.Outcome, device(ev.Device))
		if ev.Failure != nil {
			s += ", " + ev.Failure.Meaning
		}
		return s
	case core.UnitState:
		s := fmt.Sprintf("unit %s: known %v, %s, job %q, %s", short(ev.Unit), ev.Known, ev.Info.Active, ev.Info.Job, device(ev.Device))
		if ev.Failure != nil {
			s += ", " + ev.Failure.Meaning
		}
		return s
	case core.LogRead:
		s := fmt.Sprintf("log page of %s:", ev.Device)
		for _, e := range ev.Pages[0].Entries {
			s += fmt.Sprintf(" %s %s %s", e.Subtype, e.NQN, e.Traddr)
		}
		return s
	case core.Judged:
		return "judged anew: the page of " + ev.TID.String()
	case core.Tick:
		return "tick"
	}
	return fmt.Sprintf("%T %+v", ev, ev)
}
