// SPDX-License-Identifier: GPL-3.0-or-later

package recording

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
)

// What takes more memory than any recording should is refused before it is decoded.
func TestLimits(t *testing.T) {
	start := Record{Start: &Start{Format: 1, Version: "1.0"}}
	good, err := Write([]Record{start, {State: core.New(1).Save(nil)}})
	if err != nil {
		t.Fatal(err)
	}
	manySegments := []byte(magic)
	for n := range uint64(maxSegments + 1) {
		manySegments = append(manySegments, header(1, n, 1)...)
		manySegments = append(manySegments, 0)
	}
	for want, read := range map[string]func() error{
		"more than 4096 segments": func() error {
			_, err := Records(manySegments)
			return err
		},
		"too large when it is not compressed": func() error { return each(good, 100, func(Record) error { return nil }) },
		"more than 524288 structures": func() error {
			_, err := Decode(bytes.Repeat([]byte{0x99, 0xff, 0xff}, 1)) // an array of 65535 that ends early
			if err == nil {
				t.Error("an array that ends early is taken")
			}
			_, err = Decode(append([]byte{0x9a, 0, 0x08, 0, 1}, bytes.Repeat([]byte{0xa0}, maxMaps+1)...))
			return err
		},
		"more than 8388608 values": func() error {
			_, err := Decode(append([]byte{0x9a, 0, 0x80, 0, 1}, bytes.Repeat([]byte{0}, maxItems+1)...))
			return err
		},
	} {
		if err := read(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	judged := logRead{Device: "nvme1", Entries: make([]discoverylog.Entry, 2000), Origins: make([]core.SavedOrigin, 2000)}
	data, err := encode(judged)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeEvent(Item{Type: "LogRead", Data: data}); err == nil || !strings.Contains(err.Error(), "2000 entries are to be judged 2000 times") {
		t.Errorf("a page that is judged too often: %v", err)
	}
}

// A replay that takes too much work ends, and the rest is shown without it.
func TestMuchWork(t *testing.T) {
	state := Record{State: core.New(1).Save(nil)}
	event, err := EncodeEvent(core.BusUp{})
	if err != nil {
		t.Fatal(err)
	}
	p := Replay{}
	p.Next(state)
	p.work = maxWork + 1
	if d := p.Next(Record{Event: &event}); d == nil || !strings.Contains(d.Unreadable, "too much work") {
		t.Errorf("it goes on: %+v", d)
	}
	if d := p.Next(state); d != nil || p.Machine() != nil {
		t.Errorf("it goes on with the next state: %+v", d)
	}
}

// FuzzMeasure holds measure to what the decoder takes.
func FuzzMeasure(f *testing.F) {
	for _, data := range [][]byte{{0}, {0x18, 0x20}, {0x82, 1, 2}, {0xa1, 0x61, 'a', 0x80}, {0xc1, 0x1a, 0, 0, 0, 1}, {0xf9, 0, 0}, {0x5f, 0xff}} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		size, err := measure(data)
		var raw cbor.RawMessage
		rest, decodeErr := decoding.UnmarshalFirst(data, &raw)
		if decodeErr == nil && (err != nil || size != len(data)-len(rest)) {
			t.Errorf("measure says %d, %v of an item of %d bytes", size, err, len(data)-len(rest))
		}
	})
}
