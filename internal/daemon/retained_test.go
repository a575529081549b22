// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// What an earlier daemon retained is read with suspicion: a record that no discovery controller can be is left out.
func TestRetainedRecords(t *testing.T) {
	r := newReader(paths.Root(t.TempDir()))
	until := time.Unix(1800000000, 0).UTC()
	good := tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "8009", NQN: tid.DiscoveryNQN}
	if err := r.writeRetained([]core.Retained{{TID: good, Until: until}}); err != nil {
		t.Fatal(err)
	}
	list, errs := r.retained()
	if diff := cmp.Diff([]core.Retained{{TID: good, Until: until}}, list); diff != "" || errs != nil {
		t.Errorf("%v %s", errs, diff)
	}
	bad := tid.TID{Transport: "tcp", Traddr: "no address", NQN: tid.DiscoveryNQN}
	if err := r.state.WriteRetained([]state.Retained{{TID: bad, Until: until}, {TID: good, Until: until}}); err != nil {
		t.Fatal(err)
	}
	list, errs = r.retained()
	if len(list) != 1 || len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "cannot retain ") {
		t.Errorf("%v, %v", list, errs)
	}
}
