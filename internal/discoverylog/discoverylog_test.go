// SPDX-License-Identifier: GPL-3.0-or-later

package discoverylog

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// fake is a controller with a log page. What lies behind the end of the log reads as zeros, as with the kernel's target.
type fake struct {
	log       []byte
	supported map[uint8]uint32 // log 0; nil: not known
	commands  []string         // every command in order
	before    func(n int) error
	fromStart bool // ignores the offset: every read gets the beginning of the log, as from the kernel's target before 5.1
}

var _ device = (*fake)(nil)

func (f *fake) getLog(page logPage, offset uint64, buf []byte) error {
	ack := "ack"
	if page.retain {
		ack = "retain"
	}
	f.commands = append(f.commands, fmt.Sprintf("log %#02x lsp %d offset %d length %d %s", page.id, page.specific, offset, len(buf), ack))
	if f.before != nil {
		if err := f.before(len(f.commands)); err != nil {
			return err
		}
	}
	if page.id == supportedLogs {
		if f.supported == nil {
			return status(0x4002)
		}
		for id, value := range f.supported {
			binary.LittleEndian.PutUint32(buf[int(id)*4:], value)
		}
		return nil
	}
	if f.fromStart {
		offset = 0
	}
	if offset > uint64(len(f.log)) {
		return status(0x4002)
	}
	clear(buf)
	copy(buf, f.log[offset:])
	return nil
}

// rawPage builds a log page with a true header.
func rawPage(generation uint64, entries ...[]byte) []byte {
	page := make([]byte, headerSize)
	binary.LittleEndian.PutUint64(page[0:], generation)
	binary.LittleEndian.PutUint64(page[8:], uint64(len(entries)))
	for _, e := range entries {
		page = append(page, e...)
	}
	return page
}

// rawEntry builds a TCP entry as the kernel's target does: strings padded with NULs, CNTLID dynamic.
func rawEntry(subtype Subtype, traddr, trsvcid, nqn string, change ...func([]byte)) []byte {
	raw := make([]byte, entrySize)
	raw[0], raw[1], raw[2] = 3, 1, byte(subtype)
	binary.LittleEndian.PutUint16(raw[4:], 7)
	binary.LittleEndian.PutUint16(raw[6:], 0xffff)
	copy(raw[32:64], trsvcid)
	copy(raw[256:512], nqn)
	copy(raw[512:768], traddr)
	for _, c := range change {
		c(raw)
	}
	return raw
}

func nvm(i int) []byte {
	return rawEntry(NVM, "192.0.2.10", "4420", fmt.Sprintf("nqn.2024-01.com.example:vol%d", i))
}

func nvmEntry(i int) Entry {
	return Entry{
		Subtype: NVM, Transport: "tcp", Adrfam: "ipv4", Traddr: "192.0.2.10", Trsvcid: "4420",
		NQN: fmt.Sprintf("nqn.2024-01.com.example:vol%d", i), PortID: 7, CntlID: 0xffff,
	}
}

func TestReadPage(t *testing.T) {
	tests := []struct {
		name     string
		log      []byte
		want     Page
		commands []string
	}{{
		name: "no records",
		log:  rawPage(4),
		want: Page{Generation: 4},
		commands: []string{
			"log 0x70 lsp 0 offset 0 length 1024 retain",
			"log 0x70 lsp 0 offset 0 length 1024 ack",
		},
	}, {
		name: "chunks of four records and a rest",
		log:  rawPage(5, nvm(0), nvm(1), nvm(2), nvm(3), nvm(4)),
		want: Page{Generation: 5, Entries: []Entry{nvmEntry(0), nvmEntry(1), nvmEntry(2), nvmEntry(3), nvmEntry(4)}},
		commands: []string{
			"log 0x70 lsp 0 offset 0 length 1024 retain",
			"log 0x70 lsp 0 offset 1024 length 4096 retain",
			"log 0x70 lsp 0 offset 5120 length 1024 retain",
			"log 0x70 lsp 0 offset 0 length 1024 ack",
		},
	}, {
		name: "a page shorter than it says",
		log:  rawPage(5, nvm(0), nvm(1))[:headerSize+entrySize],
		want: Page{
			Generation: 5, Entries: []Entry{nvmEntry(0)},
			Warnings: []string{"entry 1 of the discovery log page is skipped: cannot connect an I/O controller without the nqn of its subsystem"},
		},
		commands: []string{
			"log 0x70 lsp 0 offset 0 length 1024 retain",
			"log 0x70 lsp 0 offset 1024 length 2048 retain",
			"log 0x70 lsp 0 offset 0 length 1024 ack",
		},
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := &fake{log: test.log}
			got, err := read(context.Background(), f, false, MaxRecords)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.commands, f.commands); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

// The kernel's own target before 5.1 answers every Get Log Page with the beginning of the page, whatever the offset: a page
// of one record seems to have none, and one of eight to have three twice.
func TestReadWithoutOffset(t *testing.T) {
	page := func(generation uint64, n int) (raw []byte, entries []Entry) {
		var records [][]byte
		for i := range n {
			records, entries = append(records, nvm(i)), append(entries, nvmEntry(i))
		}
		return rawPage(generation, records...), entries
	}
	one, wantOne := page(3, 1)
	eight, wantEight := page(3, 8)
	grown, wantGrown := page(4, 9)
	most, wantMost := page(3, 1023)
	tooMany, _ := page(3, 1024)
	whole := func(n int) string { return fmt.Sprintf("log 0x70 lsp 0 offset 0 length %d retain", (n+1)*1024) }
	const header, end = "log 0x70 lsp 0 offset 0 length 1024 retain", "log 0x70 lsp 0 offset 0 length 1024 ack"
	const first, firstOfOne = "log 0x70 lsp 0 offset 1024 length 4096 retain", "log 0x70 lsp 0 offset 1024 length 1024 retain"
	tests := []struct {
		name     string
		log      []byte
		before   func(f *fake) func(int) error
		want     Page
		err      string
		commands []string
	}{{
		name: "no records", log: rawPage(3), want: Page{Generation: 3}, commands: []string{header, end},
	}, {
		name: "one record", log: one, want: Page{Generation: 3, Entries: wantOne},
		commands: []string{header, firstOfOne, whole(1), end},
	}, {
		name: "eight records", log: eight, want: Page{Generation: 3, Entries: wantEight},
		commands: []string{header, first, whole(8), end},
	}, {
		name: "as many as one command can fetch", log: most, want: Page{Generation: 3, Entries: wantMost},
		commands: []string{header, first, whole(1023), end},
	}, {
		name: "one more", log: tooMany,
		err:      "the controller ignores the offset into it, and its 1024 records are too many for one command, which can fetch 1023",
		commands: []string{header, first},
	}, {
		name: "it changes before it is read as a whole", log: eight,
		before: func(f *fake) func(int) error {
			return func(n int) error {
				if n == 3 {
					f.log = grown
				}
				return nil
			}
		},
		want:     Page{Generation: 4, Entries: wantGrown},
		commands: []string{header, first, whole(8), header, first, whole(9), end},
	}, {
		name: "one command may not be so long", log: eight,
		before: func(*fake) func(int) error {
			return func(n int) error {
				if n == 3 {
					return unix.EINVAL
				}
				return nil
			}
		},
		err:      "the controller ignores the offset into it, and one command cannot fetch its 8 records: invalid argument",
		commands: []string{header, first, whole(8)},
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := &fake{log: test.log, fromStart: true}
			if test.before != nil {
				f.before = test.before(f)
			}
			got, err := read(context.Background(), f, false, MaxRecords)
			if message(err) != test.err {
				t.Fatalf("error %q, want %q", message(err), test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.commands, f.commands); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadChangingPage(t *testing.T) {
	small, large := rawPage(1, nvm(0)), rawPage(2, nvm(0), nvm(1), nvm(2), nvm(3), nvm(4))
	sameGeneration := rawPage(1, nvm(0), nvm(1))
	tests := []struct {
		name     string
		log      []byte
		before   func(f *fake) func(int) error
		want     Page
		err      string
		commands int
	}{{
		name: "grows before the second header",
		log:  small,
		before: func(f *fake) func(int) error {
			return func(n int) error {
				if n == 3 {
					f.log = large
				}
				return nil
			}
		},
		want:     Page{Generation: 2, Entries: []Entry{nvmEntry(0), nvmEntry(1), nvmEntry(2), nvmEntry(3), nvmEntry(4)}},
		commands: 3 + 4,
	}, {
		name: "shrinks so that the rest is beyond its end",
		log:  large,
		before: func(f *fake) func(int) error {
			return func(n int) error {
				if n == 3 {
					f.log = small
				}
				return nil
			}
		},
		want:     Page{Generation: 1, Entries: []Entry{nvmEntry(0)}},
		commands: 4 + 3,
	}, {
		name: "number of records changes, generation does not",
		log:  small,
		before: func(f *fake) func(int) error {
			return func(n int) error {
				if n == 3 {
					f.log = sameGeneration
				}
				return nil
			}
		},
		want:     Page{Generation: 1, Entries: []Entry{nvmEntry(0), nvmEntry(1)}},
		commands: 3 + 3,
	}, {
		name: "generation moves at every command",
		log:  small,
		before: func(f *fake) func(int) error {
			return func(n int) error {
				f.log = rawPage(uint64(n), nvm(0))
				return nil
			}
		},
		err:      "it changed while it was read, 5 times in a row: read it again later",
		commands: 5 * 3,
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := &fake{log: test.log}
			f.before = test.before(f)
			got, err := read(context.Background(), f, false, MaxRecords)
			if message(err) != test.err {
				t.Errorf("error %q, want %q", message(err), test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
			if len(f.commands) != test.commands {
				t.Errorf("%d commands, want %d:\n%s", len(f.commands), test.commands, strings.Join(f.commands, "\n"))
			}
		})
	}
}

func TestReadFails(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	failAt := func(command int, err error) func(int) error {
		return func(n int) error {
			if n == command {
				return err
			}
			return nil
		}
	}
	header := func(change func([]byte)) []byte {
		page := rawPage(1)
		change(page)
		return page
	}
	tests := []struct {
		name   string
		ctx    context.Context
		log    []byte
		before func(int) error
		err    string
	}{
		{"record format", nil, header(func(p []byte) { p[16] = 1 }), nil, "its record format is 1, only 0 is known"},
		{"one record too many", nil, header(func(p []byte) { binary.LittleEndian.PutUint64(p[8:], MaxRecords+1) }), nil, "it claims 65537 records, at most 65536 are believed"},
		{"absurd number of records", nil, header(func(p []byte) { binary.LittleEndian.PutUint64(p[8:], 1<<64-1) }), nil, "it claims 18446744073709551615 records, at most 65536 are believed"},
		{"no discovery controller", nil, nil, failAt(1, status(0x4109)), "the controller does not have this log page (NVMe status 0x4109)"},
		{"status at the records, header unchanged", nil, rawPage(1, nvm(0)), failAt(2, status(0x4006)), "internal error of the controller (NVMe status 0x4006)"},
		{"path lost at the records", nil, rawPage(1, nvm(0)), func(n int) error {
			if n > 1 {
				return status(0x370)
			}
			return nil
		}, "the path to the controller is down (NVMe status 0x370)"},
		{"unknown status", nil, nil, failAt(1, status(0x7c0)), "NVMe status 0x7c0"},
		{"controller gone", nil, rawPage(1, nvm(0)), failAt(2, unix.ENODEV), "the controller is gone: no such device"},
		{"controller reconnecting", nil, rawPage(1, nvm(0)), failAt(3, unix.EAGAIN), "the controller is not live: resource temporarily unavailable"},
		{"canceled", canceled, rawPage(1), nil, "context canceled"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.ctx == nil {
				test.ctx = context.Background()
			}
			got, err := read(test.ctx, &fake{log: test.log, before: test.before}, false, MaxRecords)
			if message(err) != test.err {
				t.Errorf("error %q, want %q", message(err), test.err)
			}
			if diff := cmp.Diff(Page{}, got); diff != "" {
				t.Errorf("a page in spite of an error:\n%s", diff)
			}
		})
	}
}

func TestPortLocal(t *testing.T) {
	tests := []struct {
		name      string
		direct    bool
		supported map[uint8]uint32
		commands  []string
	}{
		{"direct and supported", true, map[uint8]uint32{discoveryLog: 2<<16 | 1}, []string{
			"log 0x00 lsp 0 offset 0 length 1024 retain",
			"log 0x70 lsp 2 offset 0 length 1024 retain",
			"log 0x70 lsp 2 offset 1024 length 1024 retain",
			"log 0x70 lsp 2 offset 0 length 1024 ack",
		}},
		{"direct, other bits", true, map[uint8]uint32{discoveryLog: 5<<16 | 3, 0x02: 2 << 16}, []string{
			"log 0x00 lsp 0 offset 0 length 1024 retain",
			"log 0x70 lsp 0 offset 0 length 1024 retain",
			"log 0x70 lsp 0 offset 1024 length 1024 retain",
			"log 0x70 lsp 0 offset 0 length 1024 ack",
		}},
		{"direct, no log 0", true, nil, []string{
			"log 0x00 lsp 0 offset 0 length 1024 retain",
			"log 0x70 lsp 0 offset 0 length 1024 retain",
			"log 0x70 lsp 0 offset 1024 length 1024 retain",
			"log 0x70 lsp 0 offset 0 length 1024 ack",
		}},
		{"not direct", false, map[uint8]uint32{discoveryLog: 2<<16 | 1}, []string{
			"log 0x70 lsp 0 offset 0 length 1024 retain",
			"log 0x70 lsp 0 offset 1024 length 1024 retain",
			"log 0x70 lsp 0 offset 0 length 1024 ack",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := &fake{log: rawPage(1, nvm(0)), supported: test.supported}
			if _, err := read(context.Background(), f, test.direct, MaxRecords); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.commands, f.commands); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWarningsAreBounded(t *testing.T) {
	var entries [][]byte
	for range 20 {
		entries = append(entries, rawEntry(NVM, "nowhere", "4420", "nqn.2024-01.com.example:vol1"))
	}
	page, err := read(context.Background(), &fake{log: rawPage(1, entries...)}, false, MaxRecords)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Warnings) != maxWarned+1 || page.Warnings[maxWarned] != "4 more entries are skipped" {
		t.Errorf("%d warnings, the last is %q", len(page.Warnings), page.Warnings[len(page.Warnings)-1])
	}
}

func TestParseEntry(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := []struct {
		name string
		raw  []byte
		want Entry
		err  string
	}{{
		name: "tcp subsystem",
		raw:  nvm(1),
		want: nvmEntry(1),
	}, {
		name: "padded with spaces, IPv6 in another spelling, secure channel",
		raw: rawEntry(NVM, "2001:DB8:0::10   ", "4420    ", "nqn.2024-01.com.example:vol1  ", func(r []byte) {
			r[1], r[3] = 2, 5
		}),
		want: Entry{
			Subtype: NVM, Transport: "tcp", Adrfam: "ipv6", Traddr: "2001:db8::10", Trsvcid: "4420",
			NQN: "nqn.2024-01.com.example:vol1", PortID: 7, CntlID: 0xffff, TREQ: 5, SecureChannel: true,
		},
	}, {
		name: "secure channel not required",
		raw:  rawEntry(NVM, "192.0.2.10", "4420", "nqn.2024-01.com.example:vol1", func(r []byte) { r[3] = 2 }),
		want: Entry{
			Subtype: NVM, Transport: "tcp", Adrfam: "ipv4", Traddr: "192.0.2.10", Trsvcid: "4420",
			NQN: "nqn.2024-01.com.example:vol1", PortID: 7, CntlID: 0xffff, TREQ: 2,
		},
	}, {
		name: "referral, default port and NQN, flags",
		raw:  rawEntry(Referral, "192.0.2.11", "", "", func(r []byte) { r[10] = 3 }),
		want: Entry{
			Subtype: Referral, Transport: "tcp", Adrfam: "ipv4", Traddr: "192.0.2.11", Trsvcid: "8009",
			NQN: tid.DiscoveryNQN, PortID: 7, CntlID: 0xffff, DupRetInfo: true, EPCSD: true,
		},
	}, {
		name: "fc",
		raw: rawEntry(NVM, "nn-0x20000090FAE0B5F5:pn-0x10000090FAE0B5F5", "none", "nqn.2024-01.com.example:vol1", func(r []byte) {
			r[0], r[1] = 2, 4
		}),
		want: Entry{
			Subtype: NVM, Transport: "fc", Adrfam: "fc", Traddr: "nn-0x20000090fae0b5f5:pn-0x10000090fae0b5f5",
			NQN: "nqn.2024-01.com.example:vol1", PortID: 7, CntlID: 0xffff,
		},
	}, {
		name: "current without an address keeps its flags",
		raw:  rawEntry(Current, "0.0.0.0", "8009", tid.DiscoveryNQN, func(r []byte) { r[10] = 2 }),
		want: Entry{Subtype: Current, Transport: "tcp", Adrfam: "ipv4", NQN: tid.DiscoveryNQN, PortID: 7, CntlID: 0xffff, EPCSD: true},
	}, {
		name: "unknown transport and subtype",
		raw:  rawEntry(9, "somewhere", "x", "nqn.2024-01.com.example:vol1", func(r []byte) { r[0], r[1] = 99, 99 }),
		want: Entry{Subtype: 9, Traddr: "somewhere", Trsvcid: "x", NQN: "nqn.2024-01.com.example:vol1", PortID: 7, CntlID: 0xffff},
	}, {
		name: "option smuggled into the address",
		raw:  rawEntry(NVM, "192.0.2.10,duplicate_connect", "4420", "nqn.2024-01.com.example:vol1"),
		err:  `cannot use traddr "192.0.2.10,duplicate_connect": it contains a comma`,
	}, {
		name: "option smuggled into the NQN of an unknown transport",
		raw:  rawEntry(NVM, "", "", "nqn.2024-01.com.example:vol1,tls", func(r []byte) { r[0] = 99 }),
		err:  `cannot use nqn "nqn.2024-01.com.example:vol1,tls": it contains a comma`,
	}, {
		name: "current with a smuggled option",
		raw:  rawEntry(Current, "192.0.2.10", "8009", "nqn.x\ny"),
		err:  `cannot use NQN "nqn.x\ny": it contains a control character or white space`,
	}, {
		name: "any address",
		raw:  rawEntry(Referral, "::", "8009", tid.DiscoveryNQN),
		err:  `cannot use traddr "::": it is no address of one host`,
	}, {
		name: "host name",
		raw:  rawEntry(NVM, "array.example.com", "4420", "nqn.2024-01.com.example:vol1"),
		err:  `cannot use traddr "array.example.com": transport tcp needs an IP address`,
	}, {
		name: "port",
		raw:  rawEntry(NVM, "192.0.2.10", "70000", "nqn.2024-01.com.example:vol1"),
		err:  `cannot use trsvcid "70000": a port is a number from 1 to 65535`,
	}, {
		name: "fields without an end",
		raw:  rawEntry(NVM, "192.0.2.10", "4420", long),
		err:  `cannot use NQN "` + long[:40] + `"…: it has 256 bytes, at most 223 are allowed`,
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseEntry(test.raw)
			if message(err) != test.err {
				t.Fatalf("error %q, want %q", message(err), test.err)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("entry (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSubtypeString(t *testing.T) {
	for subtype, want := range map[Subtype]string{Referral: "referral", NVM: "nvm", Current: "current", 9: "subtype 9"} {
		if got := subtype.String(); got != want {
			t.Errorf("Subtype(%d) is %q, want %q", subtype, got, want)
		}
	}
}

// The numbers are those of a C program that includes linux/nvme_ioctl.h.
func TestCommand(t *testing.T) {
	if size := unsafe.Sizeof(passthruCmd{}); size != 72 {
		t.Errorf("struct nvme_passthru_cmd has %d bytes, want 72", size)
	}
	if ioctlAdminCmd != 0xc0484e41 {
		t.Errorf("NVME_IOCTL_ADMIN_CMD is %#x, want 0xc0484e41", ioctlAdminCmd)
	}
	tests := []struct {
		page   logPage
		offset uint64
		length int
		want   passthruCmd
	}{
		{logPage{id: 0x70}, 0, 1024, passthruCmd{opcode: 2, dataLen: 1024, cdw10: 0x00ff0070, timeoutMS: 60000}},
		{logPage{id: 0x70, specific: 2, retain: true}, 0x1_2345_6400, 4096, passthruCmd{
			opcode: 2, dataLen: 4096, cdw10: 0x03ff8270, cdw12: 0x23456400, cdw13: 1, timeoutMS: 60000,
		}},
		{logPage{}, 0, 1 << 20, passthruCmd{opcode: 2, dataLen: 1 << 20, cdw10: 0xffff0000, cdw11: 3, timeoutMS: 60000}},
	}
	for _, test := range tests {
		if got := test.page.command(test.offset, test.length); got != test.want {
			t.Errorf("command of %+v is\n%+v, want\n%+v", test.page, got, test.want)
		}
	}
}

func TestRead(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "dev/nvme1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ device, err string }{
		{"nvme1n1", `cannot read the discovery log page of "nvme1n1": it is no name of a controller`},
		{"../nvme1", `cannot read the discovery log page of "../nvme1": it is no name of a controller`},
		{"nvme1", "cannot read the discovery log page of nvme1: inappropriate ioctl for device"},
		{"nvme2", "cannot read the discovery log page of nvme2: open " + root + "/dev/nvme2: no such file or directory"},
	}
	for _, test := range tests {
		_, err := Read(context.Background(), paths.Root(root), test.device, MaxRecords)
		if message(err) != test.err {
			t.Errorf("error %q, want %q", message(err), test.err)
		}
	}
}

// FuzzParseEntry checks that whatever an entry says, what comes out is safe to use.
func FuzzParseEntry(f *testing.F) {
	f.Add(nvm(1))
	f.Add(rawEntry(Referral, "fe80::1%eth0", "8009", tid.DiscoveryNQN))
	f.Add(rawEntry(Current, "", "", "nqn.2024-01.com.example:dc"))
	for _, page := range sampleFiles(f) {
		for at := headerSize; at < len(page); at += entrySize {
			f.Add(page[at : at+entrySize])
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = append(raw, make([]byte, entrySize)...)[:entrySize]
		e, err := parseEntry(raw)
		if err != nil {
			return
		}
		for _, s := range []string{e.Traddr, e.Trsvcid, e.NQN} {
			if strings.ContainsAny(s, ", \n\x00") {
				t.Errorf("%q came through in %+v", s, e)
			}
		}
		if len(e.NQN) > tid.MaxNQN || e.NQN == "" {
			t.Errorf("NQN %q came through", e.NQN)
		}
	})
}

// FuzzParsePage reads an arbitrary log through all of the reader.
func FuzzParsePage(f *testing.F) {
	f.Add(rawPage(1))
	f.Add(rawPage(2, nvm(0), nvm(1), rawEntry(Current, "192.0.2.10", "8009", tid.DiscoveryNQN)))
	for _, page := range sampleFiles(f) {
		f.Add(page)
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		if len(log) >= 16 && binary.LittleEndian.Uint64(log[8:]) > 1000 {
			binary.LittleEndian.PutUint64(log[8:], 1000)
		}
		for _, fromStart := range []bool{false, true} {
			page, err := read(context.Background(), &fake{log: log, fromStart: fromStart}, false, MaxRecords)
			if err == nil && len(page.Entries)+len(page.Warnings) > 1000 {
				t.Errorf("%d entries and %d warnings of at most 1000 records", len(page.Entries), len(page.Warnings))
			}
		}
	})
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
