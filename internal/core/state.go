package core

import (
	"fmt"
	"slices"
)

// State is what a target is, SPEC section 7.
type State int

const (
	// Waiting: not yet tried, or backing off until the next attempt.
	Waiting State = iota
	// Connecting: an attempt is under way.
	Connecting
	// Connected: its controller is known; in sysfs it is live, resetting, or the kernel itself reconnects it.
	Connected
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
)

var stateNames = [...]string{"waiting", "connecting", "connected", "excluded", "foreign", "stopped", "parked", "collision"}

// String returns the state's name as SPEC section 7 spells it.
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

// phase is what a target waits for within its state.
type phase int

const (
	idle     phase = iota
	blocked        // waiting: a wish that the same connection may serve is connecting
	looking        // waiting: what does systemd say of the unit?
	probing        // connecting: is the peer there?
	queued         // connecting: for a place among the parallel connects
	clearing       // connecting: the unit of an earlier connect with other parameters is being stopped
	job            // connecting: systemd runs our job
	settling       // connecting: the kernel has the controller, the association is not up yet (fc)
	unknown        // connecting: the bus went away under the job
)

var phaseNames = [...]string{"idle", "blocked", "looking", "probing", "queued", "clearing", "job", "settling", "unknown"}

func (p phase) String() string { return phaseNames[p] }

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
	t.state, t.phase, t.next = to, idle, never
	t.touched, t.inLine = m.step, never
	t.checked = t.checked && (to == Waiting || to == Connecting)
	t.ending = t.ending && to == Stopped
	if to != Connected {
		m.leaveRead(t)
		t.device, t.unended = "", false
	}
}
