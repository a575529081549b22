// SPDX-License-Identifier: GPL-3.0-or-later

package fleet

import (
	"testing"
	"time"
)

// The array serves one connect of a port after the other, drops what finds the backlog full, and lets those time out that
// it cannot serve soon enough.
func TestArray(t *testing.T) {
	attempt := func(serve time.Duration, many int) (got map[outcome]int, last time.Duration) {
		c, r := &clock{}, &Result{}
		a := newArray(c, 2, 2/serve.Seconds(), r)
		got = map[outcome]int{}
		for range many {
			a.connect(1, func(o outcome) {
				got[o]++
				last = c.now
			})
		}
		for c.next() {
		}
		if r.Total() != many || r.Dropped != got[dropped] {
			t.Errorf("counted %d attempts and %d dropped, want %d and %d", r.Total(), r.Dropped, many, got[dropped])
		}
		return got, last
	}
	if got, last := attempt(10*time.Millisecond, 100); got[served] != 100 || last != time.Second {
		t.Errorf("%v by %v, want 100 served by 1s", got, last)
	}
	if got, last := attempt(10*time.Millisecond, 200); got[served] != backlog || got[dropped] != 200-backlog || last != writeTimeout {
		t.Errorf("%v by %v, want %d served, the rest dropped by %v", got, last, backlog, writeTimeout)
	}
	if got, last := attempt(time.Second, 20); got[served] != 10 || got[mute] != 10 || last != writeMute {
		t.Errorf("%v by %v, want 10 served, the rest mute by %v", got, last, writeMute)
	}
}

// What is down answers nothing and counts as in vain.
func TestArrayDown(t *testing.T) {
	c, r := &clock{}, &Result{}
	a := newArray(c, 1, 1000, r)
	a.up = false
	a.probe(0, false, func(o outcome) {
		if o != dropped || c.now != probeTimeout {
			t.Errorf("outcome %d after %v, want %d after %v", o, c.now, dropped, probeTimeout)
		}
	})
	for c.next() {
	}
	if r.Vain != 1 || r.Total() != 0 {
		t.Errorf("%d in vain and %d in all, want 1 and 0", r.Vain, r.Total())
	}
}
