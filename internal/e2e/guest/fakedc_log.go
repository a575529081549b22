// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import "strings"

// LogEntry is one entry of a discovery log page.
type LogEntry struct {
	Transport            string // tcp (also if ""), fc or loop
	Traddr, Trsvcid, NQN string
	Subtype              byte   // 1 referral, 2 subsystem (also if 0), 3 the discovery controller itself
	Flags                uint16 // EFLAGS
	TREQ, SecType        byte
}

// LogPage is a discovery log page, to be told as it is or with lies.
type LogPage struct {
	Generation uint64
	Entries    []LogEntry
	// Records, if set, is the number of entries that the header claims.
	Records uint64
	// Format is the record format that the header claims; 0 is the only one there is.
	Format uint16
	// Restless makes the generation counter change with every read.
	Restless bool
	// Torn makes the controller refuse every read beyond the header.
	Torn bool
	// Hangup makes the controller end the connection at a read beyond the header.
	Hangup bool
	// Mute makes the controller not answer a read at all.
	Mute bool
	// FromStart makes the controller answer every read with the beginning of the page, whatever the offset, as the kernel's
	// own target did before 5.1.
	FromStart bool
}

// block is the size of the header, and of each entry.
const block = 1024

// part is so many bytes of the page on the wire, from an offset on; there are zeroes behind its end. A whole page may have 64 MiB.
func (p LogPage) part(offset uint64, length int) []byte {
	first := offset / block
	skipped := int(offset % block)
	blocks := (skipped + length + block - 1) / block
	part := make([]byte, blocks*block)
	for i := range uint64(blocks) {
		at := part[i*block : (i+1)*block]
		switch n := first + i; {
		case n == 0:
			p.putHeader(at)
		case n <= uint64(len(p.Entries)):
			p.Entries[n-1].put(at)
		}
	}
	return part[skipped : skipped+length]
}

func (p LogPage) putHeader(to []byte) {
	records := p.Records
	if records == 0 {
		records = uint64(len(p.Entries))
	}
	le.PutUint64(to, p.Generation)
	le.PutUint64(to[8:], records)
	le.PutUint16(to[16:], p.Format)
}

// put writes the entry. Texts that are too long fill their fields to the last byte, without an end.
func (e LogEntry) put(to []byte) {
	to[0], to[1], to[2], to[3] = 3, 1, e.Subtype, e.TREQ // TCP, IPv4
	switch {
	case e.Transport == "fc":
		to[0], to[1] = 2, 4
	case e.Transport == "loop":
		to[0], to[1] = 254, 254
	case strings.Contains(e.Traddr, ":"):
		to[1] = 2 // IPv6
	}
	if e.Subtype == 0 {
		to[2] = 2
	}
	le.PutUint16(to[4:], 1)      // port
	le.PutUint16(to[6:], 0xffff) // any controller
	le.PutUint16(to[8:], 32)     // admin queue size
	le.PutUint16(to[10:], e.Flags)
	copy(to[32:64], e.Trsvcid)
	copy(to[256:512], e.NQN)
	copy(to[512:768], e.Traddr)
	to[768] = e.SecType
}
