// SPDX-License-Identifier: GPL-3.0-or-later

package fleet

import (
	"slices"
	"time"
)

// Result is what the array and the hosts saw of one run. All times count from the moment when the array was back.
type Result struct {
	Attempts  []int           // by the second: probes and connects, those of the kernels included, that reached the array
	Dropped   int             // how many of them found no room
	Vain      int             // attempts while the array was down
	Connected []time.Duration // when each connection was there again, discovery controllers included; in order
	Hosts     []time.Duration // when each host had its first path again; in order
	Steps     int             // of all cores

	back time.Duration
}

// arrived counts an attempt.
func (r *Result) arrived(now time.Duration, admitted bool) {
	second := int((now - r.back) / time.Second)
	for len(r.Attempts) <= second {
		r.Attempts = append(r.Attempts, 0)
	}
	r.Attempts[second]++
	if !admitted {
		r.Dropped++
	}
}

// Peak is the largest number of attempts in one second.
func (r *Result) Peak() int {
	if len(r.Attempts) == 0 {
		return 0
	}
	return slices.Max(r.Attempts)
}

// Total is the number of attempts that reached the array.
func (r *Result) Total() int {
	total := 0
	for _, n := range r.Attempts {
		total += n
	}
	return total
}

// Share returns the time by which the share of sorted is over, in percent; 0 for an empty one.
func Share(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max((len(sorted)*percent+99)/100, 1)-1]
}
