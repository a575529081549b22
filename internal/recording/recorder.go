// SPDX-License-Identifier: GPL-3.0-or-later

package recording

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

const (
	batchDelay = 100 * time.Millisecond // that a step waits for company before it is written: what a kill may cost
	batchMost  = 64                     // steps that are written at once
	maxPending = 4096                   // steps that may wait to be written; beyond them there is a gap
	keepLeft   = 3                      // recordings of earlier daemons
)

// ErrOff says that nothing is recorded.
var ErrOff = errors.New("nothing is recorded: flight-recorder-mib is 0 in the configuration, or the journal says why")

// Recorder keeps a recording of the recent past. The loop that owns the core calls Begin, End and Offer, which cost it no more than an
// append; Run, on another goroutine, writes. What cannot be written is missing in the recording and hurts nothing else.
type Recorder struct {
	version string
	started time.Time // its monotonic reading is the zero of the recording's clock
	file    string    // of the ring
	left    string    // directory of the recordings that earlier daemons left
	warn    func(string)
	wake    chan struct{} // holds one when something is pending

	// The loop holds mu, and nobody for longer than an append.
	mu      sync.Mutex
	on      bool
	open    *entry  // the step that runs
	pending []entry // what is not written yet
	lost    bool    // steps were not taken, and no state since
	want    bool    // the state of the core

	// writing is taken before mu by who takes both.
	writing sync.Mutex
	ring    *ring // nil: nothing is recorded
	encoder *encoder
	asked   bool   // for a state, since the segment began
	full    bool   // nothing more is written to this segment
	why     string // the process ends, "" if it is stopped
}

// entry is a step of the core, or its state between two.
type entry struct {
	at      time.Time
	event   core.Event
	effects []core.Effect
	unended bool

	state *core.Saved
	gap   bool // steps before the state are missing
}

// NewRecorder returns a Recorder that is off. version is that of the program. The ring is in file, recordings of daemons that have ended
// go into the directory left. warn is called with what an administrator should know.
func NewRecorder(version, file, left string, warn func(string)) *Recorder {
	return &Recorder{version: version, started: time.Now(), file: file, left: left, warn: warn, encoder: newEncoder(), wake: make(chan struct{}, 1)}
}

// Rescue keeps what a daemon has left that came to an unexpected end. It is called once, before Resize.
func (r *Recorder) Rescue() {
	data, err := os.ReadFile(r.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = r.leave("unexpected-end", data)
	}
	if err != nil {
		r.warn("cannot keep the recording of the daemon before this one: " + err.Error())
	}
	_ = os.Remove(r.file)
}

// leave keeps a recording. Where there is no room for a copy, the ring's own file is kept.
func (r *Recorder) leave(why string, ring []byte) error {
	file, err := Compact(ring)
	if err != nil || len(file) == len(magic) {
		return err
	}
	stem := time.Now().UTC().Format("20060102T150405.000Z") + "-" + why
	if _, err = Leave(r.left, stem, file, keepLeft); err == nil {
		return nil
	}
	if os.Rename(r.file, filepath.Join(r.left, stem+Suffix)) == nil {
		return nil
	}
	return err
}

// Close ends the recording and leaves it behind for people, as that of a daemon that was stopped, unless Abort was told otherwise.
func (r *Recorder) Close() {
	r.Flush()
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.ring == nil {
		return
	}
	data, err := r.ring.whole()
	if err == nil {
		err = r.leave(cmp.Or(r.why, "stop"), data)
	}
	if err != nil {
		r.warn("cannot keep the recording: " + err.Error())
	}
	r.stop()
}

// Resize makes the recording one of at most size bytes; 0 turns it off. Another size than before begins a new one.
func (r *Recorder) Resize(size int) {
	r.writing.Lock()
	defer r.writing.Unlock()
	if size > 0 && r.ring != nil && r.ring.size == max(size, MinRing) {
		return
	}
	r.stop()
	if size <= 0 {
		return
	}
	ring, err := newRing(r.file, size)
	if err != nil {
		r.warn(err.Error())
	}
	r.ring, r.asked, r.full = ring, true, true
	r.mu.Lock()
	r.on, r.want, r.lost = true, true, false
	r.mu.Unlock()
}

// stop turns the recording off. writing is held.
func (r *Recorder) stop() {
	r.mu.Lock()
	r.on, r.open, r.pending, r.want, r.lost = false, nil, nil, false, false
	r.mu.Unlock()
	if r.ring == nil {
		return
	}
	_ = r.ring.store.Close()
	_ = os.Remove(r.file)
	r.ring = nil
}

// moment is a time on the clock of the recording.
func (r *Recorder) moment(t time.Time) time.Time {
	return time.Unix(0, r.started.UnixNano()+int64(t.Sub(r.started))).UTC()
}

// Offer takes the state of the core where it is needed: at the beginning, and when a new segment is to begin. The loop calls it between
// steps; it looks at all of the core only when a segment begins.
func (r *Recorder) Offer(at time.Time, m *core.Machine) {
	r.mu.Lock()
	want := r.on && r.want
	r.mu.Unlock()
	if !want {
		return
	}
	saved := m.Save(r.moment)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.on {
		r.pending = append(r.pending, entry{at: at, state: saved, gap: r.lost})
		r.want, r.lost = false, false
		r.poke()
	}
}

// Begin takes an event that the core is about to take in. Should the core not come to an end with it, it is the last of the recording.
func (r *Recorder) Begin(at time.Time, ev core.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.on {
		r.open = &entry{at: at, event: ev}
	}
}

// End takes what the core decided upon the event of Begin.
func (r *Recorder) End(effects []core.Effect) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := r.open
	r.open = nil
	switch {
	case done == nil || r.lost:
	case len(r.pending) >= maxPending:
		r.pending, r.lost, r.want = nil, true, true
	default:
		done.effects = effects
		r.pending = append(r.pending, *done)
		r.poke()
	}
}

// poke has Run look.
func (r *Recorder) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run writes what is pending until the context ends.
func (r *Recorder) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(batchDelay):
		}
		r.Flush()
	}
}

// Flush writes all that is pending.
func (r *Recorder) Flush() { r.flush(false) }

// Abort is Flush for a process that is about to end, whatever it is doing: it writes the step too that has not ended. why is one word for
// the name of the recording.
func (r *Recorder) Abort(why string) {
	r.flush(true)
	r.writing.Lock()
	defer r.writing.Unlock()
	r.why = why
}

func (r *Recorder) flush(ending bool) {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	batch := r.pending
	r.pending = nil
	if ending && r.open != nil && !r.lost {
		r.open.unended = true
		batch = append(batch, *r.open)
	}
	r.mu.Unlock()
	if r.ring == nil || len(batch) == 0 {
		return
	}
	if err := r.write(batch); err != nil {
		r.warn("nothing is recorded any more: " + err.Error())
		r.stop()
	}
}

// Take returns the recording as it is now.
func (r *Recorder) Take() ([]byte, error) {
	r.Flush()
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.ring == nil {
		return nil, ErrOff
	}
	file, err := r.ring.whole()
	if err != nil {
		return nil, fmt.Errorf("cannot read the recording: %w", err)
	}
	return Compact(file)
}

// write writes steps and states in their order. writing is held.
func (r *Recorder) write(batch []entry) error {
	n := 0
	for _, e := range batch {
		switch {
		case e.state != nil:
			if err := r.put(); err != nil {
				return err
			}
			if err := r.beginSegment(e); err != nil {
				return err
			}
		case r.full:
			continue
		default:
			record, err := NewRecord(e.at, e.event, e.effects, r.moment)
			if err != nil {
				return err
			}
			record.Wall, record.Unended = e.at.UnixNano()-record.At, e.unended
			if err := r.encoder.add(record); err != nil {
				return err
			}
		}
		if n++; n%batchMost == 0 {
			if err := r.put(); err != nil {
				return err
			}
		}
	}
	return r.put()
}

// beginSegment begins a segment with a state.
func (r *Recorder) beginSegment(e entry) error {
	if err := r.ring.next(); err != nil {
		return err
	}
	gap := e.gap || r.full && r.ring.number > 1
	r.encoder.reset()
	r.asked, r.full = false, false
	at := r.moment(e.at).UnixNano()
	start := Record{At: at, Wall: e.at.UnixNano() - at, Start: &Start{FormatVersion, r.version, r.started.UTC(), os.Getpid(), gap}}
	if err := r.encoder.add(start); err != nil {
		return err
	}
	if err := r.encoder.add(Record{At: at, Wall: start.Wall, State: e.state}); err != nil {
		return err
	}
	data, err := r.encoder.take()
	if err != nil {
		return err
	}
	if len(data) > r.ring.room/2 {
		return fmt.Errorf("what the daemon knows takes %d KiB, more than half of the %d KiB of a segment: set flight-recorder-mib to %d or more",
			len(data)>>10, r.ring.room>>10, (3*segments*len(data))>>20+1)
	}
	_, err = r.ring.add(data)
	return err
}

// put adds to the ring what was encoded. Without room for it, the segment ends before it; when there is little left, the next one is asked for.
func (r *Recorder) put() error {
	if r.full {
		return nil
	}
	data, err := r.encoder.take()
	if err != nil {
		return err
	}
	ok, err := r.ring.add(data)
	if err != nil {
		return err
	}
	r.full = !ok
	if (r.full || r.ring.used > r.ring.room/4*3) && !r.asked {
		r.asked = true
		r.mu.Lock()
		r.want = r.on
		r.mu.Unlock()
	}
	return nil
}
