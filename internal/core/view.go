// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"iter"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// LogPageSource begins a source of TargetView that is a log page; the log form of its DC follows.
const LogPageSource = "log page of "

// BootSource begins a source of TargetView that is a table of the boot firmware.
const BootSource = "NBFT: "

// View is what the core knows at one moment, for people and other programs. Nothing in it ever changes, so that everybody
// shares it.
type View struct {
	Status  string // the one line of STATUS=
	Counts  Counts
	Ready   bool
	Bus     bool      // systemd can be talked to
	MDNS    *Browsing // nil: mDNS is switched off
	Targets TargetList
	// Unwanted are connections of ours that nothing wishes for any more; they stay until they drop.
	Unwanted []Device
	// Unexplained are units that systemd holds and neither a target nor a device accounts for.
	Unexplained []string
}

// TargetList is the targets of a view, in the order in which they were first wished for; names without an address come last.
// Before the first comparison with the outside it is what is configured: all of it waits.
type TargetList struct {
	leaves [][]*TargetView // of leafSize each; nil where a target was forgotten
	names  []*TargetView
	n      int
}

// Len returns how many targets there are.
func (l TargetList) Len() int { return l.n }

// All returns the targets in order.
func (l TargetList) All() iter.Seq[*TargetView] {
	return func(yield func(*TargetView) bool) {
		for _, leaf := range l.leaves {
			for _, t := range leaf {
				if t != nil && !yield(t) {
					return
				}
			}
		}
		for _, t := range l.names {
			if !yield(t) {
				return
			}
		}
	}
}

// TargetView is one target.
type TargetView struct {
	Wish        wish.Wish
	Unit        string // "" while it is only named by its host, which has no address yet
	State       State
	Phase       string    // what it waits for within its state; "idle" is nothing
	Since       time.Time // when it came into the state, as far as that was seen
	Device      string    // nvmeN, "" without
	DeviceState string    // what sysfs said of the device when it was last looked at
	// ReconnectUntil is when the kernel gives up a controller that it reconnects, about. Zero: it never does, or it is unknown.
	ReconnectUntil time.Time
	Owner          string // of the device, by the registry
	Sources        []string
	Attempts       int       // failed ones since it last stayed connected
	Next           time.Time // of the next attempt, look or poll; zero is none
	LastError      string
	ErrorSince     time.Time
	ErrorCount     int
	RetainUntil    time.Time // zero: its source is there
	// Page is a DC's last good log page, PageRead when it was read; nil and zero before the first.
	Page     *Page
	PageRead time.Time
}

// leafSize is how many targets a change of one copies.
const leafSize = 128

// views are the views of targets, in leaves that are copied when they change after they were handed out: a view costs what
// has changed since the last one.
type views struct {
	leaves [][]*TargetView
	shared []bool // leaves that a view has
	stale  []*target
	names  bool // names changed

	preview []*TargetView // what is configured, before the first comparison

	unwanted    map[string]*device
	unexplained map[string]bool

	last   View
	lastOf uint64 // step of it
}

// View returns what the machine knows.
func (m *Machine) View() View {
	v := &m.views
	if v.lastOf == m.step && m.step != 0 {
		return v.last
	}
	v.lastOf = m.step
	v.last.Status, v.last.Ready, v.last.Bus, v.last.Counts = m.status, m.ready, m.bus, m.Counts()
	v.last.MDNS = m.browsing()
	m.viewTargets()
	m.viewDevices()
	return v.last
}

// viewTargets brings the list of targets up to date.
func (m *Machine) viewTargets() {
	v := &m.views
	if len(v.stale) == 0 && !v.names {
		return
	}
	if m.targets.moved { // the list was made anew
		m.targets.moved = false
		v.leaves, v.shared = nil, nil
		m.all(m.viewAgain)
	}
	for _, t := range v.stale {
		t.unviewed = false
		if t.dropped && (t.place >= len(m.targets.list) || m.targets.list[t.place] != nil) {
			continue // its place is another's by now
		}
		leaf, at := t.place/leafSize, t.place%leafSize
		for len(v.leaves) <= leaf {
			v.leaves, v.shared = append(v.leaves, make([]*TargetView, leafSize)), append(v.shared, false)
		}
		if v.shared[leaf] {
			v.leaves[leaf], v.shared[leaf] = slices.Clone(v.leaves[leaf]), false
		}
		if v.leaves[leaf][at] = nil; !t.dropped {
			v.leaves[leaf][at] = m.viewOf(t)
		}
	}
	clear(v.stale)
	v.stale = v.stale[:0]
	for i := range v.shared {
		v.shared[i] = true
	}
	list := TargetList{leaves: slices.Clone(v.leaves), names: v.last.Targets.names}
	if v.names {
		v.names, list.names = false, nil
		for _, n := range m.names.list {
			if len(n.wishes) == 0 {
				list.names = append(list.names, viewOfName(n))
			}
		}
		if !m.audited {
			list.names = m.views.preview
		}
	}
	list.n = m.Targets() + len(list.names)
	v.last.Targets = list
}

// viewDevices brings up to date what nothing wishes for and what nothing explains.
func (m *Machine) viewDevices() {
	v := &m.views
	if v.unwanted == nil {
		v.unwanted, v.unexplained = map[string]*device{}, map[string]bool{}
	}
	if len(m.devices.changed) > 0 {
		for _, d := range m.devices.changed {
			d.changed = false
			if d.gone {
				if v.unwanted[d.Name] == d {
					delete(v.unwanted, d.Name)
				}
				continue
			}
			if delete(v.unwanted, d.Name); d.Unit != "" && !m.foreign(d) && len(d.users) == 0 {
				v.unwanted[d.Name] = d
			}
		}
		m.devices.changed = m.devices.changed[:0]
		v.last.Unwanted = nil
		for _, name := range sortedKeys(v.unwanted) {
			v.last.Unwanted = append(v.last.Unwanted, v.unwanted[name].Device)
		}
	}
	if len(m.units.changed) > 0 {
		for name := range m.units.changed {
			if delete(v.unexplained, name); m.unexplained(name) {
				v.unexplained[name] = true
			}
		}
		clear(m.units.changed)
		v.last.Unexplained = nil
		if len(v.unexplained) > 0 {
			v.last.Unexplained = sortedKeys(v.unexplained)
		}
	}
}

// unexplained reports whether a unit is active and neither a target nor a device accounts for it.
func (m *Machine) unexplained(name string) bool {
	u := m.units.byName[name]
	return u != nil && u.active && m.targets.named[name] == 0 &&
		!slices.ContainsFunc(m.devices.ofUnit[name], func(d *device) bool { return !m.foreign(d) })
}

// Changed returns the targets that the last Step changed, names without an address among them, for those who watch, and the TIDs that
// no target has any more.
func (m *Machine) Changed() (changed []*TargetView, removed []tid.TID) {
	for _, t := range m.targets.changed {
		if !t.dropped {
			changed = append(changed, m.viewOf(t))
		}
	}
	if m.audited { // until then the preview stands for the names
		for _, n := range m.names.changed {
			if m.names.byKey[n.key] == n && len(n.wishes) == 0 {
				changed = append(changed, viewOfName(n))
			}
		}
	}
	listed := map[tid.TID]bool{}
	if len(m.targets.unlisted) > 0 {
		for _, v := range changed {
			listed[v.Wish.TID] = true
		}
	}
	for _, id := range m.targets.unlisted {
		if m.targets.byTID[id] == nil && !listed[id] {
			listed[id] = true // once
			removed = append(removed, id)
		}
	}
	return changed, removed
}

// viewAgain has View make the view of a target anew.
func (m *Machine) viewAgain(t *target) {
	if t.view = nil; !t.unviewed {
		t.unviewed = true
		m.views.stale = append(m.views.stale, t)
	}
}

func (m *Machine) viewOf(t *target) *TargetView {
	if t.view != nil {
		return t.view
	}
	v := &TargetView{
		Wish: t.wish, Unit: t.unit, State: t.state, Phase: t.attempt.step.String(), Since: t.since,
		Sources: t.sources, Attempts: t.attempts, Next: t.timer.when,
		LastError: t.lastErr, ErrorSince: t.errSince, ErrorCount: t.errRepeated, RetainUntil: t.retention.when,
		Page: t.page, PageRead: t.pageRead,
	}
	if t.state == Connected && t.readErr != "" {
		v.LastError, v.ErrorSince, v.ErrorCount = "cannot read its log page: "+t.readErr, time.Time{}, 0
	}
	if d := t.device; d != nil {
		v.Device, v.DeviceState, v.Owner = d.Name, d.State, d.Owner
		switch {
		case t.state != Connected:
		case d.down != never:
			v.State, v.Since = Reconnecting, later(t.since, d.down)
			v.ReconnectUntil = d.reconnectUntil()
		default:
			v.Since = later(t.since, d.back)
		}
	}
	t.view = v
	return v
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// preview makes the list of what is configured, for views before it is known what of it is connected.
func (m *Machine) preview() {
	if m.views.names = true; m.audited {
		for _, v := range m.views.preview {
			m.targets.unlisted = append(m.targets.unlisted, v.Wish.TID)
		}
		for _, n := range m.names.list {
			m.nameChanged(n)
		}
		m.views.preview = nil
		return
	}
	var list []*TargetView
	in := map[tid.TID]bool{}
	add := func(w wish.Wish, host, from string) {
		if host != "" {
			w.TID.Traddr = host
		}
		if !in[w.TID] {
			in[w.TID] = true
			list = append(list, &TargetView{Wish: w, State: Waiting, Phase: "starting", Since: m.now, Sources: []string{from}})
		}
	}
	for _, c := range m.boot.connections {
		add(c.Wish, c.Host, BootSource+c.From)
	}
	for _, c := range m.cfg.Connections {
		add(c.Wish, c.Host, c.From)
	}
	for _, v := range m.views.preview {
		if !in[v.Wish.TID] {
			m.targets.unlisted = append(m.targets.unlisted, v.Wish.TID)
		}
	}
	m.views.preview = list
}

// Wanted reports whether it should be connected now, as Counts has it. What is kept from it on purpose is not wanted, nor is a discovery
// controller that nothing names any more once it is down.
func (v *TargetView) Wanted() bool {
	switch v.State {
	case Excluded, Foreign, Stopped, Parked:
		return false
	case Connected:
		return true
	}
	return v.RetainUntil.IsZero()
}

// Connected reports whether its controller is there, live or not.
func (v *TargetView) Connected() bool { return v.State == Connected || v.State == Reconnecting }

// viewOfName is the target that a name will stand for. Until it has an address, its wish shows the name in its place.
func viewOfName(n *name) *TargetView {
	w := n.key.wish
	w.TID = n.tid()
	return &TargetView{
		Wish: w, State: Waiting, Phase: "resolving", Since: n.since, Sources: []string{n.from},
		Attempts: n.failed, Next: n.timer.when, LastError: n.err, ErrorSince: n.errAt, ErrorCount: n.errs,
	}
}
