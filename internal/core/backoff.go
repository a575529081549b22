// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"math/rand/v2"
	"time"
)

// firstDelay is the back-off after the first failed attempt, before jitter. It doubles with each further one.
const firstDelay = time.Second

// Backoff returns how long to wait after failed attempt number n, counted from 1. limit is the longest delay that is wanted
// before jitter. A Backoff keeps nothing between calls: all randomness comes from rng, so that a replay is exact.
type Backoff func(rng *rand.Rand, n int, limit time.Duration) time.Duration

// SetBackoff replaces the policy of every wait between attempts. The fleet simulation calls it, before the first Step, to
// compare policies; the daemon keeps FullJitter.
func (m *Machine) SetBackoff(b Backoff) { m.policy = b }

// Exponential returns the delay after failed attempt number n before jitter: 1 s, 2 s, 4 s … up to limit.
func Exponential(n int, limit time.Duration) time.Duration {
	if n > 32 { // 1 s << 32 is a century; more would overflow
		return limit
	}
	return min(limit, firstDelay<<(n-1))
}

// shortestDelay keeps a target that is lost as soon as it is connected from being tried again at once.
const shortestDelay = 100 * time.Millisecond

// FullJitter is the policy of the daemon: anything up to Exponential, from shortestDelay on. Hosts that lose an array together would stay in step
// with less jitter, and connect together when it is back; docs/performance.md compares.
func FullJitter(rng *rand.Rand, n int, limit time.Duration) time.Duration {
	longest := Exponential(n, limit)
	return min(longest, max(shortestDelay, time.Duration(rng.Float64()*float64(longest))))
}

// backoff returns how long to wait after failed attempt number n, counted from 1.
func (m *Machine) backoff(n int, limit time.Duration) time.Duration {
	return m.policy(m.rng, n, limit)
}
