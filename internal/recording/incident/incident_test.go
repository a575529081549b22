// SPDX-License-Identifier: GPL-3.0-or-later

package incident

import (
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/golden"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording/recordingtest"
)

// Incidents are in testdata/*.txt: `make replay FILE=…` writes them from recordings. After a change of the core,
//
//	go test ./internal/recording/incident -rewrite
//
// writes the traces anew. Only commit the changes if you understand what caused them.
func TestIncidents(t *testing.T) {
	golden.Scripts(t, func(t *testing.T, script string) string {
		if strings.Contains(script, "\n# Say here") {
			t.Error("its comment does not say yet what it shows")
		}
		played, err := Play(script)
		if err != nil {
			t.Fatal(err)
		}
		return played
	})
}

// A script of a recording plays what the recording has, from its beginning and from within.
func TestScript(t *testing.T) {
	story := recordingtest.Story(t)
	var lines []recording.Line
	if err := recording.Play(story, func(line recording.Line) error {
		if line.Event != "" {
			lines = append(lines, line)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for skip := range len(lines) {
		var script strings.Builder
		differs, err := Script(&script, story, lines[skip].Time, lines[len(lines)-1].Time)
		if err != nil || differs > 0 {
			t.Fatalf("from event %d: %d differ, %v", skip, differs, err)
		}
		played, err := Play(script.String())
		if err != nil {
			t.Fatalf("from event %d: %v\n%s", skip, err, script.String())
		}
		for _, line := range lines[skip:] {
			_, after, ok := strings.Cut(played, "\n# "+oneLine(line.What)+"\n")
			_, trace, _ := strings.Cut(after, "----\n")
			want := strings.Join(line.Effects, "\n")
			if !ok || !strings.HasPrefix(strings.TrimSpace(trace)+"\n", want) {
				t.Errorf("from event %d: %s has not the effects\n%s\nin\n%s", skip, line.What, want, trace)
			}
			played = after
		}
	}
	if _, err := Script(&strings.Builder{}, story, lines[len(lines)-1].Time.Add(time.Hour), time.Time{}); err == nil {
		t.Error("a script of nothing is written")
	}
}

// A script says where this version decides otherwise.
func TestScriptOfChange(t *testing.T) {
	var script strings.Builder
	differs, err := Script(&script, recordingtest.Changed(t, recordingtest.Story(t)), time.Time{}, time.Time{})
	if err != nil || differs != 1 || !strings.Contains(script.String(), "\n# !- ask about nvme-discoverd-ffffffffffff.service\n# !+ start ") {
		t.Errorf("%d differ, %v", differs, err)
	}
}

func TestPlayRefuses(t *testing.T) {
	for script, want := range map[string]string{
		"yesterday Tick\n  {}\n----":             "is neither state nor a time and an event",
		"2026-11-21T12:00:00Z Tick\n  {}\n----":  "no state is given",
		"state\n  {\n----":                       "cannot read the state",
		"state\n  {}":                            "the last block has no ----",
		"state\n2026-11-21T12:00:00Z Tick\n----": "has no ----",
		"# \n":                                   "",
	} {
		if _, err := Play(script); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", script, err)
		}
	}
}
