package core

import (
	"log/slog"
	"maps"
	"slices"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// unit is what systemd holds under one name.
type unit struct {
	active  bool
	begins  bool     // it was seen while somebody started it, or was about to
	argv    []string // its command, nil if unknown
	op      Op       // our job on it
	had     bool     // this daemon started it, or saw a controller of its
	foreign string   // type of the last job that was not ours, since our last one
	touched uint64
}

// reason is why systemd is asked about a unit.
type reason int

const (
	afterLoss   reason = iota // its controller went away
	afterExists               // our start was refused: there is a unit of that name
	afterCancel               // our start was cancelled
)

func (m *Machine) unitOf(name string) *unit {
	u := m.units[name]
	if u == nil {
		u = &unit{}
		m.units[name] = u
	}
	return u
}

// unitHolds tells whether a unit that is on record for a controller holds it, or is about to: a start of it may end after
// the controller was seen.
func (m *Machine) unitHolds(name string) bool {
	u := m.units[name]
	return u != nil && (u.active || u.begins || u.op == OpStart || u.op == OpRestart)
}

// tidy forgets a unit that is gone.
func (m *Machine) tidy(name string) {
	if u := m.units[name]; u != nil && !u.active && u.op == OpNone && m.byUnit[name] == nil {
		delete(m.units, name)
	}
}

func (m *Machine) stop(name, why string) {
	u := m.unitOf(name)
	u.op, u.foreign, u.touched = OpStop, "", m.step
	m.emit(StopUnit{Unit: name, Why: why})
}

// end stops a unit whose controller was lost, unless it has found another one by then: a restart by an administrator takes
// whatever serves its wish, and that may be live.
func (m *Machine) end(name, why string) {
	if !m.hasDevice(name) {
		m.stop(name, why)
	}
}

// abandon stops a unit that nothing wants and that has no controller any more, now or when systemd can be talked to again.
// device is what it had, "" if that is not known.
func (m *Machine) abandon(name, device, why string) {
	u := m.units[name]
	switch {
	case u == nil || !u.active || u.op != OpNone || m.hasDevice(name) || m.shutdown:
	case !m.bus:
		m.orphans[name] = device
	default:
		m.logEnd(name, device, "stopping "+name+": "+why)
		m.stop(name, why)
	}
}

// look asks systemd about the unit of t before anything is decided, and keeps the other wishes of its group waiting.
func (m *Machine) look(t *target, why reason) {
	if t.state != Waiting {
		m.transition(t, Waiting)
	}
	t.phase, t.lookFor, t.touched = looking, why, m.step
	t.next = m.now.Add(lookAgain)
	m.enterGroup(t)
	if m.bus {
		m.emit(AskUnit{Unit: t.unit})
	}
}

// foreignJob looks at a unit on which somebody else's job begins or ends.
func (m *Machine) foreignJob(ev ForeignJob) {
	if u := m.unitOf(ev.Unit); u.op == OpNone || ev.Type == "stop" {
		u.foreign, u.touched = ev.Type, m.step
	}
	m.emit(AskUnit{Unit: ev.Unit})
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
	u := m.unitOf(ev.Unit)
	if u.op != OpNone { // our own job: its end tells
		return
	}
	u.touched = m.step
	u.begins = ev.Info.begins()
	var d *device
	if ev.Device != nil {
		d = m.record(*ev.Device)
	}
	t := m.byUnit[ev.Unit]
	switch ev.Info.Active {
	case "active", "reloading":
		u.active, u.argv = true, ev.Info.Argv
		if ev.Info.Job == "" {
			delete(m.stopping, ev.Unit) // it is over
		}
		if ev.Unread { // it may have a controller: the next look tells
			return
		}
		if d != nil {
			m.bind(d)
		}
		if t == nil || t.phase != looking {
			return
		}
		if t.lookFor == afterLoss {
			m.decide(t)
		} else {
			m.attempt(t)
		}
	case "activating":
		return // somebody starts it: the end of that job or the next look tells
	default:
		if ev.Info.Job != "" && ev.Info.Job != "stop" {
			return // a restart passes through here
		}
		if m.stopping[ev.Unit] { // an earlier daemon's own stop
			m.stoppedBefore(ev, t, u)
			return
		}
		if ev.Info.Job == "stop" { // ours would have been waited for
			u.foreign = "stop"
		}
		u.active, u.argv = false, nil
		m.stoppedOutside(ev.Unit, t, u)
		m.tidy(ev.Unit)
	}
}

// stoppedBefore goes on where an earlier daemon stopped a unit for reasons of its own: when it is gone, it is started anew.
func (m *Machine) stoppedBefore(ev UnitState, t *target, u *unit) {
	if ev.Info.Active == "deactivating" {
		return // the next look tells
	}
	delete(m.stopping, ev.Unit)
	u.active, u.argv = false, nil
	if t != nil && t.phase == looking {
		m.attempt(t)
	}
	m.tidy(ev.Unit)
}

// stoppedOutside handles a unit that is inactive, or about to be, without our doing.
func (m *Machine) stoppedOutside(name string, t *target, u *unit) {
	switch {
	case t == nil:
		if u.foreign == "stop" && !m.stopped[name] {
			m.stopped[name] = true
			m.emit(MarkStopped{Unit: name})
		}
	case t.state == Stopped:
	case t.phase == looking && t.lookFor == afterExists && u.foreign != "stop", u.foreign != "" && u.foreign != "stop":
		if t.phase == looking { // it ended, or somebody's own attempt to start it failed: ours comes next
			m.fail(t, "the unit ended meanwhile", 0)
		}
	case u.foreign == "stop":
		m.byAdmin(t, "an administrator stopped "+name)
	case t.phase == looking:
		m.byAdmin(t, name+" is inactive without our doing, as if an administrator had stopped it")
	}
}

func (m *Machine) jobDone(ev JobDone) {
	u := m.units[ev.Unit]
	if u == nil || u.op != ev.Op {
		return
	}
	u.op, u.begins, u.touched = OpNone, false, m.step
	var d *device
	if ev.Device != nil {
		d = m.record(*ev.Device)
	}
	t := m.byUnit[ev.Unit]
	switch {
	case ev.Op == OpStop:
		m.stopDone(ev, u, t)
	case t != nil:
		m.startDone(ev, u, t, d)
	default:
		m.startedUnwanted(ev, u)
	}
	if t != nil && !t.desired {
		m.viewDirty = true
	}
	m.tidy(ev.Unit)
}

func (m *Machine) stopDone(ev JobDone, u *unit, t *target) {
	switch ev.Outcome {
	case Done, NoUnit:
		u.active, u.argv = false, nil
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
	case t.phase == clearing && !u.active:
		m.adopt(t, t.wish.TID.UnitName())
		m.enqueue(t)
	case t.phase == clearing:
		m.fail(t, "its unit cannot be stopped: "+string(ev.Outcome)+" "+ev.Err, 0)
	case t.phase == looking:
		m.look(t, afterExists)
	case t.parking && t.state == Connected && u.active: // it goes on as it is
		t.parking = false
	case t.parking && t.state == Waiting:
		m.park(t)
	}
}

func (m *Machine) startDone(ev JobDone, u *unit, t *target, d *device) {
	if t.state == Stopped { // the administrator was faster
		if u.active = ev.Outcome == Done; u.active {
			m.stop(ev.Unit, "an administrator stopped it while it was connecting")
		}
		return
	}
	switch ev.Outcome {
	case Done:
		u.active, u.foreign = true, ""
		switch {
		case t.state == Connected:
			if t.unended {
				m.endUnkept(t)
			}
		case ev.Unread:
			t.phase = unknown
			m.audit("the controller of a unit could not be read")
		case d == nil || !d.Serves(t.wish.TID) && !associating(d, t.wish.TID):
			m.fail(t, "it was connected, but its controller is gone again", 0)
		case m.foreign(d):
			m.transition(t, Foreign)
			t.device = d.Name
		case d.State == "live" || t.wish.TID.Transport != tid.FC:
			m.connected(t, d)
		default:
			t.phase = settling
		}
	case Exists:
		u.active, u.argv = true, nil
		m.look(t, afterExists)
	case NoUnit: // it went while our restart of it was on its way
		u.active, u.argv = false, nil
		if u.foreign == "stop" {
			m.byAdmin(t, "an administrator stopped "+ev.Unit)
		} else {
			m.fail(t, "its unit is gone", 0)
		}
	case Canceled:
		m.look(t, afterCancel)
	case Lost:
		if t.state == Connecting {
			t.phase = unknown
		}
		m.audit("the end of a job was not heard")
	default:
		u.active, u.argv = false, nil
		m.learnConcat(ev)
		m.fail(t, failureOf(ev), errnoOf(ev))
	}
}

// startedUnwanted takes the end of a start whose target went meanwhile: it was connected before the job ended, and no longer
// wanted since. The unit holds the controller until that drops.
func (m *Machine) startedUnwanted(ev JobDone, u *unit) {
	switch u.active = ev.Outcome == Done; {
	case ev.Outcome == Lost:
		m.audit("the end of a job was not heard")
	case !ev.Unread:
		m.abandon(ev.Unit, "", "its connection is no longer wanted")
	}
}

// associating tells whether d is a controller of t's target that has never reached it: a Fibre Channel one shows no NQN
// until then, and its connect returns before.
func associating(d *device, t tid.TID) bool {
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
