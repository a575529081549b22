// SPDX-License-Identifier: GPL-3.0-or-later

package core

// leaving is a unit that nothing wants and that has no controller, as far as is known. Once made it does not change.
type leaving struct {
	Device string // what it had, "" if that is not known
	Forget bool   `json:",omitzero"` // what is on record of Device
	Why    string
	Asked  uint64 `json:",omitzero"` // step in which systemd was asked about it
}

// recorded is the device whose records have to be forgotten still, "" if there is none.
func (l *leaving) recorded() string {
	if l == nil || !l.Forget {
		return ""
	}
	return l.Device
}

// findOrphans notes the connections that were lost while no daemon looked. That of a unit which is being started may be on
// record already and not yet be there.
func (m *Machine) findOrphans(ev Snapshot) {
	has := map[string]bool{}
	for _, d := range ev.Devices {
		has[d.Unit] = true
	}
	for unit, device := range ev.Devids {
		if u := m.units.byName[unit]; !has[unit] && !m.unread[unit] && (u == nil || !u.begins) {
			m.orphans[unit] = device
		}
	}
}

// findLeft notes the units that had a controller while this daemon looked, and have none and no use any more: the end of
// their stop was not heard, or another wish's connection serves their target since. Units that it knows nothing of are left
// for the status to show.
func (m *Machine) findLeft(asked uint64) {
	for _, name := range sortedKeys(m.units.byName) {
		m.work++
		if u := m.units.byName[name]; (u.had || u.leaving != nil) && u.active && u.op == OpNone && u.touched <= asked && !m.needs(name) {
			if _, known := m.orphans[name]; !known {
				m.orphans[name] = u.leaving.recorded()
			}
		}
	}
}

// needs tells whether a unit has a controller or a target that will connect by it.
func (m *Machine) needs(unit string) bool {
	t := m.user(unit)
	return m.hasDevice(unit) || t != nil && (t.state == Waiting || t.state == Connecting || t.state == Connected && t.via == unit)
}

// decideOrphans ends the units whose controller was lost while the daemon was away and that nothing wants: when every DC
// has been read or has failed once, and Fibre Channel was asked, so that all wishes are known (docs/design.md, "Start, restart, crash").
func (m *Machine) decideOrphans() {
	if len(m.orphans) == 0 || !m.unitsKnown || !m.bus || m.stale || !m.fc.settled {
		return
	}
	if m.targets.index(); m.targets.unheard > 0 {
		return
	}
	for _, unit := range sortedKeys(m.orphans) {
		device := m.orphans[unit]
		needed, u := m.needs(unit), m.units.byName[unit]
		if !needed && u != nil && u.active && u.contested() { // the look at it after somebody else's job leads here again
			continue
		}
		delete(m.orphans, unit)
		if needed { // it was wanted and connected meanwhile
			continue
		}
		if device != "" && (u == nil || !u.active) { // the unit is gone too
			m.emit(ForgetState{Unit: unit, Device: device})
			continue
		}
		left := leaving{Why: "it has no controller, and nothing is to be connected by it"}
		if device != "" {
			left = leaving{Device: device, Forget: true, Why: "its controller was lost while nobody looked and is no longer wanted"}
		}
		m.abandon(unit, left)
	}
}

// end stops a unit whose controller was lost, unless it has found another one by then, or may be about to.
func (m *Machine) end(name, why string) {
	switch {
	case m.hasDevice(name):
	case m.unitOf(name).contested():
		m.orphans[name] = ""
	default:
		m.stop(name, why)
	}
}

// abandon stops a unit that nothing wants and that has no controller any more: as soon as systemd was asked about it, or when
// somebody else's job on it is over. An administrator's restart, of which nothing may have been heard yet, takes what serves its
// wish, and a stop would disconnect that. left says what the unit had, and why it goes.
func (m *Machine) abandon(name string, left leaving) {
	u := m.units.byName[name]
	switch {
	case u == nil || !u.active || u.op != OpNone || m.hasDevice(name) || m.shutdown:
	case u.contested():
		m.orphans[name] = "" // what is on record of its controller is forgotten
	case !m.bus:
		m.orphans[name] = left.Device
	default:
		left.Asked = m.step
		u.leaving = &left
		m.ask(name)
	}
}

// leave goes on with an abandoned unit that systemd says is active in the answer ev. Without an answer in time the unit is asked about
// again after the next comparison: see findLeft.
func (m *Machine) leave(u *unit, ev UnitState) {
	left := u.leaving
	if left == nil || m.shutdown || ev.Token != 0 && ev.Token < left.Asked {
		return
	}
	u.leaving = nil
	switch {
	case m.needs(u.name):
	case ev.Info.Job != "" || u.contested():
		if u.foreign == "" { // begun before anybody told of it: its end is awaited, in place of asking again and again
			u.foreign = ev.Info.Job
		}
		m.orphans[u.name] = left.recorded()
	default:
		m.forgetLeft(u.name, left)
		m.logEnd(u.name, left.Device, "stopping "+u.name+": "+left.Why)
		m.stop(u.name, left.Why)
	}
}

// forgetLeft forgets what is on record of an abandoned unit's controller; left may be nil.
func (m *Machine) forgetLeft(unit string, left *leaving) {
	if device := left.recorded(); device != "" {
		m.emit(ForgetState{Unit: unit, Device: device})
	}
}
