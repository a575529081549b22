// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"math/rand/v2"
	"testing"
	"time"
)

// No delay is longer than the exponential one or negative, whatever the attempt and the limit.
func TestFullJitterBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	for _, limit := range []time.Duration{0, time.Second, 7 * time.Second, 5 * time.Minute, 24 * time.Hour} {
		for _, n := range []int{1, 2, 3, 8, 9, 31, 32, 33, 64, 100_000} {
			longest := limit
			if n < 20 {
				longest = min(limit, time.Duration(1<<(n-1))*time.Second)
			}
			for range 1000 {
				if d := FullJitter(rng, n, limit); d < 0 || d > longest {
					t.Fatalf("attempt %d, limit %v: waits %v, want 0 to %v", n, limit, d, longest)
				}
			}
		}
	}
}

// Hosts that failed together do not try again together: each tenth of the span gets its share of them.
func TestFullJitterSpreads(t *testing.T) {
	const hosts, limit = 10_000, 5 * time.Minute
	var tenths [10]int
	for seed := range uint64(hosts) {
		d := FullJitter(rand.New(rand.NewPCG(seed, 0)), 20, limit)
		tenths[min(int(10*d/limit), 9)]++
	}
	for i, n := range tenths {
		if n < hosts/10*8/10 || n > hosts/10*12/10 {
			t.Errorf("tenth %d of the span has %d of %d hosts", i, n, hosts)
		}
	}
}

// A machine waits by the policy that it was given.
func TestSetBackoff(t *testing.T) {
	m := New(1)
	m.SetBackoff(func(_ *rand.Rand, n int, limit time.Duration) time.Duration { return limit + time.Duration(n) })
	if d := m.backoff(3, time.Minute); d != time.Minute+3 {
		t.Errorf("waits %v", d)
	}
}
