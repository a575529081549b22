// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

// With --check, the exit status tells whether anything is down that should be connected, and only that is shown.
func TestStatusCheck(t *testing.T) {
	kept := three()
	kept.state.Targets[1].State, kept.state.Targets[2].State = core.Excluded, core.Stopped
	coming := three()
	coming.state.Targets[2].State, coming.state.Targets[2].Device = core.Connecting, ""
	unread := three()
	unread.state.Targets[0].PageRead, unread.state.Targets[0].LastError = time.Time{}, "cannot read its log page: not now"
	both := three()
	both.state.Targets[0].PageRead = time.Time{}
	fails(both.state.Targets[1], "no route to host")
	retained := three() // and down
	fails(retained.state.Targets[0], "no route to host")
	retained.state.Targets[0].RetainUntil = noon.Add(time.Hour)
	starting := newStandIn()
	starting.state.Ready = false
	const head = "nvme-discoverd 1.0, up 2d 2h: "
	runEach(t, "status --check", []sceneRun{
		{"all there", three(), "", Done, head + "3 of 3 controllers connected\n", ""},
		{"kept from it", kept, "", Done, head + "3 of 3 controllers connected\n", ""},
		{"named by nothing any more", retained, "", Done, head + "3 of 3 controllers connected\n", ""},
		{
			"page not read", unread, "", Failed,
			head + "3 of 3 controllers connected\n✗ discovery controller 192.0.2.10:8009: its log page is not read yet: cannot read its log page: not now\n",
			"not read yet: 1 log page, which may name more\n",
		},
		{
			"page not read and one down", both, "", Failed,
			head + "3 of 3 controllers connected\n✗ discovery controller 192.0.2.10:8009: its log page is not read yet\n" +
				"✗ " + vol(1) + " @ 192.0.2.10:4420: waiting, 7 attempts failed, next in 32s: no route to host\n",
			"not connected: 1 of 3 controllers that should be; not read yet: 1 log page, which may name more\n",
		},
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
✗ nqn.2024-01.com.example.storage:array1:vol7 @ 192.0.2.10:4420: reconnecting for 2min, the kernel gives up in 8min (nvme8)
✗ nqn.2024-01.com.example.storage:array1:vol27 @ 192.0.2.11:4420: waiting, 7 attempts failed, next in 32s: cannot reach 192.0.2.11:4420: no route to host
✗ nqn.2024-01.com.example.storage:array1:vol28 @ 192.0.2.11:4420: connecting
`, "not connected: 5 of 27 controllers that should be\n",
		},
	})
	// A target is judged alone, whatever else is down and whyever it is not connected.
	there := vol(1) + " @ 192.0.2.10:4420: connected nvme2\n"
	paths := thirty()
	second := *paths.state.Targets[4] // vol3, which fails
	second.State, second.Device = core.Connected, "nvme99"
	paths.state.Targets = append(paths.state.Targets, &second)
	const failing = "✗ nqn.2024-01.com.example.storage:array1:vol3 @ 192.0.2.10:4420: waiting, 7 attempts failed, next in 32s: cannot reach 192.0.2.10:4420: connection refused\n"
	runEach(t, "status --check", []sceneRun{
		{"there", thirty(), "nvme2", Done, there, ""},
		{"another's", thirty(), "nvme9", Done, vol(8) + " @ 192.0.2.10:4420: of another owner, stas nvme9\n", ""},
		{"its page is not read", unread, "nvme1", Done, "discovery controller 192.0.2.10:8009: connected nvme1\n", ""},
		{"excluded", thirty(), vol(5), Failed, "✗ " + vol(5) + " @ 192.0.2.10:4420: excluded\n", "not connected: " + vol(5) + "\n"},
		{"one path is down", paths, vol(3), Failed, failing + vol(3) + " @ 192.0.2.10:4420: connected nvme99\n", "not connected: 1 of 2 controllers that " + vol(3) + " names\n"},
	})
	root := thirty().serve(t)
	for args, want := range map[string]int{"--check --json": Failed, "--check --json nvme1": Done} {
		if status, out, errs := ctl(t, root, 0, nil, append([]string{"status"}, strings.Fields(args)...)...); status != want || !strings.HasPrefix(out, "{") {
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

// A discovery controller that nothing names any more needs no attention when it is down.
func TestRetainedIsNotWrong(t *testing.T) {
	s := three()
	fails(s.state.Targets[0], "no route to host")
	s.state.Targets[0].RetainUntil = noon.Add(time.Hour)
	_, out, _ := ctl(t, s.serve(t), 0, nil, "status")
	if strings.Contains(out, "attention") || !strings.Contains(out, "discovery 192.0.2.10:8009") {
		t.Errorf("got\n%s", out)
	}
}
