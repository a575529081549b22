// SPDX-License-Identifier: GPL-3.0-or-later

// Package discoverylog reads the discovery log page of a discovery controller: what it says there is to connect to. The
// page comes from another machine, so that nothing in it is trusted; what follows from it is decided elsewhere.
package discoverylog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// MaxRecords is the largest number of records of a page that is believed: 64 MiB of log page.
const MaxRecords = 65536

const (
	headerSize = 1024
	chunkSize  = 4096 // every controller can transfer this much in one command (MDTS)
	attempts   = 5    // at a page that changes while it is read
	maxWarned  = 16   // entries whose fault is told; the others are counted

	// maxWhole is the longest page in bytes that is read by one command, where the controller leaves no other way. The kernel
	// splits no command of a user: over RDMA, loop and Fibre Channel it takes up to 1 MiB (max_hw_sectors of drivers/nvme/host).
	maxWhole = 1 << 20
)

// Page is a discovery log page.
type Page struct {
	Generation uint64 // GENCTR: another number, another content
	Entries    []Entry
	Dropped    int      // records after the last of Entries that were not read: they are more than the reader wants
	Warnings   []string // the entries that were skipped and why, at most 17 lines
}

// errChanged says that the page changed while it was read.
var errChanged = errors.New("it changed while it was read")

// Read reads the discovery log page (log 0x70) of the controller device, such as "nvme3", and acknowledges with it the
// asynchronous event that announced a change, so that the next change is announced too. A page without records is a
// page; of more than most usable entries only those are read; an entry that cannot be used is skipped with a warning; a header that cannot be true, a page that changes
// at every attempt and a command that fails are errors.
//
// Read blocks: ctx is looked at between commands only, and one command takes up to a minute when the peer is mute.
//
// Port-local entries (PLEO) are asked for where the controller says of itself that it is a direct discovery controller
// (sysfs attribute dctype) and that it supports that: other controllers' word for it is to be ignored (NVMe Base
// Specification 2.1, figure 292). The kernel's own target reports no type, has no log 0 and lists the entries of the
// port that is asked anyway (6.12, drivers/nvme/target/discovery.c).
func Read(ctx context.Context, root paths.Root, device string, most int) (Page, error) {
	if paths.CheckDevice(device) != nil {
		return Page{}, fmt.Errorf("cannot read the discovery log page of %q: it is no name of a controller", device)
	}
	file, err := os.OpenFile(root.Device(device), os.O_RDONLY, 0)
	if err != nil {
		return Page{}, fmt.Errorf("cannot read the discovery log page of %s: %w", device, failed(err))
	}
	defer file.Close()
	dctype, _ := os.ReadFile(filepath.Join(root.SysClassNVMe(), device, "dctype")) // kernels before 5.18 have none
	page, err := read(ctx, char{file}, strings.TrimSpace(string(dctype)) == "ddc", most)
	if err != nil {
		return Page{}, fmt.Errorf("cannot read the discovery log page of %s: %w", device, err)
	}
	return page, nil
}

// read reads the page until it is read in one piece. direct says that d is a direct discovery controller.
func read(ctx context.Context, d device, direct bool, most int) (Page, error) {
	lsp := uint8(0)
	if direct && portLocalSupported(d) {
		lsp = portLocal
	}
	for range attempts {
		page, err := readOnce(ctx, d, lsp, most)
		if !errors.Is(err, errChanged) {
			return page, err
		}
	}
	return Page{}, fmt.Errorf("%w, %d times in a row: read it again later", errChanged, attempts)
}

// readOnce reads header, records and header again. Only the last command acknowledges the event: a change before it
// shows in the header, one after it is announced anew.
func readOnce(ctx context.Context, d device, lsp uint8, most int) (Page, error) {
	before, raw, err := readHeader(ctx, d, logPage{id: discoveryLog, specific: lsp, retain: true})
	if err != nil {
		return Page{}, err
	}
	page, err := readRecords(ctx, d, lsp, before, raw, most)
	// A page that got shorter fails with an invalid offset: whether it did is known from the header.
	var s status
	if err != nil && !errors.As(err, &s) {
		return Page{}, err
	}
	after, _, headerErr := readHeader(ctx, d, logPage{id: discoveryLog, specific: lsp})
	switch {
	case headerErr != nil:
		return Page{}, headerErr
	case after != before:
		return Page{}, errChanged
	}
	return page, err
}

// header is what the page says of itself (NVMe Base Specification 2.1, figure 294).
type header struct {
	generation uint64 // GENCTR
	records    uint64 // NUMREC
}

// readHeader returns the header, and its bytes.
func readHeader(ctx context.Context, d device, page logPage) (header, []byte, error) {
	if err := ctx.Err(); err != nil {
		return header{}, nil, err
	}
	raw := make([]byte, headerSize)
	if err := d.getLog(page, 0, raw); err != nil {
		return header{}, nil, failed(err)
	}
	h, err := parseHeader(raw)
	return h, raw, err
}

func parseHeader(raw []byte) (header, error) {
	h := header{
		generation: binary.LittleEndian.Uint64(raw[0:]),
		records:    binary.LittleEndian.Uint64(raw[8:]),
	}
	if format := binary.LittleEndian.Uint16(raw[16:]); format != 0 {
		return header{}, fmt.Errorf("its record format is %d, only 0 is known", format)
	}
	if h.records > MaxRecords {
		return header{}, fmt.Errorf("it claims %d records, at most %d are believed", h.records, MaxRecords)
	}
	return h, nil
}

// readRecords reads the entries after the header h, whose bytes are raw: in chunks that every controller can transfer, or
// all at once from a controller that ignores the offset. What is read first shows which one it is: a controller that answers
// every command with the beginning of its page answers with the header again, which is no entry.
func readRecords(ctx context.Context, d device, lsp uint8, h header, raw []byte, most int) (Page, error) {
	page, skipped := Page{Generation: h.generation}, 0
	buf := make([]byte, chunkSize)
	for first := uint64(0); first < h.records; first += chunkSize / entrySize {
		if err := ctx.Err(); err != nil {
			return Page{}, err
		}
		chunk := buf[:min(chunkSize, (h.records-first)*entrySize)]
		clear(chunk)
		if err := d.getLog(logPage{id: discoveryLog, specific: lsp, retain: true}, headerSize+first*entrySize, chunk); err != nil {
			return Page{}, failed(err)
		}
		if first == 0 && bytes.HasPrefix(chunk, raw) {
			return readWhole(d, lsp, h, most)
		}
		page.add(chunk, int(first), &skipped)
		if len(page.Entries) >= most {
			page.cut(most, int(h.records-first)-len(chunk)/entrySize)
			break
		}
	}
	page.count(skipped)
	return page, nil
}

// readWhole reads the page by one command from its beginning, header and entries: the only way where a controller ignores
// the offset, as the kernel's own target did before 5.1 (drivers/nvme/target/discovery.c).
func readWhole(d device, lsp uint8, h header, most int) (Page, error) {
	length := headerSize + h.records*entrySize
	if length > maxWhole {
		return Page{}, fmt.Errorf("the controller ignores the offset into it, and its %d records are too many for one command, which can fetch %d", h.records, maxWhole/entrySize-1)
	}
	buf := make([]byte, length)
	if err := d.getLog(logPage{id: discoveryLog, specific: lsp, retain: true}, 0, buf); err != nil {
		return Page{}, fmt.Errorf("the controller ignores the offset into it, and one command cannot fetch its %d records: %w", h.records, failed(err))
	}
	switch again, err := parseHeader(buf[:headerSize]); {
	case err != nil:
		return Page{}, err
	case again != h:
		return Page{}, errChanged
	}
	page, skipped := Page{Generation: h.generation}, 0
	page.add(buf[headerSize:], 0, &skipped)
	page.cut(most, 0)
	page.count(skipped)
	return page, nil
}

// cut drops the entries beyond most, and counts unread records with them.
func (p *Page) cut(most, unread int) {
	beyond := max(len(p.Entries)-most, 0)
	p.Entries, p.Dropped = p.Entries[:len(p.Entries)-beyond], beyond+unread
}

// add takes in the entries of raw, the first of which has the number first in the log page. It counts those that it skips.
func (p *Page) add(raw []byte, first int, skipped *int) {
	for i := 0; i < len(raw); i += entrySize {
		entry, err := parseEntry(raw[i : i+entrySize])
		if err == nil {
			p.Entries = append(p.Entries, entry)
			continue
		}
		if *skipped++; *skipped <= maxWarned {
			p.Warnings = append(p.Warnings, fmt.Sprintf("entry %d of the discovery log page is skipped: %v", first+i/entrySize, err))
		}
	}
}

// count tells of the entries that were skipped without a word each.
func (p *Page) count(skipped int) {
	if skipped > maxWarned {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d more entries are skipped", skipped-maxWarned))
	}
}
