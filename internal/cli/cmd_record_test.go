// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording/recordingtest"
)

// record takes a recording from the daemon, in as many replies as it takes.
func TestRecord(t *testing.T) {
	s := newStandIn()
	s.recording = bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // a MiB
	root := s.serve(t)
	file := filepath.Join(t.TempDir(), "x.nvmerec")
	status, out, errs := ctl(t, root, 0, nil, "record", "--output", file)
	if want := fmt.Sprintf("%s: 1024 KiB, see nvme-discoverctl replay %s\n", file, file); status != Done || out != want || errs != "" {
		t.Errorf("exit status %d, stdout %q, stderr %q", status, out, errs)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, s.recording) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestRecordOff(t *testing.T) {
	s := newStandIn()
	s.refuse = fmt.Errorf("nothing is recorded: flight-recorder-mib is 0")
	status, _, errs := ctl(t, s.serve(t), 0, nil, "record", "--output", filepath.Join(t.TempDir(), "x"))
	if status != Failed || errs != "nothing is recorded: flight-recorder-mib is 0\n" {
		t.Errorf("exit status %d, stderr %q", status, errs)
	}
}

// process is what differs between two recordings of the same story.
var process = regexp.MustCompile(`process \d+, since [0-9TZ:.-]+`)

// replay shows a story, as a whole and in part, and where this version decides otherwise.
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	story := recordingtest.Story(t)
	file, changed := filepath.Join(dir, "story"), filepath.Join(dir, "changed")
	for path, data := range map[string][]byte{file: story, changed: recordingtest.Changed(t, story)} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		golden string
		args   []string
		status int
		errs   string
	}{
		{"replay.txt", []string{file}, Done, "10 events replayed: this version decides the same\n"},
		{"replay-target.txt", []string{file, "--target", "192.0.2.20"}, Done, "10 events replayed: this version decides the same\n"},
		{"replay-since.txt", []string{file, "--since", "1min"}, Done, "10 events replayed: this version decides the same\n"},
		{"replay-changed.txt", []string{changed, "--since", "2026-11-21T12:01:01Z"}, Failed, "this version decides otherwise than the recorded one: see the lines that begin with ! above\n"},
	} {
		t.Run(test.golden, func(t *testing.T) {
			status, out, errs := ctl(t, "", 0, nil, append([]string{"replay"}, test.args...)...)
			if status != test.status || errs != test.errs {
				t.Fatalf("exit status %d, stderr %q", status, errs)
			}
			checkGolden(t, test.golden, process.ReplaceAllString(out, "process N, since TIME"))
		})
	}
	status, out, _ := ctl(t, "", 0, nil, "replay", file, "--json")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); status != Done || len(lines) != 12 || !strings.Contains(lines[2], `"event":"ConfigLoaded"`) {
		t.Errorf("exit status %d, %d lines", status, len(lines))
	}
}

// A recording may come from anywhere: what it says does not move the cursor.
func TestReplayIsLegible(t *testing.T) {
	records, err := recording.Records(recordingtest.Story(t))
	if err != nil {
		t.Fatal(err)
	}
	item, err := recording.EncodeEvent(core.DeviceRemoved{Name: "nvme\x1b[2J1"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if records[i].Event != nil && records[i].Event.Type == "DeviceRemoved" {
			records[i].Event = &item
		}
		if records[i].Start != nil {
			records[i].Start.Version = "1\u202e"
		}
	}
	forged, err := recording.Write(records)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "forged")
	if err := os.WriteFile(file, forged, 0o600); err != nil {
		t.Fatal(err)
	}
	_, out, errs := ctl(t, "", 0, nil, "replay", file)
	if !strings.Contains(out, `nvme\x1b[2J1 was removed`) || strings.ContainsAny(out+errs, "\x1b\u202e") {
		t.Errorf("got %q and %q", out, errs)
	}
}

func TestReplayRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte("a text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"cannot read " + file + ": it is no recording of nvme-discoverd, or is damaged\n":                            {file},
		"cannot read the recording: open " + file + ".not: no such file or directory\n":                              {file + ".not"},
		"cannot replay: arguments are missing in nvme-discoverctl replay FILE: see nvme-discoverctl replay --help\n": {},
	} {
		if status, _, errs := ctl(t, "", 0, nil, append([]string{"replay"}, args...)...); status == Done || errs != want {
			t.Errorf("exit status %d, stderr %q", status, errs)
		}
	}
}
