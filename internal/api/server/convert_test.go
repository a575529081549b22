// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

// TestEmptyArrays: a target without sources shows arrays all the same, which null is none.
func TestEmptyArrays(t *testing.T) {
	c := names{}.controllers([]*core.TargetView{{}})[0]
	if c.Sources == nil || c.Parents == nil {
		t.Errorf("sources %v, parents %v", c.Sources, c.Parents)
	}
}

// TestNoUnit: what has no unit yet shows none, rather than one with an empty name.
func TestNoUnit(t *testing.T) {
	targets := []*core.TargetView{{}, {Unit: "a.service"}}
	all := names{}.controllers(targets)
	if all[0].Unit != nil || all[1].Unit == nil || *all[1].Unit != "a.service" {
		t.Errorf("units %v, %v", all[0].Unit, all[1].Unit)
	}
}
