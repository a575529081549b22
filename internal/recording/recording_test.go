// SPDX-License-Identifier: GPL-3.0-or-later

package recording

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

var begun = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// recorder returns a Recorder over a directory of its own, and what it warned of.
func newTestRecorder(t *testing.T, dir string) (*Recorder, *[]string) {
	t.Helper()
	warned := &[]string{}
	return NewRecorder("test", filepath.Join(dir, "ring"), filepath.Join(dir, "left"), func(w string) { *warned = append(*warned, w) }), warned
}

// step has a machine and its recorder take an event in.
func step(r *Recorder, m *core.Machine, at time.Time, ev core.Event) {
	r.Offer(at, m)
	r.Begin(at, ev)
	r.End(m.Step(at, ev))
}

// replay returns the records of a recording, which must not differ from what the core decides now.
func replay(t *testing.T, file []byte) []Record {
	t.Helper()
	records, err := Records(file)
	if err != nil {
		t.Fatal(err)
	}
	var p Replay
	for i, r := range records {
		if d := p.Next(r); d != nil {
			t.Fatalf("record %d: %+v", i, *d)
		}
	}
	return records
}

// A daemon that is killed leaves its ring, and the next one keeps it.
func TestRescue(t *testing.T) {
	dir := t.TempDir()
	r, warned := newTestRecorder(t, dir)
	r.Resize(1 << 20)
	m := core.New(7)
	step(r, m, begun, core.BusUp{})
	step(r, m, begun.Add(time.Second), core.EventsLost{Why: "the test says so"})
	r.Begin(begun.Add(2*time.Second), core.Tick{}) // and it hangs
	r.Abort("abort")

	next, _ := newTestRecorder(t, dir)
	next.Rescue()
	next.Resize(1 << 20)
	left, err := Left(filepath.Join(dir, "left"))
	if err != nil || len(left) != 1 || !strings.HasSuffix(left[0], "-unexpected-end"+Suffix) {
		t.Fatalf("left are %q, %v", left, err)
	}
	file, err := os.ReadFile(left[0])
	if err != nil {
		t.Fatal(err)
	}
	records := replay(t, file)
	if last := records[len(records)-1]; len(records) != 5 || last.Event.Type != "Tick" || !last.Unended {
		t.Errorf("%d records, the last is %+v", len(records), last)
	}
	if len(file) > 4<<10 {
		t.Errorf("it takes %d bytes: the room that the ring keeps free was not left out", len(file))
	}
	if info, err := os.Stat(left[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if len(*warned) > 0 {
		t.Errorf("warned: %q", *warned)
	}
}

// The last three are kept.
func TestLeftAreFew(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { // whose time does not go by itself
		for range 5 {
			r, _ := newTestRecorder(t, dir)
			r.Resize(1 << 20)
			step(r, core.New(1), begun, core.BusUp{})
			r.Close()
			time.Sleep(time.Millisecond) // names have milliseconds
		}
	})
	if left, err := Left(filepath.Join(dir, "left")); err != nil || len(left) != 3 {
		t.Errorf("left are %q, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ring")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the ring is still there: %v", err)
	}
}

// Without room for its file the recording goes on in memory, and says so once.
func TestNoRoomForFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, warned := newTestRecorder(t, filepath.Join(dir, "file"))
	r.Resize(1 << 20)
	step(r, core.New(1), begun, core.BusUp{})
	file, err := r.Take()
	if err != nil {
		t.Fatal(err)
	}
	if records := replay(t, file); len(records) != 3 {
		t.Errorf("%d records", len(records))
	}
	if len(*warned) != 1 || !strings.Contains((*warned)[0], "an unexpected end of nvme-discoverd leaves none") {
		t.Errorf("warned: %q", *warned)
	}
}

// A size of 0 turns it off; steps cost nothing and there is nothing to take.
func TestOff(t *testing.T) {
	r, _ := newTestRecorder(t, t.TempDir())
	r.Resize(0)
	step(r, core.New(1), begun, core.BusUp{})
	if _, err := r.Take(); !errors.Is(err, ErrOff) {
		t.Errorf("Take answers %v", err)
	}
	r.Close()
}

// When nothing is written for long, steps are dropped, and the recording goes on with the state of the core.
func TestGap(t *testing.T) {
	r, _ := newTestRecorder(t, t.TempDir())
	r.Resize(4 << 20)
	m := core.New(1)
	for i := range maxPending + 10 {
		r.Offer(begun, m)
		r.Begin(begun, core.LogChanged{Device: "nvme1"})
		r.End(m.Step(begun.Add(time.Duration(i)), core.LogChanged{Device: "nvme1"}))
	}
	file, err := r.Take()
	if err != nil {
		t.Fatal(err)
	}
	records, err := Records(file)
	if err != nil || records[0].Start == nil || !records[0].Start.Gap || records[1].State == nil || records[1].State.Step < maxPending {
		t.Errorf("%d records that begin with %+v, %v", len(records), records[0], err)
	}
}

// The clock of a recording does not jump, and that of the wall is told beside it.
func TestClock(t *testing.T) {
	r, _ := newTestRecorder(t, t.TempDir())
	now := time.Now()
	if got := r.moment(now.Add(time.Hour)).Sub(r.moment(now)); got != time.Hour {
		t.Errorf("an hour is %v", got)
	}
}

func TestDamaged(t *testing.T) {
	r, _ := newTestRecorder(t, t.TempDir())
	r.Resize(1 << 20)
	m := core.New(1)
	for i := range 20 {
		step(r, m, begun.Add(time.Duration(i)*time.Second), core.Kick{Why: "test"})
	}
	good, err := r.Take()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, []byte("a text"), []byte(magic), bytes.Replace(good, []byte(segmentMagic), []byte("MGES"), 1)} {
		if _, err := Records(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	if records, err := Records(good[:len(good)-30]); err != nil || len(records) < 10 {
		t.Errorf("one that was cut off: %d records, %v", len(records), err)
	}
}

// FuzzRecords feeds the decoder and the replay with what may come from anywhere.
func FuzzRecords(f *testing.F) {
	samples, err := filepath.Glob("../../testdata/recordings/*" + Suffix)
	if err != nil {
		f.Fatal(err)
	}
	for _, sample := range samples {
		file, err := os.ReadFile(sample)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		records, _ := Records(file)
		var p Replay
		for _, r := range records[:min(len(records), 200)] {
			if p.Next(r) != nil && p.Machine() == nil {
				return
			}
			if r.Event != nil {
				_, _ = DecodeEvent(*r.Event)
			}
			for _, e := range r.Effects {
				_ = Words(e)
			}
		}
	})
}

// FuzzRecord does so with what is in the compressed part, which mutations of a file seldom reach.
func FuzzRecord(f *testing.F) {
	m := core.New(1)
	for _, ev := range []core.Event{core.BusUp{}, core.Kick{Why: "w"}, core.LogChanged{Device: "nvme0"}} {
		r, err := NewRecord(begun, ev, m.Step(begun, ev), nil)
		if err != nil {
			f.Fatal(err)
		}
		data, err := r.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	state, err := Record{State: m.Save(nil)}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Fuzz(func(_ *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			return
		}
		p := Replay{}
		p.Next(Record{State: m.Save(nil)})
		p.Next(r)
		if p.Machine() != nil {
			p.Next(Record{At: r.At, Event: &Item{Type: "Tick", Data: []byte{0xa0}}})
		}
	})
}
