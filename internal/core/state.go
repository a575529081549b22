// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"slices"
)

// State is what a target is: docs/design.md, "States".
type State int

const (
	// Waiting: not yet tried, or backing off until the next attempt.
	Waiting State = iota
	// Connecting: an attempt is under way.
	Connecting
	// Connected: its controller is known. In views it is live; the machine does not tell it from Reconnecting.
	Connected
	// Reconnecting: its controller is known and not live: the kernel reconnects it, or gives it up. It is a state of views
	// alone, in which no target ever is: there is nothing to do about it.
	Reconnecting
	// Excluded: an entry of the exclusion list forbids the next connect.
	Excluded
	// Foreign: another orchestrator owns the controller that serves it.
	Foreign
	// Stopped: an administrator stopped its unit.
	Stopped
	// Parked: a DC that does not keep its connection; it is polled, section 7.6.
	Parked
	// Collision: another wish has the same unit name.
	Collision

	stateCount
)

var stateNames = [stateCount]string{"waiting", "connecting", "connected", "reconnecting", "excluded", "foreign", "stopped", "parked", "collision"}

// String returns the name of the state, as docs/design.md has it.
func (s State) String() string { return stateNames[s] }

// moves are the transitions that there are. Whatever forbids a connect is left through waiting, where it is judged anew.
var moves = map[State][]State{
	Waiting:    {Connecting, Connected, Excluded, Foreign, Stopped, Parked, Collision},
	Connecting: {Waiting, Connected, Excluded, Foreign, Stopped},
	Connected:  {Waiting, Foreign, Stopped},
	Excluded:   {Waiting},
	Foreign:    {Waiting},
	Stopped:    {Waiting},
	Parked:     {Waiting},
	Collision:  {Waiting},
}

// transition is the one door between states. It panics on a move that the diagram in docs/architecture.md does not have:
// a broken invariant must not go on to touch controllers.
func (m *Machine) transition(t *target, to State) {
	if t.state != to && !slices.Contains(moves[t.state], to) {
		panic(fmt.Sprintf("target %v cannot go from %v to %v", t.wish.TID, t.state, to))
	}
	if to != Connecting {
		m.leaveGroup(t)
	}
	if to != t.state {
		t.since = m.now
	}
	t.state = to
	t.attempt = attempt{inspected: t.attempt.inspected && (to == Waiting || to == Connecting)}
	m.at(&t.timer, never)
	if to != Connected {
		m.leaveRead(t)
		m.setDevice(t, nil)
		t.unended = false
	}
	m.touch(t)
	m.mayDrop(t)
}

// allowed panics on a step that a target cannot be in in its state, as transition does on a move that there is not.
func (m *Machine) allowed(t *target, s step) {
	if !slices.Contains(steps[s].states, t.state) {
		panic(fmt.Sprintf("target %v cannot be %v while it is %v", t.wish.TID, s, t.state))
	}
}
