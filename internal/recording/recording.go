// SPDX-License-Identifier: GPL-3.0-or-later

// Package recording is the format in which the daemon writes down what it hears and decides, and the replay of it.
//
// The core is a function of events and time, so a recording of both is all that a replay needs: it shows each event and what was
// decided, and runs the code of today over it.
//
// # Format
//
// A recording is the magic and segments (docs/architecture.md, "The flight recorder"). A segment has a header of 32 bytes: the word
// "SEGM", the bytes that it may take (4 bytes), its number (8), the bytes that it has (8) and 8 bytes that are 0, all little endian.
// What it has is compressed (RFC 1951) and flushed after each batch, so that it can be read up to there. In it are Records, one CBOR
// data item (RFC 8949) after the other. The first is its Start, the second the State of the core; a segment without a State goes on
// where the one before it ended. Segments are read in the order of their numbers: those of a ring begin anywhere.
//
// A Record has one of its fields, besides the time. Fields that a reader does not know are passed over; FormatVersion grows with
// changes that earlier readers must not pass over.
package recording

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

// FormatVersion is the version of the format that this package writes. It reads this and every earlier one.
const FormatVersion = 1

const (
	magic        = "NVMeRec\x01"
	segmentMagic = "SEGM"
	headerSize   = 32
)

// ErrFormat says that something is not a recording, or is damaged.
var ErrFormat = errors.New("it is no recording of nvme-discoverd, or is damaged")

// Record is one thing in a recording. At counts nanoseconds on the clock of the recording, which is the wall clock as it was at the
// recorder's start and never jumps; Wall is how far the wall clock was ahead of that.
type Record struct {
	At   int64
	Wall int64 `json:",omitzero"`

	Start   *Start      `json:",omitzero"`
	State   *core.Saved `json:",omitzero"` // what the core knew before the next event
	Event   *Item       `json:",omitzero"`
	Effects []Item      `json:",omitzero"` // what it decided upon Event
	// Unended: the core had not come to an end with Event when the recording ended. It may be the reason for that.
	Unended bool `json:",omitzero"`
}

// Start begins a segment.
type Start struct {
	Format  int
	Version string    // of the program
	Started time.Time // when this daemon began to record
	PID     int
	Gap     bool `json:",omitzero"` // there were events between the end of the segment before and this one that are not recorded
}

// Time is when it was, by the wall clock.
func (r Record) Time() time.Time { return time.Unix(0, r.At+r.Wall).UTC() }

// Moment is when it was, on the clock of the recording.
func (r Record) Moment() time.Time { return time.Unix(0, r.At).UTC() }

// encoder writes records, compressed.
type encoder struct {
	out    bytes.Buffer
	packer *flate.Writer
	dirty  bool // something was added since the last take
}

func newEncoder() *encoder {
	e := &encoder{}
	packer, err := flate.NewWriter(&e.out, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a good one
	}
	e.packer = packer
	return e
}

// reset begins a new segment.
func (e *encoder) reset() {
	e.out.Reset()
	e.packer.Reset(&e.out)
	e.dirty = false
}

// add writes a record.
func (e *encoder) add(r Record) error {
	data, err := encode(r)
	if err != nil {
		return fmt.Errorf("cannot write a record: %w", err)
	}
	e.dirty = true
	_, err = e.packer.Write(data)
	return err
}

// take returns what was written since it was last called, in a form that can be read up to there.
func (e *encoder) take() ([]byte, error) {
	if !e.dirty {
		return nil, nil
	}
	e.dirty = false
	if err := e.packer.Flush(); err != nil {
		return nil, err
	}
	data := e.out.Bytes()
	e.out = bytes.Buffer{}
	return data, nil
}

// segment is one segment of a recording.
type segment struct {
	number uint64
	data   []byte // compressed
}

// header returns the header of a segment.
func header(room int, number, length uint64) []byte {
	h := make([]byte, 0, headerSize)
	h = append(h, segmentMagic...)
	h = binary.LittleEndian.AppendUint32(h, uint32(room))
	h = binary.LittleEndian.AppendUint64(h, number)
	h = binary.LittleEndian.AppendUint64(h, length)
	return binary.LittleEndian.AppendUint64(h, 0)
}

// split returns the segments of a recording in their order.
func split(file []byte) ([]segment, error) {
	rest, ok := bytes.CutPrefix(file, []byte(magic))
	if !ok {
		return nil, ErrFormat
	}
	var segments []segment
	for len(rest) >= headerSize && string(rest[:4]) == segmentMagic {
		room, number, length := binary.LittleEndian.Uint32(rest[4:]), binary.LittleEndian.Uint64(rest[8:]), binary.LittleEndian.Uint64(rest[16:])
		rest = rest[headerSize:]
		if length > uint64(room) {
			return nil, ErrFormat
		}
		whole := rest[:min(length, uint64(len(rest)))] // a file that was cut off is read as far as it goes
		if length > 0 {
			segments = append(segments, segment{number, whole})
		}
		if len(segments) > maxSegments {
			return nil, fmt.Errorf("%w: it has more than %d segments", ErrFormat, maxSegments)
		}
		rest = rest[min(uint64(room), uint64(len(rest))):]
	}
	slices.SortFunc(segments, func(a, b segment) int { return cmp.Compare(a.number, b.number) })
	return segments, nil
}

// join writes segments one after the other, each in no more room than it needs.
func join(segments []segment) []byte {
	file := []byte(magic)
	for _, s := range segments {
		file = append(file, header(len(s.data), s.number, uint64(len(s.data)))...)
		file = append(file, s.data...)
	}
	return file
}

// Records returns the records of a recording, which may come from anywhere, in their order: what there is of it up to an error. Each
// does not hold all of them at once.
func Records(file []byte) ([]Record, error) {
	var all []Record
	err := each(file, maxHeld, func(r Record) error {
		all = append(all, r)
		return nil
	})
	return all, err
}

// Each calls f with the records of a recording, which may come from anywhere, in their order, up to the first error.
func Each(file []byte, f func(Record) error) error { return each(file, maxRaw, f) }

// each is Each for a recording of at most so many bytes when it is not compressed.
func each(file []byte, most int, f func(Record) error) error {
	segments, err := split(file)
	if err != nil {
		return err
	}
	if len(segments) == 0 {
		return fmt.Errorf("%w: it is empty", ErrFormat)
	}
	for _, s := range segments {
		raw, err := s.unpack()
		if err != nil {
			return err
		}
		if most -= len(raw); most < 0 {
			return fmt.Errorf("%w: it is too large when it is not compressed", ErrFormat)
		}
		if err := eachIn(raw, f); err != nil {
			return err
		}
	}
	return nil
}

// unpack returns what is in a segment. That it ends before its end is no error: so does one whose writer was killed.
func (s segment) unpack() ([]byte, error) {
	unpacked := flate.NewReader(bytes.NewReader(s.data))
	defer unpacked.Close()
	raw, err := io.ReadAll(io.LimitReader(unpacked, maxSegmentRaw+1))
	switch {
	case len(raw) > maxSegmentRaw:
		return nil, fmt.Errorf("%w: a segment is larger than %d MiB", ErrFormat, maxSegmentRaw>>20)
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	return raw, nil
}

// eachIn calls f with the records of a segment. That it ends in the middle of one is no error.
func eachIn(raw []byte, f func(Record) error) error {
	for first := true; len(raw) > 0; first = false {
		size, err := measure(raw)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		var r Record
		if err == nil {
			r, err = Decode(raw[:size])
		}
		switch {
		case err != nil:
			return err
		case first && (r.Start == nil || r.Start.Format < 1):
			return fmt.Errorf("%w: a segment does not begin with its start", ErrFormat)
		case r.Start != nil && r.Start.Format > FormatVersion:
			return fmt.Errorf("cannot read a recording of format %d: this version knows formats up to %d: take the nvme-discoverctl of version %.40q, or a later one",
				r.Start.Format, FormatVersion, r.Start.Version)
		}
		if err := f(r); err != nil {
			return err
		}
		raw = raw[size:]
	}
	return nil
}

// NewRecord returns the record of a step of the core. moment turns its times into those of the recording, nil leaves them as they are.
func NewRecord(at time.Time, ev core.Event, did []core.Effect, moment func(time.Time) time.Time) (Record, error) {
	if moment == nil {
		moment = sameMoment
	}
	event, err := EncodeEvent(ev)
	if err != nil {
		return Record{}, err
	}
	r := Record{At: moment(at).UnixNano(), Event: &event}
	for _, e := range did {
		effect, err := EncodeEffect(e, moment)
		if err != nil {
			return Record{}, err
		}
		r.Effects = append(r.Effects, effect)
	}
	return r, nil
}

// Encode returns a record as a recording has it, before it is compressed.
func (r Record) Encode() ([]byte, error) { return encode(r) }

// Decode reads what Encode wrote. It may come from anywhere.
func Decode(data []byte) (r Record, err error) {
	if size, err := measure(data); err != nil || size != len(data) {
		return Record{}, cmp.Or(err, ErrFormat)
	}
	if err := decoding.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	return r, nil
}

// Write returns a recording of records, as tools and tests make one that no daemon has made. A segment begins with each Start.
func Write(records []Record) ([]byte, error) {
	var all []segment
	e := newEncoder()
	end := func() error {
		data, err := e.take()
		if len(data) > 0 {
			all = append(all, segment{uint64(len(all) + 1), data})
		}
		return err
	}
	for _, r := range records {
		if r.Start != nil {
			if err := end(); err != nil {
				return nil, err
			}
			e.reset()
		}
		if err := e.add(r); err != nil {
			return nil, err
		}
	}
	if err := end(); err != nil {
		return nil, err
	}
	return join(all), nil
}
