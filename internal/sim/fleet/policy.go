// SPDX-License-Identifier: GPL-3.0-or-later

package fleet

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

// Policy is a way to spread the attempts of many hosts.
type Policy struct {
	Name  string
	Delay core.Backoff
}

// Policies are those that are compared.
func Policies() []Policy {
	return []Policy{
		{"±10 %", narrow},
		{"full", core.FullJitter},
		{"equal", equal},
		{"decorrelated", decorrelated},
	}
}

// narrow waits 0.9 to 1.1 times the exponential delay.
func narrow(rng *rand.Rand, n int, limit time.Duration) time.Duration {
	return between(rng, core.Exponential(n, limit)*9/10, core.Exponential(n, limit)*11/10)
}

// equal waits at least half of the exponential delay and at most all of it.
func equal(rng *rand.Rand, n int, limit time.Duration) time.Duration {
	d := core.Exponential(n, limit)
	return d/2 + time.Duration(rng.Float64()*float64(d/2))
}

// decorrelated waits from a second to three times the delay before, capped. The core keeps no delay of a target: the
// delays before this one are drawn anew each time, which changes how two delays of one target depend on each other and
// not how any one is distributed. After 32 of them the number does not matter any more.
func decorrelated(rng *rand.Rand, n int, limit time.Duration) time.Duration {
	delay := min(time.Second, limit)
	for range min(n, 32) {
		delay = min(limit, between(rng, time.Second, 3*delay))
	}
	return delay
}

// between returns a time that is at least low and less than high; low if high is no more.
func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(rng.Int64N(int64(high-low)))
}

// Notice is how soon one host finds out that its target is back, where nothing but its own back-off plays a part.
type Notice struct {
	Mean, P99, Longest time.Duration // from the moment when the target is back
	PerHour            float64       // attempts in an hour on a target that stays away, once the delays have grown
}

// NoticeOf draws many outages, of a minute to two hours, and the attempts of one host during each.
func NoticeOf(delay core.Backoff, limit time.Duration, outages int, seed uint64) Notice {
	rng := rand.New(rand.NewPCG(seed, 1))
	all := make([]time.Duration, outages)
	var sum time.Duration
	for i := range all {
		back := between(rng, time.Minute, 2*time.Hour)
		at := time.Duration(0)
		for n := 1; at < back; n++ {
			at += delay(rng, n, limit)
		}
		all[i] = at - back
		sum += all[i]
	}
	slices.Sort(all)
	var steady time.Duration
	const draws = 10000
	for range draws {
		steady += delay(rng, 100, limit)
	}
	return Notice{
		Mean: sum / time.Duration(outages), P99: Share(all, 99), Longest: all[outages-1],
		PerHour: draws * float64(time.Hour) / float64(steady),
	}
}
