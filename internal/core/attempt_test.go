// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"strings"
	"testing"
)

// What ends while a target has moved on is taken as it is: neither a panic nor a state that nothing leads out of.
func TestJobEndsAfterTargetMoved(t *testing.T) {
	unit := vol1.TID.UnitName()
	live := deviceOf(vol1, "nvme1", 7)
	taken := live
	taken.Owner, taken.Seq = "stas", 8
	ours := live
	ours.Seq = 9
	lost := DeviceRemoved{Name: "nvme1", Seq: 10}
	end := func(outcome Outcome, d *Device) JobDone {
		return JobDone{Unit: unit, Op: OpStart, Outcome: outcome, Device: d}
	}
	unread := end(Done, nil)
	unread.Unread = true
	for _, test := range []struct {
		name   string
		events []Event
		want   State
		step   step
	}{
		{"another's by the time it ends, and its reading says ours", []Event{DeviceSeen{Device: live}, DeviceSeen{Device: taken}, end(Done, &ours)}, Foreign, idle},
		{"another's, failed", []Event{DeviceSeen{Device: live}, DeviceSeen{Device: taken}, end("failed", nil)}, Foreign, idle},
		{"another's, cancelled", []Event{DeviceSeen{Device: live}, DeviceSeen{Device: taken}, end(Canceled, nil)}, Foreign, idle},
		{"another's, exists", []Event{DeviceSeen{Device: live}, DeviceSeen{Device: taken}, end(Exists, nil)}, Foreign, idle},
		{"another's, lost", []Event{DeviceSeen{Device: live}, DeviceSeen{Device: taken}, end(Lost, nil)}, Foreign, idle},
		{"lost, unread", []Event{DeviceSeen{Device: live}, lost, unread}, Waiting, inspecting},
		{"lost, not heard", []Event{DeviceSeen{Device: live}, lost, end(Lost, nil)}, Waiting, inspecting},
		{"lost, failed", []Event{DeviceSeen{Device: live}, lost, end("failed", nil)}, Waiting, idle},
		{"not heard", []Event{end(Lost, nil)}, Connecting, unknown},
		{"unread", []Event{unread}, Connecting, unknown},
		{"connected, not heard", []Event{DeviceSeen{Device: live}, end(Lost, nil)}, Connected, idle},
		{"connected, unread", []Event{DeviceSeen{Device: live}, unread}, Connected, idle},
		{"stopped during the job", []Event{ForeignJob{Unit: unit, Type: "stop"}, end("failed", nil)}, Waiting, inspecting},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, configured(vol1))
			s.step(ProbeDone{Target: peer("192.0.2.1")})
			for _, ev := range test.events {
				s.step(ev)
			}
			target := s.m.targets.byTID[vol1.TID]
			if target.state != test.want || !target.is(test.step) {
				t.Errorf("it is %v, %v; want %v, %v", target.state, target.attempt.step, test.want, test.step)
			}
			if wrong := s.m.Inconsistent(); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

// A target is in no step that the table does not have for its state.
func TestImpossibleStep(t *testing.T) {
	s := newStage(t, configured(vol1))
	defer func() {
		if got, _ := recover().(string); !strings.HasSuffix(got, "cannot be ending while it is connecting") {
			t.Errorf("panic %q", got)
		}
	}()
	s.m.proceed(s.m.targets.byTID[vol1.TID], ending)
}
