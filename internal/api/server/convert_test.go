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

// TestMDNS: what mDNS announces is a source with its name and interface, and browsing is left out where it is switched off.
func TestMDNS(t *testing.T) {
	source := names{}.controllers([]*core.TargetView{{Sources: []string{"mDNS: Array on the left on eth0"}}})[0].Sources[0]
	if source.Kind != "mdns" || source.Instance == nil || *source.Instance != "Array on the left" || source.Iface == nil || *source.Iface != "eth0" {
		t.Errorf("source %+v", source)
	}
	if got := browsing(nil); got != nil {
		t.Errorf("switched off: %+v", got)
	}
	got := browsing(&core.Browsing{Problem: "Avahi does not run", Announced: 2, Ignored: 1, Example: "x"})
	if got.Service != nil || *got.Problem != "Avahi does not run" || got.Announced != 2 || got.Ignored != 1 || *got.Example != "x" || got.Beside {
		t.Errorf("%+v", got)
	}
}
