// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package main

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

const (
	// patience is how long all may take to be well when the faults are over: the kernel gives up after 6 s, the daemon pauses
	// for 5 s at most, a job that hangs on a mute peer 10 s; the rest is for two emulated CPUs that do thirty connects.
	patience = 2 * time.Minute
	// slow is what is worth a look at the journal: the comparison of every minute may have found what an event should have told.
	slow = 40 * time.Second
	// What the daemon may hold: some thirty targets are nothing, so that anything beyond is a leak.
	memoryLimit = 48 << 10 // KiB
	filesLimit  = 40
	// linesPerFault bounds the journal for one connection and one fault: systemd alone writes seven for a restart of a unit.
	linesPerFault = 25
)

// figures are what the summary tells.
type figures struct {
	rounds, faults    int
	kinds             map[string]int
	slowest, total    time.Duration // until all was well
	memory, files     int
	firstMemory       int
	lines, mostLines  int // mostLines is for one fault
	kills, wantedMost int
}

// soak plays until the time is over.
func soak(t guest.T, span time.Duration, seed uint64, only *regexp.Regexp) {
	t.Helper()
	t.Logf("soak for %v with seed %d (the faults are the same for the same seed, their timing is not)", span, seed)
	w := build(t, rand.New(rand.NewPCG(seed, 0)))
	w.only = only
	begin := time.Now()
	took := guest.WaitConsistent(w, patience, w.wanted(), w.others...)
	t.Logf("%d controllers connected within %v", len(w.wanted()), took.Round(time.Second))
	twins := watchTwins(w.others)
	sum := figures{kinds: map[string]int{}, firstMemory: guest.Memory(guest.MainPID(w))}
	for time.Since(begin) < span && !t.Failed() {
		w.round(&sum, begin)
		for _, twin := range twins.seen() {
			t.Errorf("connected twice: %s", twin)
		}
	}
	twins.end()
	sum.print(time.Since(begin), seed)
}

// round lets one to four faults happen, repairs what they broke, and checks everything when that is through.
func (w *world) round(sum *figures, begin time.Time) {
	w.faults, w.kills, w.stopped, w.disturbs, w.broken, w.excluded = nil, 0, nil, false, false, false
	mark := w.Mark()
	w.ForgetJournal(mark)
	for range 1 + w.rng.IntN(4) {
		f := w.pick()
		w.faults = append(w.faults, f.name)
		sum.kinds[f.name]++
		f.strike(w)
		w.pause(4 * time.Second)
	}
	fmt.Printf("%6.0fs %s\n", time.Since(begin).Seconds(), strings.Join(w.faults, ", "))
	w.checkStopped()
	w.repair()
	took := guest.WaitConsistent(w, patience, w.wanted(), w.others...)
	w.check(sum, mark, took)
}

// checkStopped checks that what an administrator stopped stayed away, as far as the daemon could hear of it.
func (w *world) checkStopped() {
	if w.disturbs {
		return
	}
	for _, id := range w.stopped {
		for _, c := range guest.Controllers() {
			if c.NQN == id.NQN && c.Traddr == id.Traddr && c.Trsvcid == id.Trsvcid {
				w.Errorf("%s was stopped by the administrator and is connected: %s", id.Unit(), c)
			}
		}
	}
}

// repair ends everything that is broken.
func (w *world) repair() {
	for _, i := range w.rng.Perm(len(w.ports)) {
		w.portUp(w.ports[i])
		w.pause(time.Second)
	}
	if w.excluded {
		guest.Unexclude(w, "soak")
	}
	guest.WaitActive(w)
	if slices.Contains(w.faults, "unit stopped") || w.broken {
		guest.Reload(w)
	}
}

// check looks at what must hold whatever happened, when all is well again.
func (w *world) check(sum *figures, mark guest.Mark, took time.Duration) {
	for _, device := range w.others {
		if state := guest.ControllerAttribute(device, "state"); state != "live" {
			w.Errorf("%s, the user's: got state %q, want live", device, state)
		}
		if owner := guest.RegistryAttribute(device, "owner"); owner != "" && owner != "stas" {
			w.Errorf("%s, the user's: got owner %q in the registry", device, owner)
		}
	}
	journal := w.Journal(mark)
	if got := strings.Count(journal, guest.Service+": Failed with result"); got != w.kills {
		w.Errorf("failures of the service: got %d, want %d for as many kills", got, w.kills)
	}
	for _, word := range []string{"panic:", "fatal error:", "goroutine ", "Watchdog timeout", "UnitExists"} {
		if strings.Contains(journal, word) {
			w.Errorf("the journal has %q", word)
		}
	}
	lines := strings.Count(journal, "\n") / len(w.faults)
	if limit := linesPerFault * len(w.wanted()); lines > limit {
		w.Errorf("lines in the journal for one fault: got %d, want at most %d", lines, limit)
	}
	pid := guest.MainPID(w)
	memory, files := guest.Memory(pid), guest.OpenFiles(pid)
	if memory > memoryLimit {
		w.Errorf("memory of the daemon: got %d KiB, want at most %d", memory, memoryLimit)
	}
	if files > filesLimit {
		w.Errorf("open files of the daemon: got %d, want at most %d", files, filesLimit)
	}
	fmt.Printf("        all %d well after %.1f s, %d KiB, %d files, %d lines for a fault\n",
		len(w.wanted()), took.Seconds(), memory, files, lines)
	if took > slow {
		fmt.Printf("this was slow; the journal of the round:\n%s", journal)
	}

	sum.rounds++
	sum.faults += len(w.faults)
	sum.kills += w.kills
	sum.slowest, sum.total = max(sum.slowest, took), sum.total+took
	sum.memory, sum.files = max(sum.memory, memory), max(sum.files, files)
	sum.lines, sum.mostLines = sum.lines+lines*len(w.faults), max(sum.mostLines, lines)
	sum.wantedMost = max(sum.wantedMost, len(w.wanted()))
}

func (sum *figures) print(span time.Duration, seed uint64) {
	if sum.rounds == 0 {
		return
	}
	fmt.Printf("\nsoak of %v, seed %d: %d rounds, %d faults, up to %d controllers\n", span.Round(time.Second), seed, sum.rounds, sum.faults, sum.wantedMost)
	for _, f := range faults {
		fmt.Printf("    %4d  %s\n", sum.kinds[f.name], f.name)
	}
	fmt.Printf("all well again after the faults of a round: %.1f s on average, %.1f s at most\n",
		sum.total.Seconds()/float64(sum.rounds), sum.slowest.Seconds())
	fmt.Printf("memory of the daemon: %d KiB at first, %d KiB at most; open files: %d at most\n", sum.firstMemory, sum.memory, sum.files)
	fmt.Printf("lines in the journal for a fault: %d on average, %d at most in a round\n", sum.lines/sum.faults, sum.mostLines)
	fmt.Printf("unexpected ends of the daemon: none (%d kills)\n\n", sum.kills)
}

// twinWatch looks all the time whether one wish has two live controllers.
type twinWatch struct {
	mu    sync.Mutex
	found []string
	done  chan struct{}
}

func watchTwins(others []string) *twinWatch {
	t := &twinWatch{done: make(chan struct{})}
	go func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-t.done:
				return
			case <-tick.C:
				t.look(others)
			}
		}
	}()
	return t
}

func (t *twinWatch) look(others []string) {
	first := map[string]guest.Controller{}
	for _, c := range guest.Controllers() {
		if c.State != "live" || slices.Contains(others, c.Name) || c.Trsvcid == fmt.Sprint(userPort) {
			continue
		}
		key := c.Traddr + c.Trsvcid + c.NQN
		if twin, there := first[key]; there {
			t.mu.Lock()
			t.found = append(t.found, twin.String()+" and "+c.String())
			t.mu.Unlock()
		}
		first[key] = c
	}
}

// seen returns what was found since it was last asked.
func (t *twinWatch) seen() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := t.found
	t.found = nil
	return found
}

func (t *twinWatch) end() { close(t.done) }
