// SPDX-License-Identifier: GPL-3.0-or-later

package recording_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording/recordingtest"
)

var writeSample = flag.Bool("write-sample", false, "write a sample of the present format to testdata/recordings; those of earlier formats stay as they are")

const samples = "../../testdata/recordings"

// Recordings of all formats that there ever were can be read, whole. What this version decides about them may differ.
func TestSamples(t *testing.T) {
	if *writeSample {
		path := filepath.Join(samples, fmt.Sprintf("format-%d%s", recording.FormatVersion, recording.Suffix))
		if err := os.WriteFile(path, recordingtest.Story(t), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for format := 1; format <= recording.FormatVersion; format++ {
		file, err := os.ReadFile(filepath.Join(samples, fmt.Sprintf("format-%d%s", format, recording.Suffix)))
		if err != nil {
			t.Fatal(err)
		}
		records, err := recording.Records(file)
		if err != nil || len(records) < 10 {
			t.Fatalf("format %d: %d records, %v", format, len(records), err)
		}
		var replay recording.Replay
		for i, r := range records {
			if d := replay.Next(r); d != nil && (d.Unreadable != "" || d.Panic != "") {
				t.Errorf("format %d, record %d: %+v", format, i, *d)
			}
			for _, e := range r.Effects {
				if _, err := recording.DecodeEffect(e); err != nil {
					t.Errorf("format %d, record %d: %v", format, i, err)
				}
			}
		}
		if view := replay.Machine().View(); view.Targets.Len() != 2 {
			t.Errorf("format %d: %d targets at the end", format, view.Targets.Len())
		}
	}
}

// A decision that is another one is told, and nothing else.
func TestDifference(t *testing.T) {
	story := recordingtest.Story(t)
	same, err := recording.NewTimeline(story)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range same.Lines {
		if line.Difference != nil {
			t.Errorf("%s: %v", line.What, line.Difference.Words())
		}
	}
	changed, err := recording.NewTimeline(recordingtest.Changed(t, story))
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, line := range changed.Lines {
		if line.Difference != nil {
			words = append(words, line.Difference.Words()...)
		}
	}
	if len(words) != 2 || words[0] != "!- ask about nvme-discoverd-ffffffffffff.service" || !strings.HasPrefix(words[1], "!+ start nvme-discoverd-") {
		t.Errorf("told: %q", words)
	}
}
