// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

var (
	oneSeed  = flag.Uint64("sim.seed", 0, "run this seed only and print its whole trace")
	seeds    = flag.Uint64("sim.seeds", defaultSeeds, "how many seeds to run")
	fromSeed = flag.Uint64("sim.from", 1, "the first of them")
	ignore   = flag.String("sim.ignore", "", "invariants that may be broken, by name and separated by commas: to look behind a fault that is known")
	replays  = flag.Bool("sim.replays", false, "replay nearly every step of every run, instead of some")
	progress = flag.Duration("sim.progress", 0, "print now and then how far it is; 0 prints nothing")
)

// mostFailures is after how many seeds that fail a run ends.
const mostFailures = 10

func newLab(t testing.TB) *Lab {
	lab, err := NewLab(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	lab.Replays = *replays
	lab.Ignore = map[string]bool{}
	for name := range strings.SplitSeq(*ignore, ",") {
		lab.Ignore[name] = true
	}
	return lab
}

// TestSeeds runs many simulated hosts, `make sim` even more. Of those that break an invariant it names the first, and shows of
// the very first what led to it.
func TestSeeds(t *testing.T) {
	lab := newLab(t)
	if *oneSeed != 0 {
		if _, broken := lab.Run(*oneSeed, os.Stdout); broken != nil {
			t.Error(broken)
		}
		return
	}
	c := campaign{lab: lab, from: *fromSeed, count: *seeds, most: mostFailures, workers: runtime.GOMAXPROCS(0)}
	if *progress > 0 {
		begun := time.Now()
		c.every, c.tell = *progress, func(done uint64, failed int) {
			fmt.Fprintf(os.Stderr, "%d of %d seeds, %d failed, %.0f a second\n", done, *seeds, failed, float64(done)/time.Since(begun).Seconds())
		}
		// A million seeds take an hour: the first that fails can be looked into meanwhile.
		c.found = func(f failure) { fmt.Fprintf(os.Stderr, "seed %d fails: %v\n", f.seed, f.broken) }
	}
	total, failures := c.run()
	for i, f := range failures {
		if i == 0 {
			t.Errorf("what led to it:\n%s", endOfTrace(lab, f.seed))
		}
		t.Errorf("seed %d: %v\nreplay: go test ./internal/sim -run TestSeeds -sim.seed=%d -v", f.seed, f.broken, f.seed)
	}
	t.Logf("%d seeds: %d steps, %d happenings, %d connects, %d daemons", total.Seeds, total.Steps, total.Happenings, total.Connects, total.Lives)
}

// endOfTrace runs a seed once more and returns the end of its trace.
func endOfTrace(lab *Lab, seed uint64) string {
	var trace strings.Builder
	lab.Run(seed, &trace)
	lines := strings.Split(strings.TrimSpace(trace.String()), "\n")
	if len(lines) > 60 {
		lines = lines[len(lines)-60:]
	}
	for i, line := range lines {
		if len(line) > 300 {
			lines[i] = line[:300] + "…"
		}
	}
	return strings.Join(lines, "\n")
}

// TestSameSeedSameRun holds the simulator and the core to their word that a replay is exact.
func TestSameSeedSameRun(t *testing.T) {
	lab := newLab(t)
	sum := func(seed uint64) string {
		h := fnv.New64a()
		lab.Run(seed, h)
		return fmt.Sprintf("%x", h.Sum64())
	}
	for seed := range uint64(50) {
		if a, b := sum(seed), sum(seed); a != b {
			t.Errorf("two runs of seed %d differ", seed)
		}
	}
}

// TestFirstFailures holds a campaign to its word that it names the first seeds that fail, in their order.
func TestFirstFailures(t *testing.T) {
	c := campaign{from: 5, count: 1000, most: 3, workers: 8, simulate: func(seed uint64) (Stats, *Violation) {
		if seed%7 == 0 {
			return Stats{}, &Violation{Invariant: "seven"}
		}
		return Stats{}, nil
	}}
	total, failures := c.run()
	if len(failures) != 3 || failures[0].seed != 7 || failures[1].seed != 14 || failures[2].seed != 21 {
		t.Errorf("the first seeds that fail are %v, not 7, 14 and 21", failures)
	}
	if total.Seeds >= 1000 {
		t.Error("a campaign with enough failures goes on to its end")
	}
}
