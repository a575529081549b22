// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
)

// A stop that the daemon's end falls into is told to the next daemon until systemd says that it is over.
func TestStopAcrossRestart(t *testing.T) {
	dir := state.New(paths.Root(t.TempDir()))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	onDisk := func(want ...string) {
		t.Helper()
		got, err := dir.Stopping()
		must(err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("on disk (-want +got):\n%s", diff)
		}
	}
	settle := func(s *stops, snap core.Snapshot, want ...string) {
		t.Helper()
		got, err := s.settle(snap)
		must(err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	}
	unknown := core.Snapshot{}
	stops, gone := core.Snapshot{UnitsKnown: true, Units: []core.UnitInfo{{Name: unitA, Active: "deactivating", Job: "stop"}}}, core.Snapshot{UnitsKnown: true}

	first := newStops(dir)
	must(first.begin(unitA))
	must(first.begin(unitB))
	settle(first, gone) // its own: the job's end tells
	onDisk(unitA, unitB)
	must(first.end(unitB, false))
	onDisk(unitA)

	second := newStops(dir)
	settle(second, unknown, unitA)
	settle(second, stops, unitA)
	onDisk(unitA)
	settle(second, gone, unitA) // once more, for it is over
	onDisk()
	settle(second, gone)

	// A job whose end nobody heard of is left to the snapshots too, and a new one replaces it.
	must(second.begin(unitA))
	must(second.end(unitA, true))
	onDisk(unitA)
	settle(second, stops, unitA)
	must(second.begin(unitA))
	settle(second, stops)
	must(second.end(unitA, false))
	onDisk()

	// A job that begins before anything was asked is not taken for an earlier one.
	third := newStops(dir)
	must(third.begin(unitB))
	settle(third, gone)
}

func TestStoppingUnreadable(t *testing.T) {
	root := paths.Root(t.TempDir())
	put(t, filepath.Join(root.State(), "stopping"), "a file in the directory's place")
	s := newStops(state.New(root))
	_, err := s.settle(core.Snapshot{UnitsKnown: true})
	if want := "cannot list " + root.State() + "/stopping: open " + root.State() + "/stopping: not a directory"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
