// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
)

// An administrator's restart cancels our job and fails, while its question is being answered: the answer that has the failure counts.
func TestFailureInAnOldAnswer(t *testing.T) {
	unit := vol1.TID.UnitName()
	s := newStage(t, configured(vol1))
	s.step(ProbeDone{Target: peer("192.0.2.1")})
	asked := s.m.step + 1
	t.Log(s.step(ForeignJob{Unit: unit, Type: "restart"}))
	t.Log(s.step(ForeignJob{Unit: unit, Type: "restart", Removed: true}))
	t.Log(s.step(JobDone{Unit: unit, Op: OpStart, Outcome: Canceled}))
	newer := s.m.step
	failed := UnitInfo{Name: unit, Active: "failed"}
	t.Log(s.step(UnitState{Unit: unit, Token: asked, Known: true, Info: failed, Failure: &state.Result{Meaning: "refused", Errno: 111}}))
	t.Log(s.step(UnitState{Unit: unit, Token: newer, Known: true, Info: failed}))
	if target := s.m.targets.list[0]; target.state != Waiting {
		t.Errorf("state %v, want waiting", target.state)
	}
}
