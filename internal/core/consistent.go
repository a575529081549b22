// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"maps"
	"slices"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Inconsistent compares every index with what it indexes, and the desired set with what it would be if it were made anew. It
// returns the first thing that is not as it must be, "" if all is: for tests, since it looks at everything.
func (m *Machine) Inconsistent() string {
	m.targets.index()
	for _, check := range []func() string{m.checkTargets, m.checkGroups, m.checkDevices, m.checkUnits, m.checkDesired} {
		if wrong := check(); wrong != "" {
			return wrong
		}
	}
	return ""
}

func (m *Machine) checkTargets() string {
	ts := &m.targets
	count, waiting, named := map[tally]int{}, map[string]int{}, map[string]int{}
	unheard, desired, holes, kept := 0, 0, 0, 0
	for i, t := range ts.list {
		if t == nil {
			holes++
			continue
		}
		id := t.wish.TID
		switch {
		case t.dropped || t.place != i:
			return fmt.Sprintf("%v: dropped %v, at place %d instead of %d", id, t.dropped, i, t.place)
		case ts.byTID[id] != t || !ts.byNQN[tid.FoldNQN(id.NQN)][t] || !ts.ofPair[hostPair{id.HostNQN, id.HostID}][t]:
			return fmt.Sprintf("%v is not found by its TID, NQN or host", id)
		case t.group != groupOf(t.wish):
			return fmt.Sprintf("%v is in group %v", id, t.group)
		case (t.device != nil) != (t.state == Connected || t.state == Foreign):
			return fmt.Sprintf("%v is %v with device %v", id, t.state, t.device != nil)
		case t.device != nil && (m.devices.byName[t.device.Name] != t.device || !slices.Contains(t.device.users, t)):
			return fmt.Sprintf("%v has a device that does not have it", id)
		case !slices.Contains(steps[t.attempt.step].states, t.state):
			return fmt.Sprintf("%v is %v while it is %v", id, t.attempt.step, t.state)
		case (t.attempt.ticket != 0) != t.is(queued) || (t.attempt.probe != nil) != t.is(probing):
			return fmt.Sprintf("%v is %v with ticket %d", id, t.attempt.step, t.attempt.ticket)
		case t.is(idle) && (t.state == Waiting || t.state == Parked) && t.timer.when == never && len(m.names.byTID[id]) == 0:
			return fmt.Sprintf("%v is %v and waits for nothing", id, t.state)
		case t.tallied != t.tally():
			return fmt.Sprintf("%v is counted as %+v", id, t.tallied)
		case m.desired.retained[t] != (t.retention.when != never):
			return fmt.Sprintf("%v is retained until %v: %v", id, t.retention.when, m.desired.retained[t])
		}
		y := t.tally()
		if y.transport != "" {
			waiting[y.transport]++
		}
		if y.unheard {
			unheard++
		}
		if y.transport = ""; true {
			count[y]++
		}
		named[t.unit]++
		if t.desired {
			desired++
		}
		if t.page != nil {
			kept += len(t.page.Entries)
		}
	}
	switch {
	case holes != ts.holes || len(ts.byTID) != m.Targets():
		return fmt.Sprintf("%d targets, %d holes instead of %d, %d TIDs", m.Targets(), ts.holes, holes, len(ts.byTID))
	case !maps.Equal(count, ts.count) || unheard != ts.unheard || !maps.Equal(named, ts.named):
		return fmt.Sprintf("counts %v, want %v; unheard %d, want %d; units %v, want %v", ts.count, count, ts.unheard, unheard, ts.named, named)
	case desired != m.desired.n || kept != m.kept:
		return fmt.Sprintf("%d desired instead of %d, %d entries kept instead of %d", m.desired.n, desired, m.kept, kept)
	}
	for transport, n := range waiting {
		if len(ts.waiting[transport]) != n {
			return fmt.Sprintf("%d wait on %s, found %d", n, transport, len(ts.waiting[transport]))
		}
	}
	for unit, t := range ts.byUnit {
		if t.dropped || t.unit != unit {
			return fmt.Sprintf("%s is used by %v, which uses %s", unit, t.wish.TID, t.unit)
		}
	}
	return ""
}

func (m *Machine) checkGroups() string {
	for g, c := range m.targets.groups {
		if c.holder.dropped || c.holder.group != g || c.holder.state != Connecting && !c.holder.is(inspecting) {
			return fmt.Sprintf("%v is held by %v, which is %v", g, c.holder.wish.TID, c.holder.state)
		}
	}
	wrong := ""
	m.all(func(t *target) {
		if c := m.targets.groups[t.group]; t.is(blocked) && (c == nil || !c.waiting[t]) {
			wrong = fmt.Sprintf("%v is blocked by nobody", t.wish.TID)
		}
	})
	return wrong
}

func (m *Machine) checkDevices() string {
	fresh := newDevices()
	reserved := 0
	for name, d := range m.devices.byName {
		if d.gone || d.Name != name {
			return fmt.Sprintf("%s is recorded as %s, gone %v", name, d.Name, d.gone)
		}
		fresh.put(&device{}, d.Device)
		reserved += d.reading.keep
		for _, t := range d.users {
			if t.device != d || t.dropped {
				return fmt.Sprintf("%s has a user %v that does not have it", name, t.wish.TID)
			}
		}
	}
	if reserved != m.reserved {
		return fmt.Sprintf("%d entries are reserved instead of %d", m.reserved, reserved)
	}
	names := func(index []*device) []string {
		var names []string
		for _, d := range index {
			names = append(names, d.Name)
		}
		slices.Sort(names)
		return names
	}
	for p, want := range fresh.at {
		if !slices.Equal(names(want), names(m.devices.at[p])) {
			return fmt.Sprintf("%v at %v, want %v", names(m.devices.at[p]), p, names(want))
		}
	}
	for unit, want := range fresh.ofUnit {
		if !slices.Equal(names(want), names(m.devices.ofUnit[unit])) {
			return fmt.Sprintf("%v of %s, want %v", names(m.devices.ofUnit[unit]), unit, names(want))
		}
	}
	if len(fresh.at) != len(m.devices.at) || len(fresh.ofUnit) != len(m.devices.ofUnit) || len(fresh.ofPair) != len(m.devices.ofPair) {
		return "an index of devices has something that is gone"
	}
	return ""
}

func (m *Machine) checkUnits() string {
	running := 0
	for name, u := range m.units.byName {
		if u.name != name {
			return fmt.Sprintf("%s is recorded as %s", name, u.name)
		}
		if u.op == OpStart || u.op == OpRestart {
			running++
		}
	}
	if running != m.units.running {
		return fmt.Sprintf("%d units are being connected, counted %d", running, m.units.running)
	}
	return ""
}

// checkDesired compares the targets with the desired set as it would be made anew. It changes nothing but what is computed again.
func (m *Machine) checkDesired() string {
	if !m.audited || m.stale || m.shutdown || m.desired.full || len(m.desired.recalled) > 0 {
		return ""
	}
	ids := map[tid.TID]bool{}
	for id := range m.desired.static {
		ids[id] = true
	}
	for id := range m.desired.claims {
		ids[id] = true
	}
	m.all(func(t *target) { ids[t.wish.TID] = true })
	for id := range ids {
		w, t := m.wanted(id), m.targets.byTID[id]
		switch {
		case w == nil && t != nil && t.desired:
			return fmt.Sprintf("%v is desired and nothing wants it", id)
		case w != nil && (t == nil || !t.desired):
			return fmt.Sprintf("%v is wanted by %v and not desired", id, w.sources)
		case w != nil && (t.wish != w.wish || !slices.Equal(t.sources, w.sources)):
			return fmt.Sprintf("%v is desired as %v by %v, and wanted as %v by %v", id, t.wish.Args(), t.sources, w.wish.Args(), w.sources)
		}
	}
	return ""
}
