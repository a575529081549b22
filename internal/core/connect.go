package core

import (
	"slices"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/probe"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// probeKey is one question to a peer: wishes that ask the same share one probe.
type probeKey struct {
	target probe.Target
	mute   bool
}

type probeState struct {
	waiting  []*target // nil: none under way
	answered time.Time // when the peer last answered
}

// probe finds out from user space whether the peer is there: the kernel serialises all connects, and one dead peer holds
// up the good ones for seconds (SPEC 7.1).
func (m *Machine) probe(t *target) {
	id := t.wish.TID
	_, tls := t.wish.Params.Get(param.TLS) // nothing but TLS is answered there
	key := probeKey{probe.Target{Traddr: id.Traddr, Trsvcid: id.Trsvcid, HostTraddr: id.HostTraddr, HostIface: id.HostIface}, t.mute && !tls}
	p := m.probes[key]
	if p == nil {
		p = &probeState{}
		m.probes[key] = p
	}
	if p.answered != never && m.now.Sub(p.answered) <= probeFresh {
		m.enqueue(t)
		return
	}
	t.phase = probing
	p.waiting = append(p.waiting, t)
	if len(p.waiting) == 1 {
		m.emit(Probe{Target: key.target, Mute: key.mute, First: t.attempts == 0})
	}
}

func (m *Machine) probeDone(ev ProbeDone) {
	key := probeKey{ev.Target, ev.Mute}
	p := m.probes[key]
	if p == nil {
		return
	}
	waiting := p.waiting
	p.waiting = nil
	if ev.Err == "" {
		p.answered = m.now
	} else {
		delete(m.probes, key)
	}
	for _, t := range waiting {
		switch {
		case t.phase != probing || m.byTID[t.wish.TID] != t: // stopped or dropped meanwhile
		case ev.Err == "":
			m.enqueue(t)
		default:
			m.fail(t, ev.Err, ev.Errno)
			t.mute = ev.Mute // stay with the question that told
		}
	}
}

// enqueue puts t in line for one of the places of max-parallel-connects.
func (m *Machine) enqueue(t *target) {
	t.phase, t.touched = queued, m.step
	m.queue = append(m.queue, t)
}

func (m *Machine) dequeue(t *target) {
	m.queue = slices.DeleteFunc(m.queue, func(o *target) bool { return o == t })
}

// dispatch fills the free places, urgent wishes first.
func (m *Machine) dispatch() {
	if !m.bus || !m.unitsKnown {
		return
	}
	running := 0
	for _, u := range m.units {
		if u.op == OpStart || u.op == OpRestart {
			running++
		}
	}
	for _, first := range []bool{true, false} {
		for _, t := range slices.Clone(m.queue) {
			if running >= m.cfg.Settings.MaxParallelConnects {
				return
			}
			if t.urgent() != first {
				continue
			}
			m.dequeue(t)
			if m.begin(t) {
				running++
			}
		}
	}
}

// begin gives the unit of t its job: a start, a restart of a unit that is still active as wanted, or first a stop of one
// that has other parameters. It reports whether a connect is running now.
func (m *Machine) begin(t *target) bool {
	if where, excluded := m.excludedBy(t); excluded {
		m.exclude(t, where)
		return false
	}
	if m.unread[t.unit] { // its controller may be live: a job would end it
		m.giveUp(t, m.now.Add(unreadDelay))
		return false
	}
	own := t.wish.TID.UnitName()
	if u := m.unitOf(t.unit); t.unit != own && !u.active && u.op == OpNone { // only a unit that lives keeps the name another version gave
		if m.adopt(t, own); t.unit != own {
			m.giveUp(t, m.now.Add(lookAgain)) // its own name has another user for now
			return false
		}
	}
	if m.stopped[t.unit] {
		m.transition(t, Stopped)
		return false
	}
	if m.served(t) { // while it waited for its place
		return false
	}
	if t.unit != own && m.hasDevice(t.unit) { // an adopted unit that now serves another wish
		m.giveUp(t, m.now)
		return false
	}
	u := m.unitOf(t.unit)
	if u.active && u.op == OpNone && !t.checked && m.serving(t.wish.TID) != nil {
		// The unit may have connected it just now, and its record was not there yet when the controller was read.
		t.checked = true
		m.look(t, afterExists)
		return false
	}
	t.checked = false
	w := m.identified(t.wish)
	if w != t.wish {
		m.tellHostID(t.wish)
	}
	switch {
	case u.op != OpNone: // our own stop of it is still under way; its end leads here again
		t.phase = clearing
		return false
	case !u.active:
		u.op, u.argv, u.had = OpStart, argvOf(w), true
		m.emit(StartUnit{Unit: t.unit, Wish: w})
	case startedAs(u.argv, w):
		u.op = OpRestart
		m.emit(RestartUnit{Unit: t.unit, Wish: w})
	default:
		t.phase, t.touched = clearing, m.step
		m.stop(t.unit, "it is to be connected with other parameters")
		return false
	}
	t.phase, t.touched = job, m.step
	return true
}

// giveUp lets go of a unit that t had adopted. It is judged anew, for its own one, at a later time.
func (m *Machine) giveUp(t *target, next time.Time) {
	m.transition(t, Waiting)
	if own := t.wish.TID.UnitName(); t.unit != own && m.byUnit[t.unit] == t {
		delete(m.byUnit, t.unit)
		t.unit = own
	}
	t.next = next
}

// secretsOption is how a unit's command is told where its secrets are. Which ones they are is no parameter: the file is
// written anew before each connect.
const secretsOption = "--secrets-file="

// argvOf is the part of a unit's command that tells how it connects.
func argvOf(w wish.Wish) []string {
	argv := append(append([]string{"", "connect"}, w.Args()...), "--idempotent", "--owner="+string(w.Owner))
	if w.Secrets != "" {
		argv = append(argv, secretsOption)
	}
	return argv
}

// startedAs tells whether the command of a unit connects as w wants now. An unknown command does not.
func startedAs(argv []string, w wish.Wish) bool {
	given := slices.ContainsFunc(argv, func(arg string) bool { return strings.HasPrefix(arg, secretsOption) })
	if given != (w.Secrets != "") {
		return false
	}
	w.Secrets = ""
	want := argvOf(w)
	if len(argv) > 0 && !slices.Contains(argv, "--discovery") { // nvme-cli does not know it
		want = slices.DeleteFunc(want, func(arg string) bool { return arg == "--discovery" })
	}
	return len(argv) >= len(want) && slices.Equal(argv[1:len(want)], want[1:])
}

// ownerOf is the owner for which a unit's command connects.
func ownerOf(argv []string) wish.Owner {
	for _, arg := range argv {
		if owner, ok := strings.CutPrefix(arg, "--owner="); ok && wish.Owner(owner).Ours() {
			return wish.Owner(owner)
		}
	}
	return wish.OwnerDiscoverd
}

// tidOf is the TID that a unit's command connects, as wish.Args spells it; the zero TID for an unknown command.
func tidOf(argv []string) tid.TID {
	var t tid.TID
	for _, arg := range argv {
		if key, value, ok := strings.Cut(strings.TrimPrefix(arg, "--"), "="); ok {
			t.Set(key, value)
		}
	}
	return t
}
