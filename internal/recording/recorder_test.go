// SPDX-License-Identifier: GPL-3.0-or-later

package recording

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

// events returns how many events a recording has of each type.
func eventsOf(records []Record) map[string]int {
	n := map[string]int{}
	for _, r := range records {
		if r.Event != nil {
			n[r.Event.Type]++
		}
	}
	return n
}

// large returns a configuration whose state is larger than a segment of the smallest ring, and hardly compresses.
func large() core.ConfigLoaded {
	rng := rand.New(rand.NewPCG(1, 2))
	var ev core.ConfigLoaded
	for range 2000 {
		ev.Config.Warnings = append(ev.Config.Warnings, fmt.Sprintf("%x%x", rng.Uint64(), rng.Uint64()))
	}
	return ev
}

// A state that a segment has no room for ends the recording. What was recorded before stays: it can be taken, and is left at the end.
func TestTooLargeKeepsHistory(t *testing.T) {
	dir := t.TempDir()
	r, warned := newTestRecorder(t, dir)
	r.Resize(MinRing)
	m := core.New(1)
	for i := range 3 * segments {
		for range 300 {
			step(r, m, begun.Add(time.Duration(i)*time.Second), core.Kick{Why: fmt.Sprint("kick ", i, rand.Uint64())})
		}
		r.Flush()
	}
	step(r, m, begun.Add(time.Minute), large())
	for i := range 2000 { // the next segment begins
		step(r, m, begun.Add(time.Hour), core.Kick{Why: fmt.Sprint("later ", i, rand.Uint64())})
		if i%50 == 0 {
			r.Flush()
		}
	}
	file, err := r.Take()
	if err != nil {
		t.Fatal(err)
	}
	before := eventsOf(replay(t, file))
	if before["Kick"] < 300 {
		t.Errorf("what is left of the history: %v", before)
	}
	if len(*warned) != 1 || !strings.Contains((*warned)[0], "set flight-recorder-mib to ") {
		t.Errorf("warned: %q", *warned)
	}
	r.Close()
	left, err := Left(filepath.Join(dir, "left"))
	if err != nil || len(left) != 1 {
		t.Errorf("left are %q, %v", left, err)
	}
}

// failing is a store whose writes fail from some moment on.
type failing struct {
	store
	broken bool
}

func (f *failing) WriteAt(p []byte, off int64) (int, error) {
	if f.broken {
		return 0, unix.EIO
	}
	return f.store.WriteAt(p, off)
}

// A write that fails ends the recording, with one line, and what was recorded before stays.
func TestFailedWriteKeepsHistory(t *testing.T) {
	dir := t.TempDir()
	r, warned := newTestRecorder(t, dir)
	r.Resize(MinRing)
	broken := &failing{store: r.ring.store}
	r.ring.store = broken
	m := core.New(1)
	step(r, m, begun, core.BusUp{})
	r.Flush()
	broken.broken = true
	for range 3 {
		step(r, m, begun, core.Tick{})
		r.Flush()
	}
	file, err := r.Take()
	if err != nil {
		t.Fatal(err)
	}
	if n := eventsOf(replay(t, file)); n["BusUp"] != 1 || n["Tick"] != 0 {
		t.Errorf("recorded are %v", n)
	}
	if len(*warned) != 1 || !strings.Contains((*warned)[0], "nothing is recorded any more") {
		t.Errorf("warned: %q", *warned)
	}
}

// panics is an event of which the recorder makes nothing but a panic.
func panics() core.Event { return core.LogRead{Device: "nvme1", Pages: make([]core.JudgedPage, 1)} }

// A fault of the recorder costs the recording, and neither the daemon nor what was recorded before, be it of the same batch.
func TestPanicOfRecorder(t *testing.T) {
	for name, provoke := range map[string]func(*Recorder, *core.Machine){
		"as it writes": func(r *Recorder, _ *core.Machine) {
			r.Begin(begun, panics())
			r.End(nil)
		},
		"as it saves": func(r *Recorder, _ *core.Machine) {
			r.mu.Lock()
			r.want = true
			r.mu.Unlock()
			r.Offer(begun, nil)
		},
		"at the end": func(r *Recorder, _ *core.Machine) { r.Begin(begun, panics()) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r, warned := newTestRecorder(t, dir)
			r.Resize(MinRing)
			m := core.New(1)
			step(r, m, begun, core.BusUp{})
			provoke(r, m)
			r.Abort("panic")
			step(r, m, begun, core.BusUp{})
			r.Flush()
			if len(*warned) != 1 || !strings.Contains((*warned)[0], "nothing is recorded any more: the recorder has a fault") {
				t.Errorf("warned: %q", *warned)
			}
			file, err := r.Take()
			if err != nil {
				t.Fatal(err)
			}
			if n := eventsOf(replay(t, file)); n["BusUp"] != 1 {
				t.Errorf("recorded are %v", n)
			}
		})
	}
}

// What a segment has no room for, with no new state at hand, since the core hangs or has ended with a panic, goes into the next one.
func TestLastStepsHaveRoom(t *testing.T) {
	r, _ := newTestRecorder(t, t.TempDir())
	r.Resize(MinRing)
	m := core.New(1)
	step(r, m, begun, core.BusUp{})
	r.Flush()
	const many = 700 // more than a segment has room for
	for i := range many {
		ev := core.Kick{Why: fmt.Sprint("kick ", rand.Uint64(), rand.Uint64())}
		at := begun.Add(time.Duration(i) * time.Second)
		r.Begin(at, ev)
		r.End(m.Step(at, ev))
	}
	r.Begin(begun.Add(time.Hour), core.Tick{}) // it is the last
	r.Abort("panic")
	file, err := r.Take()
	if err != nil {
		t.Fatal(err)
	}
	records := replay(t, file)
	if n := eventsOf(records); n["Kick"] != many || n["Tick"] != 1 || !records[len(records)-1].Unended {
		t.Errorf("recorded are %v", n)
	}
	if all, err := split(file); err != nil || len(all) < 2 {
		t.Errorf("they took %d segments, %v: too few to tell anything", len(all), err)
	}
}

// However much comes without a state, the last state stays, so that there is something to replay; and what is larger than a segment
// costs what follows until the next state, no more.
func TestLastStateStays(t *testing.T) {
	r, warned := newTestRecorder(t, t.TempDir())
	r.Resize(MinRing)
	m := core.New(1)
	step(r, m, begun, core.BusUp{})
	for i := range maxPending - 10 {
		ev := core.Kick{Why: fmt.Sprint("kick ", rand.Uint64(), rand.Uint64())}
		at := begun.Add(time.Duration(i) * time.Second)
		r.Begin(at, ev)
		r.End(m.Step(at, ev))
	}
	r.Flush()
	file, err := r.Take()
	if err != nil {
		t.Fatal(err)
	}
	if records := replay(t, file); records[1].State == nil || eventsOf(records)["Kick"] < 500 {
		t.Errorf("there is no state, or little else: %v", eventsOf(records))
	}
	step(r, m, begun.Add(48*time.Hour), core.Kick{Why: strings.Repeat("x", 10)})
	r.Flush()
	ev := core.LogFailed{Device: "nvme9", Err: strings.Join(large().Config.Warnings, " ")} // which leaves nothing in the core
	step(r, m, begun.Add(49*time.Hour), ev)
	r.Flush()
	step(r, m, begun.Add(50*time.Hour), core.BusUp{})
	if file, err = r.Take(); err != nil {
		t.Fatal(err)
	}
	if n := eventsOf(replay(t, file)); n["LogFailed"] != 0 || n["BusUp"] != 1 || len(*warned) > 0 {
		t.Errorf("recorded are %v, warned: %q", n, *warned)
	}
}

// The loop's part in a change of the size is to say so; Run makes it. What was recorded is left for people.
func TestResizeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, _ := newTestRecorder(t, dir)
		r.Resize(MinRing)
		go r.Run(t.Context())
		m := core.New(1)
		step(r, m, begun, core.BusUp{})

		r.writing.Lock() // a write takes long
		r.ResizeLater(2 * MinRing)
		r.ResizeLater(4 * MinRing)
		step(r, m, begun, core.Tick{})
		r.writing.Unlock()
		time.Sleep(time.Second)
		step(r, m, begun, core.Tick{})

		if got := r.ring.size; got != 4*MinRing {
			t.Errorf("its size is %d", got)
		}
		left, err := Left(filepath.Join(dir, "left"))
		if err != nil || len(left) != 1 || !strings.HasSuffix(left[0], "-resize"+Suffix) {
			t.Errorf("left are %q, %v", left, err)
		}
		r.ResizeLater(0)
		time.Sleep(time.Second)
		if _, err := r.Take(); !errors.Is(err, ErrOff) {
			t.Errorf("it is still on: %v", err)
		}
		r.ResizeLater(MinRing)
		time.Sleep(time.Second)
		step(r, m, begun, core.Tick{})
		if _, err := r.Take(); err != nil {
			t.Errorf("it is still off: %v", err)
		}
	})
}

// A ring that cannot be made leaves the recorder off.
func TestNoRing(t *testing.T) {
	r, warned := newTestRecorder(t, t.TempDir())
	r.newRing = func(string, int) (*ring, error) { return nil, unix.EIO }
	r.Resize(MinRing)
	step(r, core.New(1), begun, core.BusUp{})
	if len(r.pending) > 0 || r.on {
		t.Errorf("it takes %d steps that nobody writes", len(r.pending))
	}
	if _, err := r.Take(); !errors.Is(err, ErrOff) {
		t.Errorf("Take answers %v", err)
	}
	if len(*warned) != 1 {
		t.Errorf("warned: %q", *warned)
	}
}

// Room is made before a recording is written; without room for it, older ones make way, but never the newest.
func TestLeaveMakesRoom(t *testing.T) {
	dir := t.TempDir()
	names := func() string {
		left, err := Left(dir)
		if err != nil {
			t.Fatal(err)
		}
		all := ""
		for _, path := range left {
			all += " " + strings.TrimSuffix(filepath.Base(path), Suffix)
		}
		return all
	}
	for _, stem := range []string{"1", "2", "3"} {
		if _, err := Leave(dir, stem, []byte(magic), 3); err != nil {
			t.Fatal(err)
		}
	}
	most := 0
	write := func(path string, data []byte, perm os.FileMode) error {
		most = max(most, strings.Count(names(), " "))
		return os.WriteFile(path, data, perm)
	}
	if _, err := leaveBy(write, dir, "4", []byte(magic), 3); err != nil || names() != " 2 3 4" || most > 2 {
		t.Errorf("%d beside the one that is written, then %q, %v", most, names(), err)
	}
	full := func(string, []byte, os.FileMode) error { return fmt.Errorf("cannot write: %w", unix.ENOSPC) }
	if _, err := leaveBy(full, dir, "5", []byte(magic), 3); !errors.Is(err, unix.ENOSPC) || names() != " 4" {
		t.Errorf("left are %q, %v", names(), err)
	}
	if path, err := Leave(dir, "4", []byte(magic+"x"), 3); err != nil || names() != " 4 4_2" {
		t.Errorf("%s, left are %q, %v: two of one moment", path, names(), err)
	}
	// The clock went back: what was just written stays.
	for _, stem := range []string{"9", "1", "0"} {
		path, err := Leave(dir, stem, []byte(magic), 3)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("what was just written: %v", err)
		}
	}
}
