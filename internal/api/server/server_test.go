// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	wire "github.com/nvme-discoverd/nvme-discoverd/internal/api/orgnvmexpressdiscoverd"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// fake is a daemon with a fixed state.
type fake struct {
	state *State
	err   error // of every method
	asked []string
	panic bool
	block bool // State waits until its context ends
}

func (f *fake) State(ctx context.Context) (*State, error) {
	switch {
	case f.panic:
		panic("a mistake")
	case f.block:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return f.state, f.err
}

func (f *fake) Request(_ context.Context, op core.RequestOp, target string) (int, error) {
	f.asked = append(f.asked, fmt.Sprintf("%s %q", op, target))
	return 2, f.err
}

func (f *fake) Reload(context.Context) error {
	f.asked = append(f.asked, "reload")
	return f.err
}

func (f *fake) Metrics(context.Context) ([]wire.Metric, error) { return []wire.Metric{}, f.err }
func (f *fake) Recording() ([]byte, error)                     { return []byte("recorded"), f.err }

var start = time.Date(2026, 11, 21, 12, 0, 0, 5e8, time.FixedZone("", 3600))

// twoTargets is a discovery controller and what its log page names.
func twoTargets() *State {
	dc := tid.TID{Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "8009", NQN: tid.DiscoveryNQN, HostNQN: "nqn.host"}
	io := tid.TID{Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "4420", NQN: "nqn.vol1", HostNQN: "nqn.host"}
	return &State{
		Step: 5, NBFT: true, View: core.View{
			Status: "1 of 2 controllers connected, 1 retrying", Counts: core.Counts{Wanted: 2, Connected: 1, Retrying: 1}, Ready: true, Bus: true, Unexplained: []string{"nvme-discoverd-000000000001.service"},
		}, Targets: []*core.TargetView{
			{
				Wish: wish.Wish{Kind: tid.Discovery, TID: dc}, Unit: "nvme-discoverd-00000000000a.service", State: core.Connected, Phase: "idle",
				Since: start, Device: "nvme1", DeviceState: "live", Owner: "discoverd", Sources: []string{"/etc/nvme/discoverd.conf:2"}, PageRead: start,
				Page: &core.Page{Entries: []core.PageEntry{{Entry: discoverylog.Entry{Subtype: discoverylog.NVM, Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "4420", NQN: "nqn.vol1", CntlID: 0xffff}}}},
			},
			{
				Wish: wish.Wish{TID: io}, Unit: "nvme-discoverd-00000000000b.service", State: core.Waiting, Phase: "idle", Since: start,
				Sources: []string{core.LogPageSource + dc.String()}, Attempts: 3, Next: start.Add(4 * time.Second),
				LastError: "no route", ErrorSince: start, ErrorCount: 3,
			},
		},
	}
}

const (
	countsJSON = `{"wanted":2,"connected":1,"reconnecting":0,"connecting":0,"waiting":0,"retrying":1,"unresolved":0,"collision":0,"excluded":0,"foreign":0,"stopped":0,"parked":0,"retained":0,"unread":0}`
	dcJSON     = `{"tid":"transport=tcp;traddr=192.0.2.10;trsvcid=8009;nqn=nqn.2014-08.org.nvmexpress.discovery;hostnqn=nqn.host","kind":"discovery",` +
		`"transport":"tcp","traddr":"192.0.2.10","trsvcid":"8009","nqn":"nqn.2014-08.org.nvmexpress.discovery","hostnqn":"nqn.host","state":"connected",` +
		`"since":"2026-11-21T11:00:00Z","device":"nvme1","deviceState":"live","unit":"nvme-discoverd-00000000000a.service","owner":"discoverd",` +
		`"sources":[{"kind":"configuration","text":"/etc/nvme/discoverd.conf:2","file":"/etc/nvme/discoverd.conf","line":2}],"parents":[],"attempts":0,"logRead":"2026-11-21T11:00:00Z","logEntries":1}`
	ioJSON = `{"tid":"transport=tcp;traddr=192.0.2.10;trsvcid=4420;nqn=nqn.vol1;hostnqn=nqn.host","kind":"io",` +
		`"transport":"tcp","traddr":"192.0.2.10","trsvcid":"4420","nqn":"nqn.vol1","hostnqn":"nqn.host","state":"waiting",` +
		`"since":"2026-11-21T11:00:00Z","unit":"nvme-discoverd-00000000000b.service",` +
		`"sources":[{"kind":"log","text":"log page of (tcp, 192.0.2.10, 8009, nqn.2014-08.org.nvmexpress.discovery)",` +
		`"parent":"transport=tcp;traddr=192.0.2.10;trsvcid=8009;nqn=nqn.2014-08.org.nvmexpress.discovery;hostnqn=nqn.host"}],` +
		`"parents":["transport=tcp;traddr=192.0.2.10;trsvcid=8009;nqn=nqn.2014-08.org.nvmexpress.discovery;hostnqn=nqn.host"],"attempts":3,` +
		`"nextRetry":"2026-11-21T11:00:05Z","lastError":"no route","errorSince":"2026-11-21T11:00:00Z","errorCount":3}`
)

// lines is a writer for logs that many write to.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func testServer(backend Backend, l limits) (*Server, *lines) {
	log := &lines{}
	return newServer(Config{Backend: backend, Version: "1.0", Since: start, Log: slog.New(slog.NewTextHandler(log, nil))}, l), log
}

// client returns the other end of a connection that s handles as one of the user uid.
func client(t *testing.T, s *Server, uid uint32) *net.UnixConn {
	t.Helper()
	ours, theirs := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer ours.Close()
		s.handle(ctx, newConn(ours, &unix.Ucred{Uid: uid, Pid: 7}, s.limits))
	}()
	t.Cleanup(func() {
		cancel()
		theirs.Close()
		<-done
	})
	return theirs
}

// pair returns both ends of a connection.
func pair(t *testing.T) (ours, theirs *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "")
		c, err := net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// exchange sends a message and returns the reply, "" if the server hung up.
func exchange(t *testing.T, c net.Conn, message string) string {
	t.Helper()
	if _, err := io.WriteString(c, message+"\x00"); err != nil {
		return ""
	}
	return reply(t, bufio.NewReader(c))
}

func reply(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	text, err := r.ReadString(0)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		t.Fatal(err)
	}
	return strings.TrimSuffix(text, "\x00")
}

func TestCalls(t *testing.T) {
	status := `{"parameters":{"version":"1.0","since":"2026-11-21T11:00:00Z","ready":true,"status":"1 of 2 controllers connected, 1 retrying","bus":true,` +
		`"counts":` + countsJSON + `,` +
		`"zeroconf":false,"nbft":true,"unwanted":[],"unexplained":["nvme-discoverd-000000000001.service"]}}`
	tests := []struct {
		name  string
		uid   uint32
		err   error
		call  string
		want  string
		asked string
	}{
		{"status", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetStatus","parameters":{}}`, status, ""},
		{"no parameters", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetStatus"}`, status, ""},
		{"null parameters", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetStatus","parameters":null}`, status, ""},
		{"list, more", 1000, nil, `{"method":"org.nvmexpress.discoverd.ListControllers","more":true}`, `{"parameters":{"controller":` + dcJSON + `},"continues":true}` + "\n" + `{"parameters":{"controller":` + ioJSON + `}}`, ""},
		{"list of several without more", 1000, nil, `{"method":"org.nvmexpress.discoverd.ListControllers"}`, `{"parameters":{},"error":"org.varlink.service.ExpectedMore"}`, ""},
		{"list of one", 1000, nil, `{"method":"org.nvmexpress.discoverd.ListControllers","parameters":{"state":"waiting"}}`, `{"parameters":{"controller":` + ioJSON + `}}`, ""},
		{"list of none", 1000, nil, `{"method":"org.nvmexpress.discoverd.ListControllers","parameters":{"state":"waiting","kind":"discovery"}}`, `{"parameters":{},"error":"org.nvmexpress.discoverd.NoSuchController"}`, ""},
		{"a word is a device", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController","parameters":{"target":"nvme1"}}`, `{"parameters":{"controller":` + dcJSON + `}}`, ""},
		{"a word is an NQN", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController","parameters":{"target":"nqn.vol1"}}`, `{"parameters":{"controller":` + ioJSON + `}}`, ""},
		{"a word is a unit", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController","parameters":{"target":"nvme-discoverd-00000000000b"}}`, `{"parameters":{"controller":` + ioJSON + `}}`, ""},
		{"by device", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController","parameters":{"device":"nvme1"}}`, `{"parameters":{"controller":` + dcJSON + `}}`, ""},
		{"by NQN and null", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController","parameters":{"nqn":"nqn.vol1","device":null}}`, `{"parameters":{"controller":` + ioJSON + `}}`, ""},
		{"by unit", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController","parameters":{"unit":"nvme-discoverd-00000000000b.service"}}`, `{"parameters":{"controller":` + ioJSON + `}}`, ""},
		{"by transport ID", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController","parameters":{"tid":"transport=tcp;traddr=192.0.2.10;trsvcid=4420;nqn=nqn.vol1;hostnqn=nqn.host"}}`, `{"parameters":{"controller":` + ioJSON + `}}`, ""},
		{"selectors that disagree", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController","parameters":{"nqn":"nqn.vol1","device":"nvme1"}}`, `{"parameters":{},"error":"org.nvmexpress.discoverd.NoSuchController"}`, ""},
		{"nothing called so", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController","parameters":{"target":"nvme9"}}`, `{"parameters":{"target":"nvme9"},"error":"org.nvmexpress.discoverd.NoSuchController"}`, ""},
		{"an empty word", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController","parameters":{"target":""}}`, `{"parameters":{"target":""},"error":"org.nvmexpress.discoverd.NoSuchController"}`, ""},
		{"one of several", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController"}`, `{"parameters":{"count":2},"error":"org.nvmexpress.discoverd.NotUnique"}`, ""},
		{
			"logs", 1000, nil, `{"method":"org.nvmexpress.discoverd.ListDiscoveryLogs"}`,
			`{"parameters":{"log":{"tid":"transport=tcp;traddr=192.0.2.10;trsvcid=8009;nqn=nqn.2014-08.org.nvmexpress.discovery;hostnqn=nqn.host",` +
				`"nqn":"nqn.2014-08.org.nvmexpress.discovery","device":"nvme1","read":"2026-11-21T11:00:00Z","entries":[{"subtype":"nvm","transport":"tcp",` +
				`"traddr":"192.0.2.10","trsvcid":"4420","nqn":"nqn.vol1","portId":0,"cntlid":65535,"secureChannel":false,"duplicateInformation":false,"epcsd":false}],"flaws":[]}}}`, "",
		},
		{"logs of none", 1000, nil, `{"method":"org.nvmexpress.discoverd.ListDiscoveryLogs","parameters":{"target":"nqn.vol1"}}`, `{"parameters":{},"error":"org.nvmexpress.discoverd.NoSuchLog"}`, ""},
		{
			"snapshot", 1000, nil, `{"method":"org.nvmexpress.discoverd.Monitor"}`,
			`{"parameters":{"snapshot":true,"controllers":[` + dcJSON + "," + ioJSON + `],"removed":[],"status":"1 of 2 controllers connected, 1 retrying","counts":` + countsJSON + `,"ready":true,"zeroconf":false,"nbft":true}}`, "",
		},
		{"start", 0, nil, `{"method":"org.nvmexpress.discoverd.Start","parameters":{"target":"nvme1"}}`, `{"parameters":{"count":2}}`, `start "nvme1"`},
		{"stop", 0, nil, `{"method":"org.nvmexpress.discoverd.Stop","parameters":{"target":"nvme1"}}`, `{"parameters":{"count":2}}`, `stop "nvme1"`},
		{"stop without a target", 0, nil, `{"method":"org.nvmexpress.discoverd.Stop"}`, `{"parameters":{"parameter":"target"},"error":"org.varlink.service.InvalidParameter"}`, ""},
		{"stop nothing", 0, nil, `{"method":"org.nvmexpress.discoverd.Stop","parameters":{"target":""}}`, `{"parameters":{"target":""},"error":"org.nvmexpress.discoverd.NoSuchController"}`, ""},
		{"retry", 0, nil, `{"method":"org.nvmexpress.discoverd.Retry"}`, `{"parameters":{"count":2}}`, `retry ""`},
		{"rescan", 0, nil, `{"method":"org.nvmexpress.discoverd.Rescan","parameters":{"target":"nvme1"}}`, `{"parameters":{"count":2}}`, `rescan "nvme1"`},
		{"reload", 0, nil, `{"method":"org.nvmexpress.discoverd.Reload"}`, `{}`, "reload"},
		{"start by a user", 1000, nil, `{"method":"org.nvmexpress.discoverd.Start","parameters":{"target":"nvme1"}}`, `{"parameters":{},"error":"org.varlink.service.PermissionDenied"}`, ""},
		{"stop by a user", 65534, nil, `{"method":"org.nvmexpress.discoverd.Stop","parameters":{"target":"nvme1"}}`, `{"parameters":{},"error":"org.varlink.service.PermissionDenied"}`, ""},
		{"retry by a user", 1000, nil, `{"method":"org.nvmexpress.discoverd.Retry"}`, `{"parameters":{},"error":"org.varlink.service.PermissionDenied"}`, ""},
		{"rescan by a user", 1000, nil, `{"method":"org.nvmexpress.discoverd.Rescan"}`, `{"parameters":{},"error":"org.varlink.service.PermissionDenied"}`, ""},
		{"reload by a user", 1000, nil, `{"method":"org.nvmexpress.discoverd.Reload"}`, `{"parameters":{},"error":"org.varlink.service.PermissionDenied"}`, ""},
		{"refused", 0, &core.Refusal{Target: "nvme1", Reason: "it is stopped"}, `{"method":"org.nvmexpress.discoverd.Stop","parameters":{"target":"nvme1"}}`, `{"parameters":{"target":"nvme1","reason":"it is stopped"},"error":"org.nvmexpress.discoverd.NotPossible"}`, `stop "nvme1"`},
		{"recording", 0, nil, `{"method":"org.nvmexpress.discoverd.GetRecording"}`, `{"parameters":{"data":"cmVjb3JkZWQ="}}`, ""},
		{"recording by a user", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetRecording"}`, `{"parameters":{},"error":"org.varlink.service.PermissionDenied"}`, ""},
		{"bad configuration", 0, &ReloadError{"line 2"}, `{"method":"org.nvmexpress.discoverd.Reload"}`, `{"parameters":{"reason":"line 2"},"error":"org.nvmexpress.discoverd.ReloadFailed"}`, "reload"},
		{"late", 1000, context.DeadlineExceeded, `{"method":"org.nvmexpress.discoverd.GetStatus"}`, `{"parameters":{},"error":"org.nvmexpress.discoverd.Timeout"}`, ""},
		{"no such method", 1000, nil, `{"method":"org.nvmexpress.discoverd.Frobnicate"}`, `{"parameters":{"method":"org.nvmexpress.discoverd.Frobnicate"},"error":"org.varlink.service.MethodNotFound"}`, ""},
		{"no such method of every service", 1000, nil, `{"method":"org.varlink.service.Frobnicate"}`, `{"parameters":{"method":"org.varlink.service.Frobnicate"},"error":"org.varlink.service.MethodNotFound"}`, ""},
		{"no such interface", 1000, nil, `{"method":"org.example.Frobnicate"}`, `{"parameters":{"interface":"org.example"},"error":"org.varlink.service.InterfaceNotFound"}`, ""},
		{"no method", 1000, nil, `{}`, `{"parameters":{"parameter":"method"},"error":"org.varlink.service.InvalidParameter"}`, ""},
		{"wrong type", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController","parameters":{"target":7}}`, `{"parameters":{"parameter":"target"},"error":"org.varlink.service.InvalidParameter"}`, ""},
		{"no such word", 1000, nil, `{"method":"org.nvmexpress.discoverd.ListControllers","parameters":{"state":"asleep"}}`, `{"parameters":{"parameter":"state"},"error":"org.varlink.service.InvalidParameter"}`, ""},
		{"unknown parameter", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetStatus","parameters":{"verbose":true}}`, `{"parameters":{"parameter":"verbose"},"error":"org.varlink.service.InvalidParameter"}`, ""},
		{"parameter in another case", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetController","parameters":{"Target":"nvme1"}}`, `{"parameters":{"parameter":"Target"},"error":"org.varlink.service.InvalidParameter"}`, ""},
		{"parameters are no object", 1000, nil, `{"method":"org.nvmexpress.discoverd.GetStatus","parameters":[]}`, `{"parameters":{"parameter":"parameters"},"error":"org.varlink.service.InvalidParameter"}`, ""},
		{"no JSON", 1000, nil, `hello`, "", ""},
		{"empty", 1000, nil, ``, "", ""},
		{"an array", 1000, nil, `[]`, "", ""},
		{"deeply nested", 1000, nil, strings.Repeat("[", 60000), "", ""},
		{
			"info", 1000, nil, `{"method":"org.varlink.service.GetInfo"}`,
			`{"parameters":{"vendor":"The nvme-discoverd Project","product":"nvme-discoverd","version":"1.0","url":"https://github.com/nvme-discoverd/nvme-discoverd","interfaces":["org.varlink.service","org.nvmexpress.discoverd"]}}`, "",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			backend := &fake{state: twoTargets(), err: test.err}
			s, _ := testServer(backend, defaultLimits)
			c := client(t, s, test.uid)
			r := bufio.NewReader(c)
			if _, err := io.WriteString(c, test.call+"\x00"); err != nil {
				t.Fatal(err)
			}
			got := reply(t, r)
			for more := got; strings.Contains(more, `,"continues":true}`); got += "\n" + more {
				more = reply(t, r)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("reply: %s", diff)
			}
			if asked := strings.Join(backend.asked, ", "); asked != test.asked {
				t.Errorf("asked of the daemon: got %q, want %q", asked, test.asked)
			}
		})
	}
}

// A mistake in one call ends one connection.
func TestPanic(t *testing.T) {
	s, log := testServer(&fake{panic: true}, defaultLimits)
	if got := exchange(t, client(t, s, 0), `{"method":"org.nvmexpress.discoverd.GetStatus"}`); got != "" {
		t.Errorf("reply: got %s, want none", got)
	}
	if !strings.Contains(log.String(), "a varlink call failed, please report this: a mistake") {
		t.Errorf("log: got %q", log)
	}
}

// A listing of thousands comes one element a reply, whole and in order, few bytes of it being held at a time; a client that does not
// read it in time is told so, and hung up on.
func TestLongListing(t *testing.T) {
	state := twoTargets()
	for i := range 5000 {
		more := *state.Targets[1]
		more.Wish.TID.NQN = fmt.Sprint("nqn.more", i)
		state.Targets = append(state.Targets, &more)
	}
	const call = `{"method":"org.nvmexpress.discoverd.ListControllers","parameters":{"kind":"io"},"more":true}` + "\x00"
	s, _ := testServer(&fake{state: state}, defaultLimits)
	c := client(t, s, 1000)
	if _, err := io.WriteString(c, call); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for i := -1; i < 5000; i++ {
		want := fmt.Sprint("nqn.more", i)
		if i < 0 {
			want = "nqn.vol1"
		}
		got := reply(t, r)
		if !strings.Contains(got, `"nqn":"`+want+`"`) || strings.Contains(got, "continues") != (i < 4999) {
			t.Fatalf("reply %d: got %s, want %s", i, got, want)
		}
	}

	l := defaultLimits
	l.list = -1
	s, log := testServer(&fake{state: state}, l)
	c = client(t, s, 1000)
	if _, err := io.WriteString(c, call); err != nil {
		t.Fatal(err)
	}
	r = bufio.NewReader(c)
	if got, want := reply(t, r), `{"parameters":{},"error":"org.nvmexpress.discoverd.TooSlow"}`; got != want {
		t.Errorf("too slow: got %s, want %s", got, want)
	}
	if got := reply(t, r); got != "" || s.dropped.Load() != 1 || !strings.Contains(log.String(), "does not read") {
		t.Errorf("after that: got %q, %d dropped, log %q", got, s.dropped.Load(), log)
	}
}

// The loop does not answer: the call ends with an error and the connection stays.
func TestTimeout(t *testing.T) {
	l := defaultLimits
	l.answer = time.Millisecond
	s, _ := testServer(&fake{block: true}, l)
	c := client(t, s, 0)
	for range 2 {
		want := `{"parameters":{},"error":"org.nvmexpress.discoverd.Timeout"}`
		if got := exchange(t, c, `{"method":"org.nvmexpress.discoverd.ListControllers","more":true}`); got != want {
			t.Errorf("reply: got %s, want %s", got, want)
		}
	}
}

// A client that sends its call and nothing more, as `nc -N` does, has its answer.
func TestHalfClosed(t *testing.T) {
	s, _ := testServer(&fake{state: twoTargets()}, defaultLimits)
	c := client(t, s, 1000)
	if _, err := io.WriteString(c, `{"method":"org.nvmexpress.discoverd.ListDiscoveryLogs","parameters":{"target":"nqn.vol1"}}`+"\x00"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, want := reply(t, bufio.NewReader(c)), `{"parameters":{},"error":"org.nvmexpress.discoverd.NoSuchLog"}`; got != want {
		t.Errorf("reply: got %s, want %s", got, want)
	}
}

// Monitor sends a snapshot and then what is newer than it, with the parents of what came later, until the client goes.
func TestMonitor(t *testing.T) {
	state := twoTargets()
	io := state.Targets[1]
	state.Targets = state.Targets[:1]
	s, _ := testServer(&fake{state: state}, defaultLimits)
	c := client(t, s, 1000)
	r := bufio.NewReader(c)
	if _, err := c.Write([]byte(`{"method":"org.nvmexpress.discoverd.Monitor","more":true}` + "\x00")); err != nil {
		t.Fatal(err)
	}
	got := []string{reply(t, r)}
	s.Publish(&Changes{Step: 5, Changed: []*core.TargetView{io}, Status: "old", Counts: state.Counts, Ready: true, NBFT: true}) // the snapshot is of step 5
	s.Publish(&Changes{Step: 6, Changed: []*core.TargetView{io}, Status: "new", Counts: state.Counts, Ready: true, NBFT: true})
	s.Publish(&Changes{Step: 7, Removed: []tid.TID{io.Wish.TID}, Status: "gone", Counts: state.Counts, Ready: true, NBFT: true})
	got = append(got, reply(t, r), reply(t, r))
	want := []string{
		`{"parameters":{"snapshot":true,"controllers":[` + dcJSON + `],"removed":[],"status":"1 of 2 controllers connected, 1 retrying","counts":` + countsJSON + `,"ready":true,"zeroconf":false,"nbft":true},"continues":true}`,
		`{"parameters":{"snapshot":false,"controllers":[` + ioJSON + `],"removed":[],"status":"new","counts":` + countsJSON + `,"ready":true,"zeroconf":false,"nbft":true},"continues":true}`,
		`{"parameters":{"snapshot":false,"controllers":[],"removed":["transport=tcp;traddr=192.0.2.10;trsvcid=4420;nqn=nqn.vol1;hostnqn=nqn.host"],"status":"gone","counts":` + countsJSON + `,"ready":true,"zeroconf":false,"nbft":true},"continues":true}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A client of Monitor that never reads is dropped, with a line in the log; what is kept for it has a bound, and whoever
// publishes does not wait.
func TestMonitorNeverReads(t *testing.T) {
	l := defaultLimits
	l.send, l.complain = 50*time.Millisecond, 0
	s, log := testServer(&fake{state: twoTargets()}, l)
	c := client(t, s, 1000)
	if _, err := c.Write([]byte(`{"method":"org.nvmexpress.discoverd.Monitor","more":true}` + "\x00")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	reply(t, r) // the snapshot: it is subscribed by now
	changed := twoTargets().Targets
	published := 0
	for subscribers := 1; subscribers > 0; published++ {
		s.Publish(&Changes{Step: uint64(6 + published), Changed: changed})
		s.broker.mu.Lock()
		subscribers = len(s.broker.subscribers)
		s.broker.mu.Unlock()
	}
	left, err := io.ReadAll(r) // ends when the server hangs up
	if err != nil && !errors.Is(err, unix.ECONNRESET) {
		t.Fatal(err)
	}
	t.Logf("dropped after %d changes; %d bytes were under way", published, len(left))
	// It is either told so, or its connection ends because it does not take a reply in time.
	if s.dropped.Load() > 0 && !strings.Contains(log.String(), "dropped a varlink client that does not read in time (uid 1000, pid 7)") {
		t.Errorf("log: got %q", log)
	}
}

// Half a call for ever, a call of 100 MB, a client that says nothing: each is hung up on, and costs little.
func TestBadClients(t *testing.T) {
	l := defaultLimits
	l.receive, l.idle = 20*time.Millisecond, 20*time.Millisecond
	tests := []struct {
		name string
		send func(net.Conn) int // returns how many bytes were taken
		most int
	}{
		{"half a call", func(c net.Conn) int { n, _ := io.WriteString(c, `{"method":`); return n }, 100},
		{"nothing", func(net.Conn) int { return 0 }, 0},
		{"100 MB", func(c net.Conn) int {
			chunk, sent := bytes.Repeat([]byte("x"), 64<<10), 0
			for sent < 100<<20 {
				n, err := c.Write(chunk)
				sent += n
				if err != nil {
					break
				}
			}
			return sent
		}, 1 << 20},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, _ := testServer(&fake{state: twoTargets()}, l)
			c := client(t, s, 1000)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			sent := test.send(c)
			runtime.ReadMemStats(&after)
			if sent > test.most {
				t.Errorf("bytes taken: got %d, want at most %d", sent, test.most)
			}
			if got := reply(t, bufio.NewReader(c)); got != "" {
				t.Errorf("reply: got %q, want a closed connection", got)
			}
			t.Logf("%d bytes taken, %d bytes allocated", sent, after.TotalAlloc-before.TotalAlloc)
		})
	}
}

// Five hundred clients come and stay: as many as there are places are answered, the others are turned away, and when some
// go others have their places.
func TestManyClients(t *testing.T) {
	root := paths.Root(t.TempDir())
	listener, err := Listen(root)
	if err != nil {
		t.Fatal(err)
	}
	s, log := testServer(&fake{state: twoTargets()}, defaultLimits)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, listener) }()
	call := `{"method":"org.nvmexpress.discoverd.ListDiscoveryLogs","parameters":{"target":"nqn.vol1"}}`
	dial := func() net.Conn {
		c, err := net.Dial("unix", root.Socket())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	most := defaultLimits.connections
	if os.Getuid() != 0 {
		most = defaultLimits.perUser
	}
	var answered []net.Conn
	for range 500 {
		c := dial()
		defer c.Close()
		if exchange(t, c, call) != "" {
			answered = append(answered, c)
		}
	}
	if len(answered) != most {
		t.Errorf("answered: got %d of 500, want %d", len(answered), most)
	}
	if got := s.turnedAway.Load(); got != uint64(500-most) {
		t.Errorf("turned away: got %d, want %d", got, 500-most)
	}
	if n := strings.Count(log.String(), "turned away a varlink client"); n != 1 {
		t.Errorf("log: got %d lines, want 1", n)
	}
	answered[0].Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c := dial()
		got := exchange(t, c, call)
		c.Close()
		if got != "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a place that was given up is not given to another")
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if got := s.places.taken(); got != 0 {
		t.Errorf("places taken at the end: got %d, want 0", got)
	}
}

func TestPlaces(t *testing.T) {
	p := places{limits: limits{connections: 4, others: 3, perUser: 2}, users: map[uint32]int{}}
	for _, step := range []struct {
		uid  uint32
		want bool
	}{{1, true}, {1, true}, {1, false}, {2, true}, {3, false}, {0, true}, {0, false}} {
		if got := p.take(step.uid); got != step.want {
			t.Errorf("take(%d): got %v, want %v", step.uid, got, step.want)
		}
	}
	p.leave(1)
	if !p.take(3) {
		t.Error("a place that was left cannot be taken")
	}
}

func TestBudget(t *testing.T) {
	b := budget{free: 10, share: 4, users: map[uint32]int{}}
	for _, step := range []struct {
		uid      uint32
		n, taken int
		ok       bool
	}{
		{1, 3, 3, true},
		{1, 2, 0, false}, // more than its share
		{1, 1, 1, true},
		{2, 1000, 4, true}, // goes alone
		{2, 1, 0, false},
		{3, 3, 0, false}, // of 2
		{3, 2, 2, true},
	} {
		if taken, ok := b.take(step.uid, step.n); taken != step.taken || ok != step.ok {
			t.Errorf("take(%d, %d): got %d, %v, want %d, %v", step.uid, step.n, taken, ok, step.taken, step.ok)
		}
	}
	b.give(2, 4)
	if taken, ok := b.take(3, 2); taken != 2 || !ok {
		t.Errorf("what was given back: got %d, %v", taken, ok)
	}
	b.give(3, 2)
	b.give(3, 2)
	b.give(1, 3)
	b.give(1, 1)
	if b.free != 10 || len(b.users) > 0 {
		t.Errorf("at the end: %d free, %v taken", b.free, b.users)
	}
}

// A user who asks for much and reads nothing is told so, and the others are answered all the same.
func TestBusyForOneUser(t *testing.T) {
	l := defaultLimits
	l.share = controllerSize + heldReplies
	s, _ := testServer(&fake{state: twoTargets()}, l)
	if _, ok := s.replies.take(1000, l.share); !ok { // as a listing does that is not read
		t.Fatal("there is no room at first")
	}
	for uid, want := range map[uint32]string{1000: `"error":"org.nvmexpress.discoverd.Busy"`, 1001: `"controllers":[`, 0: `"controllers":[`} {
		c := client(t, s, uid)
		if _, err := io.WriteString(c, `{"method":"org.nvmexpress.discoverd.Monitor"}`+"\x00"); err != nil {
			t.Fatal(err)
		}
		if got := reply(t, bufio.NewReader(c)); !strings.Contains(got, want) {
			t.Errorf("user %d: got %s, want %s", uid, got, want)
		}
	}
}

// The socket is everybody's, replaces a stale one, and not that of a daemon that runs.
func TestListen(t *testing.T) {
	root := paths.Root(t.TempDir())
	first, err := Listen(root)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(root.Socket())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != os.ModeSocket|0o666 {
		t.Errorf("mode: got %v, want Srw-rw-rw-", info.Mode())
	}
	want := "cannot listen on " + root.Socket() + ": another daemon does"
	if _, err := Listen(root); err == nil || err.Error() != want {
		t.Errorf("second daemon: got %v, want %s", err, want)
	}
	first.Close() // as a crash does, it leaves the file
	second, err := Listen(root)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	if err := Remove(root); err != nil {
		t.Error(err)
	}
	if err := Remove(root); err != nil {
		t.Errorf("nothing to remove: %v", err)
	}
}

// Whatever comes in, a call is a call or an error, and never one of another method.
func FuzzParseCall(f *testing.F) {
	for _, seed := range []string{
		`{"method":"a.b"}`, `{"method":"a.b","parameters":null}`, `{"method":"a.b","parameters":{"x":1},"more":true}`, `[]`, `{"Method":"a","method":"b"}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		c, err := parseCall(message)
		if err != nil {
			return
		}
		_ = c.wrong()
		out := c.message
		var before, after struct {
			Method     string
			Parameters json.RawMessage
		}
		if err := json.Unmarshal(message, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatal(err)
		}
		if before.Method != after.Method || len(after.Parameters) == 0 || bytes.Equal(after.Parameters, []byte("null")) {
			t.Errorf("%q became %q", message, out)
		}
	})
}

// Whatever an ordinary user sends, nothing is asked of the daemon that is for root alone, and no call goes wrong within.
func FuzzCall(f *testing.F) {
	for _, seed := range []string{
		`{"method":"org.nvmexpress.discoverd.ListControllers"}`,
		`{"method":"org.nvmexpress.discoverd.GetController","parameters":{"target":"nvme1"}}`,
		`{"method":"org.nvmexpress.discoverd.ListDiscoveryLogs","parameters":{"controller":"nvme1"}}`,
		`{"method":"org.nvmexpress.discoverd.Monitor","more":true}`,
		`{"method":"org.nvmexpress.discoverd.Stop","parameters":{"target":"nvme1"}}`,
		`{"method":"org.nvmexpress.discoverd.Reload","oneway":true}`,
		`{"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"org.nvmexpress.discoverd"}}`,
		`{"method":"org.varlink.service.GetInfo","parameters":[]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		backend := &fake{state: twoTargets()}
		s, log := testServer(backend, defaultLimits)
		ours, theirs := pair(t)
		defer ours.Close()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, theirs)
			theirs.Close()
		}()
		c := newConn(ours, &unix.Ucred{Uid: 1000, Pid: 7}, s.limits)
		close(c.gone) // the end of Monitor
		_ = s.answer(t.Context(), c, message)
		ours.Close()
		<-drained
		if len(backend.asked) > 0 || log.String() != "" {
			t.Errorf("%q: asked of the daemon %v, log %q", message, backend.asked, log)
		}
	})
}
