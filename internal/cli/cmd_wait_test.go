// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/api/server"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

func vol(n int) string { return fmt.Sprintf("nqn.2024-01.com.example.storage:array1:vol%d", n) }

// What wait ends with. Those that give up do so after a second, which is long for what is asked here.
func TestWait(t *testing.T) {
	kept := thirty() // those that are kept from being connected do not count
	for _, target := range kept.state.Targets {
		switch target.State {
		case core.Waiting, core.Connecting:
			target.State = core.Stopped
		}
	}
	kept.devices = map[string]string{}
	unread := three()
	unread.state.Targets[0].PageRead = time.Time{}
	retained := three() // and down
	fails(retained.state.Targets[0], "no route to host")
	retained.state.Targets[0].RetainUntil = noon.Add(time.Hour)
	starting := newStandIn()
	starting.state.Ready = false
	runEach(t, "wait", []sceneRun{
		{"all there", three(), "", Done, "3 of 3 controllers connected\n", ""},
		{"nothing to connect", newStandIn(), "", Done, "\n", ""},
		{"kept from it", kept, "", Done, kept.state.Status + "\n", ""},
		{"named by nothing any more", retained, "", Done, retained.state.Status + "\n", ""},
		{"ready", thirty(), "--for=ready", Done, thirty().state.Status + "\n", ""},
		{"target there", thirty(), "nvme2 " + vol(2), Done, thirty().state.Status + "\n", ""},
		{"another's target", thirty(), "nvme9", Done, thirty().state.Status + "\n", ""},
		{"page not read", unread, "--timeout=1s", Failed, "", `gave up after 1s: 1 controller is missing
discovery controller 192.0.2.10:8009: its log page is not read yet
`},
		{"not ready", starting, "--timeout=1", Failed, "", "gave up after 1s: nvme-discoverd is not ready: see systemctl status nvme-discoverd\n"},
		{"targets not there", thirty(), "--timeout=1s " + vol(3) + " " + vol(5) + " " + vol(7) + " nvme99", Failed, "", `gave up after 1s: 4 controllers are missing
nqn.2024-01.com.example.storage:array1:vol3 @ 192.0.2.10:4420: waiting, 7 attempts failed, next in 32s: cannot reach 192.0.2.10:4420: connection refused
nqn.2024-01.com.example.storage:array1:vol5 @ 192.0.2.10:4420: excluded
nqn.2024-01.com.example.storage:array1:vol7 @ 192.0.2.10:4420: reconnecting for 2min, the kernel gives up in 8min (nvme8)
nvme99: nothing is called so
`},
		{"unknown goal", three(), "--for=lunch", Usage, "", "cannot wait for \"lunch\": --for takes connected or ready: see nvme-discoverctl wait --help\n"},
		{"no time", three(), "--timeout=soon", Usage, "", "cannot use --timeout=soon: it has no unit of time \"soon\": give a time such as 90 (seconds), 5min or infinity: see nvme-discoverctl wait --help\n"},
		{"target that is ready", three(), "--for=ready nvme1", Usage, "", "cannot wait for a TARGET to be ready: --for=ready is about the service, leave out TARGET or --for: see nvme-discoverctl wait --help\n"},
	})
}

// Of many that are missing some are named.
func TestWaitManyMissing(t *testing.T) {
	w := waiter{app: &app{now: func() time.Time { return noon }}, known: map[string]client.Controller{}}
	for n := range 40 {
		w.known[fmt.Sprint(n)] = client.Controller{Tid: fmt.Sprint(n), Nqn: "nqn.x", Traddr: "192.0.2.1", State: "waiting"}
	}
	lines := strings.Split(w.late(time.Minute).Error(), "\n")
	if len(lines) != 11 || lines[0] != "gave up after 1min: 40 controllers are missing" || lines[10] != "and 31 more: see nvme-discoverctl status" {
		t.Errorf("got %q", lines)
	}
}

// Without a daemon wait waits for one, and then for what it has: it sees the change that completes it.
func TestWaitForDaemon(t *testing.T) {
	root := paths.Root(t.TempDir())
	want := fmt.Sprintf("gave up after 500ms: cannot reach nvme-discoverd: nobody answers on %s: see systemctl status nvme-discoverd\n", root.Socket())
	if status, out, errs := ctl(t, root, 0, nil, "wait", "--timeout=500ms"); status != Failed || out != "" || errs != want {
		t.Errorf("without a daemon: got %d, %q and %q, want %q", status, out, errs, want)
	}
	s := three()
	last := s.state.Targets[2]
	there := *last
	last.State, last.Device = core.Connecting, ""
	ended := make(chan string)
	go func() {
		status, out, errs := ctl(t, root, 0, nil, "wait", "--timeout=infinity")
		ended <- fmt.Sprintf("%d %s%s", status, out, errs)
	}()
	defer s.serveAt(t, root)()
	for done := false; !done; { // until it has asked, nobody hears of the change
		s.server.Publish(&server.Changes{Step: 2, Changed: []*core.TargetView{&there}, Status: "at last"})
		select {
		case got := <-ended:
			if done = true; got != "0 at last\n" {
				t.Errorf("got %q", got)
			}
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A word means what it means to the service: the case of a UUID in an NQN does not matter.
func TestCalled(t *testing.T) {
	const nqn = "nqn.2014-08.org.nvmexpress:uuid:"
	c := client.Controller{Nqn: nqn + "abcdef00-1111-2222-3333-444444444444", Tid: "transport=tcp"}
	for word, want := range map[string]bool{
		nqn + "ABCDEF00-1111-2222-3333-444444444444": true, nqn + "ABCDEF00-1111-2222-3333-444444444445": false, "transport=tcp": true, "": false,
	} {
		if got := called(c, word); got != want {
			t.Errorf("%q: got %t, want %t", word, got, want)
		}
	}
}

// What wait gives up for is what the service says last, whether it has told of the change or not.
func TestWaitSaysTheLatest(t *testing.T) {
	late := func(change func(*standIn)) *standIn {
		s := three()
		fails(s.state.Targets[2], "no route to host")
		s.looked = func(n int) {
			if n > 2 { // the status and the snapshot
				change(s)
			}
		}
		return s
	}
	runEach(t, "wait", []sceneRun{
		{
			"another reason", late(func(s *standIn) { s.state.Targets[2].LastError = "connection refused" }), "--timeout=1s", Failed, "",
			"gave up after 1s: 1 controller is missing\n" + vol(2) + " @ 192.0.2.10:4420: waiting, 7 attempts failed, next in 32s: connection refused\n",
		},
		{
			"there after all", late(func(s *standIn) { s.state.Targets[2].State, s.state.Targets[2].Device = core.Connected, "nvme3" }), "--timeout=1s " + vol(2), Done,
			"3 of 3 controllers connected\n", "",
		},
	})
}
