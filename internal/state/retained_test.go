// SPDX-License-Identifier: GPL-3.0-or-later

package state_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func TestRetained(t *testing.T) {
	root := paths.Root(t.TempDir())
	d := state.New(root)
	file := filepath.Join(root.State(), "retained.json")
	check := func(want []state.Retained) {
		t.Helper()
		got, err := d.Retained()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	check(nil)
	list := []state.Retained{
		{TID: tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "8009", NQN: tid.DiscoveryNQN, HostIface: "eth0"}, Until: time.Unix(1800000000, 5).UTC()},
		{TID: tid.TID{Transport: "fc", Traddr: "nn-0x1:pn-0x2", NQN: tid.DiscoveryNQN}, Until: time.Unix(1900000000, 0).UTC()},
	}
	for _, want := range [][]state.Retained{list, list[1:]} {
		if err := d.WriteRetained(want); err != nil {
			t.Fatal(err)
		}
		check(want)
	}
	if err := d.WriteRetained(nil); err != nil {
		t.Fatal(err)
	}
	check(nil)
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("nothing is retained, and the file: %v", err)
	}
	for _, bad := range []string{"", "[", `{"tid":1}`, strings.Repeat(" ", 5<<20)} {
		if err := os.WriteFile(file, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Retained(); err == nil || !strings.HasPrefix(err.Error(), "cannot read "+file+": ") {
			t.Errorf("%.20q: error %v", bad, err)
		}
	}
}
