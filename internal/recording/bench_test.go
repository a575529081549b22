// SPDX-License-Identifier: GPL-3.0-or-later

package recording_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording/recordingtest"
)

// story returns the steps of a recording.
func story(b *testing.B) (events []core.Event, effects [][]core.Effect) {
	b.Helper()
	records, err := recording.Records(recordingtest.Story(b))
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range records {
		if r.Event == nil {
			continue
		}
		ev, err := recording.DecodeEvent(*r.Event)
		if err != nil {
			b.Fatal(err)
		}
		var did []core.Effect
		for _, e := range r.Effects {
			effect, err := recording.DecodeEffect(e)
			if err != nil {
				b.Fatal(err)
			}
			did = append(did, effect)
		}
		events, effects = append(events, ev), append(effects, did)
	}
	return events, effects
}

// recorder is one of the size that is the default.
func recorder(b *testing.B) *recording.Recorder {
	dir := b.TempDir()
	r := recording.NewRecorder("1.0", filepath.Join(dir, "ring"), filepath.Join(dir, "left"), func(string) {})
	r.Resize(4 << 20)
	return r
}

// BenchmarkLoop is what a step costs the loop besides the core.
func BenchmarkLoop(b *testing.B) {
	events, effects := story(b)
	r := recorder(b)
	m, now := core.New(1), time.Now()
	r.Offer(now, m)
	n := 0
	for b.Loop() {
		i := n % len(events)
		r.Offer(now, m)
		r.Begin(now, events[i])
		r.End(effects[i])
		if n++; n%1000 == 0 {
			b.StopTimer()
			r.Flush()
			b.StartTimer()
		}
	}
}

// BenchmarkWrite is what a step costs in all: written, compressed, in batches of twenty, and alone, as on a quiet host.
func BenchmarkWrite(b *testing.B) {
	events, effects := story(b)
	for name, batch := range map[string]int{"twenty": 20, "alone": 1} {
		b.Run(name, func(b *testing.B) {
			r := recorder(b)
			m, now := core.New(1), time.Now()
			n := 0
			for b.Loop() {
				i := n % len(events)
				r.Offer(now, m)
				r.Begin(now, events[i])
				r.End(effects[i])
				if n++; n%batch == 0 {
					r.Flush()
				}
			}
		})
	}
}
