// SPDX-License-Identifier: GPL-3.0-or-later

package core

import "testing"

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
			if len(got) != 3 {
				t.Fatalf("effects: got %q", got)
			}
			s.expect(got[:1], "forget nvme1 of "+unit)
			if want := "stop " + unit; len(got[2]) < len(want) || got[2][:len(want)] != want {
				t.Errorf("effects: got %q, want %q at the end", got, want)
			}
		})
	}
}
