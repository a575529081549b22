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
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
)

const (
	batchDelay = 250 * time.Millisecond // that a step waits for company before it is written: what a kill may cost
	batchMost  = 64                     // steps that are written at once
	maxPending = 4096                   // steps that may wait to be written; beyond them there is a gap
	keepLeft   = 3                      // recordings of earlier daemons
)

// ErrOff says that nothing is recorded.
var ErrOff = errors.New("nothing is recorded: flight-recorder-mib is 0 in the configuration, or the journal says why")

// Recorder keeps a recording of the recent past. The loop that owns the core calls Begin, End, Offer and ResizeLater, which cost it no
// more than an append; Run, on another goroutine, writes. A fault of the recorder ends the recording, with one warning, and nothing
// else: what was recorded before stays, to be taken and to be left.
type Recorder struct {
	version string
	started time.Time // its monotonic reading is the zero of the recording's clock
	file    string    // of the ring
	left    string    // directory of the recordings that earlier daemons left
	warn    func(string)
	newRing func(file string, size int) (*ring, error)
	wake    chan struct{} // holds one when there is something to do for Run

	// The loop holds mu, and nobody for longer than an append.
	mu      sync.Mutex
	on      bool    // steps are taken; there is a ring then
	open    *entry  // the step that runs
	pending []entry // what is not written yet
	lost    bool    // steps were not taken, and no state since
	want    bool    // the state of the core
	size    *int    // of the ring, in bytes, that Run is to make; nil: it is right

	// writing is taken before mu by who takes both.
	writing sync.Mutex
	ring    *ring // nil: nothing is recorded, and nothing was
	encoder *encoder
	asked   bool   // for a state, since the last one
	bare    int    // segments since the last state that have none: 0 <= bare < segments
	full    bool   // nothing more is written before the next state
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
	return &Recorder{
		version: version, started: time.Now(), file: file, left: left, warn: warn, newRing: newRing, encoder: newEncoder(), wake: make(chan struct{}, 1),
	}
}

// guard is deferred, before any lock is taken, by everything that others call: a panic in the recorder must not end the daemon.
func (r *Recorder) guard() {
	if p := recover(); p != nil {
		r.giveUp(faultOf(p))
	}
}

// faultOf returns a panic as an error that names its place. The function that recovered it calls it.
func faultOf(p any) error {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	panicked := false
	for {
		frame, more := frames.Next()
		switch inRuntime := strings.HasPrefix(frame.Function, "runtime."); {
		case inRuntime:
			panicked = true
		case panicked:
			return fmt.Errorf("the recorder has a fault: %v (%s:%d)", p, filepath.Base(frame.File), frame.Line)
		}
		if !more {
			return fmt.Errorf("the recorder has a fault: %v", p)
		}
	}
}

// giveUp takes nothing more. What was recorded stays, and what is pending will be written if that is possible.
func (r *Recorder) giveUp(err error) {
	r.mu.Lock()
	was := r.on
	r.on, r.open, r.want, r.lost = false, nil, false, false
	r.mu.Unlock()
	if was {
		r.warn("nothing is recorded any more: " + err.Error())
	}
}

// Rescue keeps what a daemon has left that came to an unexpected end. It is called once, before Resize.
func (r *Recorder) Rescue() {
	defer func() { _ = os.Remove(r.file) }()
	defer func() {
		if p := recover(); p != nil {
			r.warn("cannot keep the recording of the daemon before this one: " + faultOf(p).Error())
		}
	}()
	f, err := os.Open(r.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var data []byte
	if err == nil {
		data, err = files.ReadAll(f, maxFile)
		f.Close()
	}
	if err == nil {
		err = r.leave("unexpected-end", data)
	}
	if err != nil {
		r.warn("cannot keep the recording of the daemon before this one: " + err.Error())
	}
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
	move := func(path string, _ []byte, _ fs.FileMode) error { return os.Rename(r.file, path) }
	if _, moveErr := leaveBy(move, r.left, stem, nil, keepLeft); moveErr == nil {
		return nil
	}
	return err
}

// Close ends the recording and leaves it behind for people, as that of a daemon that was stopped, unless Abort was told otherwise.
func (r *Recorder) Close() {
	r.Flush()
	defer r.guard()
	r.writing.Lock()
	defer r.writing.Unlock()
	r.end(cmp.Or(r.why, "stop"))
}

// Resize makes the recording one of at most size bytes; 0 turns it off. Another size than before begins a new one, and what was
// recorded before is left for people. It may take long: the loop calls ResizeLater.
func (r *Recorder) Resize(size int) {
	defer r.guard()
	r.Flush()
	r.writing.Lock()
	defer r.writing.Unlock()
	if size > 0 && r.ring != nil && r.ring.size == max(size, MinRing) {
		return
	}
	r.end("resize")
	if size <= 0 {
		return
	}
	ring, err := r.newRing(r.file, size)
	if err != nil {
		r.warn(err.Error())
	}
	if ring == nil {
		return
	}
	r.ring, r.asked, r.full, r.bare = ring, true, true, 0
	r.mu.Lock()
	r.on, r.want, r.lost = true, true, false
	r.mu.Unlock()
}

// ResizeLater has Run call Resize.
func (r *Recorder) ResizeLater(size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size = &size
	r.poke()
}

// end turns the recording off and leaves it behind, if there is one. A ring that cannot be left stays where it is, for the next daemon
// to try again. writing is held.
func (r *Recorder) end(why string) {
	r.mu.Lock()
	r.on, r.open, r.pending, r.want, r.lost = false, nil, nil, false, false
	r.mu.Unlock()
	if r.ring == nil {
		return
	}
	data, err := r.ring.whole()
	if err == nil {
		err = r.leave(why, data)
	}
	_ = r.ring.store.Close()
	r.ring = nil
	if err != nil {
		r.warn("cannot keep the recording: " + err.Error())
		return
	}
	_ = os.Remove(r.file)
}

// moment is a time on the clock of the recording.
func (r *Recorder) moment(t time.Time) time.Time {
	return time.Unix(0, r.started.UnixNano()+int64(t.Sub(r.started))).UTC()
}

// Offer takes the state of the core where it is needed: at the beginning, and when a new segment is to begin. The loop calls it between
// steps; it looks at all of the core only when a segment begins.
func (r *Recorder) Offer(at time.Time, m *core.Machine) {
	defer r.guard()
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
		r.mu.Lock()
		size := r.size
		r.size = nil
		r.mu.Unlock()
		if size != nil {
			r.Resize(*size)
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
	defer r.guard()
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
	whole := false
	defer func() { r.full = r.full || !whole }() // after an error or a panic, nothing fits what was written
	err := r.write(batch)
	if whole = err == nil; !whole {
		r.giveUp(err)
	}
}

// Take returns the recording as it is now, or as it was when the recorder gave up.
func (r *Recorder) Take() (file []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			file, err = nil, faultOf(p)
		}
	}()
	r.Flush()
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.ring == nil {
		return nil, ErrOff
	}
	if file, err = r.ring.whole(); err != nil {
		return nil, fmt.Errorf("cannot read the recording: %w", err)
	}
	return Compact(file)
}

// write writes steps and states in their order. writing is held. With an error, what came before it is written.
func (r *Recorder) write(batch []entry) error {
	var records []Record
	for _, e := range batch {
		if e.state != nil {
			if err := errors.Join(r.put(records), r.beginSegment(e)); err != nil {
				return err
			}
			records = nil
			continue
		}
		record, err := r.record(e)
		if err != nil {
			return errors.Join(err, r.put(records))
		}
		if records = append(records, record); len(records) == batchMost {
			if err := r.put(records); err != nil {
				return err
			}
			records = nil
		}
	}
	return r.put(records)
}

// record returns the record of a step.
func (r *Recorder) record(e entry) (record Record, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = faultOf(p)
		}
	}()
	if record, err = NewRecord(e.at, e.event, e.effects, r.moment); err != nil {
		return record, err
	}
	record.Wall, record.Unended = e.at.UnixNano()-record.At, e.unended
	return record, nil
}

// start returns the record that begins a segment, at the time of another record.
func (r *Recorder) start(at Record, gap bool) Record {
	return Record{At: at.At, Wall: at.Wall, Start: &Start{FormatVersion, r.version, r.started.UTC(), os.Getpid(), gap}}
}

// encode returns records as the beginning of a segment.
func (r *Recorder) encode(records ...Record) ([]byte, error) {
	r.encoder.reset()
	for _, record := range records {
		if err := r.encoder.add(record); err != nil {
			return nil, err
		}
	}
	return r.encoder.take()
}

// beginSegment begins a segment with a state, in place of the oldest one, once it is known to have room for it.
func (r *Recorder) beginSegment(e entry) error {
	at := r.moment(e.at).UnixNano()
	state := Record{At: at, Wall: e.at.UnixNano() - at, State: e.state}
	data, err := r.encode(r.start(state, e.gap || r.full && r.ring.number > 0), state)
	if err != nil {
		return err
	}
	if len(data) > r.ring.room/2 {
		return fmt.Errorf("what the daemon knows takes %d KiB, more than half of the %d KiB of a segment: set flight-recorder-mib to %d or more",
			len(data)>>10, r.ring.room>>10, (3*segments*len(data))>>20+1)
	}
	r.asked, r.full, r.bare = false, false, 0
	if err := r.ring.next(); err != nil {
		return err
	}
	_, err = r.ring.add(data)
	return err
}

// put adds steps to the ring, and asks for a state when there is little room left.
func (r *Recorder) put(records []Record) error {
	if r.full || len(records) == 0 {
		return nil
	}
	ok, err := r.add(records)
	if err == nil && !ok {
		ok, err = r.addBare(records)
	}
	if err != nil {
		return err
	}
	r.full = !ok
	if (r.full || r.bare > 0 || r.ring.used > r.ring.room/4*3) && !r.asked {
		r.asked = true
		r.mu.Lock()
		r.want = r.on
		r.mu.Unlock()
	}
	return nil
}

// add adds steps to the segment and reports whether it has room for them. If it has not, nothing can be added to it any more.
func (r *Recorder) add(records []Record) (bool, error) {
	for _, record := range records {
		if err := r.encoder.add(record); err != nil {
			return false, err
		}
	}
	data, err := r.encoder.take()
	if err != nil {
		return false, err
	}
	return r.ring.add(data)
}

// addBare begins a segment without a state, in place of the oldest one, and adds steps to it: the state comes with the next step of
// the core only, and there may be none. It reports whether there was room for all of them. The last segment with a state stays.
func (r *Recorder) addBare(records []Record) (bool, error) {
	if r.ring.at < 0 || r.bare == segments-1 {
		return false, nil
	}
	n := len(records)
	data, err := r.encode(append([]Record{r.start(records[0], false)}, records...)...)
	if err == nil && len(data) > r.ring.room && n > 1 {
		n = 1
		data, err = r.encode(r.start(records[0], false), records[0])
	}
	if err != nil || len(data) > r.ring.room {
		return false, err
	}
	r.bare++
	if err := r.ring.next(); err != nil {
		return false, err
	}
	ok, err := r.ring.add(data)
	for ; ok && err == nil && n < len(records); n++ { // one by one, as far as there is room
		ok, err = r.add(records[n : n+1])
	}
	return ok, err
}
