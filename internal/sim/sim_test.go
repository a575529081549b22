package sim

import (
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	oneSeed  = flag.Uint64("sim.seed", 0, "run this seed only and print its whole trace")
	seeds    = flag.Int("sim.seeds", defaultSeeds, "how many seeds to run")
	fromSeed = flag.Uint64("sim.from", 1, "the first of them")
)

func newLab(t testing.TB) *Lab {
	lab, err := NewLab(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return lab
}

// TestSeeds runs many simulated hosts. One that breaks an invariant is run once more to show what led to it.
func TestSeeds(t *testing.T) {
	lab := newLab(t)
	if *oneSeed != 0 {
		if _, broken := lab.Run(*oneSeed, os.Stdout); broken != nil {
			t.Error(broken)
		}
		return
	}
	var next, failed atomic.Int64
	var mu sync.Mutex
	var total Stats
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				n := next.Add(1) - 1
				if n >= int64(*seeds) || failed.Load() >= 5 {
					return
				}
				seed := *fromSeed + uint64(n)
				stats, broken := lab.Run(seed, nil)
				if broken != nil {
					failed.Add(1)
					report(t, lab, seed, broken)
				}
				mu.Lock()
				total.Steps += stats.Steps
				total.Happenings += stats.Happenings
				total.Connects += stats.Connects
				total.Lives += stats.Lives
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	t.Logf("%d seeds: %d steps, %d happenings, %d connects, %d daemons", *seeds, total.Steps, total.Happenings, total.Connects, total.Lives)
}

// report shows the end of the trace of a seed, and how to see all of it.
func report(t *testing.T, lab *Lab, seed uint64, broken *Violation) {
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
	t.Errorf("seed %d: %v\n%s\nreplay: go test ./internal/sim -run TestSeeds -sim.seed=%d -v", seed, broken, strings.Join(lines, "\n"), seed)
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
