package state_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
)

// A record that was made before the device node is of an earlier controller of the name.
func TestUnitOfEarlierController(t *testing.T) {
	root := paths.Root(t.TempDir())
	d := state.New(root)
	const unit = "nvme-discoverd-0123456789ab.service"
	if err := d.Bind("nvme1", unit); err != nil {
		t.Fatal(err)
	}
	node := root.Device("nvme1")
	if err := os.MkdirAll(filepath.Dir(node), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(node, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		made time.Time
		want string
	}{{time.Now().Add(-time.Hour), unit}, {time.Now().Add(time.Hour), ""}} {
		if err := os.Chtimes(node, test.made, test.made); err != nil {
			t.Fatal(err)
		}
		if got, err := d.UnitOf("nvme1"); err != nil || got != test.want {
			t.Errorf("node made at %v: unit %q, %v; want %q", test.made, got, err, test.want)
		}
	}
}
