// SPDX-License-Identifier: GPL-3.0-or-later

package fleet

import (
	"container/heap"
	"time"
)

// clock is virtual time: it jumps from one happening to the next. Happenings of one moment run in the order in which they
// were scheduled, so that a replay is exact.
type clock struct {
	now     time.Duration // since the simulation began
	pending happenings
	count   uint64 // of all that was ever scheduled
}

type happening struct {
	at    time.Duration
	order uint64
	do    func()
}

// after schedules do for d from now.
func (c *clock) after(d time.Duration, do func()) {
	c.count++
	heap.Push(&c.pending, happening{c.now + max(d, 0), c.count, do})
}

// next runs the next happening and reports whether there was one.
func (c *clock) next() bool {
	if len(c.pending) == 0 {
		return false
	}
	h := heap.Pop(&c.pending).(happening)
	c.now = h.at
	h.do()
	return true
}

// happenings is a heap for container/heap.
type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }

func (h *happenings) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = happening{}
	*h = (*h)[:last]
	return x
}
