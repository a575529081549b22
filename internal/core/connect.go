// SPDX-License-Identifier: GPL-3.0-or-later

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

// probeState is a question that is under way, or whose good answer is still fresh.
type probeState struct {
	key      probeKey
	waiting  []*target // nil: it is not under way
	answered time.Time // when the peer last answered
	timer    timer     // when the answer is not fresh any more
}

func (p *probeState) rank() (int, time.Time, uint64) { return rankProbe, never, 0 }

// due forgets an answer.
func (p *probeState) due(m *Machine) {
	if p.waiting == nil {
		delete(m.probes, p.key)
	}
}

// probe finds out from user space whether the peer is there: the kernel serialises all connects, and one dead peer holds
// up the good ones for seconds (docs/design.md, "Connect").
func (m *Machine) probe(t *target) {
	id := t.wish.TID
	_, tls := t.wish.Params.Get(param.TLS) // nothing but TLS is answered there
	// Anybody can announce a port that accepts and stays mute: it must not hold the kernel.
	mute := (t.unresponsive || t.announced) && !tls
	key := probeKey{probe.Target{Traddr: id.Traddr, Trsvcid: id.Trsvcid, HostTraddr: id.HostTraddr, HostIface: id.HostIface}, mute}
	p := m.probes[key]
	if p == nil {
		p = &probeState{key: key}
		p.timer.owner = p
		m.probes[key] = p
	}
	if p.answered != never && m.now.Sub(p.answered) <= probeFresh {
		m.enqueue(t)
		return
	}
	m.proceed(t, probing)
	t.attempt.probe = p
	p.waiting = append(p.waiting, t)
	if len(p.waiting) == 1 {
		m.emit(Probe{Target: key.target, Mute: key.mute, First: t.attempts == 0 && t.lastErr == "" && !t.announced})
	}
}

func (m *Machine) probeDone(ev ProbeDone) {
	p := m.probes[probeKey{ev.Target, ev.Mute}]
	if p == nil {
		return
	}
	waiting := p.waiting
	p.waiting = nil
	if ev.Err == "" {
		p.answered = m.now
		m.in(&p.timer, probeFresh)
	} else {
		delete(m.probes, p.key)
		m.at(&p.timer, never)
	}
	for _, t := range waiting {
		m.work++
		switch {
		case t.attempt.probe != p: // stopped or dropped meanwhile
		case ev.Err == "":
			m.enqueue(t)
		default:
			m.fail(t, ev.Err, ev.Errno)
			t.unresponsive = ev.Mute // stay with the question that told
		}
	}
}

// queue is a line of targets that wait for one of the places of max-parallel-connects. A ticket that its target does not
// have any more was given back.
type queue struct {
	tickets uint64
	urgent  []ticket
	others  []ticket
}

type ticket struct {
	number uint64
	target *target
}

// enqueue puts t in line for a place.
func (m *Machine) enqueue(t *target) {
	m.proceed(t, queued)
	t.begun = m.step
	m.queue.tickets++
	t.attempt.ticket = m.queue.tickets
	line := &m.queue.others
	if t.urgent() {
		line = &m.queue.urgent
	}
	*line = append(*line, ticket{m.queue.tickets, t})
}

// next returns the first target in line, nil if nobody waits.
func (q *queue) next() *target {
	for _, line := range []*[]ticket{&q.urgent, &q.others} {
		for len(*line) > 0 {
			first := (*line)[0]
			(*line)[0] = ticket{}
			*line = (*line)[1:]
			if first.target.attempt.ticket == first.number {
				return first.target
			}
		}
	}
	return nil
}

// urgent targets get a place before others: the log page of a DC brings more wishes, the boot depends on the NBFT. One that
// has failed waits its turn: dead DCs must not keep the rest from being tried. So does one that mDNS alone names, which anybody can.
func (t *target) urgent() bool {
	return t.attempts == 0 && !t.announced && (t.wish.Kind == tid.Discovery || t.wish.Owner == wish.OwnerNBFT)
}

// dispatch fills the free places, urgent wishes first.
func (m *Machine) dispatch() {
	if !m.bus || !m.unitsKnown {
		return
	}
	for m.units.running < m.cfg.Settings.MaxParallelConnects {
		t := m.queue.next()
		if t == nil {
			return
		}
		m.work++
		m.begin(t)
	}
}

// begin gives the unit of t its job: a start, a restart of a unit that is still active as wanted, or first a stop of one
// that has other parameters.
func (m *Machine) begin(t *target) {
	if where, excluded := m.excludedBy(t); excluded {
		m.exclude(t, where)
		return
	}
	if m.desired.outdated(t) { // it may be wanted with other parameters: TLS, or other secrets
		m.transition(t, Waiting)
		m.in(&t.timer, judgePause)
		return
	}
	if m.unread[t.unit] { // its controller may be live: a job would end it
		m.giveUp(t, m.now.Add(unreadDelay))
		return
	}
	own := t.wish.TID.UnitName()
	if u := m.unitOf(t.unit); t.unit != own && !u.active && u.op == OpNone { // only a unit that lives keeps the name another version gave
		if m.adopt(t, own); t.unit != own {
			m.giveUp(t, m.now.Add(inspectAgain)) // its own name has another user for now
			return
		}
	}
	if m.stopped[t.unit] {
		m.transition(t, Stopped)
		return
	}
	if m.served(t) { // while it waited for its place
		return
	}
	if t.unit != own && m.hasDevice(t.unit) { // an adopted unit that now serves another wish
		m.giveUp(t, m.now)
		return
	}
	u := m.unitOf(t.unit)
	if u.active && u.foreign == "stop" && u.op == OpNone { // somebody stops it, as far as is known: a job of ours would cancel that
		m.inspect(t, afterCancel)
		return
	}
	if u.active && u.op == OpNone && !t.attempt.inspected && m.serving(t.wish.TID) != nil {
		// The unit may have connected it just now, and its record was not there yet when the controller was read.
		t.attempt.inspected = true
		m.inspect(t, afterExists)
		return
	}
	t.attempt.inspected = false
	w := m.identified(t.wish)
	if w != t.wish {
		m.tellHostID(t.wish)
	}
	switch {
	case u.op != OpNone: // our own stop of it is still under way; its end leads here again
		m.proceed(t, clearing)
		return
	case !u.active:
		m.setOp(u, OpStart)
		u.argv, u.had = argvOf(w), true
		m.emit(StartUnit{Unit: t.unit, Wish: w})
	case startedAs(u.argv, w):
		m.setOp(u, OpRestart)
		m.emit(RestartUnit{Unit: t.unit, Wish: w})
	default:
		m.proceed(t, clearing)
		m.stop(t.unit, "it is to be connected with other parameters")
		return
	}
	u.foreign, u.failure = "", nil // a stop that is heard from now on is of this job
	m.proceed(t, job)
	t.begun = m.step
}

// giveUp lets go of a unit that t had adopted. It is judged anew, for its own one, at a later time.
func (m *Machine) giveUp(t *target, next time.Time) {
	m.transition(t, Waiting)
	if own := t.wish.TID.UnitName(); t.unit != own && m.freeUnit(t) {
		m.setUnit(t, own)
	}
	m.at(&t.timer, next)
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
