// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// marked is a secret that is easily found, in its interchange form.
func marked(t *testing.T) (secret.Value, string) {
	t.Helper()
	key := bytes.Repeat([]byte("MARK"), 8)
	key = binary.LittleEndian.AppendUint32(key, crc32.ChecksumIEEE(key))
	text := base64.StdEncoding.EncodeToString(key)
	v, err := secret.Parse(secret.DHChap, "DHHC-1:01:"+text+":")
	if err != nil {
		t.Fatal(err)
	}
	return v, text[:12]
}

// TestRecording records whole runs, in rings that hold all of a run and in such that wrap, and replays what is left: each decision is the
// recorded one, and no secret is there, whether it came by the configuration or by the commands of units that somebody else has started.
func TestRecording(t *testing.T) {
	value, mark := marked(t)
	lab := newLab(t)
	lab.Change = func(ev core.Event) core.Event {
		switch ev := ev.(type) {
		case core.ConfigLoaded:
			ev.Config.Secrets = map[secret.Ref]secret.Set{"host": {secret.DHChap: {Value: value, From: "here"}}}
			for i := range ev.Config.Connections {
				ev.Config.Connections = slices.Clone(ev.Config.Connections)
				ev.Config.Connections[i].Wish.Secrets = "host"
			}
			return ev
		case core.Snapshot:
			ev.Units = slices.Clone(ev.Units)
			for i, u := range ev.Units {
				ev.Units[i].Argv = append(slices.Clone(u.Argv), "--dhchap-secret="+value.Reveal())
			}
			return ev
		case core.BusDown:
			ev.Err += " " + value.Reveal()
			return ev
		}
		return ev
	}
	steps, wraps := 0, 0
	for seed := range uint64(12) {
		dir := recordings(t, lab, seed, func(file []byte) {
			n, wrapped := replayed(t, seed, file, mark)
			if steps += n; wrapped {
				wraps++
			}
		})
		if left, err := recording.Left(dir); err != nil || len(left) == 0 || len(left) > 3 {
			t.Errorf("seed %d: left are %q, %v", seed, left, err)
		}
	}
	if steps < 1500 || wraps == 0 {
		t.Errorf("%d steps were replayed, %d rings wrapped: too few to tell anything", steps, wraps)
	}
}

// recordings runs a seed and calls f with what each life of the daemon recorded, in a small ring or a large one. What they left when they
// ended is in the directory that it returns.
func recordings(t *testing.T, lab *Lab, seed uint64, f func(file []byte)) (left string) {
	t.Helper()
	dir := t.TempDir()
	left = filepath.Join(dir, "left")
	var recorder *recording.Recorder
	take := func() {
		if recorder == nil {
			return
		}
		file, err := recorder.Take()
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		f(file)
		recorder.Close()
	}
	lab.Record = func(int) *recording.Recorder {
		take()
		recorder = recording.NewRecorder("test", filepath.Join(dir, "ring"), left, func(warning string) { t.Error(warning) })
		recorder.Resize([]int{recording.MinRing, 64 << 20}[seed%2])
		return recorder
	}
	if _, broken := lab.Run(seed, nil); broken != nil {
		t.Errorf("seed %d: %v", seed, broken)
	}
	take()
	return left
}

// replayed replays a recording, which must not differ, and looks for the mark in it.
func replayed(t *testing.T, seed uint64, file []byte, mark string) (steps int, wrapped bool) {
	t.Helper()
	records, err := recording.Records(file)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	var replay recording.Replay
	for i, r := range records {
		if d := replay.Next(r); d != nil {
			t.Fatalf("seed %d, record %d: %+v", seed, i, *d)
		}
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(mark)) {
			t.Fatalf("seed %d, record %d has a secret in it", seed, i)
		}
		if r.Start != nil && r.Start.Gap {
			t.Errorf("seed %d: there is a gap", seed)
		}
		if r.Event != nil {
			steps++
		}
	}
	return steps, records[0].State == nil && records[1].State.Step > 0
}
