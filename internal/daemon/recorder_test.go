// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"errors"
	"log/slog"
	"os"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
)

// replayed returns the lines of a recording, which must not differ from what the core decides now.
func replayed(t *testing.T, file []byte) []recording.Line {
	t.Helper()
	timeline, err := recording.NewTimeline(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range timeline.Lines {
		if line.Difference != nil {
			t.Errorf("%s: %v", line.What, line.Difference.Words())
		}
	}
	return timeline.Lines
}

// A whole daemon gives its recording to root, and leaves one behind when it is stopped.
func TestRecordingOfDaemon(t *testing.T) {
	opts, c, end := runWhole(t) // the loop has had its first steps
	root := opts.Root
	file, err := c.Recording(t.Context())
	switch {
	case os.Getuid() != 0 && err != nil:
	case err != nil:
		t.Fatal(err)
	default:
		if lines := replayed(t, file); len(lines) < 4 || lines[0].Start == nil || lines[0].Start.Version != "1.0" || lines[1].State == nil {
			t.Errorf("the recording has %d lines", len(lines))
		}
	}
	end()
	left, err := recording.Left(root.Recordings())
	if err != nil || len(left) != 1 {
		t.Fatalf("left are %q, %v", left, err)
	}
	if file, err = os.ReadFile(left[0]); err != nil {
		t.Fatal(err)
	}
	replayed(t, file)
	if _, err := os.Stat(root.FlightRecorder()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the ring is still there: %v", err)
	}
}

// A panic of the loop ends the daemon, and the recording has what led to it.
func TestRecordingOfPanic(t *testing.T) {
	d, _ := idle(t, host(t))
	d.Level = &slog.LevelVar{}
	d.machine, d.notify = core.New(1), newNotifier(d.Log)
	d.api = newAPI(d.backing())
	d.recorder.Resize(1 << 20)
	d.events <- arrival{Event: core.BusUp{}}
	d.effects = nil // which the loop needs for what the core decides
	panicked := func() (r any) {
		defer func() { r = recover() }()
		return d.loop(t.Context(), nil)
	}()
	if panicked == nil {
		t.Fatal("the loop goes on")
	}
	next := recording.NewRecorder("1.0", d.Root.FlightRecorder(), d.Root.Recordings(), func(warning string) { t.Error(warning) })
	next.Rescue()
	left, err := recording.Left(d.Root.Recordings())
	if err != nil || len(left) != 1 {
		t.Fatalf("left are %q, %v", left, err)
	}
	file, err := os.ReadFile(left[0])
	if err != nil {
		t.Fatal(err)
	}
	if lines := replayed(t, file); lines[len(lines)-1].Event != "BusUp" {
		t.Errorf("it ends with %s", lines[len(lines)-1].What)
	}
}
