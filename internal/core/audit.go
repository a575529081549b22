// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"log/slog"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// auditing is the comparison of everything with the outside.
type auditing struct {
	audited    bool   // the first snapshot was compared: start-up is over
	busUp      uint64 // step of the last BusUp
	unitsKnown bool   // systemd was asked after that, and has answered
	auditTimer timer
	auditAsked time.Time         // when the last snapshot was asked for
	snapToken  uint64            // step at which the snapshot under way was asked for, 0 is none
	snapAgain  string            // why another one is due as soon as it is there
	reread     bool              // log pages may have changed unseen: read them at the next snapshot
	orphans    map[string]string // units that may explain nothing any more → nvmeN that they had, "" if unknown
	unread     map[string]bool   // units whose controller could not be read by the last comparison: it may be live
	snapErr    repeated          // why the comparison failed
	unitsErr   repeated          // why systemd could not be asked
}

// auditor owns the timer of the regular comparison.
type auditor struct{}

func (auditor) rank() (int, time.Time, uint64) { return rankAudit, never, 0 }
func (auditor) due(m *Machine)                 { m.audit("regular comparison") }

// audit asks for a comparison with the outside. One is under way at a time; a reason that comes meanwhile makes another
// follow, for what the first one reads may be older than the reason.
func (m *Machine) audit(why string) {
	if m.snapToken != 0 {
		m.snapAgain = why
		return
	}
	m.snapToken, m.auditAsked = m.step, m.now
	m.at(&m.auditTimer, never)
	m.emit(TakeSnapshot{Token: m.snapToken, Why: why})
}

func (m *Machine) snapshotFailed(ev SnapshotFailed) {
	if ev.Token != m.snapToken {
		return
	}
	m.snapToken, m.snapAgain = 0, ""
	m.in(&m.auditTimer, auditRetry)
	m.complainOf(&m.snapErr, slog.LevelError, "cannot compare with the kernel and systemd: "+ev.Err)
}

// snapshot compares and makes up for every event that was missed. It says nothing about what was touched after it was
// asked for.
func (m *Machine) snapshot(ev Snapshot) {
	if ev.Token != m.snapToken {
		return
	}
	asked := m.snapToken
	m.snapToken = 0
	m.at(&m.auditTimer, m.auditAsked.Add(auditInterval))
	if m.snapAgain != "" {
		why := m.snapAgain
		m.snapAgain = ""
		defer m.audit(why)
	}
	m.snapErr = repeated{}
	m.noteUnread(ev)
	switch {
	case ev.UnitsKnown:
		m.unitsErr = repeated{}
		m.setNoAutoconnect(!ev.Autoconnect)
		m.compareUnits(ev, asked)
		m.compareShutdown(ev)
	case m.bus:
		m.in(&m.auditTimer, auditRetry)
		m.complainOf(&m.unitsErr, slog.LevelWarn, "cannot ask systemd for the units, nothing is connected until it answers: "+ev.UnitsErr)
	}
	m.compareStopped(ev)
	if !m.audited {
		m.findOrphans(ev)
		m.audited, m.stale = true, true
		m.preview()
	}
	m.compareDevices(ev, asked)
	m.all(func(t *target) {
		if t.touched <= asked {
			m.compareTarget(t, ev.UnitsKnown)
		}
	})
	if ev.UnitsKnown {
		m.compareStopping(ev, asked) // after what is found lost only now, whose inspection has to know of the stop
		m.findLeft(asked)
		m.restoreRecords(ev, asked)
	}
	if m.reread {
		m.reread = false
		m.all(func(t *target) {
			if m.readable(t) {
				m.readLog(t)
			}
		})
	}
}

// setNoAutoconnect changes whose the controllers are that nvme-cli's automatic connects made.
func (m *Machine) setNoAutoconnect(not bool) {
	if m.noAutoconnect == not {
		return
	}
	m.noAutoconnect = not
	for _, d := range m.devices.byName {
		m.deviceChanged(d)
		m.unitChanged(d.Unit)
	}
}

// noteUnread notes the units whose controllers could not be read: until they can, they may be live.
func (m *Machine) noteUnread(ev Snapshot) {
	clear(m.unread)
	for unit, device := range ev.Devids {
		if slices.Contains(ev.Unreadable, device) {
			m.unread[unit] = true
		}
	}
}

// compareShutdown notices that a shutdown was called off.
func (m *Machine) compareShutdown(ev Snapshot) {
	if m.shutdown && !ev.ShuttingDown {
		m.shutdown, m.stale = false, true
		m.log(slog.LevelInfo, KindShutdownOff, nil, "the system does not shut down after all")
	}
}

// compareStopped takes over what an earlier daemon remembered of administrators' stops, and later makes up for a file that
// could not be written or removed.
func (m *Machine) compareStopped(ev Snapshot) {
	if ev.NoStopped {
		return
	}
	if !m.stopsRead {
		m.stopsRead = true
		for _, unit := range ev.Stopped {
			m.stopped[unit] = true
		}
		for _, unit := range ev.Stopping {
			if !m.since[unit] {
				m.stopping[unit] = true
			}
		}
		clear(m.since)
		return
	}
	for _, unit := range sortedKeys(m.stopped) {
		if !slices.Contains(ev.Stopped, unit) {
			m.emit(MarkStopped{Unit: unit})
		}
	}
	for _, unit := range ev.Stopped {
		if !m.stopped[unit] {
			m.emit(UnmarkStopped{Unit: unit})
		}
	}
}

// compareStopping forgets the stops of ours whose end was not heard and that are over: those of units that are gone, unless
// somebody waits for just that, or active without a job, or being started again.
func (m *Machine) compareStopping(ev Snapshot, asked uint64) {
	if len(m.stopping) == 0 {
		return
	}
	listed := map[string]UnitInfo{}
	for _, info := range ev.Units {
		listed[info.Name] = info
	}
	for _, name := range sortedKeys(m.stopping) {
		u := m.units.byName[name]
		if u != nil && (u.touched > asked || u.op != OpNone) {
			continue
		}
		info, there := listed[name]
		t := m.user(name)
		switch {
		case !there && (t == nil || !t.is(inspecting) && !t.is(parking)), there && u != nil && u.active && info.Job == "", info.Active == "activating":
			delete(m.stopping, name)
		}
	}
}

func (m *Machine) compareUnits(ev Snapshot, asked uint64) {
	m.unitsKnown = m.bus && asked >= m.busUp
	listed := map[string]bool{}
	for _, info := range ev.Units {
		m.work++
		listed[info.Name] = true
		u := m.unitOf(info.Name)
		if u.touched > asked || u.op != OpNone {
			continue
		}
		m.setActive(u, info.Active == "active" || info.Active == "reloading", info.Argv)
		u.begins, u.unsure = info.begins(), false
		if u.active && info.Job == "" {
			u.foreign = "" // somebody else's job is over, and its end was not heard
		}
		if t := m.user(info.Name); t != nil && t.is(unknown) && info.Active == "activating" {
			m.inspect(t, afterExists) // our job goes on, only its end will not be told
		}
	}
	for _, name := range sortedKeys(m.units.byName) {
		m.work++
		if u := m.units.byName[name]; !listed[name] && u.touched <= asked && u.op == OpNone {
			m.setActive(u, false, nil)
			u.begins, u.unsure = false, false
			m.tidy(name)
		}
	}
}

func (m *Machine) compareDevices(ev Snapshot, asked uint64) {
	there := map[string]bool{}
	for _, name := range ev.Unreadable {
		there[name] = true
	}
	for _, r := range ev.Devices {
		there[r.Name] = true
		m.work++
		if d := m.devices.byName[r.Name]; d != nil && d.touched > asked {
			continue
		}
		if d := m.record(r); d != nil {
			m.bind(d)
		}
	}
	for _, name := range sortedKeys(m.devices.byName) {
		if d := m.devices.byName[name]; !there[name] && d.touched <= asked {
			m.gone(d)
		}
	}
}

// compareTarget moves a target whose state the outside no longer agrees with.
func (m *Machine) compareTarget(t *target, unitsKnown bool) {
	switch {
	case t.state == Connected:
		m.compareConnected(t, t.device, unitsKnown)
	case t.state == Foreign:
		d := t.device
		if m.foreign(d) && (d.Serves(t.wish.TID) || d.State != "live") {
			return
		}
		if wish.Owner(d.Owner) == wish.OwnerAutoconnect && d.Serves(t.wish.TID) {
			m.log(slog.LevelInfo, KindClaimed, t, "nvme-cli's automatic connects are not in force any more: claiming it")
		}
		m.release(t)
	case t.is(ending) && unitsKnown:
		u := m.unitOf(t.unit)
		switch {
		case u.op != OpNone:
		case u.active:
			m.stop(t.unit, "an administrator asked for it, and the end of the stop was not heard")
		case !u.begins:
			m.proceed(t, idle)
		}
	case t.is(associating):
		m.compareAssociating(t)
	case t.is(unknown) && unitsKnown:
		m.inspect(t, afterExists)
	case t.is(inspecting):
		m.ask(t.unit)
	}
}

// compareAssociating is compareTarget of one whose controller has no association yet.
func (m *Machine) compareAssociating(t *target) {
	switch held := m.devices.ofUnit[t.unit]; {
	case m.unread[t.unit]:
	case len(held) == 0:
		m.fail(t, "it was connected, but its controller is gone again", 0)
	case m.foreign(held[0]):
		m.leaveTo(t, held[0])
	}
}

// leadsTo reports whether d is a controller of the target, by whatever path.
func (d *device) leadsTo(t tid.TID) bool {
	t.HostTraddr, t.HostIface = "", ""
	return d.Serves(t)
}

// compareConnected is compareTarget of a connected target.
func (m *Machine) compareConnected(t *target, d *device, unitsKnown bool) {
	u := m.units.byName[t.unit]
	switch {
	case d.State == "live" && !d.Serves(t.wish.TID) && (d.Unit == t.via || d.leadsTo(t.wish.TID)):
		m.mistaken(t, d)
	case d.State == "live" && !d.Serves(t.wish.TID): // the name was given to another controller unseen
		m.lose(t, &device{Device: Device{Controller: sysfs.Controller{Name: d.Name}, Unit: t.via}})
	case d.State == "live" && d.Unit == "": // a record that outlived its controller seemed to be about this one
		m.log(slog.LevelInfo, KindClaimed, t, "no unit holds it: claiming it")
		m.release(t)
	case unitsKnown && d.Unit == t.unit && !m.unitHolds(t.unit) && (u == nil || u.op == OpNone):
		m.log(slog.LevelWarn, KindClaimed, t, "its unit is gone while its controller lives: claiming it anew")
		m.release(t)
	case unitsKnown && t.is(parking) && u != nil && u.active && u.op == OpNone: // the stop was not carried out
		m.proceed(t, idle)
	case unitsKnown && t.unended:
		m.endUnkept(t)
	default:
		m.readMissed(d)
	}
}

// restoreRecords has the records written again that say whose a controller is, of controllers that, by what this very
// snapshot read, a unit of ours holds: the registry's entry, which other programs remove, and the file by which the unit
// finds its controller. A connect under way writes them itself.
func (m *Machine) restoreRecords(ev Snapshot, asked uint64) {
	for _, name := range sortedKeys(m.devices.byName) {
		d := m.devices.byName[name]
		u := m.units.byName[d.Unit]
		if u == nil || !u.active || u.begins || u.op != OpNone || u.touched > asked || d.touched != m.step || m.foreign(d) {
			continue
		}
		t := tidOf(u.argv)
		if t == (tid.TID{}) || !d.Serves(t) {
			continue
		}
		switch holds := ev.Devids[d.Unit]; {
		case holds == "":
			m.log(slog.LevelInfo, KindNone, m.user(d.Unit), "the file is missing by which its unit finds it: writing it again")
			m.emit(RestoreDevid{Unit: d.Unit, Device: name, TID: t})
			continue
		case holds != name || wish.Owner(d.Owner).Ours():
			continue
		}
		if d.ownerLogged == never || m.now.Sub(d.ownerLogged) >= remindEvery {
			d.ownerLogged = m.now
			msg := "its owner is missing in the registry, as if another program had removed it: writing it again"
			if d.Owner != "" {
				msg = "its owner in the registry is " + d.Owner + ", which is not in force: writing ours again"
			}
			m.emit(Log{Level: slog.LevelInfo, Kind: KindOwnerRestored, TID: t, Device: name, Unit: d.Unit, Msg: msg})
		}
		m.emit(RestoreOwner{Unit: d.Unit, Device: name, TID: t, Owner: ownerOf(u.argv)})
	}
}

// mistaken lets go of a controller that another wish's unit holds. While the kernel reconnected it, it showed no source
// address and seemed to serve t too.
func (m *Machine) mistaken(t *target, d *device) {
	m.log(slog.LevelInfo, KindMistaken, t, d.Name+" does not serve it after all")
	m.giveUp(t, m.now)
}
