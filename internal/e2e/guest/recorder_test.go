// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

const recordings = "/run/nvme/discoverd/recordings/"

// left returns the one recording in the directory of those that daemons have left whose name has the word, and that was not there before.
func left(t *testing.T, word string, before []string) string {
	t.Helper()
	found := ""
	guest.Eventually(t, time.Minute, "a recording called "+word, func() (bool, string) {
		entries, err := os.ReadDir(recordings)
		if err != nil {
			return false, err.Error()
		}
		names := ""
		for _, e := range entries {
			names += " " + e.Name()
			if strings.Contains(e.Name(), word) && !strings.Contains(strings.Join(before, " "), e.Name()) {
				found = recordings + e.Name()
			}
		}
		return found != "", names
	})
	return found
}

// A target goes away, comes back, and its discovery log changes. The recording of that, taken from the running daemon, shows it; replayed, inside and
// on the outside, the same is decided. Then the daemon is frozen and killed by the watchdog, aborted, and stopped: each time its recording is
// there, and only the last three are kept. Nothing of that touches a controller.
func TestFlightRecorder(t *testing.T) {
	f := guest.Scene(t, 2)
	guest.Override(t, "[Service]\nWatchdogSec=10\n")
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	lost := f.Subsystems[0].NQN
	comeBack(f, lost)
	addSubsystem(f, "added")
	guest.WaitConsistent(t, connectTimeout, f.Wanted())

	file := t.TempDir() + "/taken.nvmerec"
	guest.Ctl(t, "record", "--output", file)
	guest.HandOut(t, "taken.nvmerec", file)
	text := guest.Ctl(t, "replay", file)
	for _, want := range []string{"was removed", "log page of", "has changed", "start nvme-discoverd-", lost} {
		if !strings.Contains(text, want) {
			t.Errorf("the replay does not have %q in\n%s", want, text)
		}
	}
	if text := guest.Ctl(t, "replay", file, "--target", "nothing is called so"); text != "" {
		t.Errorf("a replay of nothing: got\n%s", text)
	}

	devices := guest.Devices()
	var before []string
	for _, end := range []struct {
		name string
		do   func()
		left string
	}{
		{"frozen", func() { guest.Signal(t, "STOP") }, "unexpected-end"},
		{"killed", func() { guest.Signal(t, "KILL") }, "unexpected-end"},
		{"aborted", func() { guest.Signal(t, "ABRT") }, "unexpected-end"},
	} {
		restarts := guest.Restarts(t)
		end.do()
		guest.WaitRestart(t, 2*time.Minute, restarts)
		path := left(t, end.left, before)
		before = append(before, path)
		guest.HandOut(t, end.name+".nvmerec", path)
		if text := guest.Ctl(t, "replay", path); !strings.Contains(text, "comparison with the outside") {
			t.Errorf("%s: the replay has no comparison in\n%s", end.name, text)
		}
		guest.WaitConsistent(t, connectTimeout, f.Wanted())
	}
	guest.Stop(t)
	guest.HandOut(t, "stopped.nvmerec", left(t, "-stop", nil))
	entries, err := os.ReadDir(recordings)
	if err != nil || len(entries) != 3 {
		t.Errorf("recordings that were left: got %d, want 3; %v", len(entries), err)
	}
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	if ok, seen := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", seen, devices)
	}
}

// There is no room for the recording below /run: it is in memory, which is told once, and all else is as ever. A recording that cannot be left
// is left out.
func TestFlightRecorderWithoutRoom(t *testing.T) {
	f := guest.Scene(t, 1)
	guest.NewSmallState(t)
	mark := f.Mark()
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	waitJournal(f, mark, "cannot keep the recording in /run/nvme/discoverd/flight-recorder", "no space left on device")
	comeBack(f, f.Subsystems[0].NQN)
	file := t.TempDir() + "/memory.nvmerec"
	guest.Ctl(t, "record", "--output", file)
	guest.HandOut(t, "memory.nvmerec", file)
	if text := guest.Ctl(t, "replay", file); !strings.Contains(text, "was removed") {
		t.Errorf("the replay does not have the loss in\n%s", text)
	}
	if n := lines(f, mark, "cannot keep the recording"); n != 1 {
		t.Errorf("lines about the recording: got %d, want 1", n)
	}
	devices := guest.Devices()
	guest.Stop(t)
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	if ok, seen := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", seen, devices)
	}
}
