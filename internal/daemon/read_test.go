// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/legacy"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/registry"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
)

const (
	unitA = "nvme-discoverd-aaaaaaaaaaaa.service"
	unitB = "nvme-discoverd-bbbbbbbbbbbb.service"
)

func put(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// host is a root with controllers in sysfs.
func host(t testing.TB, names ...string) paths.Root {
	t.Helper()
	root := paths.Root(t.TempDir())
	put(t, root.UeventSeqnum(), "100\n")
	for _, name := range names {
		putController(t, root, name, "nqn.2024-01.com.example:"+name)
	}
	return root
}

// putController makes a controller in sysfs that is live.
func putController(t testing.TB, root paths.Root, name, nqn string) {
	t.Helper()
	dir := root.Join("sys/devices/virtual/nvme-fabrics/ctl", name)
	for attr, value := range map[string]string{
		"transport": "tcp", "address": "traddr=192.0.2.1,trsvcid=4420", "subsysnqn": nqn,
		"hostnqn": "nqn.2024-01.com.example:host", "hostid": "11111111-2222-3333-4444-555555555555", "cntrltype": "io", "state": "live",
		"ctrl_loss_tmo": "600",
	} {
		put(t, filepath.Join(dir, attr), value+"\n")
	}
	if err := os.MkdirAll(root.SysClassNVMe(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../devices/virtual/nvme-fabrics/ctl/"+name, filepath.Join(root.SysClassNVMe(), name)); err != nil {
		t.Fatal(err)
	}
}

// A controller that is stuck in the kernel is given up for the time being, with one read under way at most, and is read
// again when that has come back.
func TestStuckController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReader(host(t))
		release := make(chan struct{})
		var reads atomic.Int32
		stuck := func(string) (sysfs.Controller, error) {
			reads.Add(1)
			<-release
			return sysfs.Controller{}, nil
		}
		try := func(name string, read func(string) (sysfs.Controller, error)) (sysfs.Controller, error) {
			ctx, cancel := context.WithTimeout(t.Context(), r.patience)
			defer cancel()
			return r.attempt(ctx, name, read)
		}
		begun := time.Now()
		errs := make(chan error)
		for range 3 {
			go func() {
				_, err := try("nvme3", stuck)
				errs <- err
			}()
		}
		for range 3 {
			err := <-errs
			if want := "cannot read the attributes of nvme3: sysfs does not answer"; err == nil || err.Error() != want || !errors.Is(err, sysfs.ErrWedged) {
				t.Fatalf("error %v, want %q", err, want)
			}
		}
		if _, err := try("nvme3", stuck); !errors.Is(err, sysfs.ErrWedged) || time.Since(begun) != r.patience {
			t.Errorf("%v after %v, want nobody to wait again", err, time.Since(begun))
		}
		good := func(name string) (sysfs.Controller, error) { return sysfs.Controller{Name: name}, nil }
		if c, err := try("nvme4", good); err != nil || c.Name != "nvme4" {
			t.Errorf("another controller reads as %+v, %v", c, err)
		}
		close(release)
		synctest.Wait()
		if n := reads.Load(); n != 1 {
			t.Errorf("%d reads of a stuck controller", n)
		}
		if c, err := try("nvme3", good); err != nil || c.Name != "nvme3" {
			t.Errorf("when it is free again it reads as %+v, %v", c, err)
		}
	})
}

// A second reader waits for the first one's read to end and gets an answer that is newer than its question.
func TestSecondReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReader(host(t))
		state := "connecting"
		slow := func(name string) (sysfs.Controller, error) {
			c := sysfs.Controller{Name: name, State: state}
			time.Sleep(r.patience / 2)
			return c, nil
		}
		first := make(chan sysfs.Controller)
		go func() {
			c, _ := r.attempt(t.Context(), "nvme3", slow)
			first <- c
		}()
		synctest.Wait()
		state = "live"
		second := make(chan sysfs.Controller)
		go func() {
			c, _ := r.attempt(t.Context(), "nvme3", slow)
			second <- c
		}()
		if a, b := <-first, <-second; a.State != "connecting" || b.State != "live" {
			t.Errorf("read as %s and %s, want connecting and live", a.State, b.State)
		}
	})
}

// Many stuck controllers cost as much time as one, and take no other along.
func TestManyStuckControllers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReader(host(t))
		release := make(chan struct{})
		defer close(release)
		var names, want []string
		for i := range 100 {
			names = append(names, fmt.Sprintf("nvme%d", i))
			if i < 40 {
				want = append(want, names[i])
			}
		}
		begun := time.Now()
		devices, unreadable, bad := r.devices(t.Context(), append(names, "nvme100"), func(name string) (sysfs.Controller, error) {
			if slices.Contains(want, name) {
				<-release
			}
			if name == "nvme100" {
				return sysfs.Controller{}, fs.ErrNotExist
			}
			return sysfs.Controller{Name: name}, nil
		})
		if took := time.Since(begun); took != r.patience {
			t.Errorf("it took %v, want %v", took, r.patience)
		}
		if diff := cmp.Diff(want, unreadable); diff != "" || len(bad) != len(want) {
			t.Errorf("%d errors, unreadable (-want +got):\n%s", len(bad), diff)
		}
		var read []string
		for _, d := range devices {
			read = append(read, d.Name)
		}
		if diff := cmp.Diff(names[40:], read); diff != "" {
			t.Errorf("read (-want +got):\n%s", diff)
		}
	})
}

// saying is a systemd that says what the test wants.
type saying struct {
	units []unit.Info
	err   error
	down  bool

	downErr error

	running    []string
	runningErr error
}

func (s saying) List(context.Context) ([]unit.Info, error)  { return s.units, s.err }
func (s saying) ShuttingDown(context.Context) (bool, error) { return s.down, s.downErr }

func (s saying) Running(_ context.Context, patterns ...string) ([]string, error) {
	if !slices.Equal(patterns, legacy.Services()) {
		return nil, fmt.Errorf("asked for %q", patterns)
	}
	return s.running, s.runningErr
}

func TestSnapshot(t *testing.T) {
	root := host(t, "nvme1", "nvme2")
	r := newReader(root)
	units := saying{units: []unit.Info{{Name: unitA, ActiveState: "active", JobType: "stop", ExecStart: []string{"/ctl"}}}, down: true}
	put(t, filepath.Join(root.State(), "controllers/nvme1/unit"), unitA+"\n")
	put(t, filepath.Join(root.State(), "controllers/nvme2/unit"), "garbage\n")
	put(t, filepath.Join(root.State(), "units/nvme-discoverd-aaaaaaaaaaaa.devid"), "nvme1\n")
	put(t, filepath.Join(root.State(), "units/nvme-discoverd-bbbbbbbbbbbb.devid"), "garbage\n")
	put(t, filepath.Join(root.State(), "stopped"), "a file in the directory's place")

	snap, bad, err := r.snapshot(t.Context(), 7, units)
	if err != nil {
		t.Fatal(err)
	}
	if len(snap.Devices) != 1 || snap.Devices[0].Name != "nvme1" || snap.Devices[0].Unit != unitA || snap.Devices[0].Seq != 100 {
		t.Errorf("devices %+v, want nvme1 alone", snap.Devices)
	}
	snap.Devices = nil
	want := core.Snapshot{
		Token: 7, Unreadable: []string{"nvme2"}, UnitsKnown: true, Devids: map[string]string{unitA: "nvme1"}, NoStopped: true, ShuttingDown: true,
		Units: []core.UnitInfo{{Name: unitA, Active: "active", Job: "stop", Argv: []string{"/ctl"}}},
	}
	if diff := cmp.Diff(want, snap); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	wantBad := []string{
		"cannot read " + root.State() + `/units/nvme-discoverd-bbbbbbbbbbbb.devid: cannot use device name "garbage": it must be nvme and a number, such as nvme3`,
		"cannot list " + root.State() + "/stopped: open " + root.State() + "/stopped: not a directory",
		"cannot read " + root.State() + `/controllers/nvme2/unit: cannot use unit name "garbage": it must be that of an nvme-discoverd-….service`,
	}
	var gotBad []string
	for _, b := range bad {
		gotBad = append(gotBad, b.Error())
	}
	if diff := cmp.Diff(wantBad, gotBad); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}

	snap, _, err = r.snapshot(t.Context(), 8, saying{err: errors.New("no bus")})
	if err != nil || snap.UnitsKnown || snap.UnitsErr != "no bus" {
		t.Errorf("without systemd: %+v, %v", snap, err)
	}

	snap, _, err = r.snapshot(t.Context(), 8, saying{units: units.units, downErr: errors.New("no answer")})
	if err != nil || snap.UnitsKnown || snap.Units != nil || snap.UnitsErr != "no answer" {
		t.Errorf("without an answer about a shutdown: %+v, %v", snap, err)
	}

	_, _, err = newReader(paths.Root(t.TempDir())).snapshot(t.Context(), 9, units)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a sysfs: %v", err)
	}

	// Devid files that cannot be read are not an empty list of them.
	if err := os.RemoveAll(filepath.Join(root.State(), "units")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root.State(), "units"), "a file in the directory's place")
	_, _, err = r.snapshot(t.Context(), 9, units)
	if want := "cannot list " + root.State() + "/units: open " + root.State() + "/units: not a directory"; err == nil || err.Error() != want {
		t.Errorf("without devid files: %v, want %s", err, want)
	}
}

// slowly is a systemd that takes its time to list the units.
type slowly struct {
	saying
	takes time.Duration
}

func (s slowly) List(ctx context.Context) ([]unit.Info, error) {
	select {
	case <-time.After(s.takes):
		return s.saying.List(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s slowly) ShuttingDown(ctx context.Context) (bool, error) { return s.down, ctx.Err() }

// A systemd that has much to do with many units is waited for, but not without end.
func TestSnapshotOfManyUnits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReader(host(t))
		snap, _, err := r.snapshot(t.Context(), 7, slowly{takes: listPatience / 2})
		if err != nil || !snap.UnitsKnown {
			t.Errorf("a slow systemd: %+v, %v, want the units known", snap, err)
		}
		snap, _, err = r.snapshot(t.Context(), 8, slowly{takes: 2 * listPatience})
		if err != nil || snap.UnitsErr != context.DeadlineExceeded.Error() {
			t.Errorf("one that does not answer: %+v, %v", snap, err)
		}
	})
}

// nvme-cli's automatic connects have a say while they are installed and not masked, and while one of their units runs.
func TestSnapshotAutoconnect(t *testing.T) {
	root := host(t)
	r := newReader(root)
	expect := func(what string, units saying, want bool) {
		t.Helper()
		if snap, _, err := r.snapshot(t.Context(), 1, units); err != nil || !snap.UnitsKnown || snap.Autoconnect != want {
			t.Errorf("%s: %+v, %v, want %t", what, snap, err, want)
		}
	}
	put(t, filepath.Join(root.SystemdUnits()[0], "nvmf-connect@.service"), "[Service]\n")
	expect("installed without the rule", saying{}, false)
	expect("a unit runs", saying{running: []string{"nvmf-connect@x.service"}}, true)
	rule := filepath.Join(root.UdevRules()[len(root.UdevRules())-1], "70-nvmf-autoconnect.rules")
	put(t, rule, "# rule\n")
	expect("the rule is in force", saying{}, true)
	if _, err := legacy.Disable(root); err == nil { // the unit above is a file of the administrator's
		t.Error("the unit in etc was masked")
	}
	expect("the rule is masked", saying{}, false)

	snap, _, err := r.snapshot(t.Context(), 8, saying{runningErr: errors.New("no answer")})
	if err != nil || snap.UnitsKnown || snap.UnitsErr != "no answer" {
		t.Errorf("without an answer: %+v, %v", snap, err)
	}
}

// The registry's entry is written again for what is ours by the files and by sysfs, and for nothing else.
func TestRestoreOwner(t *testing.T) {
	lost := core.RestoreOwner{
		Unit: unitA, Device: "nvme1", Owner: "nbft",
		TID: tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.2024-01.com.example:nvme1"},
	}
	for _, test := range []struct {
		name   string
		owner  string // in the registry
		unit   string // on record for nvme1
		change func(*core.RestoreOwner)
		want   string
		seqnum string
	}{
		{name: "lost", unit: unitA, want: "nbft", seqnum: "100"},
		{name: "of units not in force", owner: "autoconnect", unit: unitA, want: "nbft", seqnum: "100"},
		{name: "another owner by now", owner: "stas", unit: unitA, want: "stas"},
		{name: "written meanwhile", owner: "discoverd", unit: unitA, want: "discoverd"},
		{name: "another unit's", unit: unitB},
		{name: "no unit's"},
		{name: "recycled", unit: unitA, change: func(e *core.RestoreOwner) { e.TID.NQN += "x" }},
		{name: "of another name", unit: unitA, change: func(e *core.RestoreOwner) { e.Device = "nvme2" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newReader(host(t, "nvme1", "nvme2"))
			if err := r.state.WriteDevid(unitA, "nvme1"); err != nil {
				t.Fatal(err)
			}
			if test.unit != "" {
				if err := r.state.Bind("nvme1", test.unit); err != nil {
					t.Fatal(err)
				}
			}
			if test.owner != "" {
				if err := r.registry.Set("nvme1", registry.Owner, test.owner); err != nil {
					t.Fatal(err)
				}
			}
			e := lost
			if test.change != nil {
				test.change(&e)
			}
			if err := r.restoreOwner(e); err != nil {
				t.Fatal(err)
			}
			got, err := r.registry.Entry("nvme1")
			if err != nil || got[registry.Owner] != test.want || got[registry.Seqnum] != test.seqnum {
				t.Errorf("entry %v, %v, want owner %q and seqnum %q", got, err, test.want, test.seqnum)
			}
			if other, err := r.registry.Entry("nvme2"); len(other) != 0 || err != nil {
				t.Errorf("nvme2 has an entry: %v, %v", other, err)
			}
		})
	}
}

// What nvme-cli connected belongs to its unit, if to none so far.
func TestBindDevid(t *testing.T) {
	for _, test := range []struct {
		name  string
		there []string
		bound string // before
		want  string
	}{
		{name: "bound to nothing", there: []string{"nvme1"}, want: unitA},
		{name: "bound to another", there: []string{"nvme1"}, bound: unitB, want: unitB},
		{name: "gone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newReader(host(t, test.there...))
			if err := r.bindDevid(unitA); err != nil {
				t.Errorf("without a devid file: %v", err)
			}
			if err := r.state.WriteDevid(unitA, "nvme1"); err != nil {
				t.Fatal(err)
			}
			if test.bound != "" {
				if err := r.state.Bind("nvme1", test.bound); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.bindDevid(unitA); err != nil {
				t.Fatal(err)
			}
			if got, err := r.state.UnitOf("nvme1"); got != test.want || err != nil {
				t.Errorf("nvme1 belongs to %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

// A unit gets no ExecStop= where / or /usr is on the controller that its wish is served by.
func TestHoldsRoot(t *testing.T) {
	root := host(t, "nvme1", "nvme2", "nvme3")
	for _, name := range []string{"nvme1/nvme1c1n1", "nvme2/nvme1c2n1", "nvme3/nvme3c3n1"} {
		if err := os.Mkdir(filepath.Join(root.SysClassNVMe(), name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	for number, name := range map[string]string{"259:1": "nvme1n1", "259:3": "nvme3n1"} {
		subsystem := "virtual/nvme-subsystem/nvme-subsys" + name[len("nvme"):len("nvme")+1]
		link("../../devices/"+subsystem+"/"+name, root.SysDevBlock(number))
		link("../../devices/"+subsystem+"/"+name, root.SysClassBlock(name))
		for _, controller := range map[string][]string{"nvme1n1": {"nvme1", "nvme2"}, "nvme3n1": {"nvme3"}}[name] {
			link("../../nvme-fabrics/ctl/"+controller, root.Join("sys/devices", subsystem, controller))
		}
	}
	r := newReader(root)
	if _, err := r.holdsRoot(tid.TID{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody knows what is mounted: error %v", err)
	}
	put(t, root.MountInfo(), "1 0 259:1 / / rw - ext4 /dev/nvme1n1 rw\n2 1 259:3 / /srv rw - ext4 /dev/nvme3n1 rw\n")
	for name, want := range map[string]bool{"nvme1": true, "nvme2": true, "nvme3": false, "nvme4": false} {
		got, err := r.holdsRoot(tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.2024-01.com.example:" + name})
		if err != nil || got != want {
			t.Errorf("%s: %t, %v, want %t", name, got, err, want)
		}
	}
}
