// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// A hostile DC names more than a host can hold: the configured connections and the first of its own are wished for, the rest
// is left out, and told once.
func TestMaxWanted(t *testing.T) {
	address := func(kind tid.Kind, nqn string) wish.Wish {
		return wish.Wish{Kind: kind, Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: "192.0.2.9", Trsvcid: "8009", NQN: nqn}}
	}
	dc := address(tid.Discovery, tid.DiscoveryNQN)
	s := newStage(t, configured(dc, vol1))
	entries := make([]discoverylog.Entry, maxWanted+100)
	for i := range entries {
		entries[i] = discoverylog.Entry{
			Subtype: discoverylog.NVM, Transport: tid.TCP, Traddr: "192.0.2.9", Trsvcid: "4420", NQN: fmt.Sprintf("nqn.2024-01.com.example:flood%d", i),
		}
	}
	flood := func(got []string) (told int) {
		for _, line := range got {
			if strings.Contains(line, "beyond 16384") {
				told++
			}
		}
		return told
	}
	if told := flood(s.give(dc.TID, entries...)); told != 1 || s.m.Targets() != maxWanted {
		t.Errorf("wished for %d, told %d times, want %d, once", s.m.Targets(), told, maxWanted)
	}
	s.m.stale = true
	if told := flood(s.step(Tick{})); told != 0 || s.m.Targets() != maxWanted {
		t.Errorf("then: wished for %d, told %d times, want %d, and no word", s.m.Targets(), told, maxWanted)
	}
	if s.m.targets.byTID[vol1.TID] == nil || !s.m.targets.byTID[vol1.TID].desired {
		t.Error("what is configured is left out")
	}
}
