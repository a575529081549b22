// SPDX-License-Identifier: GPL-3.0-or-later

package follow

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// looks runs a wait for something that becomes true after a time, with events at the times given, and returns when it looked.
func looks(t *testing.T, timeout, becomes time.Duration, events ...time.Duration) (at []time.Duration, done bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := NewEvents()
		begin := time.Now()
		for _, after := range events {
			time.AfterFunc(after, func() { e.Tell(Units) })
		}
		done = e.Until(Any, Tick, timeout, func() bool {
			at = append(at, time.Since(begin))
			return time.Since(begin) >= becomes
		})
		time.Sleep(time.Hour) // the timers of events after the end
	})
	return at, done
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func TestUntil(t *testing.T) {
	for _, test := range []struct {
		name             string
		timeout, becomes time.Duration
		events           []time.Duration
		at               []time.Duration
		done             bool
	}{
		{name: "true at once", timeout: time.Minute, at: []time.Duration{0}, done: true},
		{
			name: "an event wakes it, after the burst", timeout: time.Minute, becomes: ms(450), events: []time.Duration{ms(450)},
			at: []time.Duration{0, ms(100), ms(300), ms(470)}, done: true,
		},
		{
			name: "a burst is one look", timeout: time.Minute, becomes: ms(455), events: []time.Duration{ms(450), ms(451), ms(455)},
			at: []time.Duration{0, ms(100), ms(300), ms(470)}, done: true,
		},
		{
			name: "an event during the pause is not lost", timeout: time.Minute, becomes: ms(30), events: []time.Duration{ms(30)},
			at: []time.Duration{0, ms(120)}, done: true,
		},
		{
			name: "what follows its event is seen by the echo", timeout: time.Minute, becomes: ms(500), events: []time.Duration{ms(450)},
			at: []time.Duration{0, ms(100), ms(300), ms(470), ms(570)}, done: true,
		},
		{
			name: "without an event the tick sees it", timeout: time.Minute, becomes: ms(1900),
			at: []time.Duration{0, ms(100), ms(300), ms(700), ms(1500), ms(2500)}, done: true,
		},
		{
			name: "the last look is at the end", timeout: ms(1600), becomes: time.Minute,
			at: []time.Duration{0, ms(100), ms(300), ms(700), ms(1500), ms(1600)},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			at, done := looks(t, test.timeout, test.becomes, test.events...)
			if !slices.Equal(at, test.at) || done != test.done {
				t.Errorf("got looks at %v and %v, want %v and %v", at, done, test.at, test.done)
			}
		})
	}
}

// A storm of events causes no more looks than a poll would.
func TestUntilInStorm(t *testing.T) {
	var storm []time.Duration
	for i := range 2000 {
		storm = append(storm, ms(i))
	}
	at, _ := looks(t, time.Minute, ms(2000), storm...)
	if most := int(ms(2000)/Rest) + 2; len(at) > most {
		t.Errorf("got %d looks, want at most %d", len(at), most)
	}
}

// A slow look is followed by a longer rest, whatever happens.
func TestUntilRestsAfterSlowLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEvents()
		var begins []time.Time
		e.Until(Any, Tick, time.Minute, func() bool {
			begins = append(begins, time.Now())
			time.Sleep(time.Second)
			e.Tell(Told)
			return len(begins) == 2
		})
		if got, want := begins[1].Sub(begins[0]), 4*time.Second+burst; got != want {
			t.Errorf("the second look came %v after the first, want %v", got, want)
		}
	})
}

// Who waits for events of some kinds is not woken by others.
func TestUntilKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEvents()
		begin := time.Now()
		for at, kinds := range map[time.Duration]Kinds{ms(310): Units, ms(320): Logged, ms(450): Logged | Kernel} {
			time.AfterFunc(at, func() { e.Tell(kinds) })
		}
		var at []time.Duration
		e.Until(Kernel|Changed, Tick, time.Minute, func() bool {
			at = append(at, time.Since(begin))
			return time.Since(begin) > ms(450)
		})
		if want := []time.Duration{0, ms(100), ms(300), ms(470)}; !slices.Equal(at, want) {
			t.Errorf("got looks at %v, want %v", at, want)
		}
		if len(e.waiters) != 0 {
			t.Errorf("%d waiters are not forgotten", len(e.waiters))
		}
	})
}
