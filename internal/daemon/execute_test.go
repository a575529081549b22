// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fc"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/uevent"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
)

// executing is an executor without a loop: its answers stay in posted. systemd cannot be reached.
func executing(t testing.TB, root paths.Root) (x *executor, posted <-chan core.Event, said func() []string) {
	t.Helper()
	log, said := lines()
	events := make(chan core.Event, 16)
	return newExecutor(tools{
		root: root, log: log, reader: newReader(root), units: unit.NewManager(unit.ManagerConfig{Notify: func(unit.Event) {}, Log: log}),
		notify: newNotifier(log), post: func(_ context.Context, ev core.Event) { events <- ev },
	}), events, said
}

// idle is a daemon whose loop does not run, for tests of its sources: what is posted stays.
func idle(t testing.TB, root paths.Root) (d *Daemon, said func() []string) {
	t.Helper()
	log, said := lines()
	d = &Daemon{Options: Options{Root: root, Log: log}, events: make(chan arrival, 16), reader: newReader(root)}
	d.recorder = recording.NewRecorder("1.0", root.FlightRecorder(), root.Recordings(), func(warning string) { t.Log(warning) })
	d.units = unit.NewManager(unit.ManagerConfig{Notify: func(unit.Event) {}, Log: log})
	d.effects = newExecutor(d.tools())
	return d, said
}

// A host without Fibre Channel is silent about that; a kickstart that fails is told of, in the journal and to the core.
func TestKickstart(t *testing.T) {
	root := paths.Root(t.TempDir())
	x, posted, said := executing(t, root)
	kickstart := func() core.Event {
		x.kickstart(t.Context(), core.Kickstart{Token: 7})
		return <-posted
	}
	if got, want := kickstart(), (core.Kickstarted{Token: 7, NoFC: true}); got != want {
		t.Errorf("no Fibre Channel: got %+v, want %+v", got, want)
	}
	put(t, root.FCDiscovery(), "")
	if got, want := kickstart(), (core.Kickstarted{Token: 7}); got != want {
		t.Errorf("Fibre Channel: got %+v, want %+v", got, want)
	}
	if diff := cmp.Diff([]string{""}, said()); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
	if err := os.Remove(root.FCDiscovery()); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root.FCDiscovery(), "directory"), "")
	if got, want := kickstart(), (core.Kickstarted{Token: 7, Failed: true}); got != want {
		t.Errorf("a file that cannot be written: got %+v, want %+v", got, want)
	}
	want := []string{`msg="cannot ask Fibre Channel for discovery controllers: open ` + root.FCDiscovery() + `: is a directory"`}
	if diff := cmp.Diff(want, said()); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
}

// A uevent of Fibre Channel is an announcement, of another kind, or told to be wrong.
func TestAnnounced(t *testing.T) {
	d, said := idle(t, paths.Root(t.TempDir()))
	const there, here = "nn-0x20000000000000cc:pn-0x10000000000000cc", "nn-0x20000000000000dd:pn-0x10000000000000dd"
	d.announced(t.Context(), uevent.Event{Vars: map[string]string{"FC_EVENT": "linkup"}})
	d.announced(t.Context(), uevent.Event{Vars: map[string]string{"FC_EVENT": "nvmediscovery", "NVMEFC_TRADDR": "nowhere", "NVMEFC_HOST_TRADDR": here}})
	d.announced(t.Context(), uevent.Event{Vars: map[string]string{"FC_EVENT": "nvmediscovery", "NVMEFC_TRADDR": there, "NVMEFC_HOST_TRADDR": here}})
	want := core.FCDiscovered{Announcement: fc.Announcement{Traddr: there, HostTraddr: here}}
	if got := (<-d.events).Event; got != want || len(d.events) > 0 {
		t.Errorf("got %+v and %d more, want %+v", got, len(d.events), want)
	}
	if got := said(); len(got) != 1 || !strings.Contains(got[0], "cannot use NVMEFC_TRADDR of") {
		t.Errorf("journal: %q", got)
	}
}

// What a job leaves is told with its end, and what cannot be read is not taken for nothing.
func TestJobDone(t *testing.T) {
	const devidA, nvme1 = "units/nvme-discoverd-aaaaaaaaaaaa.devid", "controllers/nvme1/unit"
	for _, test := range []struct {
		name  string
		files map[string]string
		job   job
		ends  unit.Result
		want  core.JobDone // the device apart
		found bool
	}{
		{
			name: "connected", files: map[string]string{devidA: "nvme1\n", nvme1: unitA + "\n"},
			job: job{op: core.OpStart}, ends: unit.Result{Outcome: unit.Done}, want: core.JobDone{Op: core.OpStart, Outcome: core.Done}, found: true,
		},
		{
			name: "connected by nvme-cli", files: map[string]string{devidA: "nvme1\n"},
			job: job{op: core.OpStart, nvmeCLI: true}, ends: unit.Result{Outcome: unit.Done}, want: core.JobDone{Op: core.OpStart, Outcome: core.Done}, found: true,
		},
		{
			name: "not by nvme-cli", files: map[string]string{devidA: "nvme1\n"},
			job: job{op: core.OpStart}, ends: unit.Result{Outcome: unit.Done}, want: core.JobDone{Op: core.OpStart, Outcome: core.Done},
		},
		{
			name: "nvme-cli failed", files: map[string]string{devidA: "nvme1\n"},
			job: job{op: core.OpRestart, nvmeCLI: true}, ends: unit.Result{Outcome: unit.Failed}, want: core.JobDone{Op: core.OpRestart, Outcome: "failed"},
		},
		{
			name: "a devid file that cannot be read", files: map[string]string{devidA: "garbage\n"},
			job: job{op: core.OpRestart}, ends: unit.Result{Outcome: unit.Done}, want: core.JobDone{Op: core.OpRestart, Outcome: core.Done, Unread: true},
		},
		{
			name: "a controller that cannot be read", files: map[string]string{devidA: "nvme1\n", nvme1: "garbage\n"},
			job: job{op: core.OpStart}, ends: unit.Result{Outcome: unit.Failed}, want: core.JobDone{Op: core.OpStart, Outcome: "failed", Unread: true},
		},
		{
			name: "failed", files: map[string]string{"units/" + unitA + ".result": `{"errno":111,"meaning":"refused"}`},
			job: job{op: core.OpStart}, ends: unit.Result{Outcome: unit.Failed},
			want: core.JobDone{Op: core.OpStart, Outcome: "failed", Failure: &state.Result{Errno: 111, Meaning: "refused"}},
		},
		{
			name: "stopped", files: map[string]string{devidA: "garbage\n"},
			job: job{op: core.OpStop}, ends: unit.Result{Outcome: unit.NoUnit, Err: errors.New("no such unit")},
			want: core.JobDone{Op: core.OpStop, Outcome: core.NoUnit, Err: "no such unit"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			x, posted, _ := executing(t, host(t, "nvme1"))
			for name, content := range test.files {
				put(t, filepath.Join(x.root.State(), name), content)
			}
			test.job.unit, test.want.Unit = unitA, unitA
			var during []string
			test.job.do = func(context.Context) unit.Result {
				during, _ = x.reader.state.Stopping()
				return test.ends
			}
			x.run(t.Context(), test.job)
			got := (<-posted).(core.JobDone)
			if found := got.Device != nil && got.Device.Name == "nvme1" && got.Device.Unit == unitA; found != test.found {
				t.Errorf("device %+v, want nvme1 of the unit: %v", got.Device, test.found)
			}
			got.Device = nil
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			if stops := len(during) == 1; stops != (test.job.op != core.OpStart) {
				t.Errorf("during the job %v are on record as being stopped", during)
			}
			if after, err := x.reader.state.Stopping(); len(after) > 0 || err != nil {
				t.Errorf("after the job %v, %v are on record as being stopped", after, err)
			}
		})
	}
}

// The record of a stop whose end the daemon did not see stays.
func TestJobLost(t *testing.T) {
	x, posted, _ := executing(t, host(t))
	x.run(t.Context(), job{op: core.OpStop, unit: unitA, timeout: time.Hour, do: func(context.Context) unit.Result {
		return unit.Result{Outcome: unit.Lost, Err: errors.New("no bus")}
	}})
	if left, err := x.reader.state.Stopping(); len(left) != 1 || err != nil {
		t.Errorf("%v, %v are on record as being stopped, want %s", left, err, unitA)
	}
	x.snapshot(t.Context(), core.TakeSnapshot{Token: 1})
	<-posted
	snap := (<-posted).(core.Snapshot)
	want := core.Snapshot{
		Token: 1, Stopping: []string{unitA}, Devids: map[string]string{},
		UnitsErr: "cannot list the units of connections: there is no connection to the system bus",
	}
	if diff := cmp.Diff(want, snap); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
}

// A snapshot that the end of the daemon cuts off is not told of: its reads were not waited for.
func TestSnapshotAtEnd(t *testing.T) {
	x, _, said := executing(t, host(t))
	put(t, filepath.Join(x.root.State(), "stopped"), "a file in the directory's place")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x.snapshot(ctx, core.TakeSnapshot{Token: 1})
	if got := strings.Join(said(), "\n"); got != "" {
		t.Errorf("said %q, want nothing", got)
	}
}

// A job whose end is never told counts as lost some time after the unit's own timeout.
func TestJobEndUntold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, posted, _ := executing(t, host(t))
		begin := time.Now()
		go x.run(t.Context(), job{op: core.OpStart, unit: unitA, timeout: unit.DefaultConnectTimeout, do: func(ctx context.Context) unit.Result {
			<-ctx.Done()
			return unit.Result{Outcome: unit.Lost, Err: ctx.Err()}
		}})
		got := <-posted
		if diff := cmp.Diff(core.Event(core.JobDone{Unit: unitA, Op: core.OpStart, Outcome: core.Lost, Err: "context deadline exceeded"}), got); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
		if after := time.Since(begin); after != unit.DefaultConnectTimeout+30*time.Second {
			t.Errorf("lost after %v", after)
		}
	})
}

// What cannot be recorded is logged with what to do.
func TestRecordsThatFail(t *testing.T) {
	x, _, said := executing(t, host(t))
	state := x.root.State()
	for _, dir := range []string{"stopped", "controllers/nvme1"} {
		put(t, filepath.Join(state, dir), "a file in the directory's place")
	}
	done := make(chan struct{})
	for _, effect := range []core.Effect{
		core.MarkStopped{Unit: unitA}, core.UnmarkStopped{Unit: unitA}, core.ForgetState{Unit: unitA, Device: "nvme1"},
	} {
		x.do(t.Context(), effect)
	}
	x.queue.run(unitA, func() { close(done) })
	<-done
	want := []string{
		"cannot write S/stopped/U: mkdir S/stopped: not a directory; it stays stopped only until nvme-discoverd is restarted: make room in S, it is tried again every minute",
		"cannot remove S/stopped/U: remove S/stopped/U: not a directory; remove the file by hand, or the unit is taken for stopped by an administrator when nvme-discoverd is restarted",
		"cannot read S/controllers/nvme1/unit: open S/controllers/nvme1/unit: not a directory; remove the file by hand, or the next start of nvme-discoverd takes nvme1 for lost meanwhile",
	}
	var got []string
	for _, line := range said() {
		msg, _, _ := strings.Cut(strings.TrimPrefix(line, `msg="`), `" `)
		got = append(got, strings.NewReplacer(state, "S", unitA, "U").Replace(msg))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
}

// ended is a systemd that has one unit, which failed, and a job of ours that fails as soon as it may.
type ended struct {
	units
	fail chan struct{}
}

func (ended) ShuttingDown(context.Context) (bool, error) { return false, nil }

func (ended) Get(_ context.Context, name string) (unit.Info, error) {
	return unit.Info{Name: name, ActiveState: "failed"}, nil
}

func (e ended) Restart(context.Context, string) unit.Result {
	<-e.fail
	return unit.Result{Outcome: unit.Failed}
}

// Why a job of ours failed is told with its end, although its unit was asked about while it ran.
func TestFailureOfJobIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "nvme-discoverd-0123456789ab.service"
		x, posted, _ := executing(t, paths.Root(t.TempDir()))
		systemd := ended{fail: make(chan struct{})}
		x.units = systemd
		x.do(t.Context(), core.RestartUnit{Unit: name})
		synctest.Wait()
		if err := x.reader.state.WriteResult(name, state.Result{Meaning: "refused", Errno: 111}); err != nil {
			t.Fatal(err)
		}
		x.do(t.Context(), core.AskUnit{Unit: name, Token: 7})
		synctest.Wait()
		close(systemd.fail)
		if done, ok := (<-posted).(core.JobDone); !ok || done.Failure == nil || done.Failure.Errno != 111 {
			t.Errorf("end of the job: %+v", done)
		}
		if answer, ok := (<-posted).(core.UnitState); !ok || answer.Token != 7 || answer.Failure != nil {
			t.Errorf("answer: %+v", answer)
		}
		synctest.Wait()
	})
}
