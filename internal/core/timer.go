// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// never is the zero time: no timer.
var never time.Time

// Timers that are due at one moment fire by the rank of what they are for.
const (
	rankAudit = iota
	rankFC
	rankMDNS
	rankRetention
	rankKick
	rankInspection
	rankLogPage
	rankAttempt
	rankName
	rankProbe
)

// A timer that fires more than maxFires times within one step is put off for braked: a mistake in the core must not become
// a daemon that spins.
const (
	maxFires = 4
	braked   = time.Second
)

// timer is a moment at which its owner has something to do. Machine.at sets it, and only a timer that the heap has
// returned acts: no deadline passes without its owner's doing.
type timer struct {
	owner timed
	when  time.Time // Invariant: not never exactly while the timer is in the heap.
	place int       // in the heap

	popped bool   // it was returned by the heap and has not fired yet; Machine.at takes that back
	step   uint64 // in which it last fired …
	fires  int    // … and how often in that step
}

// timed is what owns a timer.
type timed interface {
	// due is called when the time has come. The timer is off by then.
	due(m *Machine)
	// rank orders what is due at one moment: by kind, then by since (never comes last), then by order.
	rank() (kind int, since time.Time, order uint64)
}

// timers is a heap of all timers that are set.
type timers struct{ heap timerHeap }

// at sets a timer; never turns it off.
func (m *Machine) at(t *timer, when time.Time) {
	t.popped = false
	switch owner := t.owner.(type) { // views show when they are due
	case *target:
		m.change(owner)
	case *name:
		m.nameChanged(owner)
	}
	h := &m.timers.heap
	switch set := t.when != never; {
	case when == never && set:
		heap.Remove(h, t.place)
		t.when = never
	case when == never:
	case set:
		t.when = when
		heap.Fix(h, t.place)
	default:
		t.when = when
		heap.Push(h, t)
	}
}

// in sets a timer to go off after a delay.
func (m *Machine) in(t *timer, delay time.Duration) { m.at(t, m.now.Add(delay)) }

// next returns when the first timer is due, never if none is set.
func (t *timers) next() time.Time {
	if len(t.heap) == 0 {
		return never
	}
	return t.heap[0].when
}

// reached reports whether a timer is due.
func (t *timers) reached(now time.Time) bool { return len(t.heap) > 0 && !t.heap[0].when.After(now) }

// pop returns the timers that are due, in the order in which they fire.
func (t *timers) pop(now time.Time) []*timer {
	var due []*timer
	for t.reached(now) {
		first := heap.Pop(&t.heap).(*timer)
		first.when, first.popped = never, true
		due = append(due, first)
	}
	slices.SortFunc(due, byRank)
	return due
}

func byRank(a, b *timer) int {
	kindA, sinceA, orderA := a.owner.rank()
	kindB, sinceB, orderB := b.owner.rank()
	return cmp.Or(cmp.Compare(kindA, kindB), earlier(sinceA, sinceB), cmp.Compare(orderA, orderB))
}

// earlier compares two times; never is the latest.
func earlier(a, b time.Time) int {
	switch {
	case a.Equal(b):
		return 0
	case b == never || a != never && a.Before(b):
		return -1
	}
	return 1
}

// fire lets the owner of a timer that was popped act, unless the timer was set or turned off since.
func (m *Machine) fire(t *timer) {
	if !t.popped {
		return
	}
	t.popped = false
	if t.step != m.step {
		t.step, t.fires = m.step, 0
	}
	if t.fires++; t.fires > maxFires {
		m.brakes++
		m.in(t, braked)
		return
	}
	m.work++
	t.owner.due(m)
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].when.Before(h[j].when) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.place = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
