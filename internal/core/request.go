// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// RequestOp is what an administrator asks for over varlink.
type RequestOp string

// The requests.
const (
	RequestStart  RequestOp = "start"  // connect what was stopped or parked
	RequestStop   RequestOp = "stop"   // disconnect and stay away
	RequestRetry  RequestOp = "retry"  // try now what waits
	RequestRescan RequestOp = "rescan" // read log pages again; all of them: and compare with the outside, kickstart Fibre Channel
)

// Request is answered by Answer with the same ID, in the same Step. Target is a unit, nvmeN, an NQN or a canonical TID; for
// retry and rescan "" is every one.
type Request struct {
	ID     uint64
	Op     RequestOp
	Target string
}

// Refusal says why a request was not carried out.
type Refusal struct {
	Target string
	Reason string // "" is: there is no such target
}

func (r *Refusal) Error() string {
	if r.Reason == "" {
		return fmt.Sprintf("cannot find a target called %q: give a unit, nvmeN, NQN or TID that `nvme-discoverctl list` shows", r.Target)
	}
	return r.Reason
}

// Answer ends a Request.
type Answer struct {
	ID     uint64
	Done   int // how many targets it was carried out for
	Refuse *Refusal
}

func (Request) event() {}
func (Answer) effect() {}

func (a Answer) String() string {
	if a.Refuse != nil {
		return fmt.Sprintf("answer %d: %v", a.ID, a.Refuse)
	}
	return fmt.Sprintf("answer %d: done for %d", a.ID, a.Done)
}

// request carries a request out for every target that its words name.
func (m *Machine) request(ev Request) {
	if ev.Op == RequestRescan && ev.Target == "" {
		m.kickstartIn(0)
		m.audit("an administrator asked for it")
	}
	named, names := m.named(ev.Target), m.namesCalled(ev.Target)
	if len(named)+len(names) == 0 && ev.Target != "" {
		m.emit(Answer{ID: ev.ID, Refuse: &Refusal{Target: ev.Target}})
		return
	}
	answer := Answer{ID: ev.ID}
	var refusal *Refusal
	count := func(of tid.TID, reason string) {
		if reason != "" {
			refusal = &Refusal{Target: ev.Target, Reason: fmt.Sprintf("cannot %s %s: %s", ev.Op, of, reason)}
			return
		}
		answer.Done++
	}
	for _, n := range names {
		count(n.tid(), m.requestForName(n, ev.Op))
	}
	if ev.Op == RequestStop && refusal != nil { // who stops an NQN wants all its paths gone, and this one would come
		if len(named) > 0 {
			refusal.Reason += ", and stop the others by their units"
		}
		m.emit(Answer{ID: ev.ID, Refuse: refusal})
		return
	}
	for _, t := range named {
		count(t.wish.TID, m.requestFor(t, ev.Op, ev.Target == ""))
	}
	if answer.Done == 0 && ev.Target != "" {
		answer.Refuse = refusal
	}
	m.emit(answer)
}

// named returns the targets that a word names, every one for "".
func (m *Machine) named(word string) []*target {
	set := map[*target]bool{}
	if word == "" {
		m.all(func(t *target) { set[t] = true })
	}
	for t := range m.targets.byNQN[tid.FoldNQN(word)] {
		set[t] = true
	}
	if d := m.devices.byName[word]; d != nil {
		for _, t := range d.users {
			set[t] = true
		}
	}
	for _, unit := range []string{word, word + ".service"} {
		if t := m.user(unit); t != nil {
			set[t] = true
		}
		for _, t := range m.targets.collide[unit] {
			if !t.dropped && t.unit == unit {
				set[t] = true
			}
		}
	}
	if len(set) == 0 { // a canonical TID, or a unit that is not in use
		m.all(func(t *target) {
			if t.unit == word || strings.TrimSuffix(t.unit, ".service") == word || t.wish.TID.Canonical() == word {
				set[t] = true
			}
		})
	}
	return m.inOrder(set)
}

// requestFor carries a request out for one target and returns why it cannot, "" if it did.
func (m *Machine) requestFor(t *target, op RequestOp, all bool) string {
	switch op {
	case RequestStart:
		switch t.state {
		case Stopped:
			for _, unit := range m.unitsOf(t) {
				delete(m.stopped, unit)
				m.emit(UnmarkStopped{Unit: unit})
			}
			m.release(t)
		case Parked:
			m.release(t)
		case Waiting:
			return m.requestFor(t, RequestRetry, all)
		default:
			return "it is " + t.state.String()
		}
	case RequestStop:
		return m.requestStop(t)
	case RequestRetry:
		switch {
		case t.state == Waiting && t.is(idle) || t.state == Parked:
			m.release(t)
		case t.state == Waiting: // it is being looked at or about to be tried
		default:
			return "it is " + t.state.String()
		}
	case RequestRescan:
		if t.wish.Kind != tid.Discovery {
			return "it is no discovery controller"
		}
		if t.state != Connected {
			return "it is " + t.state.String()
		}
		m.readLog(t)
	}
	return ""
}

// requestStop disconnects a target as `systemctl stop` of its unit does.
func (m *Machine) requestStop(t *target) string {
	u := m.units.byName[t.unit]
	running := u != nil && (u.active || u.op == OpStart || u.op == OpRestart)
	switch {
	case t.state == Stopped && !running:
		return "it is stopped already"
	case running && !m.bus:
		return "systemd cannot be reached: try again when it can"
	case t.state == Foreign:
		return "another orchestrator owns its controller"
	case m.user(t.unit) != nil && m.user(t.unit) != t:
		return "its unit name is that of another connection, which would be stopped"
	case t.state == Connected && t.via != t.unit:
		return "it is served by the connection of " + t.via + ": stop that"
	}
	m.byAdmin(t, "stopped by request")
	if running {
		m.proceed(t, ending)
	}
	if running && u.op == OpNone {
		m.stop(t.unit, "an administrator asked for it")
	}
	return ""
}
