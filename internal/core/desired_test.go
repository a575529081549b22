package core

import (
	"fmt"
	"testing"

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
	children := make([]wish.Wish, maxWanted+100)
	for i := range children {
		children[i] = address(tid.IO, fmt.Sprintf("nqn.2024-01.com.example:flood%d", i))
	}
	s.m.byTID[dc.TID].children = children
	count := func() (wished, told int) {
		for _, e := range s.m.Step(s.now, EventsLost{Why: "a test"}) {
			if l, ok := e.(Log); ok && l.Kind == KindLogPageFlawed {
				told++
			}
		}
		return len(s.m.view()), told
	}
	s.m.viewDirty = true
	if wished, told := count(); wished != maxWanted || told != 1 {
		t.Errorf("wished for %d, told %d times, want %d, once", wished, told, maxWanted)
	}
	s.m.viewDirty = true
	if wished, told := count(); wished != maxWanted || told != 0 {
		t.Errorf("then: wished for %d, told %d times, want %d, and no word", wished, told, maxWanted)
	}
	if s.m.byTID[vol1.TID] == nil || !s.m.byTID[vol1.TID].desired {
		t.Error("what is configured is left out")
	}
}
