// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// target is a wish and how far it has got.
type target struct {
	order   uint64    // of creation: whatever concerns several targets takes them in this order
	wish    wish.Wish // setWish alone changes it
	group   group     // of the wish
	unit    string    // the unit that its next connect uses: its own, or the adopted one of another version; setUnit alone changes it
	sources []string  // never changed in place: views share it
	desired bool      // in the desired set; a target that is not is dropped as soon as nothing of ours runs for it
	dropped bool      // forgotten: nothing may refer to it any more

	state   State     // transition alone changes it
	attempt attempt   // transition and proceed alone change it
	since   time.Time // when it came into the state
	timer   timer     // set while it waits for a time: the next attempt, the next poll, the next inspection
	touched uint64    // step of its last change: a snapshot that was asked for earlier says nothing about it

	device      *device // set exactly while it is Connected or Foreign; setDevice alone changes it
	via         string  // Connected: the unit that held the device then, maybe another target's
	connectedAt time.Time
	begun       uint64    // step in which its last attempt joined the queue, or its job began
	attempts    int       // failed ones since it last stayed connected
	notBefore   time.Time // Waiting: no kick comes before that

	unresponsive bool // the last failure was a peer that accepts and stays silent: ask it for an answer of the protocol
	lastErr      string
	errSince     time.Time
	errLogged    time.Time
	errRepeated  int                  // failures that lastErr stands for
	causes       map[string]time.Time // of failures since it was last connected: when the journal last named each

	dc // of a discovery controller

	// What indexes and views have of it:
	place     int // in targets.list
	tallied   tally
	unindexed bool        // it has changed since it was tallied
	changedAt uint64      // step in which Machine.Changed returns it
	view      *TargetView // nil when it has changed since
	unviewed  bool        // Machine.View has to take it in
}

// muteErrno is what the kernel's connect gives for a peer that accepts and never answers (FACTS: EAGAIN after 10 s).
const muteErrno = 11

// targets are all targets and their indexes.
type targets struct {
	made    uint64    // how many there ever were
	list    []*target // in their order; nil where one was dropped
	holes   int       // in list
	moved   bool      // targets have other places since the last view
	byTID   map[tid.TID]*target
	byUnit  map[string]*target            // who may use a unit's name
	named   map[string]int                // how many targets have a unit's name, those in collision too
	collide map[string][]*target          // in collision over a unit's name
	byNQN   map[string]map[*target]bool   // by the folded NQN of the wish
	ofPair  map[hostPair]map[*target]bool // by the host NQN and host ID of the wish
	groups  map[group]*contest

	// By index, which brings them up to date:
	unindexed []*target
	count     map[tally]int
	waiting   map[string]map[*target]bool // idle and waiting, by transport
	unheard   int                         // discovery controllers that have to be heard before orphans are decided

	changed  []*target // in this step, dropped ones among them
	unlisted []tid.TID // that a target ceased to have in this step
}

func newTargets() targets {
	return targets{
		byTID: map[tid.TID]*target{}, byUnit: map[string]*target{}, named: map[string]int{}, collide: map[string][]*target{},
		byNQN: map[string]map[*target]bool{}, ofPair: map[hostPair]map[*target]bool{}, groups: map[group]*contest{}, count: map[tally]int{}, waiting: map[string]map[*target]bool{},
	}
}

// tally is what the indexes count a target by.
type tally struct {
	counted   bool
	state     State
	retrying  bool   // Waiting after a failure
	down      bool   // Connected, by a controller that is not live
	retained  bool   // not connected and named by nothing any more
	unread    bool   // a discovery controller that is connected, and whose log page was never read
	transport string // of an idle one that waits, "" of any other
	unheard   bool
}

func (t *target) tally() tally {
	if t.dropped {
		return tally{}
	}
	now := tally{
		counted: true, state: t.state, retrying: t.state == Waiting && t.attempts > 0,
		down: t.state == Connected && t.device.down != never,
	}
	now.retained = t.retention.when != never && (t.state != Connected || now.down)
	now.unread = t.state == Connected && !now.down && t.wish.Kind == tid.Discovery && t.pageRead.IsZero() && t.retention.when == never
	if t.state == Waiting && t.is(idle) {
		now.transport = t.wish.TID.Transport
	}
	now.unheard = t.wish.Kind == tid.Discovery && !t.heard && t.state != Stopped && t.state != Foreign && t.state != Collision
	return now
}

// index brings the indexes that depend on a target's state up to date.
func (ts *targets) index() {
	for _, t := range ts.unindexed {
		t.unindexed = false
		was, now := t.tallied, t.tally()
		if was == now {
			continue
		}
		t.tallied = now
		ts.add(was, t, -1)
		ts.add(now, t, 1)
	}
	clear(ts.unindexed)
	ts.unindexed = ts.unindexed[:0]
}

func (ts *targets) add(y tally, t *target, n int) {
	if !y.counted {
		return
	}
	key := y
	key.transport = ""
	if ts.count[key] += n; ts.count[key] == 0 {
		delete(ts.count, key)
	}
	if y.unheard {
		ts.unheard += n
	}
	if y.transport == "" {
		return
	}
	put(ts.waiting, y.transport, t, n > 0)
}

// put adds t to a set of an index, or takes it out.
func put[K comparable](index map[K]map[*target]bool, key K, t *target, in bool) {
	set := index[key]
	switch {
	case in && set == nil:
		index[key] = map[*target]bool{t: true}
	case in:
		set[t] = true
	default:
		if delete(set, t); len(set) == 0 {
			delete(index, key)
		}
	}
}

// inOrder returns the targets of a set in their order.
func (m *Machine) inOrder(set map[*target]bool) []*target {
	list := make([]*target, 0, len(set))
	for t := range set {
		list = append(list, t)
	}
	m.work += len(list)
	slices.SortFunc(list, byOrder)
	return list
}

func byOrder(a, b *target) int {
	if a.order < b.order {
		return -1
	}
	return 1
}

// all calls f for every target, in their order. Only an audit, a reload and a request for all of them may.
func (m *Machine) all(f func(*target)) {
	for _, t := range m.targets.list[:len(m.targets.list):len(m.targets.list)] {
		if t != nil && !t.dropped {
			m.work++
			f(t)
		}
	}
}

// Targets returns how many there are.
func (m *Machine) Targets() int { return len(m.targets.list) - m.targets.holes }

// newTarget makes the target of a wish that has none.
func (m *Machine) newTarget(w wish.Wish) *target {
	m.targets.made++
	t := &target{order: m.targets.made, place: len(m.targets.list), since: m.now}
	t.timer.owner = t
	t.retention.owner = retention{t}
	m.targets.list = append(m.targets.list, t)
	m.setUnit(t, w.TID.UnitName())
	m.setWish(t, w)
	m.at(&t.timer, m.now)
	m.touch(t)
	return t
}

// setWish makes a target stand for a wish.
func (m *Machine) setWish(t *target, w wish.Wish) {
	if t.wish == w {
		return
	}
	if g := groupOf(w); g != t.group {
		m.leaveGroup(t)
		t.group = g
	}
	if t.wish.TID != w.TID {
		m.unlist(t)
		t.judging, t.judged = Origin{}, nil // the answer would be for the old TID
		if t.wish.TID.Traddr != w.TID.Traddr {
			t.epcsdRead, t.ended = false, nil // those are of the discovery controller at the old address
		}
		m.targets.byTID[w.TID] = t
		put(m.targets.byNQN, tid.FoldNQN(w.TID.NQN), t, true)
		put(m.targets.ofPair, hostPair{w.TID.HostNQN, w.TID.HostID}, t, true)
	}
	t.wish = w
	m.change(t)
}

// unlist takes a target out of the indexes of its wish.
func (m *Machine) unlist(t *target) {
	if m.targets.byTID[t.wish.TID] == t {
		delete(m.targets.byTID, t.wish.TID)
		m.targets.unlisted = append(m.targets.unlisted, t.wish.TID)
	}
	put(m.targets.byNQN, tid.FoldNQN(t.wish.TID.NQN), t, false)
	put(m.targets.ofPair, hostPair{t.wish.TID.HostNQN, t.wish.TID.HostID}, t, false)
}

// setUnit changes the unit of a target; the use of the old one is not given up by it.
func (m *Machine) setUnit(t *target, unit string) {
	if t.unit == unit {
		return
	}
	if t.unit != "" {
		m.unname(t.unit)
	}
	t.unit = unit
	m.targets.named[unit]++
	m.unitChanged(unit)
	m.change(t)
}

func (m *Machine) unname(unit string) {
	if m.targets.named[unit]--; m.targets.named[unit] == 0 {
		delete(m.targets.named, unit)
	}
	m.unitChanged(unit)
}

// user returns who uses a unit, nil if nobody does.
func (m *Machine) user(unit string) *target { return m.targets.byUnit[unit] }

// freeUnit ends t's use of its unit, if it has it, and lets those try that want the name too.
func (m *Machine) freeUnit(t *target) bool {
	if m.user(t.unit) != t {
		return false
	}
	delete(m.targets.byUnit, t.unit)
	m.unitChanged(t.unit)
	others := m.targets.collide[t.unit]
	delete(m.targets.collide, t.unit)
	for _, other := range others {
		if other.state == Collision && !other.dropped {
			m.release(other)
		}
	}
	return true
}

// setDevice binds a target to a device, nil to none.
func (m *Machine) setDevice(t *target, d *device) {
	if t.device == d {
		return
	}
	if t.device != nil {
		t.device.users = slices.DeleteFunc(t.device.users, func(o *target) bool { return o == t })
		m.deviceChanged(t.device)
	}
	if t.device = d; d != nil {
		at, _ := slices.BinarySearchFunc(d.users, t, byOrder)
		d.users = slices.Insert(d.users, at, t)
		m.deviceChanged(d)
	}
	m.change(t)
}

// touch notes that a target has moved: a snapshot that was asked for before says nothing about it any more.
func (m *Machine) touch(t *target) {
	t.touched = m.step
	m.change(t)
}

// change notes that something of a target changed that indexes or views have.
func (m *Machine) change(t *target) {
	if !t.unindexed {
		t.unindexed = true
		m.targets.unindexed = append(m.targets.unindexed, t)
	}
	if t.changedAt != m.step {
		t.changedAt = m.step
		m.targets.changed = append(m.targets.changed, t)
	}
	m.viewAgain(t)
}

// group names the wishes that one connection might serve, pinned in whatever way. One of them connects at a time: the
// kernel refuses no duplicate DC, and what the first one gets may serve the others.
type group struct{ transport, traddr, trsvcid, nqn, hostnqn string }

// contest is the wishes of one group while one of them connects.
type contest struct {
	holder  *target
	waiting map[*target]bool
}

func groupOf(w wish.Wish) group {
	g := group{w.TID.Transport, strings.ToLower(w.TID.Traddr), w.TID.Trsvcid, tid.FoldNQN(w.TID.NQN), w.TID.HostNQN}
	if w.Kind == tid.Discovery {
		g.nqn = tid.DiscoveryNQN
	}
	return g
}

// enterGroup makes the other wishes of t's group wait, and reports whether none of them is connecting already.
func (m *Machine) enterGroup(t *target) bool {
	switch c := m.targets.groups[t.group]; {
	case c == nil:
		m.targets.groups[t.group] = &contest{holder: t, waiting: map[*target]bool{}}
		return true
	case c.holder == t:
		return true
	}
	return false
}

// block has t wait until the one of its group that connects is done. Whoever waits longest comes next: where nobody
// answers, others would take turns for ever.
func (m *Machine) block(t *target) {
	m.proceed(t, blocked)
	if t.attempt.since == never {
		t.attempt.since = m.now
	}
	m.targets.groups[t.group].waiting[t] = true
}

// leaveGroup lets the other wishes of t's group go on.
func (m *Machine) leaveGroup(t *target) {
	c := m.targets.groups[t.group]
	if c == nil {
		return
	}
	delete(c.waiting, t)
	if c.holder != t {
		return
	}
	delete(m.targets.groups, t.group)
	for _, other := range m.inOrder(c.waiting) {
		if other.is(blocked) {
			m.proceed(other, idle)
			m.at(&other.timer, m.now)
		}
	}
}

// adopt makes unit the one that t uses, unless it is used already.
func (m *Machine) adopt(t *target, unit string) {
	if m.user(unit) != nil {
		return
	}
	m.freeUnit(t)
	m.setUnit(t, unit)
	m.use(t)
}

// use gives t the unit that it names, which nobody uses.
func (m *Machine) use(t *target) {
	m.targets.byUnit[t.unit] = t
	m.unitChanged(t.unit)
}

func (t *target) rank() (kind int, since time.Time, order uint64) {
	if t.is(inspecting) {
		return rankInspection, never, t.order
	}
	return rankAttempt, t.attempt.since, t.order
}

// due makes the next attempt, polls a parked DC, or looks at a unit again.
func (t *target) due(m *Machine) {
	switch {
	case t.is(inspecting):
		m.inspect(t, t.attempt.why)
	case t.state == Waiting && t.is(idle), t.state == Parked:
		m.connect(t)
	}
}

// connect judges a waiting or parked target and begins to connect it if nothing speaks against that.
func (m *Machine) connect(t *target) {
	if t.state != Waiting {
		m.transition(t, Waiting)
	}
	m.at(&t.timer, never)
	if m.user(t.unit) != t {
		m.setUnit(t, t.wish.TID.UnitName())
	}
	if m.stopped[t.unit] {
		m.transition(t, Stopped)
		return
	}
	if m.served(t) {
		return
	}
	if where, excluded := m.excludedBy(t); excluded {
		m.exclude(t, where)
		return
	}
	if user := m.user(t.unit); user != nil && user != t {
		switch {
		case user.wish.TID.UnitName() == t.unit:
			m.log(slog.LevelError, KindCollision, t, "its unit name is that of "+user.wish.TID.Canonical()+": it is never connected over that one")
			m.transition(t, Collision)
			m.collide(t)
			return
		case user.busy(): // it has adopted the unit and something runs there
			m.in(&t.timer, inspectAgain)
			return
		}
		m.adopt(user, user.wish.TID.UnitName())
	}
	m.use(t)
	if !m.enterGroup(t) {
		m.block(t)
		return
	}
	m.transition(t, Connecting)
	if t.wish.TID.Transport == tid.TCP && m.serving(t.wish.TID) == nil {
		m.probe(t)
		return
	}
	m.enqueue(t)
}

// collide has t wait for the unit that another target uses.
func (m *Machine) collide(t *target) {
	waiting := slices.DeleteFunc(m.targets.collide[t.unit], func(o *target) bool { return o == t || o.dropped })
	m.targets.collide[t.unit] = append(waiting, t)
}

// busy reports whether something of ours runs for a target.
func (t *target) busy() bool { return steps[t.attempt.step].busy }

// served binds t to a controller that a unit of ours holds, or to another orchestrator's, and reports whether there is one.
func (m *Machine) served(t *target) bool {
	d := m.serving(t.wish.TID)
	switch {
	case d == nil:
		return false
	case m.foreign(d):
		m.log(slog.LevelInfo, KindForeign, t, d.Name+" serves it and belongs to "+d.Owner+": hands off")
		m.leaveTo(t, d)
		return true
	case m.held(d):
		m.adopt(t, d.Unit)
		m.connected(t, d)
		return true
	}
	return false
}

// leaveTo leaves t to the orchestrator that owns d.
func (m *Machine) leaveTo(t *target, d *device) {
	m.transition(t, Foreign)
	m.setDevice(t, d)
}

// exclude puts t behind the exclusion list, and stops the unit that a lost connection left for the next attempt. An NBFT
// target is a boot disk of the host: worth a warning.
func (m *Machine) exclude(t *target, where string) {
	level := slog.LevelInfo
	if t.wish.Owner == wish.OwnerNBFT {
		level = slog.LevelWarn
	}
	if u := m.units.byName[t.unit]; m.user(t.unit) == t && u != nil && u.active && u.op == OpNone {
		m.end(t.unit, "its target is excluded")
	}
	m.log(level, KindExcluded, t, "excluded by "+where)
	m.transition(t, Excluded)
	m.hear(t)
}

// connected binds t to the device that serves it.
func (m *Machine) connected(t *target, d *device) {
	if t.state == Connected && t.device == d {
		return
	}
	kind, msg := KindConnected, "connected"
	if t.state == Waiting && !t.is(inspecting) {
		kind, msg = KindAdopted, "connected already, keeping it"
	}
	m.transition(t, Connected)
	m.setDevice(t, d)
	t.via, t.connectedAt = d.Unit, m.now
	t.unresponsive, t.lastErr, t.causes = false, "", nil
	m.log(slog.LevelInfo, kind, t, msg)
	if m.readable(t) {
		m.readLog(t)
	}
}

// fail ends an attempt. The target waits for its back-off.
func (m *Machine) fail(t *target, err string, errno int) {
	if m.withoutSource(t, errno) {
		return
	}
	names := slices.Clone(m.names.byTID[t.wish.TID])
	for _, n := range names {
		if m.nextAddress(t, n, err) {
			return
		}
	}
	if m.predatesAnnouncement(t) {
		t.attempts = 0
	}
	m.transition(t, Waiting)
	m.hear(t)
	t.attempts++
	t.unresponsive = errno == muteErrno
	delay := m.backoff(t.attempts, m.cfg.Settings.ReconnectMaxDelay)
	if len(names) == 0 {
		m.in(&t.timer, delay)
	}
	for _, n := range names { // all its addresses failed: the name is resolved again first
		m.in(&n.timer, delay)
		err, n.round = strings.Join(n.round, "; "), nil
	}
	m.complain(t, err, delay)
	m.recheckPort(t)
}

// maxCauses bounds the causes of failures that a target remembers.
const maxCauses = 8

// complain logs a failure: the first of its cause at once, the same again only once in a while and with a count. Causes may take
// turns: a route that is missing, and a peer that does not answer in time.
func (m *Machine) complain(t *target, err string, delay time.Duration) {
	if err != t.lastErr {
		t.lastErr, t.errSince, t.errLogged, t.errRepeated = err, m.now, m.now, 1
		if named, before := t.causes[err]; before && m.now.Sub(named) < remindEvery {
			return
		}
		if t.causes == nil || len(t.causes) >= maxCauses {
			t.causes = map[string]time.Time{}
		}
		t.causes[err] = m.now
		m.log(slog.LevelWarn, KindCannotConnect, t, "cannot connect"+binding(t.wish.TID)+": "+err+"; next attempt in "+delay.Round(100*time.Millisecond).String())
		return
	}
	t.errRepeated++
	if m.now.Sub(t.errLogged) < remindEvery {
		return
	}
	t.errLogged = m.now
	m.log(slog.LevelWarn, KindStillCannotConnect, t, "still cannot connect"+binding(t.wish.TID)+" after "+strconv.Itoa(t.errRepeated)+" attempts in "+
		m.now.Sub(t.errSince).Round(time.Second).String()+": "+err)
}

// binding names what a connect is pinned to: the usual cause of a failure that the address alone does not explain.
func binding(t tid.TID) string {
	from := t.HostIface
	if from == "" {
		from = t.HostTraddr
	} else if t.HostTraddr != "" {
		from += " (" + t.HostTraddr + ")"
	}
	if from == "" {
		return ""
	}
	return " " + from + " → " + t.Traddr
}

// byAdmin marks t as stopped on purpose, for this and later lives of the daemon. how is what is known of it.
func (m *Machine) byAdmin(t *target, how string) {
	for _, unit := range m.unitsOf(t) {
		m.stopped[unit] = true
		m.emit(MarkStopped{Unit: unit})
	}
	if t.state != Stopped {
		m.log(slog.LevelInfo, KindStopped, t, how+": it stays stopped until a reload or a start")
	}
	switch t.state {
	case Excluded, Foreign, Parked, Collision: // its unit was still there; all of these are left through waiting
		m.transition(t, Waiting)
	}
	m.transition(t, Stopped)
	m.hear(t)
}

// unitsOf are the units by which a stop of t is remembered: the one that it uses, and where that is an adopted one, which the
// next daemon will not find any more, its own.
func (m *Machine) unitsOf(t *target) []string {
	own := t.wish.TID.UnitName()
	if user := m.user(own); t.unit == own || user != nil && user != t {
		return []string{t.unit}
	}
	return []string{t.unit, own}
}

// release lets a target that was kept from connecting try again now.
func (m *Machine) release(t *target) {
	m.transition(t, Waiting)
	t.attempts, t.unresponsive = 0, false
	t.notBefore = never
	m.at(&t.timer, m.now)
}

// drop forgets a target that is wished for no more. Its device, if it has one, stays connected until it drops; a unit
// without a device explains nothing any more and is stopped.
func (m *Machine) drop(t *target) {
	t.dropped = true
	m.leaveGroup(t)
	m.dropPage(t)
	delete(m.cut, t)
	m.at(&t.timer, never)
	m.setRetention(t, never)
	connected := t.state == Connected
	m.leaveRead(t)
	m.setDevice(t, nil)
	t.attempt = attempt{}
	m.unlist(t)
	m.unname(t.unit)
	if m.freeUnit(t) && !connected {
		m.abandon(t.unit, leaving{Why: "its connection is no longer wanted"})
	}
	m.change(t)
	m.targets.remove(t)
}

// remove takes a target out of the list, which is made anew when half of it is holes.
func (ts *targets) remove(t *target) {
	ts.list[t.place] = nil
	if ts.holes++; ts.holes <= len(ts.list)/2 || ts.holes < 64 {
		return
	}
	ts.list = slices.DeleteFunc(ts.list, func(t *target) bool { return t == nil })
	for i, t := range ts.list {
		t.place = i
	}
	ts.holes, ts.moved = 0, true
}
