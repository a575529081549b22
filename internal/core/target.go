package core

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// target is a wish and how far it has got.
type target struct {
	wish    wish.Wish
	unit    string // the unit that its next connect uses: its own, or the adopted one of another version
	sources []string
	desired bool // in the view; a target that is not is dropped as soon as nothing of ours runs for it

	state   State
	phase   phase
	since   time.Time // when it came into the state
	next    time.Time // when its phase is due
	touched uint64    // step of its last change

	device      string // Connected, or Foreign's: nvmeN
	via         string // Connected: the unit that held the device then, maybe another target's
	connectedAt time.Time
	attempts    int       // failed ones since it last stayed connected
	notBefore   time.Time // Waiting: no kick comes before that
	checked     bool      // its active unit was looked at before that is started anew
	ending      bool      // Stopped: its unit is being stopped by request

	lookFor     reason
	mute        bool // the last failure was a peer that accepts and stays silent: ask it for an answer of the protocol
	lastErr     string
	errSince    time.Time
	errLogged   time.Time
	errRepeated int // failures that lastErr stands for

	group  group     // what it holds while it connects
	inLine time.Time // waits for that since then

	dc // of a discovery controller
}

// dc is what is known of a discovery controller besides its connection.
type dc struct {
	page     []discoverylog.Entry // last good log page
	flaws    []string             // what of it could not be read
	judgedBy origin               // what skipped and children follow from, beside the page
	skipped  []string             // why an entry of the page is not connected; "" for one that is or needs not be
	pageRead time.Time
	found    config.Discovered // parameters of the wishes that it makes
	children []wish.Wish       // the wishes that it makes
	settled  bool              // read once, or failed once: SPEC 7.8 waits for that

	readErr       string // why the last read failed
	readErrLogged time.Time

	persistence config.Persistence // when its connection is kept: what its own section says, else the global default
	epcsd       bool               // the DC says that it supports connections that are kept
	parking     bool               // our stop of its unit is under way, to poll it later
	unended     bool               // Connected: it was to be parked, but its connection was not its own to end yet
	ended       []time.Time        // when it ended its connection itself: the controller was removed, or the kernel reconnected it

	retainUntil time.Time // known only dynamically and its source is gone: when to forget it
	sourced     bool      // in the view by a source that is there now, not by retention
	static      bool      // configured
}

// muteErrno is what the kernel's connect gives for a peer that accepts and never answers (FACTS: EAGAIN after 10 s).
const muteErrno = 11

// group names the wishes that one connection might serve, pinned in whatever way. One of them connects at a time: the
// kernel refuses no duplicate DC, and what the first one gets may serve the others.
type group struct{ transport, traddr, trsvcid, nqn, hostnqn string }

func groupOf(w wish.Wish) group {
	g := group{w.TID.Transport, strings.ToLower(w.TID.Traddr), w.TID.Trsvcid, tid.FoldNQN(w.TID.NQN), w.TID.HostNQN}
	if w.Kind == tid.Discovery {
		g.nqn = tid.DiscoveryNQN
	}
	return g
}

// enterGroup makes the other wishes of t's group wait, and reports whether none of them is connecting already.
func (m *Machine) enterGroup(t *target) bool {
	g := groupOf(t.wish)
	if busy := m.groups[g]; busy != nil && busy != t {
		return false
	}
	m.groups[g], t.group = t, g
	return true
}

// inLine puts first whoever waits longest for its group: where nobody answers, others would take turns for ever.
func inLine(a, b *target) int {
	switch {
	case a.inLine == b.inLine:
		return 0
	case b.inLine == never || a.inLine != never && a.inLine.Before(b.inLine):
		return -1
	}
	return 1
}

// leaveGroup lets the other wishes of t's group go on.
func (m *Machine) leaveGroup(t *target) {
	if m.groups[t.group] != t {
		return
	}
	delete(m.groups, t.group)
	for _, other := range m.targets {
		if other.phase == blocked && groupOf(other.wish) == t.group {
			other.phase, other.next = idle, m.now
		}
	}
}

// adopt makes unit the one that t uses, unless it is used already.
func (m *Machine) adopt(t *target, unit string) {
	if m.byUnit[unit] != nil {
		return
	}
	if m.byUnit[t.unit] == t {
		delete(m.byUnit, t.unit)
	}
	t.unit = unit
	m.byUnit[unit] = t
}

// attempt judges a waiting or parked target and begins to connect it if nothing speaks against that.
func (m *Machine) attempt(t *target) {
	if t.state != Waiting {
		m.transition(t, Waiting)
	}
	t.next = never
	if m.byUnit[t.unit] != t {
		t.unit = t.wish.TID.UnitName()
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
	if user := m.byUnit[t.unit]; user != nil && user != t {
		switch {
		case user.wish.TID.UnitName() == t.unit:
			m.log(slog.LevelError, KindCollision, t, "its unit name is that of "+user.wish.TID.Canonical()+": it is never connected over that one")
			m.transition(t, Collision)
			return
		case !user.droppable(): // it has adopted the unit and something runs there
			t.next = m.now.Add(lookAgain)
			return
		}
		m.adopt(user, user.wish.TID.UnitName())
	}
	m.byUnit[t.unit] = t
	if !m.enterGroup(t) {
		if t.phase = blocked; t.inLine == never {
			t.inLine = m.now
		}
		return
	}
	m.transition(t, Connecting)
	if t.wish.TID.Transport == tid.TCP && m.serving(t.wish.TID) == nil {
		m.probe(t)
		return
	}
	m.enqueue(t)
}

// served lets t be where there is nothing to connect: with a controller that a unit of ours holds, or with another
// orchestrator's. It reports whether there is one.
func (m *Machine) served(t *target) bool {
	d := m.serving(t.wish.TID)
	switch {
	case d == nil:
		return false
	case m.foreign(d):
		m.log(slog.LevelInfo, KindForeign, t, d.Name+" serves it and belongs to "+d.Owner+": hands off")
		m.transition(t, Foreign)
		t.device = d.Name
		return true
	case m.held(d):
		m.adopt(t, d.Unit)
		m.connected(t, d)
		return true
	}
	return false
}

// exclude puts t behind the exclusion list, and stops the unit that a lost connection left for the next attempt. An NBFT
// target is a boot disk of the host: worth a warning.
func (m *Machine) exclude(t *target, where string) {
	level := slog.LevelInfo
	if t.wish.Owner == wish.OwnerNBFT {
		level = slog.LevelWarn
	}
	if u := m.units[t.unit]; m.byUnit[t.unit] == t && u != nil && u.active && u.op == OpNone {
		m.end(t.unit, "its target is excluded")
	}
	m.log(level, KindExcluded, t, "excluded by "+where)
	m.transition(t, Excluded)
	t.settled = true
}

// connected binds t to the device that serves it.
func (m *Machine) connected(t *target, d *device) {
	if t.state == Connected && t.device == d.Name {
		return
	}
	m.dequeue(t)
	kind, msg := KindConnected, "connected"
	if t.state == Waiting && t.phase != looking {
		kind, msg = KindAdopted, "connected already, keeping it"
	}
	m.transition(t, Connected)
	t.device, t.via, t.connectedAt = d.Name, d.Unit, m.now
	t.mute, t.lastErr = false, ""
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
	n := m.nameOf(t)
	if n != nil && m.nextAddress(t, n, err) {
		return
	}
	if m.overtaken(t) {
		t.attempts = 0
	}
	m.transition(t, Waiting)
	t.settled = true
	t.attempts++
	t.mute = errno == muteErrno
	delay := m.backoff(t.attempts, m.cfg.Settings.ReconnectMaxDelay)
	t.next = m.now.Add(delay)
	if n != nil { // all its addresses failed: the name is asked again first
		t.next, n.next = never, t.next
		err, n.round = strings.Join(n.round, "; "), nil
	}
	m.complain(t, err, delay)
	m.doubt(t)
}

// complain logs a failure: the first of its kind at once, the same again only once in a while and with a count.
func (m *Machine) complain(t *target, err string, delay time.Duration) {
	if err != t.lastErr {
		t.lastErr, t.errSince, t.errLogged, t.errRepeated = err, m.now, m.now, 1
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
	m.dequeue(t)
	m.leaveGroup(t)
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
	t.settled = true
}

// unitsOf are the units by which a stop of t is remembered: the one that it uses, and where that is an adopted one, which the
// next daemon will not find any more, its own.
func (m *Machine) unitsOf(t *target) []string {
	own := t.wish.TID.UnitName()
	if user := m.byUnit[own]; t.unit == own || user != nil && user != t {
		return []string{t.unit}
	}
	return []string{t.unit, own}
}

// drop forgets a target that is wished for no more. Its device, if it has one, stays connected until it drops; a unit
// without a device explains nothing any more and is stopped.
func (m *Machine) drop(dropped ...*target) {
	gone := map[*target]bool{}
	for _, t := range dropped {
		gone[t] = true
		connected := t.state == Connected
		m.leaveGroup(t)
		if m.byUnit[t.unit] == t {
			delete(m.byUnit, t.unit)
			if !connected {
				m.abandon(t.unit, "", "its connection is no longer wanted")
			}
		}
		delete(m.byTID, t.wish.TID)
	}
	is := func(t *target) bool { return gone[t] }
	m.queue = slices.DeleteFunc(m.queue, is)
	m.targets = slices.DeleteFunc(m.targets, is)
	for _, other := range m.targets {
		if other.state == Collision && m.byUnit[other.unit] == nil {
			m.release(other)
		}
	}
}
