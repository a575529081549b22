// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/probe"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

func dcAt(i int) wish.Wish {
	return wish.Wish{Kind: tid.Discovery, Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: fmt.Sprintf("192.0.2.%d", i), Trsvcid: "8009", NQN: tid.DiscoveryNQN}}
}

// Many discovery controllers with huge pages: all of them together keep no more than the budget, each keeps some, and what
// one leaves the others get.
func TestPagesShareBudget(t *testing.T) {
	const dcs, huge = 9, 65536
	var wishes []wish.Wish
	for i := range dcs {
		wishes = append(wishes, dcAt(i+1))
	}
	s := newStage(t, configured(wishes...))
	reads := map[string]ReadLog{}
	step := func(ev Event) {
		for _, e := range s.m.Step(s.now, ev) {
			if read, ok := e.(ReadLog); ok {
				reads[read.Device] = read
			}
		}
		if wrong := s.m.Inconsistent(); wrong != "" {
			t.Fatal(wrong)
		}
	}
	for i, w := range wishes {
		step(ProbeDone{Target: probe.Target{Traddr: w.TID.Traddr, Trsvcid: "8009"}})
		d := deviceOf(w, fmt.Sprintf("nvme%d", i), 7)
		d.Type = "discovery"
		step(JobDone{Unit: w.TID.UnitName(), Op: OpStart, Outcome: Done, Device: &d})
	}
	if len(reads) != dcs {
		t.Fatalf("%d pages are read", len(reads))
	}
	answer := func(device string, entries int) {
		read := reads[device]
		delete(reads, device)
		page := discoverylog.Page{Dropped: max(0, entries-read.Keep)}
		for i := range min(entries, read.Keep) {
			page.Entries = append(page.Entries, discoverylog.Entry{Subtype: 9, NQN: fmt.Sprint(i)})
		}
		step(LogRead{Device: device, Token: read.Token, Pages: JudgePages(page, read.Readers)})
	}
	for i := range dcs {
		answer(fmt.Sprintf("nvme%d", i), huge)
	}
	if most := maxKept + (dcs-1)*minKept; s.m.kept > most || s.m.kept < maxKept {
		t.Errorf("%d entries are kept, want %d to %d", s.m.kept, maxKept, most)
	}
	for _, w := range wishes {
		if page := s.m.targets.byTID[w.TID].page; len(page.Entries) < minKept || page.Dropped+len(page.Entries) != huge {
			t.Errorf("%v: %d entries are kept and %d dropped", w.TID, len(page.Entries), page.Dropped)
		}
	}
	// The page of the first one is small from now on: the next that is read may be larger.
	step(LogChanged{Device: "nvme0"})
	answer("nvme0", 10)
	step(LogChanged{Device: "nvme1"})
	if keep := reads["nvme1"].Keep; keep < maxKept-dcs*minKept-10 {
		t.Errorf("the next page may have %d entries", keep)
	}
	answer("nvme1", 20000)
	if page := s.m.targets.byTID[wishes[1].TID].page; len(page.Entries) != 20000 || page.Dropped != 0 {
		t.Errorf("%d entries are kept and %d dropped", len(page.Entries), page.Dropped)
	}
	step(LogChanged{Device: "nvme1"})
	step(configured())
	if s.m.kept != 0 || s.m.reserved != 0 {
		t.Errorf("nothing is wanted any more, and %d entries are kept, %d reserved", s.m.kept, s.m.reserved)
	}
}

// A page that is read again costs the loop what it changes.
func TestPageReadAgainCostsItsChange(t *testing.T) {
	h := newHost()
	cfg := h.discovered(5000, 1)
	h.start(cfg)
	dc := cfg.Connections[0].Wish.TID
	work := func() int {
		h.m.Step(h.now, LogChanged{Device: "nvme0"})
		read := h.m.devices.byName["nvme0"].reading
		pages := JudgePages(discoverylog.Page{Entries: h.pages[dc]}, []PageReader{{h.m.originOf(read.to[0]), read.to[0].page}})
		h.m.Step(h.now, LogRead{Device: "nvme0", Token: read.token, Pages: pages})
		return h.m.Work().Touched
	}
	h.now = h.now.Add(time.Minute)
	work() // the connections of the first page are there
	if n := work(); n > 10 {
		t.Errorf("a page that is as it was: %d things are looked at", n)
	}
	h.pages[dc] = append(h.pages[dc], entryOf(6000))
	if n := work(); n > 30 || h.m.Targets() != 5002 {
		t.Errorf("a page with one more entry: %d things are looked at, %d targets", n, h.m.Targets())
	}
}

// A large page that was cut cannot be read again: it is tried after a pause that grows, although the failure itself leaves room that its
// rest would fit into.
func TestCutPageThatCannotBeRead(t *testing.T) {
	dcs := []wish.Wish{dcAt(1), dcAt(2)}
	s := newStage(t, configured(dcs...))
	var reads []ReadLog
	step := func(ev Event) (n int) {
		for _, e := range s.m.Step(s.now, ev) {
			if read, ok := e.(ReadLog); ok {
				reads = append(reads, read)
				n++
			}
		}
		return n
	}
	for i, w := range dcs {
		step(ProbeDone{Target: probe.Target{Traddr: w.TID.Traddr, Trsvcid: "8009"}})
		d := deviceOf(w, fmt.Sprintf("nvme%d", i), 7)
		d.Type = "discovery"
		step(JobDone{Unit: w.TID.UnitName(), Op: OpStart, Outcome: Done, Device: &d})
	}
	answer := func(read ReadLog, n, dropped int) int {
		return step(LogRead{Device: read.Device, Token: read.Token, Pages: JudgePages(discoverylog.Page{
			Entries: make([]discoverylog.Entry, n), Dropped: dropped,
		}, read.Readers)})
	}
	answer(reads[1], minKept, 5*minKept) // beside the first one, which has all the room
	if n := answer(reads[0], 0, 0); n != 1 || reads[2].Device != "nvme1" {
		t.Fatalf("the room of the other page is not used: %d reads", n)
	}
	for failed := 1; failed < 6; failed++ {
		if n := step(LogFailed{Device: "nvme1", Token: reads[len(reads)-1].Token, Err: "the controller is not live"}); n != 0 {
			t.Fatalf("after %d failures it is read again at once", failed)
		}
		next := s.m.devices.byName["nvme1"].reading.timer.when
		if least := Exponential(failed, logRetryMax) * 8 / 10; next.Sub(s.now) < least {
			t.Errorf("after %d failures it is read again after %v, want %v at least", failed, next.Sub(s.now), least)
		}
		s.now = next
		if n := step(Tick{}); n != 1 {
			t.Fatalf("%d reads when it is time for one", n)
		}
	}
	answer(reads[len(reads)-1], 6*minKept, 0)
	if got := len(s.m.targets.byTID[dcs[1].TID].page.Entries); got != 6*minKept {
		t.Errorf("%d entries are kept at last", got)
	}
}
