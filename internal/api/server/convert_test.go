package server

import (
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

// TestEmptyArrays: a target without sources shows arrays all the same, which null is none.
func TestEmptyArrays(t *testing.T) {
	c := names{}.controllers([]core.TargetView{{}}, nil)[0]
	if c.Sources == nil || c.Parents == nil {
		t.Errorf("sources %v, parents %v", c.Sources, c.Parents)
	}
}
