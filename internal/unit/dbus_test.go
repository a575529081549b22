// SPDX-License-Identifier: GPL-3.0-or-later

package unit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/systembus/systembustest"
)

// testLimit ends a test that waits for something that does not come. It is no assertion about speed.
const testLimit = 30 * time.Second

// systemd is as much of systemd as this package uses, without any unit behind it. What a job does is up to the test.
type systemd struct {
	t    *testing.T
	made chan call // the calls that make a job, after their answer was prepared

	mu      sync.Mutex
	conn    *dbus.Conn
	lastJob uint32
	types   map[dbus.ObjectPath]string // of the jobs that exist
	early   string                     // result that a job has before its call is answered
	refuse  *dbus.Error                // answer to the next call
	state   string                     // SystemState
	units   []listed
	mute    bool        // does not answer where it otherwise refuses
	deaf    *dbus.Error // answer to Subscribe

	commands map[dbus.ObjectPath][]string // ExecStart of the units of fleet
	asked    int                          // times that one of these was read
	answers  int                          // so many more reads are answered; negative: all
	onRead   func()                       // runs in the next read, without the lock
}

// with changes what systemd does next.
func (s *systemd) with(change func(*systemd)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

type call struct {
	method, unit string
	job          dbus.ObjectPath
}

func newSystemd(t *testing.T, d *systembustest.Bus) *systemd {
	s := &systemd{
		t: t, made: make(chan call, 100), types: make(map[dbus.ObjectPath]string), state: "running",
		commands: make(map[dbus.ObjectPath][]string), answers: -1,
	}
	s.appear(d)
	return s
}

// appear takes the name on a new connection, as systemd does at boot and when it executes itself anew.
func (s *systemd) appear(d *systembustest.Bus) {
	s.t.Helper()
	conn := d.Connect()
	for _, err := range []error{
		conn.ExportMethodTable(map[string]any{
			"Subscribe":           s.subscribe,
			"StartTransientUnit":  s.startTransientUnit,
			"StopUnit":            func(unit, _ string) (dbus.ObjectPath, *dbus.Error) { return s.makeJob("StopUnit", unit, "stop") },
			"RestartUnit":         func(unit, _ string) (dbus.ObjectPath, *dbus.Error) { return s.makeJob("RestartUnit", unit, "restart") },
			"ListUnitsByPatterns": s.listUnitsByPatterns,
			"ListUnitsByNames":    s.listUnitsByNames,
		}, managerPath, managerInterface),
		conn.ExportSubtreeMethodTable(map[string]any{"Get": s.get}, managerPath, "org.freedesktop.DBus.Properties"),
	} {
		if err != nil {
			s.t.Fatal(err)
		}
	}
	s.mu.Lock()
	s.conn = conn
	s.mu.Unlock()
	if reply, err := conn.RequestName(systemdName, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		s.t.Fatalf("cannot own the name of systemd: %v, %v", reply, err)
	}
}

func (s *systemd) subscribe() (err *dbus.Error) {
	s.with(func(s *systemd) { err = s.deaf })
	return err
}

type transient struct {
	Name  string
	Props []property
}

func (s *systemd) startTransientUnit(unit, mode string, props []property, aux []transient) (dbus.ObjectPath, *dbus.Error) {
	if mode != "replace" || len(aux) != 0 || len(props) == 0 {
		return "", dbus.NewError("org.freedesktop.DBus.Error.InvalidArgs", []any{"not what the unit of a connection says"})
	}
	return s.makeJob("StartTransientUnit", unit, "start")
}

// makeJob answers a call with a new job, which is announced first, as systemd does.
func (s *systemd) makeJob(method, unit, jobType string) (dbus.ObjectPath, *dbus.Error) {
	s.mu.Lock()
	refuse, early := s.refuse, s.early
	s.refuse = nil
	s.mu.Unlock()
	if refuse != nil {
		return "", refuse
	}
	path := s.newJob(unit, jobType)
	if early != "" {
		s.endJob(path, unit, early)
	}
	s.made <- call{method, unit, path}
	return path, nil
}

func (s *systemd) newJob(unit, jobType string) dbus.ObjectPath {
	s.mu.Lock()
	s.lastJob++
	id := s.lastJob
	path := managerPath + dbus.ObjectPath(fmt.Sprintf("/job/%d", id))
	s.types[path] = jobType
	conn := s.conn
	s.mu.Unlock()
	s.emit(conn, "JobNew", id, path, unit)
	return path
}

func (s *systemd) endJob(path dbus.ObjectPath, unit, result string) {
	s.mu.Lock()
	delete(s.types, path)
	conn := s.conn
	s.mu.Unlock()
	s.emit(conn, "JobRemoved", uint32(1), path, unit, result)
}

func (s *systemd) emit(conn *dbus.Conn, signal string, args ...any) {
	if err := conn.Emit(managerPath, managerInterface+"."+signal, args...); err != nil {
		s.t.Errorf("cannot emit %s: %v", signal, err)
	}
}

func (s *systemd) listUnitsByPatterns(states, patterns []string) ([]listed, *dbus.Error) {
	if len(states) == 3 { // as fnmatch(3) does, for what the tests ask
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.DeleteFunc(slices.Clone(s.units), func(u listed) bool {
			return !slices.Contains(states, u.Active) || !slices.ContainsFunc(patterns, func(pattern string) bool {
				ok, _ := filepath.Match(pattern, u.Name)
				return ok
			})
		}), nil
	}
	if len(states) != 0 || len(patterns) != 1 || patterns[0] != "nvme-discoverd-*.service" {
		return nil, dbus.NewError("org.freedesktop.DBus.Error.InvalidArgs", []any{"another pattern"})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.units, nil
}

func (s *systemd) listUnitsByNames(names []string) ([]listed, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []listed
	for _, name := range names {
		found := listed{Name: name, LoadState: "not-found", Active: "inactive", Sub: "dead", Path: "/", JobPath: "/"}
		for _, u := range s.units {
			if u.Name == name {
				found = u
			}
		}
		out = append(out, found)
	}
	return out, nil
}

func (s *systemd) get(msg dbus.Message, iface, name string) (dbus.Variant, *dbus.Error) {
	path, _ := msg.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	s.mu.Lock()
	defer s.mu.Unlock()
	if argv, ok := s.commands[path]; ok && iface == serviceInterface && name == "ExecStart" {
		return s.command(argv)
	}
	jobType, exists := s.types[path]
	switch {
	case iface == managerInterface && name == "SystemState" && path == managerPath:
		return dbus.MakeVariant(s.state), nil
	case iface == jobInterface && name == "JobType" && exists:
		return dbus.MakeVariant(jobType), nil
	case iface == serviceInterface && name == "ExecStart" && path == managerPath+"/unit/a":
		return dbus.MakeVariant([]execStart{{Path: "/sbin/ctl", Argv: []string{"/sbin/ctl", "connect", "--escaped", `--nqn=nqn.a\x24b`}}}), nil
	case path == managerPath+"/unit/f" && s.mute:
		return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.NoReply", []any{"no answer"})
	case path == managerPath+"/unit/f":
		return dbus.Variant{}, dbus.NewError("org.freedesktop.systemd1.LoadFailed", []any{"it is broken"})
	case iface == serviceInterface && name == "ExecStart" && path == managerPath+"/unit/b":
		return dbus.MakeVariant([]execStart{}), nil
	}
	return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownObject", []any{"Unknown object '" + string(path) + "'."})
}

// command answers a read of a command. The caller holds mu.
func (s *systemd) command(argv []string) (dbus.Variant, *dbus.Error) {
	s.asked++
	if s.answers == 0 {
		return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.NoReply", []any{"no answer"})
	}
	s.answers--
	if f := s.onRead; f != nil {
		s.mu.Unlock()
		f()
		s.mu.Lock()
	}
	return dbus.MakeVariant([]execStart{{Path: argv[0], Argv: argv}}), nil
}

// fixture is a Manager on a real bus with a systemd that does as the test says.
type fixture struct {
	t       *testing.T
	bus     *systembustest.Bus
	systemd *systemd
	manager *Manager
	events  chan Event
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, bus: systembustest.Start(t), events: make(chan Event, 100)}
	f.systemd = newSystemd(t, f.bus)
	f.manager = NewManager(ManagerConfig{
		Socket: f.bus.Socket,
		Notify: func(e Event) { f.events <- e },
		Log:    slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = f.manager.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	f.wantEvent(BusUp{})
	return f
}

func receive[T any](f *fixture, from <-chan T, what string) T {
	f.t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(testLimit):
		f.t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

func (f *fixture) wantEvent(want Event) {
	f.t.Helper()
	if diff := cmp.Diff(want, receive(f, f.events, fmt.Sprintf("the event %+v", want))); diff != "" {
		f.t.Errorf("another event (-want +got):\n%s", diff)
	}
}

// noEvents asserts that everything sent so far came to nothing. A job of another unit marks the end.
func (f *fixture) noEvents() {
	f.t.Helper()
	const mark = "nvme-discoverd-mark.service"
	f.systemd.newJob(mark, "verify-active")
	f.wantEvent(ForeignJob{Unit: mark, Type: "verify-active"})
}

const testUnit = "nvme-discoverd-0123456789ab.service"

var testSpec = Spec{Name: testUnit, Description: "test", ExecStart: []string{"/bin/true"}}

// start calls Start and returns the call as systemd got it.
func (f *fixture) start() (call, <-chan Result) {
	f.t.Helper()
	result := make(chan Result, 1)
	go func() { result <- f.manager.Start(context.Background(), testSpec) }()
	return receive(f, f.systemd.made, "the call"), result
}

// answered returns once the answers to the calls that made these jobs have come: systemd's connection may be closed then.
func (f *fixture) answered(calls ...call) {
	f.t.Helper()
	s, err := f.manager.session()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, c := range calls {
		for known := make(chan bool, 1); ; runtime.Gosched() {
			s.do(func() { known <- s.jobs.ours[c.job] != nil })
			if receive(f, known, "whether a call was answered") {
				break
			}
		}
	}
}

func (f *fixture) wantResult(result <-chan Result, want Outcome, wantErr string) {
	f.t.Helper()
	got := receive(f, result, "the result")
	text := ""
	if got.Err != nil {
		text = got.Err.Error()
	}
	if got.Outcome != want || text != wantErr {
		f.t.Errorf("the result is %q (%s), want %q (%s)", got.Outcome, text, want, wantErr)
	}
}

func TestJobsOfOurOwn(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		method string
		call   func() Result
	}{
		{"StartTransientUnit", func() Result { return f.manager.Start(t.Context(), testSpec) }},
		{"StopUnit", func() Result { return f.manager.Stop(t.Context(), testUnit) }},
		{"RestartUnit", func() Result { return f.manager.Restart(t.Context(), testUnit) }},
	} {
		for _, result := range []string{"done", "failed", "canceled", "timeout", "dependency", "skipped", "invalid"} {
			f.systemd.with(func(s *systemd) {
				s.early = result // systemd is faster than we are
			})
			if got := test.call(); got != (Result{Outcome: Outcome(result)}) {
				t.Errorf("%s ended early with %q (%v), want %q", test.method, got.Outcome, got.Err, result)
			}
			got := receive(f, f.systemd.made, "the call")
			if got.method != test.method || got.unit != testUnit {
				t.Errorf("systemd was asked for %s of %s, want %s of %s", got.method, got.unit, test.method, testUnit)
			}
		}
		f.systemd.with(func(s *systemd) {
			s.early = ""
		})
		result := make(chan Result, 1)
		go func() { result <- test.call() }()
		made := receive(f, f.systemd.made, "the call")
		f.systemd.endJob(made.job, testUnit, "done")
		f.wantResult(result, Done, "")
	}
	f.noEvents()
}

func TestRefusedCalls(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		name, text string
		want       Outcome
	}{
		{"org.freedesktop.systemd1.UnitExists", "Unit was already loaded or has a fragment file.", Exists},
		{"org.freedesktop.systemd1.NoSuchUnit", "Unit not loaded.", NoUnit},
		{"org.freedesktop.systemd1.TransactionIsDestructive", "Transaction is destructive.", Error},
	} {
		f.systemd.with(func(s *systemd) {
			s.refuse = dbus.NewError(test.name, []any{test.text})
		})
		result := make(chan Result, 1)
		result <- f.manager.Start(t.Context(), testSpec)
		f.wantResult(result, test.want, "cannot call StartTransientUnit for "+testUnit+": "+test.text)
	}
}

// TestForgery lets another user of the bus say that a job has ended, to everybody and to the manager alone.
func TestForgery(t *testing.T) {
	f := newFixture(t)
	made, result := f.start()
	mallory := f.bus.Connect()
	var victims []string
	if err := mallory.BusObject().Call("org.freedesktop.DBus.ListNames", 0).Store(&victims); err != nil {
		t.Fatal(err)
	}
	send := func(dest string, path dbus.ObjectPath, iface, member string, body ...any) {
		msg := &dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath:      dbus.MakeVariant(path),
			dbus.FieldInterface: dbus.MakeVariant(iface),
			dbus.FieldMember:    dbus.MakeVariant(member),
			dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body...)),
		}}
		if dest != "" {
			msg.Headers[dbus.FieldDestination] = dbus.MakeVariant(dest)
		}
		mallory.Send(msg, nil)
	}
	for _, dest := range append(victims, "") {
		if strings.HasPrefix(dest, ":") || dest == "" {
			self := mallory.Names()[0]
			send(dest, managerPath, managerInterface, "JobRemoved", uint32(1), made.job, testUnit, "done")
			send(dest, managerPath, managerInterface, "JobNew", uint32(7), managerPath+"/job/7", testUnit)
			send(dest, busPath, busName, "NameOwnerChanged", systemdName, "", self)
			send(dest, managerPath, managerInterface, "JobRemoved", uint32(1), made.job, testUnit, "done")
		}
	}
	// After this round trip the bus has passed everything on.
	if err := mallory.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		t.Fatal(err)
	}
	f.noEvents()
	f.systemd.endJob(made.job, testUnit, "failed")
	f.wantResult(result, Failed, "")
}

func TestForeignJobs(t *testing.T) {
	f := newFixture(t)
	path := f.systemd.newJob(testUnit, "stop")
	f.wantEvent(ForeignJob{Unit: testUnit, Type: "stop"})
	f.systemd.endJob(path, testUnit, "done")
	f.wantEvent(ForeignJob{Unit: testUnit, Type: "stop", Removed: true})

	f.systemd.endJob(f.systemd.newJob("ssh.service", "stop"), "ssh.service", "done")
	f.systemd.endJob(f.systemd.newJob(waitOnline, "stop"), waitOnline, "done")
	f.systemd.endJob(managerPath+"/job/99", testUnit, "done") // from before the connection
	f.noEvents()
}

// TestImpatientCaller leaves while its job runs: the job stays our own.
func TestImpatientCaller(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan Result, 1)
	go func() { result <- f.manager.Start(ctx, testSpec) }()
	made := receive(f, f.systemd.made, "the call")
	cancel()
	f.wantResult(result, Lost, "cannot learn the result of StartTransientUnit for "+testUnit+": context canceled")
	f.systemd.endJob(made.job, testUnit, "done")
	f.noEvents()
	result <- f.manager.Start(ctx, testSpec)
	f.wantResult(result, Lost, "cannot learn the result of StartTransientUnit for "+testUnit+": context canceled")
}

// TestBusKilled kills dbus-daemon under two jobs and brings it back.
func TestBusKilled(t *testing.T) {
	f := newFixture(t)
	firstCall, first := f.start()
	secondCall, second := f.start()
	f.answered(firstCall, secondCall)
	f.bus.Kill()
	for _, result := range []<-chan Result{first, second} {
		f.wantResult(result, Lost, "cannot learn the result of StartTransientUnit for "+testUnit+": the connection to the system bus was lost")
	}
	down, ok := receive(f, f.events, "BusDown").(BusDown)
	if !ok || !errors.Is(down.Err, errLost) {
		t.Errorf("BusDown says %v, want %v", down.Err, errLost)
	}
	if _, err := f.manager.List(t.Context()); err == nil ||
		err.Error() != "cannot list the units of connections: there is no connection to the system bus" {
		t.Errorf("List without a bus gives %v", err)
	}
	f.bus.Restart()
	f.systemd.appear(f.bus)
	f.wantEvent(BusUp{}) // and no second BusDown before it
	made, result := f.start()
	f.systemd.endJob(made.job, testUnit, "done")
	f.wantResult(result, Done, "")
	f.noEvents()
}

// TestReexec moves systemd to another connection, as systemctl daemon-reexec does, while two jobs run.
func TestReexec(t *testing.T) {
	f := newFixture(t)
	survivor, result := f.start()
	gone, lost := f.start()
	f.answered(survivor, gone)
	var old *dbus.Conn
	f.systemd.with(func(s *systemd) {
		delete(s.types, gone.job) // it ends while nobody can say so
		old = s.conn
	})
	if _, err := old.ReleaseName(systemdName); err != nil {
		t.Fatal(err)
	}
	old.Close()
	f.systemd.appear(f.bus)
	f.wantResult(lost, Lost, "")
	f.systemd.endJob(survivor.job, testUnit, "done")
	f.wantResult(result, Done, "")
	f.noEvents()
}

func TestUnits(t *testing.T) {
	f := newFixture(t)
	unit := func(name, load, active, sub, jobType string, job uint32, path dbus.ObjectPath) listed {
		return listed{
			Name: "nvme-discoverd-" + name + ".service", LoadState: load, Active: active, Sub: sub,
			Path: managerPath + path, JobID: job, JobType: jobType, JobPath: "/",
		}
	}
	units := []listed{
		unit("a", "loaded", "active", "exited", "", 0, "/unit/a"),
		unit("a2", "loaded", "deactivating", "stop", "stop", 7, "/unit/a"),
		unit("b", "loaded", "active", "exited", "", 0, "/unit/b"),    // an empty shell
		unit("c", "loaded", "active", "exited", "", 0, "/unit/c"),    // gone since
		unit("f", "loaded", "active", "exited", "", 0, "/unit/f"),    // cannot be described
		unit("d", "not-found", "inactive", "dead", "", 0, "/unit/d"), // only mentioned by others
	}
	f.systemd.with(func(s *systemd) { s.units = units })
	argv := []string{"/sbin/ctl", "connect", "--nqn=nqn.a$b"}
	want := []Info{
		{Name: "nvme-discoverd-a.service", ActiveState: "active", ExecStart: argv},
		{Name: "nvme-discoverd-a2.service", ActiveState: "deactivating", JobType: "stop", ExecStart: argv},
	}
	got, err := f.manager.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("List gives other units (-want +got):\n%s", diff)
	}
	for _, want := range []Info{
		want[1],
		{Name: "nvme-discoverd-c.service", ActiveState: "inactive"},
		{Name: "nvme-discoverd-d.service", ActiveState: "inactive"},
		{Name: "nvme-discoverd-e.service", ActiveState: "inactive"},
	} {
		got, err := f.manager.Get(t.Context(), want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Get gives another unit (-want +got):\n%s", diff)
		}
	}
	_, err = f.manager.Get(t.Context(), "nvme-discoverd-f.service")
	if want := "cannot look at unit nvme-discoverd-f.service: cannot read property ExecStart of /org/freedesktop/systemd1/unit/f: it is broken"; err == nil || err.Error() != want {
		t.Errorf("Get of a unit that cannot be described: %v, want %s", err, want)
	}

	// What is not answered is not left out.
	f.systemd.with(func(s *systemd) { s.mute = true })
	_, err = f.manager.List(t.Context())
	if want := "cannot list the units of connections: cannot read property ExecStart of /org/freedesktop/systemd1/unit/f: no answer"; err == nil || err.Error() != want {
		t.Errorf("List without an answer: %v, want %s", err, want)
	}
}

func TestRunning(t *testing.T) {
	f := newFixture(t)
	f.systemd.with(func(s *systemd) {
		for name, u := range map[string]listed{
			"nvmf-connect@a.service": {Active: "active"}, "nvmf-connect@b.service": {Active: "inactive"}, "nvmf-connect@c.service": {Active: "failed"},
			"nvmf-autoconnect.service": {Active: "activating", LoadState: "masked"}, "nvmf-autoconnectXservice": {Active: "active"},
		} {
			u.Name, u.Path, u.JobPath = name, "/", "/"
			s.units = append(s.units, u)
		}
	})
	got, err := f.manager.Running(t.Context(), "nvmf-connect@*[.]service", "nvmf-autoconnect[.]service")
	slices.Sort(got)
	if diff := cmp.Diff([]string{"nvmf-autoconnect.service", "nvmf-connect@a.service"}, got); diff != "" || err != nil {
		t.Errorf("error %v, running (-want +got):\n%s", err, diff)
	}
	_, err = NewManager(ManagerConfig{}).Running(t.Context(), "a*", "b*")
	if want := "cannot list the units a*, b*: there is no connection to the system bus"; err == nil || err.Error() != want {
		t.Errorf("without a bus: %v, want %s", err, want)
	}
}

func TestShuttingDown(t *testing.T) {
	f := newFixture(t)
	for state, want := range map[string]bool{"running": false, "degraded": false, "starting": false, "stopping": true} {
		f.systemd.with(func(s *systemd) {
			s.state = state
		})
		if got, err := f.manager.ShuttingDown(t.Context()); got != want || err != nil {
			t.Errorf("in state %s the system is shutting down: %t, %v, want %t", state, got, err, want)
		}
	}
	_, err := NewManager(ManagerConfig{}).ShuttingDown(t.Context())
	if want := "cannot tell whether the system is shutting down: there is no connection to the system bus"; err == nil || err.Error() != want {
		t.Errorf("without a bus: %v, want %s", err, want)
	}
}
