// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/probe"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// vol2 is a connection that only a log page can name.
var vol2 = wish.Wish{Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: "192.0.2.2", Trsvcid: "4420", NQN: "nqn.vol2"}}

// aDC is a configured discovery controller.
var aDC = wish.Wish{Kind: tid.Discovery, Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: "192.0.2.10", Trsvcid: "8009", NQN: tid.DiscoveryNQN}}

// probeOf is the peer that is probed for a wish.
func probeOf(w wish.Wish) probe.Target {
	return probe.Target{Traddr: w.TID.Traddr, Trsvcid: w.TID.Trsvcid}
}

// An orphan is a unit that is on record for a controller which is not there, unless that may still come or cannot be told.
func TestFindOrphans(t *testing.T) {
	unit := vol2.TID.UnitName()
	another := vol2.TID
	another.NQN = "nqn.another"
	d := deviceOf(vol2, "nvme5", 7)
	unbound := d
	unbound.Unit = ""
	for _, test := range []struct {
		name   string
		change func(*Snapshot)
		want   map[string]string
	}{
		{"the controller is gone", func(*Snapshot) {}, map[string]string{unit: "nvme5"}},
		{"and the unit too", func(s *Snapshot) { s.Units = nil }, map[string]string{unit: "nvme5"}},
		{"the unit failed", func(s *Snapshot) { s.Units[0].Active = "failed" }, map[string]string{unit: "nvme5"}},
		{"the controller is there", func(s *Snapshot) { s.Devices = []Device{d} }, map[string]string{}},
		{"its name is another's", func(s *Snapshot) { s.Devices = []Device{deviceOf(wish.Wish{Owner: "csi", TID: another}, "nvme5", 7)} }, map[string]string{unit: "nvme5"}},
		{"it is there without a record", func(s *Snapshot) { s.Devices = []Device{unbound} }, map[string]string{unit: "nvme5"}},
		{"it cannot be read", func(s *Snapshot) { s.Unreadable = []string{"nvme5"} }, map[string]string{}},
		{"another one cannot be read", func(s *Snapshot) { s.Unreadable = []string{"nvme6"} }, map[string]string{unit: "nvme5"}},
		{"the unit is being started", func(s *Snapshot) { s.Units[0].Active, s.Units[0].Job = "activating", "start" }, map[string]string{}},
		{"the unit is being restarted", func(s *Snapshot) { s.Units[0].Active, s.Units[0].Job = "deactivating", "restart" }, map[string]string{}},
		{"the unit is being stopped", func(s *Snapshot) { s.Units[0].Active, s.Units[0].Job = "deactivating", "stop" }, map[string]string{unit: "nvme5"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			snap := Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol2)}, Devids: map[string]string{unit: "nvme5"}}
			test.change(&snap)
			s := &stage{t, New(1), time.Unix(1000, 0)}
			s.step(configured(aDC)) // it is not read, so that nothing is decided
			s.step(BusUp{})
			snap.Token = s.m.snapToken
			s.step(snap)
			if got := s.m.orphans; fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// An orphan is ended when all that may want it is known, and not before. Whatever comes last has it decided.
func TestOrphanIsDecidedWhenAllIsKnown(t *testing.T) {
	unit := vol2.TID.UnitName()
	const why = "its controller was lost while nobody looked and is no longer wanted"
	ended := []string{"ask about " + unit}
	kept := []string(nil)
	dcDevice := deviceOf(aDC, "nvme1", 7)
	dcDevice.Type = "discovery"
	orphan := Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol2)}, Devids: map[string]string{unit: "nvme5"}}
	withDC := orphan
	withDC.Units = append(slices.Clone(orphan.Units), held(aDC))
	withDC.Devices = []Device{dcDevice}
	unknown := orphan
	unknown.UnitsKnown, unknown.Units, unknown.UnitsErr = false, nil, "timeout"
	page := func(s *stage, d *device, w ...wish.Wish) Event {
		var p discoverylog.Page
		for _, w := range w {
			p.Entries = append(p.Entries, discoverylog.Entry{Subtype: discoverylog.NVM, Transport: w.TID.Transport, Traddr: w.TID.Traddr, Trsvcid: w.TID.Trsvcid, NQN: w.TID.NQN})
		}
		t := s.m.targets.byTID[aDC.TID]
		return LogRead{Device: d.Name, Token: d.reading.token, Pages: JudgePages(p, []PageReader{{s.m.originOf(t), t.page}})}
	}
	noFC := func(s *stage) Event { return Kickstarted{Token: s.m.fc.round, NoFC: true} }
	read := func(s *stage) Event { return page(s, s.m.devices.byName["nvme1"]) }
	readNaming := func(s *stage) Event { return page(s, s.m.devices.byName["nvme1"], vol2) }
	failed := func(s *stage) Event {
		return LogFailed{Device: "nvme1", Token: s.m.devices.byName["nvme1"].reading.token, Err: "no"}
	}
	refused := func(*stage) Event { return ProbeDone{Target: probeOf(aDC), Err: "connection refused"} }
	again := func(snap Snapshot) func(*stage) Event {
		return func(s *stage) Event {
			snap.Token = s.m.snapToken
			return snap
		}
	}
	down := func(*stage) Event { return BusDown{Err: "gone"} }
	up := func(*stage) Event { return BusUp{} }
	for _, test := range []struct {
		name   string
		wishes []wish.Wish
		snap   Snapshot
		events []func(*stage) Event
		want   []string // what is done about the unit by the last event; nothing by those before
	}{
		{"nothing is configured", nil, orphan, []func(*stage) Event{noFC}, ended},
		{"it is configured", []wish.Wish{vol2}, orphan, []func(*stage) Event{noFC}, kept},
		{"the page is read, then Fibre Channel is silent", []wish.Wish{aDC}, withDC, []func(*stage) Event{read, noFC}, ended},
		{"Fibre Channel is silent, then the page is read", []wish.Wish{aDC}, withDC, []func(*stage) Event{noFC, read}, ended},
		{"the page cannot be read", []wish.Wish{aDC}, withDC, []func(*stage) Event{noFC, failed}, ended},
		{"the page names it", []wish.Wish{aDC}, withDC, []func(*stage) Event{noFC, readNaming}, kept},
		{"the discovery controller cannot be connected", []wish.Wish{aDC}, orphan, []func(*stage) Event{noFC, refused}, ended},
		{"the discovery controller is not there yet", []wish.Wish{aDC}, orphan, []func(*stage) Event{noFC}, kept},
		{"systemd cannot be asked", nil, unknown, []func(*stage) Event{noFC}, kept},
		{"systemd can be asked at last", nil, unknown, []func(*stage) Event{noFC, again(orphan)}, ended},
		{"the bus went", nil, orphan, []func(*stage) Event{down, noFC}, kept},
		{"the bus went and came", nil, orphan, []func(*stage) Event{down, noFC, up, again(orphan)}, ended},
		{"its controller is there after all", nil, orphan, []func(*stage) Event{func(*stage) Event { return DeviceSeen{Device: deviceOf(vol2, "nvme5", 7)} }, noFC}, kept},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &stage{t, New(1), time.Unix(1000, 0)}
			s.step(configured(test.wishes...))
			s.step(BusUp{})
			for s.m.snapToken != 0 {
				test.snap.Token = s.m.snapToken
				s.step(test.snap)
			}
			for i, ev := range test.events {
				if s.m.snapToken == 0 && s.m.auditTimer.when != never && i == len(test.events)-1 && !s.m.unitsKnown && s.m.bus {
					s.now = s.m.auditTimer.when // systemd is asked again
					s.step(Tick{})
				}
				want := []string(nil)
				if i == len(test.events)-1 {
					want = test.want
				}
				var got []string
				for _, line := range s.step(ev(s)) {
					if strings.Contains(line, unit) {
						got = append(got, line)
					}
				}
				s.expect(got, want...)
			}
			if test.want == nil {
				return
			}
			s.expect(s.step(UnitState{Unit: unit, Known: true, Info: held(vol2)}), "forget nvme5 of "+unit,
				"log info: stopping "+unit+": "+why+" (tcp, 192.0.2.2, 4420, nqn.vol2)", "stop "+unit+": "+why)
			if _, is := s.m.orphans[unit]; is {
				t.Error("it is an orphan still")
			}
		})
	}
}

// A unit that had a controller and has none any more is left by a stop whose end was not heard. It is ended by the comparison that finds it,
// unless something may still use it.
func TestFindLeft(t *testing.T) {
	unit := vol1.TID.UnitName()
	for _, test := range []struct {
		name  string
		leave func(*stage) // after the unit held nvme5
		want  bool
	}{
		{"nothing wants it", func(s *stage) {
			s.step(configured())
			s.step(UnitState{Unit: unit, Known: true, Info: held(vol1)})
		}, true},
		{"its target waits for it", func(*stage) {}, false},
		{"its controller is there", func(s *stage) { s.step(DeviceSeen{Device: deviceOf(vol1, "nvme6", 20)}) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := found(t, holding(deviceOf(vol1, "nvme5", 7)), vol1)
			s.step(Kickstarted{Token: s.m.fc.round, NoFC: true})
			s.step(DeviceRemoved{Name: "nvme5", Seq: 8})
			test.leave(s)
			s.step(JobDone{Unit: unit, Op: s.m.unitOf(unit).op, Outcome: Lost})
			s.now = s.now.Add(auditInterval)
			s.step(Tick{})
			for range 2 { // the first one may have been asked for before the end of the job
				if s.m.snapToken == 0 {
					s.now = s.m.auditTimer.when
					s.step(Tick{})
				}
				snap := Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol1)}, Token: s.m.snapToken}
				if d := s.m.devices.byName["nvme6"]; d != nil {
					snap.Devices = []Device{d.Device}
				}
				s.step(snap)
				effects := s.step(UnitState{Unit: unit, Known: true, Info: held(vol1)})
				stopped := slices.ContainsFunc(effects, func(line string) bool { return strings.HasPrefix(line, "stop "+unit) })
				if stopped && !test.want {
					t.Error("it is stopped")
				} else if stopped {
					return
				}
			}
			if test.want {
				t.Error("it is not stopped")
			}
		})
	}
}

// A unit that this daemon has never seen a controller of, and that no record explains, is left for people to look at.
func TestUnitsOfOthersAreNotLeft(t *testing.T) {
	s := found(t, Snapshot{Units: []UnitInfo{held(vol2)}})
	s.expect(s.step(Kickstarted{Token: s.m.fc.round, NoFC: true}))
	s.expect(s.snapshot(Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol2)}}))
	if got := s.m.View().Unexplained; !slices.Equal(got, []string{vol2.TID.UnitName()}) {
		t.Errorf("unexplained units: got %q", got)
	}
}

// The system was about to go down when an orphan was to be ended, and stays up after all: it is ended then.
func TestOrphanWhenShutdownIsCalledOff(t *testing.T) {
	unit, other := vol2.TID.UnitName(), vol1.TID.UnitName()
	orphan := Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol2)}, Devids: map[string]string{unit: "nvme5"}}
	s := found(t, orphan)
	s.step(ForeignJob{Unit: other, Type: "stop"})
	s.step(UnitState{Unit: other, Known: true, ShuttingDown: true, Info: UnitInfo{Name: other, Active: "deactivating", Job: "stop"}})
	s.expect(s.step(Kickstarted{Token: s.m.fc.round, NoFC: true}))
	orphan.ShuttingDown = true
	s.expect(s.snapshot(orphan))
	orphan.ShuttingDown = false
	const why = "its controller was lost while nobody looked and is no longer wanted"
	s.expect(s.snapshot(orphan), "log info: the system does not shut down after all", "ask about "+unit)
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: held(vol2)}), "forget nvme5 of "+unit,
		"log info: stopping "+unit+": "+why+" (tcp, 192.0.2.2, 4420, nqn.vol2)", "stop "+unit+": "+why)
}

// The unit of a controller that was lost while nobody looked is gone as well: only what is on record of them is left, and goes.
func TestOrphanWithoutUnit(t *testing.T) {
	unit := vol2.TID.UnitName()
	s := found(t, Snapshot{UnitsKnown: true, Devids: map[string]string{unit: "nvme5"}})
	s.expect(s.step(Kickstarted{Token: s.m.fc.round, NoFC: true}), "forget nvme5 of "+unit)
	if _, is := s.m.orphans[unit]; is {
		t.Error("it is an orphan still")
	}
}

// The same where the unit goes between the question about it and the answer.
func TestOrphanWhoseUnitGoes(t *testing.T) {
	unit := vol2.TID.UnitName()
	s := found(t, Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol2)}, Devids: map[string]string{unit: "nvme5"}})
	s.expect(s.step(Kickstarted{Token: s.m.fc.round, NoFC: true}), "ask about "+unit)
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: UnitInfo{Name: unit, Active: "inactive"}}), "forget nvme5 of "+unit)
}
