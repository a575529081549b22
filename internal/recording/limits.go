// SPDX-License-Identifier: GPL-3.0-or-later

package recording

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Recordings come from anywhere: whoever opens one must not pay for what is in it with all of the memory or with hours. What a daemon
// of ten thousand controllers records keeps far below each of these.
const (
	maxFile       = 128 << 20 // bytes of a recording: twice the largest ring
	maxSegments   = 1 << 12
	maxSegmentRaw = 256 << 20 // bytes of a segment when it is not compressed
	maxRaw        = 2 << 30   // bytes of all segments
	maxHeld       = 512 << 20 // bytes of all segments, for who holds them all at once
	maxRecord     = 64 << 20  // bytes of one record
	maxItems      = 8 << 20   // values in a record
	maxMaps       = 512 << 10 // structures in a record: each may take a kibibyte of memory, and one byte of the file
	maxJudged     = 1 << 20   // entries of a log page, times those that it is judged for
	maxWork       = 2 << 30   // things that the core looks at during a replay: some minutes
)

// measure returns how many bytes the first data item in data has. An item that goes on beyond data is io.ErrUnexpectedEOF; one that no
// daemon writes, or that takes too much to decode, is another error.
func measure(data []byte) (size int, err error) {
	maps := 0
	for items, left := 0, uint64(1); left > 0; left-- {
		if items++; items > maxItems {
			return 0, fmt.Errorf("%w: a record has more than %d values", ErrFormat, maxItems)
		}
		if size >= len(data) {
			return 0, io.ErrUnexpectedEOF
		}
		major, info := data[size]>>5, data[size]&31
		size++
		arg := uint64(info)
		if info >= 24 {
			if info > 27 {
				return 0, fmt.Errorf("%w: no length of a value is given", ErrFormat)
			}
			n := 1 << (info - 24)
			if len(data)-size < n {
				return 0, io.ErrUnexpectedEOF
			}
			var bytes [8]byte
			copy(bytes[8-n:], data[size:])
			arg = binary.BigEndian.Uint64(bytes[:])
			size += n
		}
		switch major {
		case 2, 3: // bytes, text
			if arg > uint64(len(data)-size) {
				return 0, io.ErrUnexpectedEOF
			}
			size += int(arg)
		case 4, 5: // array, map; each element takes a byte at least
			if arg > uint64(len(data)-size) {
				return 0, io.ErrUnexpectedEOF
			}
			if major == 5 {
				maps, arg = maps+1, 2*arg
			}
			left += arg
		case 6: // tag
			left++
		}
		switch {
		case maps > maxMaps:
			return 0, fmt.Errorf("%w: a record has more than %d structures", ErrFormat, maxMaps)
		case size > maxRecord:
			return 0, fmt.Errorf("%w: a record is larger than %d MiB", ErrFormat, maxRecord>>20)
		}
	}
	return size, nil
}
