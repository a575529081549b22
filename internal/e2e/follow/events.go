// SPDX-License-Identifier: GPL-3.0-or-later

package follow

import (
	"sync"
	"time"
)

// The pace of waits.
const (
	// Rest is the shortest pause between two looks. A look that took longer is followed by a pause of restFactor times as long, so
	// that looks do not slow the machine, whose processors are emulated ones, but of longestRest at most.
	Rest        = 100 * time.Millisecond
	restFactor  = 3
	longestRest = 3 * time.Second

	// burst is how long a wait that was woken holds back its look: one step of a unit or a controller is several events.
	burst = 20 * time.Millisecond

	// Echo is when a wait looks once more after a look in vain that an event caused, and then after twice as long each time, up to
	// Tick: some events precede what they tell of, such as the uevent of a controller's end.
	Echo = 100 * time.Millisecond

	// Tick is how often a wait looks although nothing has happened for long, for what has no event: attributes in sysfs (a controller's
	// state while it is lost, its ctrl_loss_tmo, requests in flight), threads in /proc, answers over the network, the clock. It also
	// bounds what a source costs that lost an event.
	Tick = time.Second
)

// Kinds are kinds of events, one or more.
type Kinds uint8

// The kinds of events. Who waits for what only some of them tell of is not woken by the others.
const (
	Kernel  Kinds = 1 << iota // a uevent, or a message of the kernel
	Units                     // a signal of PID 1
	Logged                    // an entry of the journal
	Changed                   // a file or directory
	Told                      // what the program itself tells
	Any     = Kernel | Units | Logged | Changed | Told
)

// Events wakes those who wait, at each event of the kinds that they wait for.
type Events struct {
	mu      sync.Mutex
	waiters map[*waiter]bool
}

// waiter is somebody who waits. An event takes it out of Events.
type waiter struct {
	kinds Kinds
	woken chan struct{} // closed by the event
}

// NewEvents returns Events without any source.
func NewEvents() *Events { return &Events{waiters: map[*waiter]bool{}} }

// Tell wakes all who wait for one of the kinds. Any goroutine may call it.
func (e *Events) Tell(kinds Kinds) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for w := range e.waiters {
		if w.kinds&kinds != 0 {
			close(w.woken)
			delete(e.waiters, w)
		}
	}
}

// next returns a waiter that the next event of the kinds wakes. Whoever does not wait any more calls forget.
func (e *Events) next(kinds Kinds) *waiter {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := &waiter{kinds: kinds, woken: make(chan struct{})}
	e.waiters[w] = true
	return w
}

func (e *Events) forget(w *waiter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.waiters, w)
}

// Until looks at first, after each event of the kinds and, without one, ever more seldom, but at each tick (usually Tick), until a look
// succeeds, and reports whether one did. The last look begins when timeout has passed.
func (e *Events) Until(kinds Kinds, tick, timeout time.Duration, look func() bool) bool {
	end := time.Now().Add(timeout)
	quiet := min(Echo, tick) // what was done just before may have caused an event already
	for {
		w := e.next(kinds) // before the look, which so misses no event
		begin := time.Now()
		if done := look(); done || !begin.Before(end) {
			e.forget(w)
			return done
		}
		// The pause after a slow look may exceed timeout: whoever sees nothing for so long need not hurry.
		time.Sleep(min(max(min(Rest, tick), restFactor*time.Since(begin)), longestRest))
		if pause(w.woken, min(quiet-time.Since(begin), time.Until(end))) {
			quiet = min(Echo, tick)
		} else {
			quiet = min(2*quiet, tick)
		}
		e.forget(w)
	}
}

// pause waits for an event, or for the time given, and reports whether there was an event.
func pause(woken <-chan struct{}, longest time.Duration) bool {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-woken:
	case <-timer.C:
		select {
		case <-woken: // it came during the rest
		default:
			return false
		}
	}
	time.Sleep(burst)
	return true
}
