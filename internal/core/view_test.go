// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Before the first comparison people see what is configured, waiting, and not that nothing is; after it the targets are in its place.
func TestViewBeforeFirstComparison(t *testing.T) {
	named := vol1
	named.TID.NQN, named.TID.Traddr = "nqn.named", ""
	loaded := ConfigLoaded{Config: config.Config{Settings: config.Defaults(), HostNQN: "nqn.host", Connections: []config.Connection{
		{Wish: vol1, From: "discoverd.conf:1"}, {Wish: vol1, From: "discoverd.conf:2"}, {Wish: named, Host: "array.example", From: "discoverd.conf:3"},
	}}}
	m, now := New(1), time.Unix(1000, 0)
	m.Step(now, loaded)
	m.Step(now, BusUp{})
	want := vol1.TID
	want.NQN, want.Traddr = "nqn.named", "array.example"
	var seen []tid.TID
	for v := range m.View().Targets.All() {
		seen = append(seen, v.Wish.TID)
		if v.State != Waiting || v.Phase != "starting" || len(v.Sources) != 1 {
			t.Errorf("%v: got %v, %s, from %v, want it waiting, starting", v.Wish.TID, v.State, v.Phase, v.Sources)
		}
	}
	if v := m.View(); len(seen) != 2 || seen[0] != vol1.TID || seen[1] != want || v.Targets.Len() != 2 || v.Ready {
		t.Errorf("before the first comparison: got %v, ready %v, want %v and %v", seen, v.Ready, vol1.TID, want)
	}
	if got := m.View().Counts; got != (Counts{Wanted: 2, Waiting: 2}) {
		t.Errorf("counts before the first comparison: got %+v", got)
	}
	watched := map[tid.TID]bool{}
	for _, id := range seen {
		watched[id] = true
	}
	watch := func() {
		changed, removed := m.Changed()
		for _, v := range changed {
			watched[v.Wish.TID] = true
		}
		for _, id := range removed {
			delete(watched, id)
		}
	}
	for m.snapToken != 0 {
		m.Step(now, Snapshot{Token: m.snapToken, UnitsKnown: true})
		watch()
	}
	defer func() { // whoever watches is told that the name's own entry goes when it has an address
		for m.names.list[0].timer.when != never {
			m.Step(m.Deadline(), Tick{})
			watch()
		}
		if !watched[want] {
			t.Error("while the name has no address: it is not among the changed")
		}
		m.Step(m.now, Resolved{Host: "array.example", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.9")}})
		watch()
		var now []tid.TID
		for v := range m.View().Targets.All() {
			if now = append(now, v.Wish.TID); !watched[v.Wish.TID] {
				t.Errorf("with an address: nobody was told of %v", v.Wish.TID)
			}
		}
		if len(watched) != len(now) {
			t.Errorf("with an address: who watches sees %v, there are %v", watched, now)
		}
	}()
	v := m.View()
	if got := v.Counts; !v.Ready || got.Wanted != 2 || got.Connecting != 1 || got.Unresolved != 1 {
		t.Errorf("after it: got ready %v, %+v, want one that connects, one without an address", v.Ready, got)
	}
	for v := range v.Targets.All() {
		if v.Phase == "starting" {
			t.Errorf("after it: %v still starts", v.Wish.TID)
		}
	}
}

// Each state is counted in one field, and what is wanted is the sum of those that should be connected.
func TestCounts(t *testing.T) {
	m := New(1)
	m.audited = true
	for s := range stateCount {
		if s != Reconnecting { // a target never is
			m.targets.count[tally{counted: true, state: s}] = 1
		}
	}
	m.targets.count[tally{counted: true, state: Waiting, retrying: true}] = 2
	m.targets.count[tally{counted: true, state: Connected, down: true}] = 3
	m.targets.count[tally{counted: true, state: Connected, unread: true}] = 2
	m.targets.count[tally{counted: true, state: Waiting, retained: true}] = 3
	m.targets.count[tally{counted: true, state: Connected, down: true, retained: true}] = 1
	m.targets.count[tally{counted: true, state: Stopped, retained: true}] = 1
	m.names.unresolved = 4
	want := Counts{
		Wanted: 15, Connected: 3, Reconnecting: 3, Connecting: 1, Waiting: 1, Retrying: 2, Unresolved: 4, Collision: 1,
		Excluded: 1, Foreign: 1, Stopped: 2, Parked: 1, Retained: 4, Unread: 2,
	}
	if got := m.counted(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A controller that the kernel deletes, or that has died, does not count as connected, and nobody is told that the kernel reconnects it.
func TestDeletedIsNotReconnected(t *testing.T) {
	for _, test := range []struct {
		state string
		told  bool
	}{{"connecting", true}, {"resetting", true}, {"deleting", false}, {"deleting (no IO)", false}, {"dead", false}} {
		s := found(t, holding(deviceOf(vol1, "nvme1", 7)), vol1)
		d := deviceOf(vol1, "nvme1", 8)
		d.State = test.state
		got := s.step(DeviceNoticed{Device: d})
		if told := slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, "the kernel reconnects it") }); told != test.told {
			t.Errorf("a controller that is %s: got %q", test.state, got)
		}
		for v := range s.m.View().Targets.All() {
			if v.State != Reconnecting || v.DeviceState != test.state {
				t.Errorf("a controller that is %s: the target is %v (%s)", test.state, v.State, v.DeviceState)
			}
		}
	}
}

// A discovery controller that is connected counts as unread until its first log page is read, since that may name more. Why it cannot be
// read is shown meanwhile.
func TestUnread(t *testing.T) {
	d := deviceOf(aDC, "nvme1", 7)
	d.Type = "discovery"
	s := found(t, Snapshot{UnitsKnown: true, Units: []UnitInfo{held(aDC)}, Devices: []Device{d}}, aDC)
	token := func() uint64 { return s.m.devices.byName["nvme1"].reading.token }
	expect := func(when string, want Counts, lastError string) {
		t.Helper()
		if got := s.m.View().Counts; got != want {
			t.Errorf("%s: got %+v, want %+v", when, got, want)
		}
		if got := s.viewed()[0]; got.State != Connected || got.LastError != lastError {
			t.Errorf("%s: got %v, %q, want it connected, %q", when, got.State, got.LastError, lastError)
		}
	}
	expect("before the first read", Counts{Wanted: 1, Connected: 1, Unread: 1}, "")
	s.step(LogFailed{Device: "nvme1", Token: token(), Err: "not now"})
	expect("after one that failed", Counts{Wanted: 1, Connected: 1, Unread: 1}, "cannot read its log page: not now")
	if changed, _ := s.m.Changed(); len(changed) != 1 {
		t.Errorf("a read that failed: got %d changed, want those who watch to see why", len(changed))
	}
	s.now = s.now.Add(time.Minute)
	s.step(Tick{})
	dc := s.m.targets.byTID[aDC.TID]
	page := discoverylog.Page{Entries: []discoverylog.Entry{{Subtype: discoverylog.NVM, Transport: tid.TCP, Traddr: "192.0.2.2", Trsvcid: "4420", NQN: "nqn.vol2"}}}
	s.step(LogRead{Device: "nvme1", Token: token(), Pages: JudgePages(page, []PageReader{{s.m.originOf(dc), dc.page}})})
	expect("after the first read", Counts{Wanted: 2, Connected: 1, Connecting: 1}, "") // at no time does all seem well
}
