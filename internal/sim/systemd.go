// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// systemd holds the units and runs their jobs. Units are transient, Type=oneshot, RemainAfterExit, and collected as soon as
// they are inactive or failed.
type systemd struct {
	announced time.Duration // when the last signal of a job has come: no answer that was sent after it comes before it
	removed   time.Duration // until when the last end of a job is told
	*world
	units   []*service // in the order in which they came to be
	locks   map[string]*process
	bus     bool
	session int // counts bus connections: waiters of an earlier one have been told "lost"
}

// service is one unit.
type service struct {
	name    string
	wish    wish.Wish
	argv    []string
	phase   phase
	since   time.Duration // active
	running *process
	job     *job // nil: none
}

type phase int

const (
	starting phase = iota // ExecStart
	exited                // active
	stopping              // ExecStop
	cleaning              // ExecStopPost
)

var activeStates = [...]string{"activating", "active", "deactivating", "deactivating"}

func (s *service) active() string { return activeStates[s.phase] }

// job is a job of a unit: start, stop or restart.
type job struct {
	unit    string
	kind    string
	waiters []*waiter
	foreign bool // somebody else asked for it, too
	told    bool // …and the daemon was told of that
	ours    []issue
	session int
	begun   time.Duration
}

// issue is a call of the daemon: the effect, and when the machine wanted it.
type issue struct {
	effect core.Effect
	at     time.Duration
}

// waiter is a call of the daemon that waits for the end of a job.
type waiter struct {
	session int
	told    bool
	done    func(core.Outcome)
}

func (s *systemd) init(w *world) { s.world, s.locks, s.bus = w, map[string]*process{}, true }

func (s *systemd) find(name string) *service {
	for _, u := range s.units {
		if u.name == name {
			return u
		}
	}
	return nil
}

func (s *systemd) spawn() *process { return &process{world: s.world} }

// newWaiter is a call of the daemon. Losing the bus, or the daemon's patience, answers it early.
func (s *systemd) newWaiter(timeout time.Duration, done func(core.Outcome)) *waiter {
	wt := &waiter{session: s.session, done: done}
	s.after(timeout, func() { wt.tell(core.Lost) })
	s.shell.waiters = append(s.shell.waiters, wt)
	return wt
}

func (wt *waiter) tell(o core.Outcome) {
	if !wt.told {
		wt.told = true
		wt.done(o)
	}
}

// start is StartTransientUnit.
func (s *systemd) start(name string, w wish.Wish, is issue, wt *waiter) {
	if s.find(name) != nil {
		s.after(s.latency(time.Millisecond), func() { wt.tell(core.Exists) })
		return
	}
	u := &service{name: name, wish: w, argv: unit.ForWish(name, w, "/units/devid", "secrets", unit.Config{Ctl: "/ctl"}).ExecStart}
	s.units = append(s.units, u)
	u.job = s.newJob(u, "start", is, wt)
	s.execStart(u)
}

// stop is StopUnit, by the daemon (wt is its waiter) or by an administrator (wt is nil).
func (s *systemd) stop(name string, is issue, wt *waiter) { s.install(name, "stop", is, wt) }

// restart is RestartUnit.
func (s *systemd) restart(name string, is issue, wt *waiter) { s.install(name, "restart", is, wt) }

// install adds a stop or restart job to what the unit has: equal ones are one, a restart swallows a start, a stop and
// anything else cancel each other.
func (s *systemd) install(name, kind string, is issue, wt *waiter) {
	u := s.find(name)
	if u == nil {
		if wt != nil {
			s.after(s.latency(time.Millisecond), func() { wt.tell(core.NoUnit) })
		}
		return
	}
	old := u.job
	switch {
	case old != nil && (old.kind == kind || kind == "restart" && old.kind == "start"):
		old.kind = kind
		s.join(old, is, wt)
	default:
		if old != nil {
			s.watch.canceling(old, is, wt == nil)
			u.job = nil
			s.finish(old, core.Canceled)
		}
		u.job = s.newJob(u, kind, is, wt)
	}
	switch u.phase {
	case starting:
		s.execStopPost(u, u.running.kill())
	case exited:
		s.execStop(u)
	}
}

func (s *systemd) newJob(u *service, kind string, is issue, wt *waiter) *job {
	j := &job{unit: u.name, kind: kind, session: s.session, begun: s.now}
	s.join(j, is, wt)
	return j
}

func (s *systemd) join(j *job, is issue, wt *waiter) {
	if wt != nil {
		j.waiters = append(j.waiters, wt)
		j.ours = append(j.ours, is)
		return
	}
	if j.foreign || len(j.waiters) > 0 { // the daemon takes a job that its own call made for its own
		j.foreign = true
		return
	}
	j.foreign = true
	life, session := s.shell.life, s.session
	delay := s.latency(3 * time.Millisecond)
	s.announced = max(s.announced, s.now+delay)
	s.after(delay, func() {
		if s.shell.running && s.shell.life == life && s.session == session && s.bus && len(j.waiters) == 0 {
			j.told = true
			kind := j.kind
			if s.chance(0.05) { // gone before it could be asked
				kind = ""
				delete(s.watch.stopped, j.unit)
			}
			s.shell.post(core.ForeignJob{Unit: j.unit, Type: kind})
		}
	})
}

// finish ends a job and tells whoever waits.
func (s *systemd) finish(j *job, o core.Outcome) {
	s.tracef("systemd: %s of %s: %s", j.kind, short(j.unit), o)
	delay := s.latency(2 * time.Millisecond)
	if !s.calm && s.chance(s.mix.lostResults) { // systemd was executed anew
		o = core.Lost
	}
	for _, wt := range j.waiters {
		s.after(delay, func() { wt.tell(o) })
	}
	if j.foreign {
		life, kind := s.shell.life, j.kind
		s.removed = max(s.removed, s.now+delay+3*time.Millisecond) // the bus keeps the order of signals
		s.after(s.removed-s.now, func() {
			if j.told && s.bus && s.shell.running && s.shell.life == life && s.session == j.session {
				s.shell.post(core.ForeignJob{Unit: j.unit, Type: kind, Removed: true})
			}
		})
	}
}

func (s *systemd) execStart(u *service) {
	u.phase = starting
	p := s.spawn()
	u.running = p
	ended := func(ok bool) {
		if u.running != p || u.phase != starting {
			return
		}
		if !ok {
			s.execStopPost(u, p.kill())
			return
		}
		u.phase, u.since = exited, s.now
		if j := u.job; j != nil {
			u.job = nil
			s.finish(j, core.Done)
		}
	}
	s.after(unit.DefaultConnectTimeout, func() {
		if u.running == p && u.phase == starting {
			ended(false)
		}
	})
	// The command names its own unit: the one that the wish's TID makes.
	c := &connectCommand{process: p, unit: u.wish.TID.UnitName(), wish: u.wish, exit: ended}
	c.start()
}

func (s *systemd) execStop(u *service) {
	u.phase = stopping
	p := s.spawn()
	u.running = p
	s.tracef("systemd: %s of %s runs ExecStop", u.job.kind, short(u.name))
	p.disconnectCommand(u.wish.TID.UnitName(), u.wish.TID, u.job, func() { s.execStopPost(u, 0) })
}

// execStopPost cleans up once the process before has died.
func (s *systemd) execStopPost(u *service, dies time.Duration) {
	u.phase = cleaning
	p := s.spawn()
	u.running = p
	p.then(dies, func() { p.cleanupCommand(u.wish.TID.UnitName(), func() { s.ended(u) }) })
}

// ended collects a unit, or starts it again for a restart.
func (s *systemd) ended(u *service) {
	j := u.job
	if j != nil && j.kind == "restart" {
		j.kind = "start"
		s.execStart(u)
		return
	}
	s.units = slices.DeleteFunc(s.units, func(o *service) bool { return o == u })
	s.watch.collected(u)
	if j == nil {
		return
	}
	u.job = nil
	if j.kind == "start" {
		s.finish(j, "failed")
		return
	}
	s.finish(j, core.Done)
}

// dropBus cuts the daemon off from systemd for a while.
func (s *systemd) dropBus(d time.Duration) {
	if !s.bus {
		return
	}
	s.bus = false
	s.session++
	s.watch.unheard = s.now + d
	s.shell.busDown()
	s.after(d, func() {
		s.bus = true
		if s.shell.running {
			s.shell.post(core.BusUp{})
		}
	})
}
