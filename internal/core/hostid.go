// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// hostPair is a host NQN and a host ID that a source gives it.
type hostPair struct{ nqn, id string }

// identified returns w with the host ID that its host NQN is in use with. The kernel takes one ID for each NQN as long as a
// controller has it (drivers/nvme/host/fabrics.c, nvmf_host_add). The target and its unit keep the TID of the wish.
func (m *Machine) identified(w wish.Wish) wish.Wish {
	if id, _ := m.hostIDInUse(w.TID.HostNQN); id != "" && !strings.EqualFold(id, w.TID.HostID) {
		w.TID.HostID = id
	}
	return w
}

// hostIDInUse returns the host ID that a host NQN has in sysfs, or else in the boot firmware's tables, and who has it so, in
// words; "" if none is in use.
func (m *Machine) hostIDInUse(nqn string) (id string, by func() string) {
	if nqn == "" {
		return "", nil
	}
	uses := slices.DeleteFunc(slices.Clone(m.devices.ofPair[tid.FoldNQN(nqn)]), func(u pairUse) bool { return u.id == "" })
	first := func() *device { return m.firstOf(nqn) }
	switch len(uses) {
	case 0:
	case 1:
		return uses[0].id, func() string { return first().Name + " is connected" }
	default: // the kernel allows that for a moment at most
		return first().HostID, func() string { return first().Name + " is connected" }
	}
	if table, id := m.tableHostID(nqn); id != "" {
		return id, func() string { return "the firmware's table " + table + " boots this host" }
	}
	return "", nil
}

// firstOf returns the first device by name that has a host ID with a host NQN.
func (m *Machine) firstOf(nqn string) *device {
	var first *device
	for _, d := range m.devices.byName {
		m.work++
		if d.HostID != "" && tid.SameNQN(d.HostNQN, nqn) && (first == nil || d.Name < first.Name) {
			first = d
		}
	}
	return first
}

// tableHostID returns the host ID that the boot firmware's tables have for a host NQN, and which of them. One that was only
// derived from the NQN is no reason to use another than the files have.
func (m *Machine) tableHostID(nqn string) (table, id string) {
	for _, c := range m.boot.connections {
		if c.Wish.TID.HostID != "" && !c.Derived && tid.SameNQN(c.Wish.TID.HostNQN, nqn) {
			return c.Table, c.Wish.TID.HostID
		}
	}
	return "", ""
}

// tellHostID warns once that a wish is connected with another host ID than its source says.
func (m *Machine) tellHostID(w wish.Wish) {
	nqn, own := w.TID.HostNQN, w.TID.HostID
	used, by := m.hostIDInUse(nqn)
	if own == "" || used == "" || strings.EqualFold(used, own) || m.hostIDs[hostPair{nqn, own}] == used {
		return
	}
	m.hostIDs[hostPair{nqn, own}] = used
	from := m.cfg.HostIDFrom[nqn]
	if table, id := m.tableHostID(nqn); id == own {
		from = table
	}
	m.log(slog.LevelWarn, KindConfigWarning, nil, fmt.Sprintf("connecting with hostid %s instead of %s (%s): %s as hostnqn %s with that hostid, and the kernel takes one for each hostnqn; make the two agree",
		used, own, from, by(), nqn))
}

// hostFreed tries what may wait because the kernel let d alone have its host NQN, or its host ID, and what is excluded by the host
// ID that was in use. The kernel keeps the pair as long as another controller has it. Only targets of another pair can be
// concerned, and most hosts have one.
func (m *Machine) hostFreed(d *device) {
	same := func(u pairUse) bool { return strings.EqualFold(u.id, d.HostID) }
	if slices.ContainsFunc(m.devices.ofPair[tid.FoldNQN(d.HostNQN)], same) {
		return
	}
	for _, pair := range m.targets.pairs() {
		used := pair
		if id, _ := m.hostIDInUse(pair.nqn); id != "" {
			used.id = id
		}
		if !pair.half(d) && !used.half(d) {
			continue
		}
		for _, t := range m.inOrder(m.targets.ofPair[pair]) {
			switch {
			case t.state == Excluded:
				m.readmit(t)
			case t.state == Waiting && t.is(idle) && t.attempts > 0:
				if at := m.now.Add(kickDelay); used.half(d) && earlier(at, t.timer.when) < 0 && !at.Before(t.notBefore) {
					t.attempts = 0
					m.at(&t.timer, at)
					m.change(t)
				}
			}
		}
	}
}

// half reports whether d has one of the pair, and not the other.
func (p hostPair) half(d *device) bool {
	return tid.SameNQN(p.nqn, d.HostNQN) != strings.EqualFold(p.id, d.HostID)
}

// pairs returns the pairs of host NQN and host ID that targets have, in a fixed order.
func (ts *targets) pairs() []hostPair {
	return slices.SortedFunc(maps.Keys(ts.ofPair), func(a, b hostPair) int { return cmp.Or(cmp.Compare(a.nqn, b.nqn), cmp.Compare(a.id, b.id)) })
}
