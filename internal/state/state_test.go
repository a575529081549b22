// SPDX-License-Identifier: GPL-3.0-or-later

package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

const (
	unitA = "nvme-discoverd-aaaaaaaaaaaa.service"
	unitB = "nvme-discoverd-bbbbbbbbbbbb.service"
)

// fixture is a state directory and a short way to its files.
type fixture struct {
	*testing.T
	Dir
	base string
}

func newFixture(t *testing.T) fixture {
	root := paths.Root(t.TempDir())
	return fixture{t, New(root), root.State()}
}

func (f fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f fixture) put(name, content string) {
	f.Helper()
	path := filepath.Join(f.base, name)
	f.must(os.MkdirAll(filepath.Dir(path), 0o755))
	f.must(os.WriteFile(path, []byte(content), 0o644))
}

// wantFiles compares the whole state directory: the path of each file and what is in it.
func (f fixture) wantFiles(want map[string]string) {
	f.Helper()
	got := map[string]string{}
	f.must(filepath.WalkDir(f.base, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		got[strings.TrimPrefix(path, f.base+"/")] = string(data)
		return err
	}))
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("files (-want +got):\n%s", diff)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestFiles(t *testing.T) {
	f := newFixture(t)
	f.must(f.WriteDevid(unitA, "nvme3"))
	f.must(f.Bind("nvme3", unitA))
	f.must(f.WriteResult(unitB, Result{Errno: 111, Meaning: "connection refused", Time: time.Unix(1700000000, 0).UTC()}))
	f.must(f.MarkStopped(unitB))
	f.wantFiles(map[string]string{
		"controllers/nvme3/unit":                           "nvme-discoverd-aaaaaaaaaaaa.service\n",
		"units/nvme-discoverd-aaaaaaaaaaaa.devid":          "nvme3\n",
		"units/nvme-discoverd-bbbbbbbbbbbb.service.result": `{"errno":111,"meaning":"connection refused","time":"2023-11-14T22:13:20Z"}` + "\n",
		"stopped/nvme-discoverd-bbbbbbbbbbbb.service":      "",
	})
	for path, want := range map[string]os.FileMode{
		"": 0o755, "controllers": 0o755, "controllers/nvme3": 0o755, "units": 0o755, "stopped": 0o755,
		"controllers/nvme3/unit": 0o644, "units/nvme-discoverd-aaaaaaaaaaaa.devid": 0o644,
	} {
		info, err := os.Stat(filepath.Join(f.base, path))
		f.must(err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}
}

func TestNothingThere(t *testing.T) {
	f := newFixture(t)
	device, err := f.Devid(unitA)
	f.must(err)
	unit, err := f.UnitOf("nvme1")
	f.must(err)
	devids, err := f.Devids()
	f.must(err)
	stopped, err := f.Stopped()
	f.must(err)
	stopping, err := f.Stopping()
	f.must(err)
	_, found, err := f.TakeResult(unitA)
	f.must(err)
	if device != "" || unit != "" || len(devids) != 0 || len(stopped) != 0 || len(stopping) != 0 || found {
		t.Errorf("got %q %q %v %v %v %v, want nothing", device, unit, devids, stopped, stopping, found)
	}
	f.must(f.ClearResult(unitA))
	f.must(f.UnmarkStopped(unitA))
	f.must(f.UnmarkStopping(unitA))
	f.must(f.Forget("nvme1", unitA))
}

func TestRoundTrips(t *testing.T) {
	f := newFixture(t)
	// nvme-cli's daemon or a later version of ours may have made units of other names; systemd allows all of these.
	units := []string{
		unitA, `nvme-discoverd-a\x2db.service`, "nvme-discoverd-A:b_c.d@e.service", "nvme-discoverd-x.tmp.1.service",
		"nvme-discoverd-" + strings.Repeat("x", 200) + ".service",
	}
	devices := []string{"nvme1", "nvme2", "nvme3", "nvme4", "nvme4294967295"}
	wantDevids := map[string]string{}
	for i, unit := range units {
		f.must(f.WriteDevid(unit, "nvme9")) // replaced
		f.must(f.WriteDevid(unit, devices[i]))
		f.must(f.Bind(devices[i], unit))
		f.must(f.MarkStopped(unit))
		f.must(f.MarkStopping(unit))
		wantDevids[unit] = devices[i]
		device, err := f.Devid(unit)
		f.must(err)
		back, err := f.UnitOf(device)
		f.must(err)
		if back != unit {
			t.Errorf("unit %s has device %s, which has unit %s", unit, device, back)
		}
	}
	devids, err := f.Devids()
	f.must(err)
	if diff := cmp.Diff(wantDevids, devids); diff != "" {
		t.Errorf("devids (-want +got):\n%s", diff)
	}
	f.must(f.UnmarkStopped(unitA))
	stopped, err := f.Stopped()
	f.must(err)
	if len(stopped) != len(units)-1 {
		t.Errorf("stopped are %q, want all but %s", stopped, unitA)
	}
	f.must(f.UnmarkStopping(unitA))
	stopping, err := f.Stopping()
	f.must(err)
	if diff := cmp.Diff(stopped, stopping); diff != "" {
		t.Errorf("stopping (-want +got):\n%s", diff)
	}
}

func TestResult(t *testing.T) {
	f := newFixture(t)
	want := Result{Errno: 110, Meaning: "timed out", Time: time.Unix(1700000000, 5).UTC()}
	f.must(f.WriteResult(unitA, Result{Meaning: "an older one"}))
	f.must(f.WriteResult(unitA, want))
	got, found, err := f.TakeResult(unitA)
	f.must(err)
	if diff := cmp.Diff(want, got); diff != "" || !found {
		t.Errorf("result, found %v (-want +got):\n%s", found, diff)
	}
	if _, found, err = f.TakeResult(unitA); found || err != nil {
		t.Errorf("taken twice: %v, %v", found, err)
	}
	f.must(f.WriteResult(unitA, want))
	f.must(f.ClearResult(unitA))
	f.wantFiles(map[string]string{})

	f.put("units/"+unitA+".result", "{")
	_, _, err = f.TakeResult(unitA)
	wantError(t, err, "cannot read "+f.base+"/units/"+unitA+".result: unexpected end of JSON input")
	f.wantFiles(map[string]string{}) // a bad one does not stay in the way
}

func TestForget(t *testing.T) {
	f := newFixture(t)
	all := map[string]string{
		"controllers/nvme3/unit":                  unitA + "\n",
		"units/nvme-discoverd-aaaaaaaaaaaa.devid": "nvme3\n",
	}
	f.must(f.Bind("nvme3", unitA))
	f.must(f.WriteDevid(unitA, "nvme3"))
	f.must(f.Forget("nvme3", unitB)) // nvme3 is another unit's by now
	f.wantFiles(all)
	f.must(f.Forget("nvme4", unitA)) // the unit has another device by now
	f.wantFiles(all)
	f.must(f.Forget("nvme3", unitA))
	f.wantFiles(map[string]string{})
	if _, err := os.Stat(filepath.Join(f.base, "controllers/nvme3")); !os.IsNotExist(err) {
		t.Errorf("the directory of nvme3 is still there: %v", err)
	}

	// What cannot be understood is not ours to remove.
	f.put("controllers/nvme3/unit", "garbage")
	f.put("units/nvme-discoverd-aaaaaaaaaaaa.devid", "nvme3x\n")
	f.must(f.Forget("nvme3", unitA))
	f.wantFiles(map[string]string{
		"controllers/nvme3/unit":                  "garbage",
		"units/nvme-discoverd-aaaaaaaaaaaa.devid": "nvme3x\n",
	})
}

// While one side forgets a controller, the kernel may give its name to the next one, and the command of that one's unit
// records it. Whatever the order, the new record survives.
func TestForgetRace(t *testing.T) {
	f := newFixture(t)
	for range 200 {
		f.must(f.Bind("nvme3", unitA))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := f.Forget("nvme3", unitA); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := f.Bind("nvme3", unitB); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		unit, err := f.UnitOf("nvme3")
		f.must(err)
		if unit != unitB {
			t.Fatalf("nvme3 belongs to %q, want %q", unit, unitB)
		}
	}
	f.wantFiles(map[string]string{"controllers/nvme3/unit": unitB + "\n"})
}

// The same, step by step: the record became the next controller's just before it was moved away.
func TestForgetPutsBack(t *testing.T) {
	f := newFixture(t)
	path := f.bindingPath("nvme3")
	forget := func(meanwhile func()) {
		t.Helper()
		f.must(f.Bind("nvme3", unitB))
		away, err := moveAway(path)
		f.must(err)
		meanwhile()
		f.must(finishRemove(path, away, unitA))
	}
	forget(func() {})
	f.wantFiles(map[string]string{"controllers/nvme3/unit": unitB + "\n"})
	forget(func() { f.must(f.Bind("nvme3", unitA)) }) // and given anew once more
	f.wantFiles(map[string]string{"controllers/nvme3/unit": unitA + "\n"})
	f.must(os.Remove(path))
	if _, err := moveAway(path); !os.IsNotExist(err) {
		t.Errorf("moving away what is gone: %v, want an error that says so", err)
	}
	f.wantFiles(map[string]string{})
}

// Several sides may forget one controller: the daemon at its remove event, the unit's command at its stop.
func TestForgetTogether(t *testing.T) {
	f := newFixture(t)
	for range 100 {
		f.must(f.Bind("nvme3", unitA))
		f.must(f.WriteDevid(unitA, "nvme3"))
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := f.Forget("nvme3", unitA); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		f.wantFiles(map[string]string{})
	}
}

func TestBadContent(t *testing.T) {
	f := newFixture(t)
	f.must(f.WriteDevid(unitB, "nvme4"))
	f.must(f.Bind("nvme4", unitB))
	f.put("units/nvme-discoverd-aaaaaaaaaaaa.devid", "nvme3\nnvme4\n")
	f.put("units/nvme-discoverd-bbbbbbbbbbbb.devid.tmp.123", "nvme5\n")
	f.put("units/other.devid", "nvme5\n")
	f.put("controllers/nvme3/unit", "ssh.service\n")
	f.put("controllers/../controllers/nvme3.tmp.1/unit", unitA)
	f.put("stopped/"+unitA, "")
	f.put("stopped/"+unitB+".tmp.123", "")
	f.put("stopping/"+unitB, "")
	f.put("stopping/ssh.service", "")

	bad := "cannot read " + f.base + `/units/nvme-discoverd-aaaaaaaaaaaa.devid: ` +
		`cannot use device name "nvme3\nnvme4": it must be nvme and a number, such as nvme3`
	_, err := f.Devid(unitA)
	wantError(t, err, bad)
	devids, err := f.Devids()
	wantError(t, err, bad)
	if diff := cmp.Diff(map[string]string{unitB: "nvme4"}, devids); diff != "" {
		t.Errorf("devids (-want +got):\n%s", diff)
	}

	bad = "cannot read " + f.base + `/controllers/nvme3/unit: ` +
		`cannot use unit name "ssh.service": it must be that of an nvme-discoverd-….service`
	_, err = f.UnitOf("nvme3")
	wantError(t, err, bad)

	stopped, err := f.Stopped()
	f.must(err)
	if diff := cmp.Diff([]string{unitA}, stopped); diff != "" {
		t.Errorf("stopped (-want +got):\n%s", diff)
	}
	stopping, err := f.Stopping()
	f.must(err)
	if diff := cmp.Diff([]string{unitB}, stopping); diff != "" {
		t.Errorf("stopping (-want +got):\n%s", diff)
	}
}

// What cannot be read is not what is not there: no device at all is known of, rather than some.
func TestUnreadable(t *testing.T) {
	f := newFixture(t)
	f.put("units", "a file in the directory's place")
	devids, err := f.Devids()
	wantError(t, err, "cannot list "+f.base+"/units: open "+f.base+"/units: not a directory")
	if devids != nil {
		t.Errorf("devids are %v, want none", devids)
	}

	f = newFixture(t)
	f.must(f.WriteDevid(unitB, "nvme4"))
	path := f.devidPath(unitA)
	f.must(os.Mkdir(path, 0o755)) // cannot be read even by root
	devids, err = f.Devids()
	wantError(t, err, "cannot read "+path+": read "+path+": is a directory")
	if devids != nil {
		t.Errorf("devids are %v, want none", devids)
	}
}

// What is recorded can be removed, and put back, where nothing more can be recorded.
func TestForgetOnFullDisk(t *testing.T) {
	f := newFixture(t)
	f.must(os.MkdirAll(f.base, 0o755))
	if err := unix.Mount("tmpfs", f.base, "tmpfs", 0, "nr_inodes=6"); err != nil {
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	t.Cleanup(func() { f.must(unix.Unmount(f.base, unix.MNT_DETACH)) })
	f.must(f.Bind("nvme3", unitA))       // the root and 3 more
	f.must(f.WriteDevid(unitA, "nvme3")) // all 6
	if err := f.MarkStopped(unitA); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the file system is not full: %v", err)
	}
	f.must(finishRemoveOf(f, "nvme3", unitB))
	f.wantFiles(map[string]string{
		"controllers/nvme3/unit":                  unitA + "\n",
		"units/nvme-discoverd-aaaaaaaaaaaa.devid": "nvme3\n",
	})
	f.must(f.Forget("nvme3", unitA))
	f.wantFiles(map[string]string{})
}

// finishRemoveOf removes the record of device as if it had been unit's when it was moved away.
func finishRemoveOf(f fixture, device, unit string) error {
	away, err := moveAway(f.bindingPath(device))
	f.must(err)
	return finishRemove(f.bindingPath(device), away, unit)
}

func TestRefusesNames(t *testing.T) {
	f := newFixture(t)
	for _, unit := range []string{
		"", "ssh.service", "nvme-discoverd.service", "nvme-discoverd-a", "nvme-discoverd-a.timer", "nvme-discoverd-../a.service",
		"nvme-discoverd-a/b.service", "nvme-discoverd-a\n.service", "nvme-discoverd-a.service\n", "nvme-discoverd-ä.service",
		"nvme-discoverd-a b.service", "xnvme-discoverd-a.service", "nvme-discoverd-" + strings.Repeat("x", 233) + ".service",
	} {
		_, errDevid := f.Devid(unit)
		_, _, errTake := f.TakeResult(unit)
		for name, err := range map[string]error{
			"WriteDevid":     f.WriteDevid(unit, "nvme1"),
			"Devid":          errDevid,
			"Bind":           f.Bind("nvme1", unit),
			"Forget":         f.Forget("nvme1", unit),
			"WriteResult":    f.WriteResult(unit, Result{}),
			"TakeResult":     errTake,
			"ClearResult":    f.ClearResult(unit),
			"MarkStopped":    f.MarkStopped(unit),
			"UnmarkStopped":  f.UnmarkStopped(unit),
			"MarkStopping":   f.MarkStopping(unit),
			"UnmarkStopping": f.UnmarkStopping(unit),
		} {
			if err == nil || !strings.HasPrefix(err.Error(), "cannot use unit name ") {
				t.Errorf("%s of unit %q: %v, want it refused", name, unit, err)
			}
		}
	}
	for _, device := range []string{"", "nvme", "nvme1n1", "sda", "../nvme1", "nvme1/", "nvme1\n", "nvme-1", "NVME1", "nvme１"} {
		_, errUnit := f.UnitOf(device)
		for name, err := range map[string]error{
			"WriteDevid": f.WriteDevid(unitA, device),
			"Bind":       f.Bind(device, unitA),
			"UnitOf":     errUnit,
			"Forget":     f.Forget(device, unitA),
		} {
			if err == nil || !strings.HasPrefix(err.Error(), "cannot use device name ") {
				t.Errorf("%s of device %q: %v, want it refused", name, device, err)
			}
		}
	}
	if _, err := os.Stat(f.base); !os.IsNotExist(err) {
		t.Errorf("a refused name was written all the same: %v", err)
	}
}

func FuzzContent(f *testing.F) {
	f.Fuzz(func(t *testing.T, content string) {
		fx := newFixture(t)
		fx.put("controllers/nvme3/unit", content)
		fx.put("units/nvme-discoverd-aaaaaaaaaaaa.devid", content)
		fx.put("units/"+unitA+".result", content)
		unit, err := fx.UnitOf("nvme3")
		if err == nil && (checkUnit(unit) != nil || strings.TrimSuffix(content, "\n") != unit) {
			t.Errorf("%q was read as unit %q", content, unit)
		}
		device, err := fx.Devid(unitA)
		if err == nil && (paths.CheckDevice(device) != nil || strings.TrimSuffix(content, "\n") != device) {
			t.Errorf("%q was read as device %q", content, device)
		}
		_, found, err := fx.TakeResult(unitA)
		if found == (err != nil) {
			t.Errorf("%q is a result: %v, %v", content, found, err)
		}
	})
}
