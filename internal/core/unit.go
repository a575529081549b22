// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// inspectAgain is the time between inspections of a unit on which somebody else's job runs.
const inspectAgain = 2 * time.Second

// unit is what systemd holds under one name.
type unit struct {
	name    string
	active  bool          // setActive alone changes it
	begins  bool          // it was seen while somebody started it, or was about to
	argv    []string      // its command, nil if unknown
	ended   bool          // our last job on it was a stop, and it was carried out
	unsure  bool          // the end of a job of ours was not heard: what it holds is what its files say until systemd tells
	op      Op            // our job on it; setOp alone changes it
	had     bool          // this daemon has started it or has seen it hold a controller
	failure *state.Result // of a connect that was not ours, in an answer that was too late or that nobody waited for; no other has it
	leaving *leaving      // why it is to be stopped once systemd was asked about it: see orphan.go
	foreign string        // type of the last job that was not ours, since our last one
	jobbed  uint64        // step in which our last job on it began or ended: an answer that was asked for earlier is out of date
	touched uint64        // step of its last change: a snapshot that was asked for earlier says nothing about it
}

// units are all units that systemd is known to hold, or that a job of ours runs on.
type units struct {
	byName  map[string]*unit
	running int // units that a job of ours is connecting

	changed map[string]bool // names that Machine.View has to look at
}

// stops are the stops of units that mean something beyond the unit.
type stops struct {
	stopped  map[string]bool // by an administrator, in this or an earlier life of the daemon: they stay stopped
	stopping map[string]bool // for reasons of our own, and the end was not heard: an earlier daemon's, or the bus went
	since    map[string]bool // begun by somebody else before the first comparison, whose word of an earlier daemon's is older

	stopsRead bool // what an earlier daemon left of them
}

func newUnits() units { return units{byName: map[string]*unit{}, changed: map[string]bool{}} }

func (m *Machine) unitOf(name string) *unit {
	u := m.units.byName[name]
	if u == nil {
		u = &unit{name: name}
		m.units.byName[name] = u
	}
	return u
}

// unitChanged notes that a unit, or what there is of it, changed: Machine.View looks at it again.
func (m *Machine) unitChanged(name string) {
	if name != "" {
		m.units.changed[name] = true
	}
}

func (m *Machine) setActive(u *unit, active bool, argv []string) {
	changed := u.active != active
	u.active, u.argv = active, argv
	if !changed {
		return
	}
	m.unitChanged(u.name)
	for _, d := range m.devices.ofUnit[u.name] {
		m.readMissed(d)
	}
}

func (m *Machine) setOp(u *unit, op Op) {
	connects := func(op Op) int {
		if op == OpStart || op == OpRestart {
			return 1
		}
		return 0
	}
	m.units.running += connects(op) - connects(u.op)
	u.op, u.jobbed = op, m.step
	u.ended, u.failure, u.leaving = false, nil, nil
}

// unitHolds reports whether a unit that is on record for a controller holds it, or is about to: a start of it may end after
// the controller was seen.
func (m *Machine) unitHolds(name string) bool {
	u := m.units.byName[name]
	return u != nil && (u.active || u.begins || u.unsure || u.op == OpStart || u.op == OpRestart)
}

// tidy forgets a unit that is gone.
func (m *Machine) tidy(name string) {
	if u := m.units.byName[name]; u != nil && !u.active && !u.unsure && u.op == OpNone && m.user(name) == nil {
		delete(m.units.byName, name)
	}
}

func (m *Machine) stop(name, why string) {
	u := m.unitOf(name)
	m.setOp(u, OpStop)
	u.foreign, u.touched = "", m.step
	m.emit(StopUnit{Unit: name, Why: why})
}

// contested reports whether somebody else's job runs on a unit, or ran and nobody has looked since: a restart by an administrator
// takes whatever serves its wish, and a stop of ours would disconnect that.
func (u *unit) contested() bool { return u.foreign != "" || u.begins }

// inspect asks systemd about the unit of t before anything is decided, again and again until it has an answer that decides,
// and keeps the other wishes of its group waiting.
func (m *Machine) inspect(t *target, why inspection) {
	m.await(t, why)
	m.in(&t.timer, inspectAgain)
	m.enterGroup(t)
	m.ask(t.unit)
}

// ask asks systemd about a unit, if it can be talked to.
func (m *Machine) ask(unit string) {
	if m.bus {
		m.emit(AskUnit{Unit: unit, Token: m.step})
	}
}

// await has t wait for what its unit turns out to be. The end of our job on it tells, if no inspection is begun.
func (m *Machine) await(t *target, why inspection) {
	if t.state != Waiting {
		m.transition(t, Waiting)
	}
	m.proceed(t, inspecting)
	t.attempt.why = why
}

// foreignJob looks at a unit on which somebody else's job begins or ends.
func (m *Machine) foreignJob(ev ForeignJob) {
	if u := m.unitOf(ev.Unit); u.op == OpNone || u.foreign != "stop" {
		u.foreign, u.touched = ev.Type, m.step
	}
	if ev.Type == "stop" && !ev.Removed { // begun now, so it is not one of ours whose end was not heard
		delete(m.stopping, ev.Unit)
		if !m.stopsRead {
			m.since[ev.Unit] = true
		}
	}
	m.emit(AskUnit{Unit: ev.Unit, Token: m.step})
}

func (m *Machine) unitState(ev UnitState) {
	if !ev.Known {
		return
	}
	if ev.ShuttingDown {
		if !m.shutdown {
			m.log(slog.LevelInfo, KindShutdown, nil, "the system is shutting down: nothing is connected any more")
		}
		m.shutdown = true
		return
	}
	if m.units.byName[ev.Unit] == nil && m.user(ev.Unit) == nil { // it went since it was asked about
		return
	}
	u := m.unitOf(ev.Unit)
	switch {
	case u.op != OpNone: // our own job: its end tells
		return
	case ev.Token != 0 && ev.Token < u.jobbed: // it is out of date, but for the failure that it has: nobody else has that any more
		if ev.Failure != nil {
			u.failure = ev.Failure
		}
		m.ask(ev.Unit)
		return
	case ev.Failure == nil:
		ev.Failure = u.failure
	}
	u.failure = nil
	u.touched, u.unsure = m.step, false
	begun := u.begins
	u.begins = ev.Info.begins()
	var d *device
	if ev.Device != nil {
		d = m.record(*ev.Device)
	}
	t := m.user(ev.Unit)
	switch ev.Info.Active {
	case "active", "reloading":
		m.setActive(u, true, ev.Info.Argv)
		if ev.Info.Job == "" { // whatever stopped it is over
			delete(m.stopping, ev.Unit)
			if !ev.Unread {
				u.foreign = ""
			}
		}
		if ev.Unread { // it may have a controller: the next inspection tells
			return
		}
		if d != nil {
			m.bind(d)
		}
		m.leave(u, ev)
		if t == nil || !t.is(inspecting) {
			return
		}
		if t.attempt.why == afterLoss {
			m.decide(t)
		} else {
			m.connect(t)
		}
	case "activating":
		delete(m.stopping, ev.Unit) // the stop of a restart is over
		return                      // somebody starts it: the end of that job or the next inspection tells
	default:
		if ev.Info.Job != "" && ev.Info.Job != "stop" {
			return // a restart passes through here
		}
		if m.stopping[ev.Unit] { // a stop of ours whose end was not heard
			m.stoppedBefore(ev, t, u)
			return
		}
		if ev.Info.Job == "stop" { // ours would have been waited for
			u.foreign = "stop"
		}
		m.setActive(u, false, nil)
		m.forgetLeft(u.name, u.leaving)
		u.leaving = nil
		m.stoppedOutside(ev, t, u, begun)
		m.tidy(ev.Unit)
	}
}

// stoppedBefore goes on where this daemon or an earlier one stopped a unit for reasons of its own: when the unit is gone, it is
// started anew.
func (m *Machine) stoppedBefore(ev UnitState, t *target, u *unit) {
	if ev.Info.Active == "deactivating" {
		return // the next inspection tells
	}
	delete(m.stopping, ev.Unit)
	m.setActive(u, false, nil)
	if t != nil && t.is(inspecting) {
		m.connect(t)
	}
	m.tidy(ev.Unit)
}

// stoppedOutside handles a unit that is inactive, or about to be, without our doing. A connect that failed leaves a result,
// a stop does not. begun is set if the unit was being started when it was last asked about.
func (m *Machine) stoppedOutside(ev UnitState, t *target, u *unit, begun bool) {
	switch {
	case t == nil:
		if u.foreign == "stop" && !m.stopped[u.name] {
			m.stopped[u.name] = true
			m.emit(MarkStopped{Unit: u.name})
		}
	case t.state == Stopped:
	case u.foreign == "stop":
		m.byAdmin(t, "an administrator stopped "+u.name)
	case !t.is(inspecting): // its controller's loss may be heard of later
		u.failure = ev.Failure
	case ev.Failure != nil && ev.Failure.Meaning != "":
		m.fail(t, ev.Failure.Meaning, ev.Failure.Errno)
	case t.attempt.why == afterExists, u.foreign != "", begun: // it ended, or somebody's own attempt to start it failed: ours comes next
		m.fail(t, "the unit ended meanwhile", 0)
	default:
		m.byAdmin(t, u.name+" is inactive without our doing, as if an administrator had stopped it")
	}
}

func (m *Machine) jobDone(ev JobDone) {
	u := m.units.byName[ev.Unit]
	if u == nil || u.op != ev.Op {
		return
	}
	m.setOp(u, OpNone)
	u.begins, u.touched, u.unsure = false, m.step, ev.Outcome == Lost
	if u.unsure && ev.Op != OpStart && u.foreign != "stop" {
		m.stopping[ev.Unit] = true
	}
	var d *device
	if ev.Device != nil {
		d = m.record(*ev.Device)
	}
	t := m.user(ev.Unit)
	switch {
	case ev.Op == OpStop:
		m.stopDone(ev, u, t)
	case t != nil:
		m.startDone(ev, u, t, d)
	default:
		m.startedUnwanted(ev, u)
	}
	m.tidy(ev.Unit)
}

func (m *Machine) stopDone(ev JobDone, u *unit, t *target) {
	switch ev.Outcome {
	case Done, NoUnit:
		m.setActive(u, false, nil)
		u.ended = u.foreign != "stop"
	case Lost:
		m.audit("the end of a job was not heard")
	default:
		m.log(slog.LevelWarn, KindStopFailed, t, "cannot stop "+ev.Unit+": "+string(ev.Outcome)+" "+ev.Err)
		m.audit("a unit could not be stopped")
	}
	if t == nil {
		return
	}
	switch {
	case t.is(clearing) && !u.active:
		m.adopt(t, t.wish.TID.UnitName())
		m.enqueue(t)
	case t.is(clearing):
		m.fail(t, "its unit cannot be stopped: "+string(ev.Outcome)+" "+ev.Err, 0)
	case t.is(inspecting):
		m.inspect(t, afterExists)
	case t.is(parking) && u.active && ev.Outcome != Lost: // it goes on as it is
		m.proceed(t, idle)
	}
}

func (m *Machine) startDone(ev JobDone, u *unit, t *target, d *device) {
	if t.state == Stopped { // the administrator was faster
		if m.setActive(u, ev.Outcome == Done, u.argv); u.active {
			m.stop(ev.Unit, "an administrator stopped it while it was connecting")
		}
		return
	}
	switch ev.Outcome {
	case Done:
		m.setActive(u, true, u.argv)
		delete(m.stopping, ev.Unit) // it has been started since
		if u.foreign == "stop" {    // begun during our job, and over perhaps: nobody can tell from its end
			m.inspectStopped(t)
			return
		}
		u.foreign = ""
		m.started(ev, t, d)
	case Exists:
		m.setActive(u, true, nil)
		m.inspectUnlessForeign(t, afterExists)
	case NoUnit: // it went while our restart of it was on its way
		m.setActive(u, false, nil)
		switch {
		case u.foreign == "stop":
			m.byAdmin(t, "an administrator stopped "+ev.Unit)
		case t.state == Connecting || t.is(inspecting):
			m.fail(t, "its unit is gone", 0)
		}
	case Canceled:
		m.inspectUnlessForeign(t, afterCancel)
	case Lost:
		switch {
		case t.state == Connecting:
			m.proceed(t, unknown)
		case t.is(inspecting):
			m.inspect(t, t.attempt.why)
		}
		m.audit("the end of a job was not heard")
	default:
		m.setActive(u, false, nil)
		m.learnConcat(ev)
		switch {
		case u.foreign == "stop":
			m.inspectStopped(t)
		case t.state != Foreign:
			m.fail(t, failureOf(ev), errnoOf(ev))
		}
	}
}

// inspectStopped asks about the unit of t because somebody else began to stop it while our job ran.
func (m *Machine) inspectStopped(t *target) {
	if t.state == Connecting || t.is(inspecting) {
		m.inspect(t, afterCancel)
	} else {
		m.ask(t.unit)
	}
}

// started takes the end of a start or restart that succeeded. Its controller may have been seen, lost, or taken over by
// another orchestrator before.
func (m *Machine) started(ev JobDone, t *target, d *device) {
	if t.state == Excluded || t.state == Parked || t.state == Collision { // it came there while the job ran
		m.transition(t, Waiting)
	}
	switch {
	case t.state == Connected:
		if t.unended {
			m.endUnkept(t)
		}
	case t.state == Foreign: // hands off, whatever the job read
	case ev.Unread && t.state == Connecting:
		m.proceed(t, unknown)
		m.audit("the controller of a unit could not be read")
	case ev.Unread: // it was lost while the job ran
		m.inspect(t, afterLoss)
	case d == nil || !d.Serves(t.wish.TID) && !mayAssociate(d, t.wish.TID):
		m.fail(t, "it was connected, but its controller is gone again", 0)
	case m.foreign(d):
		m.leaveTo(t, d)
	case d.State == "live" || t.wish.TID.Transport != tid.FC:
		m.connected(t, d)
	case t.state == Connecting:
		m.proceed(t, associating)
	default:
		m.inspect(t, afterLoss)
	}
}

// inspectUnlessForeign inspects the unit of a target that is not another orchestrator's by now.
func (m *Machine) inspectUnlessForeign(t *target, why inspection) {
	if t.state != Foreign {
		m.inspect(t, why)
	}
}

// startedUnwanted takes the end of a start whose target went meanwhile: it was connected before the job ended, and no longer
// wanted since. The unit holds the controller until that drops.
func (m *Machine) startedUnwanted(ev JobDone, u *unit) {
	switch m.setActive(u, ev.Outcome == Done, u.argv); {
	case ev.Outcome == Lost:
		m.audit("the end of a job was not heard")
	case !ev.Unread:
		m.abandon(ev.Unit, leaving{Why: "its connection is no longer wanted"})
	}
}

// mayAssociate reports whether d is a controller of t's target that has never reached it: a Fibre Channel one shows no NQN
// until then, and its connect returns before.
func mayAssociate(d *device, t tid.TID) bool {
	c := d.Controller
	c.NQN = t.NQN
	return t.Transport == tid.FC && d.NQN == "" && c.Serves(t)
}

// failureOf says in words why a connect failed.
func failureOf(ev JobDone) string {
	switch {
	case ev.Failure != nil && ev.Failure.Meaning != "":
		return ev.Failure.Meaning
	case ev.Err != "":
		return ev.Err
	}
	return "the job of " + ev.Unit + " ended as " + string(ev.Outcome)
}

func errnoOf(ev JobDone) int {
	if ev.Failure == nil {
		return 0
	}
	return ev.Failure.Errno
}

func sortedKeys[V any](set map[string]V) []string { return slices.Sorted(maps.Keys(set)) }
