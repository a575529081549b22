// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

// Command bench measures, inside the end-to-end machine, how fast the service connects, next to nvme-cli: `make bench`.
//
// The machine is emulated and the host noisy: only ratios and orders of magnitude mean anything.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// How often changes and cold starts are measured; the median counts.
const (
	rounds     = 5
	coldStarts = 3
)

// What takes longer than this never happens, for the connecting of everything and of one controller.
const (
	patience    = 4 * time.Minute
	patienceOne = 30 * time.Second
)

func main() {
	traces := flag.Bool("trace", false, "record one cold start and print where its time goes, instead of the comparison")
	sizes := flag.String("n", "20 100", "`numbers` of subsystems")
	flag.Parse()
	guest.Undisturbed = true
	fmt.Println("warming up: what runs for the first time here runs slowly")
	compare(5, 1)
	for _, word := range strings.Fields(*sizes) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 2 {
			fmt.Fprintf(os.Stderr, "bench: cannot use %q as a number of subsystems: it must be 2 or more\n", word)
			os.Exit(2)
		}
		if *traces {
			trace(n)
			continue
		}
		ours, theirs := compare(n, coldStarts)
		table(n, ours, theirs)
	}
}

// compare measures both contenders, turn by turn, so that a noisy moment of the host meets both.
func compare(n, times int) (ours, theirs figures) {
	var all [2][]figures
	for i := range times {
		last := i == times-1
		guest.RunProgram("nvme-discoverd", func(t guest.T) { all[0] = append(all[0], measure(t, n, discoverd{}, last)) })
		guest.RunProgram("nvme connect-all", func(t guest.T) { all[1] = append(all[1], measure(t, n, connectAll{}, last)) })
	}
	return typical(all[0]), typical(all[1])
}

// typical takes the medians of what every run measured; the last one has measured changes too.
func typical(all []figures) figures {
	got := all[len(all)-1]
	slices.SortFunc(all, func(a, b figures) int { return cmp.Compare(a.cold, b.cold) })
	middle := all[len(all)/2]
	got.cold, got.first, got.cpu, got.machineCPU, got.processes = middle.cold, middle.first, middle.cpu, middle.machineCPU, middle.processes
	return got
}

// contender is something that connects what a discovery controller shows.
type contender interface {
	// prepare gets things ready before the clock runs.
	prepare(t guest.T)
	// connect begins to connect everything; wait waits for the command that it started.
	connect(t guest.T, f *guest.Fixture) (wait func())
	// cpu is the processor time that its processes have used, where that can be told.
	cpu(t guest.T) time.Duration
	// rss is what its processes hold in memory, in KiB, where there are any.
	rss(t guest.T) int
}

// figures are what is measured of one contender.
type figures struct {
	cold, first     time.Duration // from the start to all and to the first live
	added           time.Duration // from a change of the target to the new one live, median
	back            time.Duration // from a loss to live again, median
	cpu, machineCPU time.Duration // during the cold start
	processes       int           // during the cold start
	rss             int           // KiB
}

// measure measures a cold start, and changes after it if asked to.
func measure(t guest.T, n int, who contender, changes bool) figures {
	t.Helper()
	fmt.Printf("measuring %s with %d subsystems\n", t.Name(), n)
	f := guest.Scene(t, n)
	guest.Run(t, "modprobe", "nvme-tcp")
	who.prepare(t)
	settle(t)
	census := guest.NewCensus()
	var got figures
	before := readUsage(t)
	begin := time.Now()
	wait := who.connect(t, f)
	got.first = untilLive(census, begin, 2, patience)
	got.cold = untilLive(census, begin, n+1, patience)
	after := readUsage(t)
	wait()
	got.machineCPU, got.processes = after.cpu-before.cpu, after.processes-before.processes
	got.cpu, got.rss = who.cpu(t), who.rss(t)
	fmt.Printf("  all live after %s\n", seconds(got.cold))
	if !changes {
		return got
	}

	live := n + 1
	got.added = median(func(i int) time.Duration {
		s := f.Target.Subsystem(fmt.Sprintf("nqn.2024-01.com.example:added%d", i))
		settle(t)
		begin := time.Now()
		f.Port.Link(s)
		live++
		return untilLive(census, begin, live, patienceOne)
	})
	if got.added == 0 {
		return got
	}
	fmt.Printf("  a new one live after %s\n", seconds(got.added))
	got.back = median(func(i int) time.Duration {
		device := guest.Live(f.Subsystems[i].NQN)[0]
		settle(t)
		begin := time.Now()
		guest.Delete(t, device)
		guest.Eventually(t, patience, "it is gone", func() (bool, string) { return census.Live() < live, "" })
		return untilLive(census, begin, live, patienceOne)
	})
	if got.back > 0 {
		fmt.Printf("  a lost one live again after %s\n", seconds(got.back))
	}
	return got
}

// untilLive waits until n controllers are live and returns how long after begin that was, 0 if it never happened.
func untilLive(census *guest.Census, begin time.Time, n int, patience time.Duration) time.Duration {
	for time.Since(begin) < patience {
		if census.Live() >= n {
			return time.Since(begin)
		}
		guest.Pause()
	}
	fmt.Printf("  only %d of %d live after %v\n", census.Live(), n, patience)
	return 0
}

// median measures several times; 0 says that it never came about.
func median(once func(i int) time.Duration) time.Duration {
	var all []time.Duration
	for i := range rounds {
		took := once(i)
		if took == 0 {
			return 0
		}
		all = append(all, took)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// table prints both contenders' figures and how they compare.
func table(n int, ours, theirs figures) {
	fmt.Printf("\n%-44s %14s %14s %8s\n", fmt.Sprintf("%d subsystems", n), "nvme-discoverd", "connect-all", "ratio")
	for _, row := range []struct {
		what         string
		ours, theirs time.Duration
	}{
		{"start to first subsystem live", ours.first, theirs.first},
		{"start to all live", ours.cold, theirs.cold},
		{"subsystem added to live, median", ours.added, theirs.added},
		{"controller lost to live, median", ours.back, theirs.back},
		{"CPU of its own processes, cold start", ours.cpu, theirs.cpu},
		{"CPU of the whole machine, cold start", ours.machineCPU, theirs.machineCPU},
	} {
		ratio := "-"
		if row.ours > 0 && row.theirs > 0 {
			ratio = fmt.Sprintf("%.2f", row.ours.Seconds()/row.theirs.Seconds())
		}
		fmt.Printf("%-44s %14s %14s %8s\n", row.what, seconds(row.ours), seconds(row.theirs), ratio)
	}
	fmt.Printf("%-44s %14d %14d\n", "processes started, cold start", ours.processes, theirs.processes)
	fmt.Printf("%-44s %10.1f MiB %14s\n\n", "resident memory of the daemon", float64(ours.rss)/1024, "-")
}

func seconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
