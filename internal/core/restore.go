// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fc"
	"github.com/nvme-discoverd/nvme-discoverd/internal/mdns"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Restore returns a Machine that goes on as the one that was saved; it changes nothing in s. Saved states come from files: one that no
// Machine can be in is an error.
func Restore(s *Saved) (*Machine, error) {
	if s.Version < 1 || s.Version > SavedVersion {
		return nil, fmt.Errorf("cannot restore a state of version %d: this program knows 1 to %d", s.Version, SavedVersion)
	}
	r := restorer{s: s, m: New(0), byOrder: map[uint64]*target{}, gone: &target{dropped: true}}
	for _, part := range []func() error{r.whole, r.devices, r.units, r.probes, r.targets, r.references, r.names, r.sources, r.desired, r.heap} {
		if err := part(); err != nil {
			return nil, fmt.Errorf("cannot restore the state: %w", err)
		}
	}
	r.m.targets.index()
	r.m.preview()
	for _, check := range []func() string{r.m.checkTargets, r.m.checkGroups, r.m.checkDevices, r.m.checkUnits} {
		if wrong := check(); wrong != "" {
			return nil, fmt.Errorf("cannot restore the state: it contradicts itself: %s", wrong)
		}
	}
	return r.m, nil
}

// Pending returns the effects of earlier steps whose answers a replay has to make from what it finds in the machine: pages that are
// being judged anew.
func (m *Machine) Pending() []Judge {
	var pending []Judge
	m.all(func(t *target) {
		if t.judging != (Origin{}) {
			pending = append(pending, Judge{TID: t.wish.TID, Page: t.judged, Origin: t.judging})
		}
	})
	return pending
}

// restorer makes a machine of a saved state.
type restorer struct {
	s       *Saved
	m       *Machine
	byOrder map[uint64]*target
	gone    *target // stands for every target that was dropped
	timers  []restoredTimer
}

type restoredTimer struct {
	*timer
	saved SavedTimer
}

func (r *restorer) timer(t *timer, saved SavedTimer) {
	if saved.When != never {
		r.timers = append(r.timers, restoredTimer{t, saved})
	}
}

// target returns a target by its Order.
func (r *restorer) target(order uint64) (*target, error) {
	if order == 0 {
		return r.gone, nil
	}
	if t := r.byOrder[order]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("there is no target %d", order)
}

// living is target for what cannot refer to one that was dropped.
func (r *restorer) living(order uint64) (*target, error) {
	if order == 0 {
		return nil, fmt.Errorf("a target that was dropped is in use")
	}
	return r.target(order)
}

func (r *restorer) list(orders []uint64) ([]*target, error) {
	var list []*target
	for _, order := range orders {
		t, err := r.target(order)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

func (r *restorer) whole() error {
	s, m := r.s, r.m
	if err := m.random.UnmarshalBinary(s.Random); err != nil {
		return fmt.Errorf("its random source: %w", err)
	}
	m.rng = rand.New(m.random)
	m.now, m.step = s.Now, s.Step
	m.cfg, m.configured = s.Config, s.Configured
	m.bus, m.busLost, m.shutdown, m.stale, m.ready, m.status = s.Bus, s.BusLost, s.Shutdown, s.Stale, s.Ready, s.Status
	m.roomier, m.noConcat, m.noAutoconnect, m.brakes = s.Roomier, s.NoConcat, s.NotAuto, s.Brakes
	for _, unit := range s.Stopped {
		m.stopped[unit] = true
	}
	for _, unit := range s.Stopping {
		m.stopping[unit] = true
	}
	m.stopsRead = s.Audit.Audited && !s.StopsUnread
	for _, unit := range s.Since {
		m.since[unit] = true
	}
	for _, h := range s.HostIDs {
		m.hostIDs[hostPair{h.NQN, h.Own}] = h.Used
	}
	a := s.Audit
	m.audited, m.busUp, m.unitsKnown, m.auditAsked, m.snapToken, m.snapAgain, m.reread = a.Audited, a.BusUp, a.UnitsKnown, a.Asked, a.Token, a.Again, a.Reread
	m.snapErr, m.unitsErr = repeated{a.SnapErr.Text, a.SnapErr.Logged}, repeated{a.UnitsErr.Text, a.UnitsErr.Logged}
	for unit, device := range a.Orphans {
		m.orphans[unit] = device
	}
	for _, unit := range a.Unread {
		m.unread[unit] = true
	}
	r.timer(&m.auditTimer, a.Timer)
	for transport, k := range s.Kicks {
		have := m.kicks[transport]
		if have == nil {
			return fmt.Errorf("there is no transport %q", transport)
		}
		have.why, have.links, have.last, have.told = k.Why, slices.Clone(k.Links), k.Last, k.Told
		r.timer(&have.timer, k.Timer)
	}
	var err error
	m.excluded, err = exclusion.Of(s.Excluded)
	return err
}

func (r *restorer) devices() error {
	for _, s := range r.s.Devices {
		if r.m.devices.byName[s.Device.Name] != nil || s.Device.Name == "" {
			return fmt.Errorf("%q is there twice, or a device without a name", s.Device.Name)
		}
		d := &device{down: s.Down, back: s.Back, touched: s.Touched, ownerLogged: s.OwnerLogged}
		d.reading = reading{token: s.Reading, keep: s.Keep, again: s.Again, failed: s.Failed}
		d.reading.timer.owner = d
		r.timer(&d.reading.timer, s.Timer)
		r.m.devices.put(d, s.Device)
		r.m.deviceChanged(d)
		r.m.reserved += s.Keep
	}
	for name, seq := range r.s.Removed {
		r.m.devices.removed[name] = seq
	}
	return nil
}

func (r *restorer) units() error {
	for _, s := range r.s.Units {
		if s.Name == "" || s.Op < OpNone || s.Op > OpStop {
			return fmt.Errorf("a unit %q with job %d", s.Name, s.Op)
		}
		u := r.m.unitOf(s.Name)
		r.m.setOp(u, s.Op)
		*u = unit{
			name: s.Name, active: s.Active, begins: s.Begins, argv: s.Argv, ended: s.Ended, unsure: s.Unsure, op: s.Op, had: s.Had,
			failure: s.Failure, leaving: s.Leaving, foreign: s.Foreign, jobbed: s.Jobbed, touched: s.Touched,
		}
		r.m.unitChanged(s.Name)
	}
	return nil
}

func (r *restorer) probes() error {
	for _, s := range r.s.Probes {
		p := &probeState{key: probeKey{s.Target, s.Mute}, answered: s.Answered}
		p.timer.owner = p
		r.timer(&p.timer, s.Timer)
		r.m.probes[p.key] = p
	}
	return nil
}

func (r *restorer) targets() error {
	m := r.m
	m.targets.made = r.s.TargetsMade
	last := uint64(0)
	for i := range r.s.Targets {
		s := &r.s.Targets[i]
		if s.Order <= last || s.Order > m.targets.made {
			return fmt.Errorf("target %d comes after %d of %d", s.Order, last, m.targets.made)
		}
		if last = s.Order; m.targets.byTID[s.Wish.TID] != nil {
			return fmt.Errorf("%v is there twice", s.Wish.TID)
		}
		if err := r.restoreTarget(s); err != nil {
			return fmt.Errorf("%v: %w", s.Wish.TID, err)
		}
	}
	return nil
}

func (r *restorer) restoreTarget(s *SavedTarget) error {
	m := r.m
	state := State(slices.Index(stateNames[:], s.State))
	at := step(slices.IndexFunc(steps[:], func(of struct {
		name   string
		states []State
		busy   bool
	},
	) bool {
		return of.name == s.Phase
	}))
	switch {
	case state < 0 || at < 0 || s.Why < int(afterLoss) || s.Why > int(afterCancel):
		return fmt.Errorf("it is %q, %q for %d", s.State, s.Phase, s.Why)
	case s.Wish.Kind != tid.IO && s.Wish.Kind != tid.Discovery:
		return fmt.Errorf("its kind is %d", s.Wish.Kind)
	case s.Unit == "":
		return fmt.Errorf("it has no unit")
	}
	t := &target{
		order: s.Order, place: len(m.targets.list), wish: s.Wish, group: groupOf(s.Wish), unit: s.Unit, sources: s.Sources, desired: s.Desired,
		state: state, attempt: attempt{step: at, why: inspection(s.Why), ticket: s.Ticket, inspected: s.Inspected, since: s.BlockedSince},
		since: s.Since, touched: s.Touched, via: s.Via, connectedAt: s.ConnectedAt, begun: s.Begun, attempts: s.Attempts, notBefore: s.NotBefore,
		unresponsive: s.Unresponsive, lastErr: s.LastError, errSince: s.ErrorSince, errLogged: s.ErrorLogged, errRepeated: s.ErrorCount, causes: maps.Clone(s.Causes),
		dc: dc{
			pageRead: s.PageRead, found: s.Found, heard: s.Heard, readErr: s.ReadError, readErrLogged: s.ReadErrorLogged, persistence: s.Persistence,
			missed: s.Missed, epcsd: s.EPCSD, epcsdRead: s.EPCSDRead, unended: s.Unended, ended: slices.Clone(s.Ended), sourced: s.Sourced, static: s.Static, announced: s.Announced,
		},
	}
	t.timer.owner, t.retention.owner = t, retention{t}
	r.timer(&t.timer, s.Timer)
	r.timer(&t.retention, s.Retention)
	if s.Retention.When != never {
		m.desired.retained[t] = true
	}
	if s.Probe != nil {
		if t.attempt.probe = m.probes[probeKey{s.Probe.Target, s.Probe.Mute}]; t.attempt.probe == nil {
			return fmt.Errorf("it waits for a probe that is not there")
		}
	}
	m.targets.list = append(m.targets.list, t)
	r.byOrder[t.order] = t
	id := t.wish.TID
	m.targets.byTID[id] = t
	put(m.targets.byNQN, tid.FoldNQN(id.NQN), t, true)
	put(m.targets.ofPair, hostPair{id.HostNQN, id.HostID}, t, true)
	m.targets.named[t.unit]++
	m.unitChanged(t.unit)
	if s.UsesUnit {
		if m.user(t.unit) != nil {
			return fmt.Errorf("%s has two users", t.unit)
		}
		m.targets.byUnit[t.unit] = t
	}
	if s.Device != "" {
		d := m.devices.byName[s.Device]
		if d == nil {
			return fmt.Errorf("its device %q is not there", s.Device)
		}
		t.device = d
		d.users = append(d.users, t) // in their order
	}
	if t.desired {
		m.desired.n++
	}
	r.restorePage(t, s)
	t.unindexed = true
	m.targets.unindexed = append(m.targets.unindexed, t)
	m.viewAgain(t)
	return nil
}

func (r *restorer) restorePage(t *target, s *SavedTarget) {
	m := r.m
	if s.Page != nil {
		t.page = s.Page.Page()
		m.kept += len(t.page.Entries)
		if t.page.Dropped > 0 {
			m.cut[t] = true
		}
		for _, c := range t.page.children {
			m.desired.claim(c.tid, t)
		}
	}
	if s.Judging != nil {
		t.judging, t.judged = s.Judging.Origin(), t.page
		if !s.JudgingPage || t.page == nil {
			t.judged = &Page{} // one that t has no more: the answer changes nothing
		}
	}
}

// references restores what refers to targets.
func (r *restorer) references() (err error) {
	m := r.m
	for _, s := range r.s.Devices {
		if m.devices.byName[s.Device.Name].reading.to, err = r.list(s.Readers); err != nil {
			return err
		}
	}
	for _, s := range r.s.Probes {
		if m.probes[probeKey{s.Target, s.Mute}].waiting, err = r.list(s.Waiting); err != nil {
			return err
		}
	}
	for _, s := range r.s.Groups {
		holder, err := r.living(s.Holder)
		if err != nil {
			return err
		}
		c := &contest{holder: holder, waiting: map[*target]bool{}}
		for _, order := range s.Waiting {
			t, err := r.living(order)
			if err != nil {
				return err
			}
			c.waiting[t] = true
		}
		m.targets.groups[holder.group] = c
	}
	for unit, orders := range r.s.Collisions {
		if m.targets.collide[unit], err = r.list(orders); err != nil {
			return err
		}
	}
	m.queue.tickets = r.s.Queue.Tickets
	for _, q := range []struct {
		orders []uint64
		line   *[]ticket
	}{{r.s.Queue.Urgent, &m.queue.urgent}, {r.s.Queue.Others, &m.queue.others}} {
		for _, order := range q.orders {
			t, err := r.living(order)
			if err != nil {
				return err
			}
			*q.line = append(*q.line, ticket{t.attempt.ticket, t})
		}
	}
	m.desired.leaving, err = r.list(r.s.Desired.Leaving)
	return err
}

func (r *restorer) names() error {
	m := r.m
	m.names = names{byKey: map[nameKey]*name{}, ofHost: map[string][]*name{}, byTID: map[tid.TID][]*name{}}
	for i, s := range r.s.Names {
		n := &name{
			order: uint64(i), key: nameKey{s.Host, s.Wish}, from: s.From, since: s.Since, answer: s.Answer, at: s.At, asking: s.Asking,
			failed: s.Failed, err: s.Err, errAt: s.ErrAt, errs: s.Errs, round: slices.Clone(s.Round),
		}
		if m.names.byKey[n.key] != nil {
			return fmt.Errorf("the name %q is there twice", s.Host)
		}
		n.timer.owner = n
		r.timer(&n.timer, s.Timer)
		if len(s.Answer.Addrs) > 0 {
			wishes, err := usable(n.key, s.Answer)
			if err != nil || n.at < 0 || n.at >= len(wishes) {
				return fmt.Errorf("the name %q has %d addresses and is at %d: %v", s.Host, len(wishes), n.at, err)
			}
			n.wishes = wishes
		} else {
			m.names.unresolved++
		}
		m.names.byKey[n.key] = n
		m.names.ofHost[s.Host] = append(m.names.ofHost[s.Host], n)
		m.names.list = append(m.names.list, n)
	}
	m.views.names = true
	return nil
}

func (r *restorer) sources() error {
	m := r.m
	b := r.s.Boot
	m.boot.connections = b.Connections
	for _, list := range []struct {
		ids []tid.TID
		set map[tid.TID]bool
	}{{b.AnySource, m.boot.anySource}, {b.Redundant, m.boot.redundant}, {b.Refused, m.boot.refused}} {
		for _, id := range list.ids {
			list.set[id] = true
		}
	}
	f := r.s.FC
	m.fc = fibreChannel{
		byName: map[fc.Announcement]*fcPort{}, round: f.Round, closes: f.Closes, carried: f.Carried, lost: f.Lost, settled: f.Settled,
		asked: f.Asked, wantedAt: f.WantedAt, news: f.News,
	}
	m.fc.timer.owner = &m.fc
	for _, s := range f.Ports {
		p := &fcPort{s.Announcement, s.Heard}
		m.fc.ports = append(m.fc.ports, p)
		m.fc.byName[s.Announcement] = p
	}
	r.timer(&m.fc.timer, f.Timer)
	c := r.s.MDNS
	m.mdns = multicast{
		service: c.Service, problem: c.Problem, ignored: c.Ignored, example: c.Example, beside: c.Beside, complete: c.Complete,
		there: slices.SortedFunc(slices.Values(c.There), mdns.Compare), logged: c.Logged, lines: c.Lines, // stand-ins sort otherwise than names
	}
	m.mdns.timer.owner = &m.mdns
	r.timer(&m.mdns.timer, c.Timer)
	for _, n := range m.names.list { // what a name stands for depends on the boot firmware's addresses
		m.listName(n)
	}
	return nil
}

func (r *restorer) desired() error {
	d, s := &r.m.desired, r.s.Desired
	d.full, d.unkept, d.recalled = s.Full, s.Unkept, s.Recalled
	for _, w := range s.Static {
		d.static[w.Wish.TID] = &wanted{w.Wish, w.Sources, w.Sourced, w.Static, w.Announced, w.Found, w.Persistence}
	}
	for _, w := range s.Secured {
		setKey(&d.secured, group{w.Transport, w.Traddr, w.Trsvcid, w.NQN, w.HostNQN}, w.Wish)
	}
	for i, dc := range s.DCs {
		setKey(&d.dcs, dc.TID, &reachable{i, dc.Sourced, dc.Found})
	}
	return nil
}

// heap puts the timers where they were in the heap.
func (r *restorer) heap() error {
	slices.SortFunc(r.timers, func(a, b restoredTimer) int { return a.saved.Place - b.saved.Place })
	h := make(timerHeap, 0, len(r.timers))
	for i, t := range r.timers {
		if t.saved.Place != i {
			return fmt.Errorf("of the timers, number %d is at place %d", i, t.saved.Place)
		}
		t.when, t.place = t.saved.When, i
		h = append(h, t.timer)
	}
	heap.Init(&h)
	r.m.timers.heap = h
	return nil
}
