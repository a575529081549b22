// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
)

// A controller is live before the job of its unit ends, and is no longer wanted by then. The end of the job is taken in all the
// same: when the controller is gone, the unit is stopped.
func TestUnwantedBeforeItsJobEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		goes func(s *stage, end JobDone) []string
	}{
		{"the controller goes after the job's end", func(s *stage, end JobDone) []string {
			s.expect(s.step(end))
			return s.step(DeviceRemoved{Name: "nvme1", Seq: 8})
		}},
		{"the controller goes before the job's end", func(s *stage, end JobDone) []string {
			forgotten := s.step(DeviceRemoved{Name: "nvme1", Seq: 8})
			end.Device = nil
			return append(forgotten, s.step(end)...)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			unit := vol1.TID.UnitName()
			device := deviceOf(vol1, "nvme1", 7)
			s := newStage(t, configured(vol1))
			s.step(ProbeDone{Target: peer("192.0.2.1")})
			s.step(DeviceSeen{Device: device})
			s.step(configured())
			got := test.goes(s, JobDone{Unit: unit, Op: OpStart, Outcome: Done, Device: &device})
			s.expect(got, "forget nvme1 of "+unit, "ask about "+unit)
			got = s.step(UnitState{Unit: unit, Known: true, Info: held(vol1)})
			if want := "stop " + unit; len(got) != 2 || !strings.HasPrefix(got[1], want) {
				t.Errorf("effects: got %q, want %q at the end", got, want)
			}
		})
	}
}

// An administrator's restart of a unit that nothing wants takes the controller of another unit, and the daemon hears first that the
// old one is gone: a stop would disconnect what is in use.
func TestAbandonedUnitThatFoundAnother(t *testing.T) {
	unit := vol1.TID.UnitName()
	s := found(t, holding(deviceOf(vol1, "nvme1", 7)))
	s.step(Kickstarted{Token: s.m.fc.round, NoFC: true})
	s.expect(s.step(DeviceRemoved{Name: "nvme1", Seq: 8}), "forget nvme1 of "+unit, "ask about "+unit)
	taken := deviceOf(vol1, "nvme6", 9)
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: held(vol1), Device: &taken}))
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: held(vol1), Device: &taken}))
}

// An administrator's restart fails, and its reason arrives before the loss of the controller does: it is no stop.
func TestFailureBeforeLoss(t *testing.T) {
	unit := vol1.TID.UnitName()
	s := found(t, holding(deviceOf(vol1, "nvme1", 7)), vol1)
	s.step(Kickstarted{Token: s.m.fc.round, NoFC: true})
	gone := UnitInfo{Name: unit, Active: "inactive"}
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: gone, Failure: &state.Result{Errno: 101, Meaning: "network is unreachable"}}))
	s.step(DeviceRemoved{Name: "nvme1", Seq: 8})
	got := s.step(UnitState{Unit: unit, Known: true, Info: gone})
	if len(got) == 0 || !strings.HasPrefix(got[0], "log warn: cannot connect: network is unreachable") {
		t.Errorf("effects: got %q", got)
	}
}

// Whatever comes in place of an answer, an abandoned unit is asked about again after the next comparison.
func TestAbandonedUnitWithoutAnAnswer(t *testing.T) {
	unit := vol1.TID.UnitName()
	stopping := UnitInfo{Name: unit, Active: "active", Job: "stop", Argv: held(vol1).Argv}
	for _, test := range []struct {
		name    string
		answers func(asked uint64) []UnitState
		again   string // what the next comparison brings about
	}{
		{"systemd does not answer", func(uint64) []UnitState { return []UnitState{{Unit: unit}} }, "ask about " + unit},
		{"the answer was under way", func(asked uint64) []UnitState {
			return []UnitState{{Unit: unit, Known: true, Info: held(vol1), Token: asked - 1}}
		}, "ask about " + unit},
		{"a job that nobody told of runs on it", func(uint64) []UnitState {
			return []UnitState{{Unit: unit, Known: true, Info: stopping}}
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := found(t, Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol1)}, Devids: map[string]string{unit: "nvme5"}})
			s.expect(s.step(Kickstarted{Token: s.m.fc.round, NoFC: true}), "ask about "+unit)
			for _, answer := range test.answers(s.m.step) {
				s.expect(s.step(answer))
			}
			got := s.snapshot(Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol1)}, Devids: map[string]string{unit: "nvme5"}})
			if asked := slices.Contains(got, "ask about "+unit); test.again != "" && !asked {
				t.Errorf("after the next comparison: got %q", got)
			}
		})
	}
}
