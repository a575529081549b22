// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

// With --check, the exit status tells whether anything is down that should be connected, and only that is shown.
func TestStatusCheck(t *testing.T) {
	kept := three()
	kept.state.Targets[1].State, kept.state.Targets[2].State = core.Excluded, core.Stopped
	coming := three()
	coming.state.Targets[2].State, coming.state.Targets[2].Device = core.Connecting, ""
	starting := newStandIn()
	starting.state.Ready = false
	const head = "nvme-discoverd 1.0, up 2d 2h: "
	runEach(t, "status --check", []sceneRun{
		{"all there", three(), "", Done, head + "3 of 3 controllers connected\n", ""},
		{"kept from it", kept, "", Done, head + "3 of 3 controllers connected\n", ""},
		{"nothing", newStandIn(), "", Done, "nvme-discoverd 1.0, up 2d 2h:\n", ""},
		{
			"coming", coming, "", Failed,
			head + "3 of 3 controllers connected\n✗ nqn.2024-01.com.example.storage:array1:vol2 @ 192.0.2.10:4420: connecting\n",
			"not connected: 1 of 3 controllers that should be\n",
		},
		{"starting", starting, "", Failed, "nvme-discoverd 1.0, up 2d 2h:\n", "nvme-discoverd has not compared its configuration with the controllers yet: see nvme-discoverctl wait\n"},
		{
			"some", thirty(), "", Failed,
			head + "23 of 30 controllers connected, 1 connecting, 3 retrying, 1 excluded, 1 of other owners, 1 stopped\n" +
				`✗ nqn.2024-01.com.example.storage:array1:vol3 @ 192.0.2.10:4420: waiting, 7 attempts failed, next in 32s: cannot reach 192.0.2.10:4420: connection refused
✗ nqn.2024-01.com.example.storage:array1:vol4 @ 192.0.2.10:4420: waiting, 7 attempts failed, next in 32s: the target does not know this subsystem or does not let this host in (EIO): check the host NQN at the target
✗ nqn.2024-01.com.example.storage:array1:vol7 @ 192.0.2.10:4420: connection broken, the kernel reconnects it nvme8
✗ nqn.2024-01.com.example.storage:array1:vol27 @ 192.0.2.11:4420: waiting, 7 attempts failed, next in 32s: cannot reach 192.0.2.11:4420: no route to host
✗ nqn.2024-01.com.example.storage:array1:vol28 @ 192.0.2.11:4420: connecting
`, "not connected: 5 of 27 controllers that should be\n",
		},
	})
	root := thirty().serve(t)
	for args, want := range map[string]int{
		"--check nvme2": Done, "--check " + vol(5): Failed, "--check --json": Failed, "--check --json nvme1": Done,
	} {
		if status, out, errs := ctl(t, root, 0, nil, append([]string{"status"}, strings.Fields(args)...)...); status != want || out == "" {
			t.Errorf("%s: got status %d and %q, want %d", args, status, errs, want)
		}
	}
}

// Before the first comparison nobody says that nothing is configured.
func TestJustStarted(t *testing.T) {
	s := newStandIn()
	s.state.Ready = false
	root := s.serve(t)
	if _, out, _ := ctl(t, root, 0, nil, "status"); !strings.Contains(out, "has not compared its configuration") || strings.Contains(out, "No controller") {
		t.Errorf("status: got %q", out)
	}
	if _, _, errs := ctl(t, root, 0, nil, "list"); !strings.Contains(errs, "has not compared its configuration") {
		t.Errorf("list: got %q", errs)
	}
}
