// SPDX-License-Identifier: GPL-3.0-or-later

package core

import "time"

// attempt is how far a target has got within its state, and what it waits for there. A transition begins a new one.
//
// Invariants: the step is one that the table allows in the target's state. ticket is not 0 exactly while the step is queued;
// probe is set exactly while it is probing; why counts only while it is inspecting.
type attempt struct {
	step      step
	why       inspection  // inspecting: what led to it
	probe     *probeState // probing: the question whose answer is awaited
	ticket    uint64      // queued: the place in the queue
	inspected bool        // the active unit was looked at before it is started anew; kept from waiting to connecting and back
	since     time.Time   // waiting for another wish of its group since then; never otherwise
}

// step is what an attempt waits for.
type step int

const (
	idle        step = iota // nothing, or the target's timer
	blocked                 // another wish that the same connection may serve is connecting
	inspecting              // what does systemd say of the unit?
	probing                 // is the peer there?
	queued                  // a place among the parallel connects
	clearing                // the unit of an earlier connect with other parameters is being stopped
	job                     // systemd runs our job
	associating             // the kernel has the controller, the association is not up yet (fc)
	unknown                 // the bus went away under the job, or its controller could not be read: the next audit tells
	parking                 // our stop of its unit, to poll it later
	ending                  // a stop of its unit by request
)

// steps is what holds of each step.
var steps = [...]struct {
	name   string
	states []State // in which a target can be in it
	busy   bool    // something of ours runs for the target: it cannot be dropped
}{
	idle:        {"idle", []State{Waiting, Connecting, Connected, Excluded, Foreign, Stopped, Parked, Collision}, false},
	blocked:     {"blocked", []State{Waiting}, false},
	inspecting:  {"inspecting", []State{Waiting}, true},
	probing:     {"probing", []State{Connecting}, false},
	queued:      {"queued", []State{Connecting}, false},
	clearing:    {"clearing", []State{Connecting}, true},
	job:         {"job", []State{Connecting}, true},
	associating: {"associating", []State{Connecting}, true},
	unknown:     {"unknown", []State{Connecting}, true},
	parking:     {"parking", []State{Connected}, false},
	ending:      {"ending", []State{Stopped}, false},
}

func (s step) String() string { return steps[s].name }

// inspection is why systemd is asked about a unit.
type inspection int

const (
	afterLoss   inspection = iota // its controller went away
	afterExists                   // our start was refused: there is a unit of that name
	afterCancel                   // our start was cancelled
)

// is reports whether the target waits for the answer to a step.
func (t *target) is(s step) bool { return t.attempt.step == s }

// proceed takes an attempt to its next step within the target's state. What belonged to the last step is over; answers to
// it that still come are not taken any more.
func (m *Machine) proceed(t *target, to step) {
	m.allowed(t, to)
	t.attempt = attempt{step: to, inspected: t.attempt.inspected, since: t.attempt.since}
	m.touch(t)
	m.mayDrop(t)
}
