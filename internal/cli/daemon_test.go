// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/api/server"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

var update = flag.Bool("update", false, "write the golden files anew")

// noon is when all these tests happen.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const hostNQN = "nqn.2014-08.org.nvmexpress:uuid:1b4e28ba-2fa1-11d2-883f-0016d3cca427"

// standIn is a daemon behind the real server.
type standIn struct {
	state   server.State
	devices map[string]string // device → state in sysfs
	asked   []string
	refuse  error
	server  *server.Server // the last one

	recording []byte
	looked    func(n int) // is called when the state is asked for, for the n-th time
	looks     int
}

func (s *standIn) State(context.Context) (*server.State, error) {
	if s.looks++; s.looked != nil {
		s.looked(s.looks)
	}
	s.state.Counts = core.Counts{}
	for _, t := range s.state.Targets {
		if t.Device != "" && t.DeviceState == "" {
			t.DeviceState = "live"
		}
		if state := s.devices[t.Device]; state != "" {
			t.State, t.DeviceState = core.Reconnecting, state
		}
		n := &s.state.Counts
		switch t.State {
		case core.Connected:
			n.Connected++
		case core.Reconnecting:
			n.Reconnecting++
		case core.Excluded:
			n.Excluded++
			continue
		case core.Foreign:
			n.Foreign++
			continue
		case core.Stopped:
			n.Stopped++
			continue
		case core.Parked:
			n.Parked++
			continue
		case core.Connecting:
			n.Connecting++
		case core.Collision:
			n.Collision++
		default:
			n.Retrying++
		}
		if t.Wish.Kind == tid.Discovery && t.State == core.Connected && t.PageRead.IsZero() {
			n.Unread++
		}
		n.Wanted++
	}
	return &s.state, nil
}

func (s *standIn) Request(_ context.Context, op core.RequestOp, target string) (int, error) {
	s.asked = append(s.asked, fmt.Sprintf("%s %q", op, target))
	return 1, s.refuse
}

func (s *standIn) Reload(context.Context) error {
	s.asked = append(s.asked, "reload")
	return s.refuse
}

func (s *standIn) Recording() ([]byte, error) {
	if s.recording == nil && s.refuse == nil {
		return nil, recording.ErrOff
	}
	return s.recording, s.refuse
}

func (s *standIn) Metrics(context.Context) ([]client.Metric, error) {
	total, unit := "_total", "seconds"
	return []client.Metric{
		{Name: "n", Type: "counter", Help: "What \\ there\nis.", Samples: []client.Sample{
			{Suffix: &total, Labels: map[string]string{"b": "2", "a": `"x\y"`}, Value: 3},
		}},
		{Name: "t_seconds", Type: "gauge", Unit: &unit, Help: "When.", Samples: []client.Sample{{Labels: map[string]string{}, Value: 1.5}}},
	}, nil
}

// dc adds a discovery controller that has been connected for a day.
func (s *standIn) dc(traddr, device string) tid.TID {
	t, err := tid.New(tid.TID{Transport: "tcp", Traddr: traddr, HostNQN: hostNQN}, tid.Discovery)
	if err != nil {
		panic(err)
	}
	s.state.Targets = append(s.state.Targets, &core.TargetView{
		Wish: wish.Wish{Kind: tid.Discovery, TID: t, Owner: wish.OwnerDiscoverd}, Unit: t.UnitName(), State: core.Connected, Phase: "idle",
		Since: noon.Add(-26 * time.Hour), Device: device, Owner: "discoverd", Sources: []string{"/etc/nvme/discoverd.conf:12"},
		PageRead: noon.Add(-25 * time.Hour),
	})
	return t
}

// ioc adds a controller that a log page names, connected for an hour.
func (s *standIn) ioc(dc tid.TID, n int) *core.TargetView {
	t, err := tid.New(tid.TID{
		Transport: "tcp", Traddr: dc.Traddr, NQN: fmt.Sprintf("nqn.2024-01.com.example.storage:array1:vol%d", n), HostNQN: hostNQN,
	}, tid.IO)
	if err != nil {
		panic(err)
	}
	s.state.Targets = append(s.state.Targets, &core.TargetView{
		Wish: wish.Wish{TID: t, Owner: wish.OwnerDiscoverd}, Unit: t.UnitName(), State: core.Connected, Phase: "idle",
		Since: noon.Add(-time.Hour), Device: fmt.Sprintf("nvme%d", n+1), Owner: "discoverd", Sources: []string{core.LogPageSource + dc.String()},
	})
	return s.state.Targets[len(s.state.Targets)-1]
}

// fails makes a target one that cannot be connected.
func fails(t *core.TargetView, why string) {
	t.State, t.Device, t.Owner, t.Attempts = core.Waiting, "", "", 7
	t.Next, t.LastError, t.ErrorSince, t.ErrorCount = noon.Add(32*time.Second), why, noon.Add(-5*time.Minute), 7
	t.Since = noon.Add(-4 * time.Second)
}

func (s *standIn) summary(text string) { s.state.Status = text }

// three: a discovery controller and two subsystems, all well.
func three() *standIn {
	s := newStandIn()
	dc := s.dc("192.0.2.10", "nvme1")
	s.ioc(dc, 1)
	s.ioc(dc, 2)
	s.summary("3 of 3 controllers connected")
	return s
}

// thirty: some are not well, each in its way.
func thirty() *standIn {
	s := newStandIn()
	dc := s.dc("192.0.2.10", "nvme1")
	other := s.dc("192.0.2.11", "nvme31")
	for n := 1; n <= 26; n++ {
		t := s.ioc(dc, n)
		switch n {
		case 3:
			fails(t, "cannot reach 192.0.2.10:4420: connection refused")
		case 4:
			fails(t, "the target does not know this subsystem or does not let this host in (EIO): check the host NQN at the target")
		case 5:
			t.State, t.Device = core.Excluded, ""
		case 6:
			t.State, t.Device = core.Stopped, ""
		case 7:
			s.devices[t.Device] = "connecting"
			t.Since, t.ReconnectUntil = noon.Add(-2*time.Minute), noon.Add(8*time.Minute)
		case 8:
			t.State, t.Owner = core.Foreign, "stas"
		}
	}
	fails(s.ioc(other, 27), "cannot reach 192.0.2.11:4420: no route to host")
	connecting := s.ioc(other, 28)
	connecting.State, connecting.Device, connecting.Owner = core.Connecting, "", ""
	s.state.Unwanted = []core.Device{{Unit: "nvme-discoverd-0123456789ab.service"}}
	s.state.Unwanted[0].Name, s.state.Unwanted[0].NQN = "nvme77", "nqn.2024-01.com.example.storage:old"
	s.summary("23 of 30 controllers connected, 1 connecting, 3 retrying, 1 excluded, 1 of other owners, 1 stopped")
	return s
}

// many: eight discovery controllers and 37 subsystems behind each, all well.
func many() *standIn {
	s := newStandIn()
	n := 0
	for array := range 8 {
		dc := s.dc(fmt.Sprintf("192.0.2.%d", 10+array), fmt.Sprintf("nvme%d", 1000+array))
		for range 37 {
			n++
			s.ioc(dc, n)
		}
	}
	s.summary("304 of 304 controllers connected")
	return s
}

// manyDown: one of the eight arrays is gone and another one has a few troubles.
func manyDown() *standIn {
	s := many()
	for i, t := range s.state.Targets {
		switch {
		case t.Wish.TID.Traddr == "192.0.2.12":
			fails(t, "cannot reach 192.0.2.12:"+t.Wish.TID.Trsvcid+": no route to host")
		case i == 5:
			fails(t, "the host needs a DH-HMAC-CHAP secret for this subsystem (ENOKEY)")
		case i == 9:
			s.devices[t.Device] = "connecting"
		}
	}
	s.summary("265 of 304 controllers connected, 39 retrying")
	return s
}

// announced is a host on which mDNS announces a discovery controller, and more than is connected; nvme-stas browses too.
func announced() *standIn {
	s := newStandIn()
	dc := s.dc("192.0.2.10", "nvme1")
	s.state.Targets[0].Sources = []string{core.MDNSSource + "Array 1 on eth0"}
	s.ioc(dc, 1)
	s.state.MDNS = &core.Browsing{Service: "Avahi", Announced: 1, Ignored: 2, Example: "Array 2: its address 192.0.2.1 is one of this host", Beside: true}
	s.summary("2 of 2 controllers connected")
	return s
}

// unheard is a host on which nobody browses mDNS.
func unheard() *standIn {
	s := newStandIn()
	s.state.MDNS = &core.Browsing{Problem: "Avahi does not run (start avahi-daemon.service); systemd-resolved does not run (it can from systemd 258 on, with MulticastDNS=yes)"}
	s.summary("0 of 0 controllers connected; cannot hear mDNS, see nvme-discoverctl status")
	return s
}

func newStandIn() *standIn {
	return &standIn{devices: map[string]string{}, state: server.State{Step: 1, View: core.View{Ready: true, Bus: true}}}
}

// serve answers below a root until the test ends.
func (s *standIn) serve(t *testing.T) paths.Root {
	t.Helper()
	root := paths.Root(t.TempDir())
	t.Cleanup(s.serveAt(t, root))
	return root
}

// serveAt answers below root until stop is called.
func (s *standIn) serveAt(t *testing.T, root paths.Root) (stop func()) {
	t.Helper()
	l, err := server.Listen(root)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	s.server = server.New(server.Config{Backend: s, Version: "1.0", Since: noon.Add(-50 * time.Hour), Log: slog.New(slog.DiscardHandler)})
	serve := s.server.Serve
	go func() { done <- serve(ctx, l) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// silent stands for systemd and a journal that know nothing.
func silent(context.Context, ...string) ([]byte, error) { return nil, nil }

// ctl runs a command as on a terminal of so many columns; 0 is a pipe.
func ctl(t *testing.T, root paths.Root, columns int, env map[string]string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{now: func() time.Time { return noon }, Env: Env{
		Args: append([]string{"--root", string(root)}, args...), Getenv: func(name string) string { return env[name] }, Stdout: &out, Stderr: &errs,
		Columns: func() int { return columns },
	}, connector: func() connector { return &fakeConnector{} }, capture: silent}
	status = a.run(context.Background())
	return status, out.String(), errs.String()
}

func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: if this is as it should be, run go test ./internal/cli -update and read the difference\n%s", file, diff)
	}
}

// What status prints at several sizes, on screens of several widths. All of it fits one screen of 24 lines.
func TestStatus(t *testing.T) {
	scenes := []struct {
		name string
		make func() *standIn
	}{{"none", newStandIn}, {"3", three}, {"30", thirty}, {"304", many}, {"304-down", manyDown}, {"mdns", announced}, {"mdns-unheard", unheard}}
	for _, scene := range scenes {
		root := scene.make().serve(t)
		for _, columns := range []int{0, 60, 80, 160, 200} {
			t.Run(fmt.Sprintf("%s-%d", scene.name, columns), func(t *testing.T) {
				status, out, errs := ctl(t, root, columns, map[string]string{"NO_COLOR": "1"}, "status")
				if status != Done || errs != "" {
					t.Fatalf("exit status %d, stderr %q", status, errs)
				}
				if columns == 0 || columns == 80 || columns == 160 {
					checkGolden(t, fmt.Sprintf("status-%s-%d.txt", scene.name, columns), out)
				}
				lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
				if len(lines) > 24 {
					t.Errorf("got %d lines, want at most 24", len(lines))
				}
				for _, line := range lines {
					if n := len([]rune(line)); columns > 0 && n > columns {
						t.Errorf("got a line of %d columns, want at most %d: %s", n, columns, line)
					}
				}
			})
		}
	}
}

func TestStatusVariants(t *testing.T) {
	root := thirty().serve(t)
	small := three()
	small.state.Targets[0].Page = &core.Page{Entries: []core.PageEntry{
		{Entry: discoverylog.Entry{
			Subtype: discoverylog.NVM, Transport: "tcp", NQN: "nqn.x", Traddr: "192.0.2.10", Trsvcid: "4420", CntlID: 0xffff,
			TREQ: 2, SecType: discoverylog.SecTLS13,
		}},
		{
			Entry:   discoverylog.Entry{Subtype: discoverylog.NVM, Transport: "loop", NQN: "nqn.y", CntlID: 0xffff},
			Skipped: "transport loop is the target of this host itself, which a discovery controller on tcp cannot name",
		},
	}}
	small.state.Targets[0].Page.Flaws = []string{"entry 2 of the discovery log page is skipped: cannot use traddr \"nowhere\": transport tcp needs an IP address"}
	smallRoot := small.serve(t)
	tests := []struct {
		golden  string
		root    paths.Root
		columns int
		env     map[string]string
		args    []string
	}{
		{"status-30-color.txt", root, 80, nil, []string{"status"}},
		{"status-30-ascii.txt", root, 80, map[string]string{"LANG": "C", "NO_COLOR": "1"}, []string{"status"}},
		{"status-30-all.txt", root, 100, map[string]string{"NO_COLOR": "1"}, []string{"status", "--all"}},
		{"status-target.txt", root, 0, nil, []string{"status", vol(3)}},
		{"status-target-dc.txt", smallRoot, 0, nil, []string{"status", "nvme1"}},
		{"status-3.json", smallRoot, 0, nil, []string{"status", "--json"}},
		{"status-30.dot", root, 0, nil, []string{"status", "--dot"}},
		{"list-3.txt", smallRoot, 80, map[string]string{"NO_COLOR": "1"}, []string{"list"}},
		{"list-3.json", smallRoot, 0, nil, []string{"list", "--json"}},
		{"logs.txt", smallRoot, 0, nil, []string{"logs", "nvme1"}},
		{"logs.json", smallRoot, 0, nil, []string{"logs", "--json"}},
	}
	for _, test := range tests {
		t.Run(test.golden, func(t *testing.T) {
			status, out, errs := ctl(t, test.root, test.columns, test.env, test.args...)
			if status != Done || errs != "" {
				t.Fatalf("exit status %d, stderr %q", status, errs)
			}
			checkGolden(t, test.golden, out)
		})
	}
}

// A target that has no log page, and one whose page was not read yet.
func TestNoLogPage(t *testing.T) {
	s := three()
	s.state.Targets[0].PageRead = time.Time{}
	root := s.serve(t)
	for target, want := range map[string]string{
		"nvme2": "cannot show the log page of nvme2: it is no discovery controller, and only those have one\n",
		"nvme1": "cannot show the log page of nvme1: it was not read yet; see nvme-discoverctl status nvme1\n",
	} {
		status, out, errs := ctl(t, root, 0, nil, "logs", target)
		if diff := cmp.Diff([]any{Failed, "", want}, []any{status, out, errs}); diff != "" {
			t.Errorf("logs %s: %s", target, diff)
		}
	}
}

// What each command asks of the daemon, prints, and ends with.
func TestDaemonCommands(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the server lets only root control it") // the server's own tests have the other users
	}
	tests := []struct {
		name   string
		refuse error
		args   []string
		asked  string
		status int
		stdout string
		stderr string
	}{
		{"start", nil, []string{"start", "nvme1"}, `start "nvme1"`, Done, "1 controller started\n", ""},
		{"stop", nil, []string{"stop", "nvme1"}, `stop "nvme1"`, Done, "1 controller stopped\n", ""},
		{"retry all", nil, []string{"retry"}, `retry ""`, Done, "retrying 1 controller\n", ""},
		{"rescan one", nil, []string{"rescan", "nvme1", "--json"}, `rescan "nvme1"`, Done, "{\n  \"count\": 1\n}\n", ""},
		{
			"legacy disable tells it", nil,
			[]string{"legacy", "disable"},
			`rescan ""`, Done, "",
			"nothing to mask: nvme-cli's automatic connects are not installed, or masked already\n",
		},
		{
			"legacy disable cannot tell it", errors.New("the loop is at lunch"),
			[]string{"legacy", "disable"},
			`rescan ""`, Done, "",
			"warning: cannot have nvme-discoverd notice, which it will within a minute: the loop is at lunch\n" +
				"nothing to mask: nvme-cli's automatic connects are not installed, or masked already\n",
		},
		{"reload", nil, []string{"reload"}, "reload", Done, "the configuration is in force\n", ""},
		{
			"no such controller", &core.Refusal{Target: "nvme9"},
			[]string{"stop", "nvme9"},
			`stop "nvme9"`, Failed, "",
			"cannot find a controller called \"nvme9\": give a unit, nvmeN, NQN or TID that nvme-discoverctl list shows\n",
		},
		{
			"not possible", &core.Refusal{Target: "nvme1", Reason: "cannot stop (tcp, …): it is stopped already"},
			[]string{"stop", "nvme1"},
			`stop "nvme1"`, Failed, "", "cannot stop (tcp, …): it is stopped already\n",
		},
		{
			"bad configuration", &server.ReloadError{Reason: "/etc/nvme/discoverd.conf:2:1: cannot read it"},
			[]string{"reload"},
			"reload", Failed, "",
			"/etc/nvme/discoverd.conf:2:1: cannot read it\nWhat this concerns is as it was when it was right, or not connected; the rest is in force.\n",
		},
		{"timeout", context.DeadlineExceeded, []string{"retry"}, `retry ""`, Failed, "", "nvme-discoverd did not answer in time: try again\n"},
		{"something else", errors.New("the loop is at lunch"), []string{"retry"}, `retry ""`, Failed, "", "the loop is at lunch\n"},
		{
			"no target", nil,
			[]string{"stop"},
			"", Usage, "",
			"cannot stop: arguments are missing in nvme-discoverctl stop TARGET: see nvme-discoverctl stop --help\n",
		},
		{
			"two formats", nil,
			[]string{"status", "--json", "--dot"},
			"", Usage, "",
			"cannot print --json and --dot at once: give one of them: see nvme-discoverctl status --help\n",
		},
		{
			"metrics", nil,
			[]string{"metrics"},
			"", Done,
			"# HELP n_total What \\\\ there\\nis.\n# TYPE n_total counter\nn_total{a=\"\\\"x\\\\y\\\"\",b=\"2\"} 3\n" +
				"# HELP t_seconds When.\n# TYPE t_seconds gauge\nt_seconds 1.5\n", "",
		},
		{
			"OpenMetrics", nil,
			[]string{"metrics", "--openmetrics"},
			"", Done,
			"# TYPE n counter\n# HELP n What \\\\ there\\nis.\nn_total{a=\"\\\"x\\\\y\\\"\",b=\"2\"} 3\n" +
				"# TYPE t_seconds gauge\n# UNIT t_seconds seconds\n# HELP t_seconds When.\nt_seconds 1.5\n", "",
		},
		{"empty list", nil, []string{"list"}, "", Done, "", "no controller is configured or discovered\n"},
		{"no log pages", nil, []string{"logs"}, "", Done, "", "no log page was read yet\n"},
		{"empty list for programs", nil, []string{"list", "--json"}, "", Done, "{\n  \"controllers\": []\n}\n", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStandIn()
			s.refuse = test.refuse
			root := s.serve(t)
			status, out, errs := ctl(t, root, 0, nil, test.args...)
			if strings.Contains(out, " nvme_discoverd_varlink") { // the server's own
				out = out[:strings.Index(out, "# TYPE nvme_discoverd_varlink")]
				out = strings.TrimSuffix(out, "# HELP nvme_discoverd_varlink_clients Clients connected to the varlink socket.\n")
			}
			if diff := cmp.Diff([]any{test.status, test.stdout, test.stderr, test.asked}, []any{status, out, errs, strings.Join(s.asked, ", ")}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// No daemon runs: one sentence that names the socket and what to look at, exit status 1.
func TestNoDaemon(t *testing.T) {
	root := paths.Root(t.TempDir())
	want := fmt.Sprintf("cannot reach nvme-discoverd: nobody answers on %s: see systemctl status nvme-discoverd\n", root.Socket())
	for _, args := range [][]string{
		{"status"}, {"status", "nvme1"}, {"list", "--json"}, {"watch"}, {"logs"}, {"metrics"}, {"stop", "nvme1"}, {"reload"},
	} {
		status, out, errs := ctl(t, root, 80, nil, args...)
		if diff := cmp.Diff([]any{Failed, "", want}, []any{status, out, errs}); diff != "" {
			t.Errorf("%v: %s", args, diff)
		}
	}
}

// Watch prints what is not well and then every change; a pipe that closes ends it.
func TestWatch(t *testing.T) {
	var out bytes.Buffer
	a := &app{now: func() time.Time { return noon }, Env: Env{Stdout: &out, Getenv: func(string) string { return "" }}}
	w := watcher{app: a, screen: a.screen(), titles: map[string]string{}}
	why, next, live, device, phase := "no route to host", "2026-11-21T12:00:32Z", "live", "nvme1", "probing"
	good := client.Controller{Tid: "a", Kind: "io", Nqn: "nqn.a", Traddr: "192.0.2.1", State: "connected", Device: &device, DeviceState: &live}
	failing := client.Controller{Tid: "b", Kind: "io", Nqn: "nqn.b", Traddr: "192.0.2.1", State: "waiting", Attempts: 2, LastError: &why, NextRetry: &next}
	trying := failing
	trying.State, trying.Phase, trying.NextRetry = "connecting", &phase, nil
	for _, change := range []client.Change{
		{Snapshot: true, Status: "1 of 2 controllers connected", Controllers: []client.Controller{good, failing}},
		{Controllers: []client.Controller{trying}},
		{Controllers: []client.Controller{good}},
		{Removed: []string{"b"}},
	} {
		if err := w.show(change); err != nil {
			t.Fatal(err)
		}
	}
	want := `12:00:00 1 of 2 controllers connected
12:00:00 nqn.b @ 192.0.2.1: waiting, 2 attempts failed, next in 32s: no route to host
12:00:00 nqn.b @ 192.0.2.1: connecting, 2 attempts failed (probing)
12:00:00 nqn.a @ 192.0.2.1: connected nvme1
12:00:00 nqn.b @ 192.0.2.1: no longer wanted
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

// The shell completes what the daemon knows, each thing once.
func TestCompletion(t *testing.T) {
	root := three().serve(t)
	status, out, _ := ctl(t, root, 0, nil, "__complete", "status", "")
	want := `nvme1	discovery controller 192.0.2.10:8009
nvme-discoverd-061dd2c0fa69.service	discovery controller 192.0.2.10:8009
nvme2	nqn.2024-01.com.example.storage:array1:vol1 @ 192.0.2.10:4420
nqn.2024-01.com.example.storage:array1:vol1	192.0.2.10:4420
nvme-discoverd-13f6612e5da5.service	nqn.2024-01.com.example.storage:array1:vol1 @ 192.0.2.10:4420
nvme3	nqn.2024-01.com.example.storage:array1:vol2 @ 192.0.2.10:4420
nqn.2024-01.com.example.storage:array1:vol2	192.0.2.10:4420
nvme-discoverd-a567c27019e2.service	nqn.2024-01.com.example.storage:array1:vol2 @ 192.0.2.10:4420
:4
`
	if diff := cmp.Diff([]any{Done, want}, []any{status, out}); diff != "" {
		t.Error(diff)
	}
	if status, out, _ := ctl(t, root, 0, nil, "completion", "bash"); status != Done || !strings.Contains(out, "nvme-discoverctl") {
		t.Errorf("completion bash: exit status %d, %d bytes", status, len(out))
	}
}

// A controller whose host name has no address yet has no unit: its transport ID is offered in the place of that, and every
// listing leaves the unit out.
func TestHostNameWithoutAddress(t *testing.T) {
	s := newStandIn()
	s.state.Targets = []*core.TargetView{{
		Wish:  wish.Wish{TID: tid.TID{Transport: "tcp", Traddr: "array", Trsvcid: "4420", NQN: "nqn.a"}, Owner: wish.OwnerDiscoverd},
		State: core.Waiting, Phase: "resolving", Since: noon.Add(-time.Hour), Sources: []string{"/etc/nvme/discoverd.conf:12"},
		Attempts: 4, Next: noon.Add(10 * time.Second),
		LastError: "cannot resolve array: no such host", ErrorSince: noon.Add(-time.Hour), ErrorCount: 4,
	}}
	s.summary("0 of 1 controllers connected, 1 without an address")
	root := s.serve(t)
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"__complete", "stop", ""}, "nqn.a\tarray:4420\ntransport=tcp;traddr=array;trsvcid=4420;nqn=nqn.a\tnqn.a @ array:4420\n:4\n"},
		{[]string{"list"}, "STATE    DEVICE  KERNEL  TRANSPORT  ADDRESS     NQN    UNIT\nwaiting  -       -       tcp        array:4420  nqn.a  -\n"},
		{[]string{"status"}, `nvme-discoverd 1.0, up 2d 2h: 0 of 1 controllers connected, 1 without an address

1 controller needs attention:
✗ not connected: cannot resolve the target: no such host
    nqn.a @ array:4420  4 attempts, next in 10s

/etc/nvme/discoverd.conf
└─ nqn.a  array:4420  waiting  1h
`},
		{[]string{"status", "transport=tcp;traddr=array;trsvcid=4420;nqn=nqn.a"}, `nqn.a @ array:4420
         state  waiting for 1h
      attempts  4 failed
          next  in 10s
    last error  cannot resolve array: no such host
                4 times, first 1h ago
 wished for by  /etc/nvme/discoverd.conf:12
     transport  tcp
       address  array:4420
  transport ID  transport=tcp;traddr=array;trsvcid=4420;nqn=nqn.a
`},
	}
	for _, tt := range tests {
		status, out, _ := ctl(t, root, 0, nil, tt.args...)
		if diff := cmp.Diff([]any{Done, tt.want}, []any{status, out}); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.args, diff)
		}
	}
}

func TestSpan(t *testing.T) {
	tests := map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1min", 61 * time.Second: "1min 1s",
		time.Hour + 59*time.Second: "1h", 26*time.Hour + 5*time.Minute: "1d 2h", 400 * 24 * time.Hour: "400d",
	}
	for d, want := range tests {
		if got := span(d); got != want {
			t.Errorf("span(%v): got %q, want %q", d, got, want)
		}
	}
}

// sceneRun is a run of a command beside a daemon, and what comes of it.
type sceneRun struct {
	name   string
	scene  *standIn
	args   string // after the command
	status int
	stdout string
	stderr string
}

// runEach runs a command in each of the scenes, side by side.
func runEach(t *testing.T, command string, runs []sceneRun) {
	for _, test := range runs {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			status, out, errs := ctl(t, test.scene.serve(t), 0, nil, strings.Fields(command+" "+test.args)...)
			if diff := cmp.Diff([]any{test.status, test.stdout, test.stderr}, []any{status, out, errs}); diff != "" {
				t.Error(diff)
			}
		})
	}
}
