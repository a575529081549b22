package core

import (
	"log/slog"
	"slices"

	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// audit asks for a comparison with the outside. One is under way at a time; a reason that comes meanwhile makes another
// follow, for what the first one reads may be older than the reason.
func (m *Machine) audit(why string) {
	if m.snapToken != 0 {
		m.snapAgain = why
		return
	}
	m.snapToken = m.step
	m.nextAudit = m.now.Add(auditInterval)
	m.emit(TakeSnapshot{Token: m.snapToken, Why: why})
}

func (m *Machine) snapshotFailed(ev SnapshotFailed) {
	if ev.Token != m.snapToken {
		return
	}
	m.snapToken, m.snapAgain = 0, ""
	m.nextAudit = m.now.Add(auditRetry)
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
		m.noAutoconnect = !ev.Autoconnect
		m.compareUnits(ev, asked)
		m.compareShutdown(ev)
	case m.bus:
		m.nextAudit = m.now.Add(auditRetry)
		m.complainOf(&m.unitsErr, slog.LevelWarn, "cannot ask systemd for the units, nothing is connected until it answers: "+ev.UnitsErr)
	}
	m.compareStopped(ev)
	if ev.UnitsKnown {
		m.compareStopping(ev, asked)
	}
	if !m.audited {
		m.findOrphans(ev)
		m.audited, m.viewDirty = true, true
	}
	m.compareDevices(ev, asked)
	for _, t := range m.targets {
		if t.touched <= asked {
			m.compareTarget(t, ev.UnitsKnown)
		}
	}
	if ev.UnitsKnown {
		m.findLeft(asked)
		m.restoreOwners(ev, asked)
	}
	if m.reread {
		m.reread = false
		for _, t := range m.targets {
			if m.readable(t) {
				m.readLog(t)
			}
		}
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
		m.shutdown, m.viewDirty = false, true
		m.log(slog.LevelInfo, KindShutdownOff, nil, "the system does not shut down after all")
	}
}

// compareStopped takes over what an earlier daemon remembered of administrators' stops, and later makes up for a file that
// could not be written or removed.
func (m *Machine) compareStopped(ev Snapshot) {
	if ev.NoStopped {
		return
	}
	if !m.audited {
		for _, unit := range ev.Stopped {
			m.stopped[unit] = true
		}
		for _, unit := range ev.Stopping {
			m.stopping[unit] = true
		}
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

// compareStopping forgets the stops of an earlier daemon that are over: those of units that are gone, unless somebody waits
// for just that, or active without a job.
func (m *Machine) compareStopping(ev Snapshot, asked uint64) {
	for _, name := range sortedKeys(m.stopping) {
		if u := m.units[name]; u != nil && u.touched > asked {
			continue
		}
		at := slices.IndexFunc(ev.Units, func(info UnitInfo) bool { return info.Name == name })
		t := m.byUnit[name]
		switch {
		case at < 0 && (t == nil || t.phase != looking), at >= 0 && m.units[name].active && ev.Units[at].Job == "":
			delete(m.stopping, name)
		}
	}
}

func (m *Machine) compareUnits(ev Snapshot, asked uint64) {
	m.unitsKnown = m.bus && asked >= m.busUp
	listed := map[string]bool{}
	for _, info := range ev.Units {
		listed[info.Name] = true
		u := m.unitOf(info.Name)
		if u.touched > asked || u.op != OpNone {
			continue
		}
		u.active = info.Active == "active" || info.Active == "reloading"
		u.begins = info.begins()
		u.argv = info.Argv
		if t := m.byUnit[info.Name]; t != nil && t.phase == unknown && info.Active == "activating" {
			m.look(t, afterExists) // our job goes on, only its end will not be told
		}
	}
	for _, name := range sortedKeys(m.units) {
		if u := m.units[name]; !listed[name] && u.touched <= asked && u.op == OpNone {
			u.active, u.begins, u.argv = false, false, nil
			m.tidy(name)
		}
	}
}

// findOrphans notes the connections that were lost while no daemon looked. That of a unit which is being started may be on
// record already and not yet be there.
func (m *Machine) findOrphans(ev Snapshot) {
	has := map[string]bool{}
	for _, d := range ev.Devices {
		has[d.Unit] = true
	}
	for unit, device := range ev.Devids {
		if u := m.units[unit]; !has[unit] && !m.unread[unit] && (u == nil || !u.begins) {
			m.orphans[unit] = device
		}
	}
}

// findLeft notes the units that had a controller while this daemon looked, and have none and no use any more: the end of
// their stop was not heard, or another wish's connection serves their target since. Units that it knows nothing of are left
// for the status to show.
func (m *Machine) findLeft(asked uint64) {
	for _, name := range sortedKeys(m.units) {
		if u := m.units[name]; u.had && u.active && u.op == OpNone && u.touched <= asked && !m.needs(name) {
			if _, known := m.orphans[name]; !known {
				m.orphans[name] = ""
			}
		}
	}
}

// needs tells whether a unit has a controller or a target that will connect by it.
func (m *Machine) needs(unit string) bool {
	t := m.byUnit[unit]
	return m.hasDevice(unit) || t != nil && (t.state == Waiting || t.state == Connecting || t.state == Connected && t.via == unit)
}

func (m *Machine) compareDevices(ev Snapshot, asked uint64) {
	there := map[string]bool{}
	for _, name := range ev.Unreadable {
		there[name] = true
	}
	for _, r := range ev.Devices {
		there[r.Name] = true
		if d := m.devices[r.Name]; d != nil && d.touched > asked {
			continue
		}
		if d := m.record(r); d != nil {
			m.bind(d)
		}
	}
	for _, name := range sortedKeys(m.devices) {
		if d := m.devices[name]; !there[name] && d.touched <= asked {
			m.gone(d)
		}
	}
}

// compareTarget moves a target whose state the outside no longer agrees with.
func (m *Machine) compareTarget(t *target, unitsKnown bool) {
	switch {
	case t.state == Connected:
		d := m.devices[t.device]
		switch {
		case d != nil && d.State == "live" && !d.Serves(t.wish.TID) && d.Unit == t.via:
			m.mistaken(t, d)
		case d == nil || !d.Serves(t.wish.TID) && d.State == "live": // the name was recycled unseen
			m.lose(t, &device{Device: Device{Controller: sysfs.Controller{Name: t.device}, Unit: t.via}})
		case d.Unit == "" && d.State == "live": // a record that outlived its controller seemed to be about this one
			m.log(slog.LevelInfo, KindClaimed, t, "no unit holds it: claiming it")
			t.parking = false
			m.release(t)
		case unitsKnown && d.Unit == t.unit && !m.unitHolds(t.unit) && m.unitOf(t.unit).op == OpNone:
			m.log(slog.LevelWarn, KindClaimed, t, "its unit is gone while its controller lives: claiming it anew")
			t.parking = false
			m.release(t)
		case unitsKnown && t.unended:
			m.endUnkept(t)
		}
	case t.state == Foreign:
		d := m.devices[t.device]
		if d != nil && m.foreign(d) && (d.Serves(t.wish.TID) || d.State != "live") {
			return
		}
		if d != nil && wish.Owner(d.Owner) == wish.OwnerAutoconnect && d.Serves(t.wish.TID) {
			m.log(slog.LevelInfo, KindClaimed, t, "nvme-cli's automatic connects are not in force any more: claiming it")
		}
		m.release(t)
	case t.state == Stopped && t.ending && unitsKnown:
		u := m.unitOf(t.unit)
		if u.op != OpNone {
			return
		}
		if u.active {
			m.stop(t.unit, "an administrator asked for it, and the end of the stop was not heard")
			return
		}
		t.ending = u.begins
	case t.phase == unknown && unitsKnown:
		m.look(t, afterExists)
	case t.phase == looking && m.bus:
		m.emit(AskUnit{Unit: t.unit})
	}
}

// restoreOwners has the registry's entries written again that other programs removed: of controllers that, by what this very
// snapshot read, a unit of ours holds and nobody owns. A connect under way writes its entry itself.
func (m *Machine) restoreOwners(ev Snapshot, asked uint64) {
	for _, name := range sortedKeys(m.devices) {
		d := m.devices[name]
		u := m.units[d.Unit]
		if u == nil || !u.active || u.begins || u.op != OpNone || u.touched > asked || d.touched != m.step || ev.Devids[d.Unit] != name {
			continue
		}
		t := tidOf(u.argv)
		if m.foreign(d) || wish.Owner(d.Owner).Ours() || t == (tid.TID{}) || !d.Serves(t) {
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
