// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

var (
	_ = fmt.Sprint
	_ exclusion.List
	_ discoverylog.Entry
	_ tid.TID
	_ wish.Wish
)

// A target that nothing wants any more when its unit has been inspected is gone for good.
func TestDroppedAfterLoss(t *testing.T) {
	unit := vol1.TID.UnitName()
	s := found(t, holding(deviceOf(vol1, "nvme5", 7)), vol1)
	s.now = s.now.Add(time.Hour)
	s.step(DeviceRemoved{Name: "nvme5", Seq: 8})
	s.step(configured()) // no longer wanted while it is being inspected
	t.Log(s.step(UnitState{Unit: unit, Known: true, Info: held(vol1)}))
	if n := s.m.Targets(); n != 0 {
		t.Errorf("%d targets", n)
	}
	if v := s.viewed(); len(v) != 0 {
		t.Errorf("the view shows %d targets: %v %v", len(v), v[0].Wish.TID, v[0].State)
	}
	t.Log(s.m.status)
	s.step(JobDone{Unit: unit, Op: OpStop, Outcome: Done})
	s.now = s.now.Add(time.Minute)
	t.Log(s.step(Kick{Why: "link"}))
	s.now = s.now.Add(time.Second)
	t.Log(s.step(Tick{}))
	t.Log(s.m.status, s.m.Targets())
	if n := s.m.Targets(); n != 0 {
		t.Errorf("%d targets", n)
	}
	if n := len(s.m.targets.named); n != 0 {
		t.Errorf("names left: %v", s.m.targets.named)
	}
}

// A stop by request while our start runs, an exclusion, a start: what the job has connected stays, for exclusions disconnect nothing.
func TestExcludedWhileJobRuns(t *testing.T) {
	unit := vol1.TID.UnitName()
	s := newStage(t, configured(vol1))
	s.step(ProbeDone{Target: peer("192.0.2.1")}) // start
	t.Log(s.step(Request{ID: 1, Op: RequestStop, Target: unit}))
	var list exclusion.List
	list, _ = exclusion.Parse("traddr=192.0.2.1")
	s.step(ExclusionsLoaded{List: list})
	t.Log(s.step(Request{ID: 2, Op: RequestStart, Target: unit}))
	d := deviceOf(vol1, "nvme1", 7)
	s.step(JobDone{Unit: unit, Op: OpStart, Outcome: Done, Device: &d})
	if got := s.m.targets.byTID[vol1.TID].state; got != Connected {
		t.Errorf("it is %v", got)
	}
}

// Two discovery controllers are read at a time, as after each start. The second one has 1500 entries. The read of the first one ends later.
func TestPageReadBesideAnother(t *testing.T) {
	dcs := []wish.Wish{}
	for i := range 2 {
		dcs = append(dcs, wish.Wish{Kind: tid.Discovery, Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: fmt.Sprintf("192.0.2.%d", i+1), Trsvcid: "8009", NQN: tid.DiscoveryNQN}})
	}
	entries := make([]discoverylog.Entry, 1500)
	for i := range entries {
		entries[i] = discoverylog.Entry{Subtype: discoverylog.NVM, Transport: tid.TCP, Traddr: "192.0.2.9", Trsvcid: "4420", NQN: fmt.Sprintf("nqn.2024-01.com.example:vol%d", i)}
	}
	var snap Snapshot
	for i, w := range dcs {
		d := deviceOf(w, fmt.Sprintf("nvme%d", i), 7)
		d.Type = "discovery"
		snap.Units = append(snap.Units, held(w))
		snap.Devices = append(snap.Devices, d)
	}
	snap.Devids = map[string]string{dcs[0].TID.UnitName(): "nvme0", dcs[1].TID.UnitName(): "nvme1"}
	s := &stage{t, New(1), time.Unix(1000, 0)}
	s.step(configured(dcs...))
	s.step(BusUp{})
	snap.UnitsKnown = true
	var reads []ReadLog
	take := func(effects []Effect) {
		for _, e := range effects {
			if r, ok := e.(ReadLog); ok {
				reads = append(reads, r)
				t.Log(r.Device, r.Keep)
			}
		}
	}
	for s.m.snapToken != 0 {
		snap.Token = s.m.snapToken
		take(s.m.Step(s.now, snap))
	}
	if len(reads) != 2 {
		t.Fatal(len(reads))
	}
	answer := func(r ReadLog, n int) {
		page := discoverylog.Page{Entries: entries[:min(n, r.Keep)], Dropped: n - min(n, r.Keep)}
		for _, e := range s.m.Step(s.now, LogRead{Device: r.Device, Token: r.Token, Pages: JudgePages(page, r.Readers)}) {
			if l, ok := e.(Log); ok && l.Kind == KindLogPageFlawed {
				t.Log(l.Msg)
			}
			if _, ok := e.(ReadLog); ok {
				take([]Effect{e})
			}
		}
	}
	answer(reads[1], 1500)
	answer(reads[0], 0)
	if len(reads) != 3 || reads[2].Device != "nvme1" {
		t.Fatalf("the second one is not read again: %d reads", len(reads))
	}
	answer(reads[2], 1500)
	if n := len(s.m.targets.byTID[dcs[1].TID].page.Entries); n != 1500 {
		t.Errorf("%d of 1500 entries are kept, with %d kept in all", n, s.m.kept)
	}
}

// One controller serves two wishes for discovery controllers: its page counts twice, is read once, and may have the same share each time.
func TestSharedPageBudget(t *testing.T) {
	a := wish.Wish{Kind: tid.Discovery, Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: "192.0.2.1", Trsvcid: "8009", NQN: tid.DiscoveryNQN}}
	b := a
	b.TID.HostTraddr = "192.0.2.77"
	d := deviceOf(a, "nvme0", 7)
	d.Type, d.SrcAddr = "discovery", "192.0.2.77"
	s := found(t, Snapshot{Units: []UnitInfo{held(a)}, Devids: map[string]string{a.TID.UnitName(): "nvme0"}, Devices: []Device{d}}, a, b)
	entries := make([]discoverylog.Entry, 20000)
	for i := range entries {
		entries[i] = discoverylog.Entry{Subtype: discoverylog.NVM, Transport: tid.TCP, Traddr: "192.0.2.9", Trsvcid: "4420", NQN: fmt.Sprintf("nqn.2024-01.com.example:vol%d", i)}
	}
	var effects []Effect
	dev := s.m.devices.byName["nvme0"]
	if dev.reading.token == 0 {
		t.Fatal("no read")
	}
	read := ReadLog{Device: "nvme0", Token: dev.reading.token, Keep: dev.reading.keep}
	for _, r := range dev.reading.to {
		read.Readers = append(read.Readers, PageReader{s.m.originOf(r), r.page})
	}
	s.step(Tick{})
	var keeps []int
	for round := range 6 {
		n := min(20000, read.Keep)
		keeps = append(keeps, n)
		effects = s.m.Step(s.now, LogRead{Device: "nvme0", Token: read.Token, Pages: JudgePages(discoverylog.Page{Entries: entries[:n], Dropped: 20000 - n}, read.Readers)})
		t.Log(round, "entries", n, "kept", s.m.kept, "reserved", s.m.reserved, "targets", s.m.Targets())
		again := false
		for _, e := range effects {
			if r, ok := e.(ReadLog); ok {
				read, again = r, true
			}
		}
		if !again {
			for _, e := range s.m.Step(s.now, LogChanged{Device: "nvme0"}) {
				if r, ok := e.(ReadLog); ok {
					read = r
				}
			}
		}
	}
	if s.m.kept > maxKept {
		t.Errorf("kept %d", s.m.kept)
	}
	for _, n := range keeps[2:] {
		if n != keeps[1] {
			t.Errorf("the page may have %v entries in turn", keeps)
		}
	}
}

func floodOf(name string, n int) []discoverylog.Entry {
	entries := make([]discoverylog.Entry, n)
	for i := range entries {
		entries[i] = discoverylog.Entry{Subtype: discoverylog.NVM, Transport: tid.TCP, Traddr: "192.0.2.9", Trsvcid: "4420", NQN: fmt.Sprintf("nqn.2024-01.com.example:%s%d", name, i)}
	}
	return entries
}

var floodDC = wish.Wish{Kind: tid.Discovery, Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: "192.0.2.9", Trsvcid: "8009", NQN: tid.DiscoveryNQN}}

// What was left out comes in when there is room.
func TestRoomAgain(t *testing.T) {
	s := newStage(t, configured(floodDC))
	entries := floodOf("flood", maxWanted+100)
	s.give(floodDC.TID, entries...)
	s.give(floodDC.TID, entries[1000:]...)
	if got, want := s.m.Targets(), 1+maxWanted+100-1000; got != want {
		t.Errorf("%d are wished for, want %d", got, want)
	}
}

// A refresh that replaces more than half of what may be wished for.
func TestReplacedPage(t *testing.T) {
	s := newStage(t, configured(floodDC))
	s.give(floodDC.TID, floodOf("old", 10000)...)
	next := append(floodOf("new", 10000), discoverylog.Entry{Subtype: discoverylog.Referral, Transport: tid.TCP, Traddr: "192.0.2.8", Trsvcid: "8009", NQN: tid.DiscoveryNQN})
	got := s.give(floodDC.TID, next...)
	for _, line := range got {
		if len(line) > 20 && line[:9] == "log error" {
			t.Log(line)
		}
	}
	if got, want := s.m.Targets(), 2+10000; got != want {
		t.Errorf("%d are wished for, want %d", got, want)
	}
}

// A reload asks for TLS of what is discovered. What waits is not connected without, before the page has been judged anew.
func TestReloadWithTLS(t *testing.T) {
	child := wish.Wish{Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.vol1"}}
	s := newStage(t, configured(floodDC))
	s.give(floodDC.TID, discoverylog.Entry{Subtype: discoverylog.NVM, Transport: tid.TCP, Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.vol1"})
	s.step(ProbeDone{Target: peer("192.0.2.1"), Err: "refused"})
	if c := s.m.targets.byTID[child.TID]; c == nil || c.state != Waiting {
		t.Fatal("no child waits")
	}
	secure := configured(floodDC)
	secure.Config.Connections[0].Discovered.IO, _ = param.Set{}.With(param.TLS, "true")
	judge := 0
	for _, e := range s.m.Step(s.now, secure) {
		if _, ok := e.(Judge); ok {
			judge++ // and is not answered yet
		}
	}
	s.now = s.now.Add(300 * time.Millisecond) // the kick of the reload
	t.Log(s.step(Tick{}), "judges", judge)
	for _, line := range s.step(ProbeDone{Target: peer("192.0.2.1")}) {
		if len(line) > 5 && line[:5] == "start" {
			t.Error(line)
		}
	}
}
