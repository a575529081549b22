// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"slices"
	"sync"
	"time"
)

// campaign runs many seeds on several processors.
type campaign struct {
	lab         *Lab
	from, count uint64
	most        int // seeds that fail, after which it ends
	workers     int
	every       time.Duration // between calls of tell; 0 is never
	tell        func(done uint64, failed int)
	found       func(failure)                    // called for each seed that fails, as it fails; nil: by nobody
	simulate    func(uint64) (Stats, *Violation) // nil: lab's
}

// failure is a seed that broke an invariant.
type failure struct {
	seed   uint64
	broken *Violation
}

// total is what the seeds of a campaign consisted of.
type total struct {
	Stats
	Seeds uint64
}

// run returns the first seeds that fail, in their order and most of them at most. Seeds are begun in order; when enough have
// failed no more are begun, and those that run are waited for, since theirs come first.
func (c *campaign) run() (sum total, failures []failure) {
	simulate := c.simulate
	if simulate == nil {
		simulate = func(seed uint64) (Stats, *Violation) { return c.lab.Run(seed, nil) }
	}
	var mu sync.Mutex
	var begun uint64
	next := func() (seed uint64, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if begun >= c.count || len(failures) >= c.most {
			return 0, false
		}
		begun++
		return c.from + begun - 1, true
	}
	ended := func(seed uint64, stats Stats, broken *Violation) {
		mu.Lock()
		defer mu.Unlock()
		sum.add(stats)
		if broken != nil {
			failures = append(failures, failure{seed, broken})
			if c.found != nil {
				c.found(failures[len(failures)-1])
			}
		}
	}
	if c.every > 0 {
		over := make(chan struct{})
		defer close(over)
		go func() {
			for ticker := time.NewTicker(c.every); ; {
				select {
				case <-over:
					return
				case <-ticker.C:
					mu.Lock()
					done, failed := sum.Seeds, len(failures)
					mu.Unlock()
					c.tell(done, failed)
				}
			}
		}()
	}
	var workers sync.WaitGroup
	for range c.workers {
		workers.Go(func() {
			for {
				seed, ok := next()
				if !ok {
					return
				}
				stats, broken := simulate(seed)
				ended(seed, stats, broken)
			}
		})
	}
	workers.Wait()
	slices.SortFunc(failures, func(a, b failure) int {
		if a.seed < b.seed {
			return -1
		}
		return 1
	})
	return sum, failures[:min(len(failures), c.most)]
}

func (t *total) add(s Stats) {
	t.Seeds++
	t.Steps += s.Steps
	t.Happenings += s.Happenings
	t.Connects += s.Connects
	t.Lives += s.Lives
}
