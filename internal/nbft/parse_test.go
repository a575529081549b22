// SPDX-License-Identifier: GPL-3.0-or-later

package nbft_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft/nbfttest"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

var le = binary.LittleEndian

const (
	hostNQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"
	hostID  = "11111111-2222-3333-4444-555555555555"
	nqn     = "nqn.2024-01.com.example:vol1"
)

// sample is a table with everything in it.
func sample() nbft.Table {
	return nbft.Table{
		Host: nbft.Host{Flags: 0x07, NQN: hostNQN, ID: hostID},
		HFIs: []nbft.HFI{
			{
				Index: 1, Transport: "tcp", Flags: 0x07, PCI: 0x00010203, Link: nbft.Link{MAC: [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}, VLAN: 5},
				Origin: 3, Address: netip.MustParseAddr("192.0.2.2"), Prefix: 24, Gateway: netip.MustParseAddr("192.0.2.254"), RouteMetric: 500,
				DNS:        [2]netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")},
				DHCPServer: netip.MustParseAddr("192.0.2.253"), HostName: "host1",
			},
			{
				Index: 2, Transport: "tcp", Flags: 0x01, PCI: 0x0320, Link: nbft.Link{MAC: [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x57}},
				Address: netip.MustParseAddr("2001:db8::2"), Prefix: 64,
			},
		},
		Security: []nbft.Security{
			{Index: 1, Flags: 0x0041, Keypath: "https://192.0.2.3/redfish/v1/keys"},
			{Index: 2, Flags: 0x0025},
		},
		Discovery: []nbft.Discovery{
			{Index: 1, HFI: 1, Security: 1, URI: "nvme+tcp://192.0.2.1:8009/", NQN: "nqn.2024-01.com.example:dc"},
			{Index: 2, HFI: 2, URI: "nvme+tcp://[2001:db8::1]/"},
		},
		SSNS: []nbft.SSNS{
			{
				Index: 1, Flags: 0x005d, TransportFlags: 0x0007, Transport: "tcp", Traddr: netip.MustParseAddr("192.0.2.1"), Trsvcid: "4420",
				PortID: 3, NSID: 7, NIDType: nbft.NIDUUID, NID: [16]byte{0xaa, 15: 0xbb}, NQN: nqn, HFIs: []uint8{1, 2}, Discovery: 1, Security: 2,
				ControllerID: 9, AdminQueueSize: 32, DHCPRootPath: "nvme+tcp://192.0.2.1/",
			},
			{
				Index: 2, Flags: 0x0103, Transport: "tcp", Traddr: netip.MustParseAddr("2001:db8::1"), NQN: tid.DiscoveryNQN,
				NIDType: nbft.NIDEUI64, NID: [16]byte{1, 2, 3, 4, 5, 6, 7, 8},
			},
		},
	}
}

// Positions of the records of sample.
const (
	hfi1       = nbfttest.HFIs
	hfi2       = hfi1 + 32
	security1  = hfi2 + 32
	discovery1 = security1 + 2*64
	ssns1      = discovery1 + 2*32
	ssns2      = ssns1 + 128
)

var (
	equal      = cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}
	ignoreSize = cmpopts.IgnoreFields(nbft.Table{}, "Size")
)

// object returns the heap object of data that the 6 bytes at ref name.
func object(data []byte, ref int) []byte {
	return data[le.Uint32(data[ref:]):][:le.Uint16(data[ref+4:])]
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name  string
		table nbft.Table
	}{
		{"everything", sample()},
		{"host only", nbft.Table{Host: nbft.Host{Flags: 1, NQN: hostNQN, ID: hostID}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, data := range [][]byte{nbfttest.Encode(test.table), nbfttest.EncodeCounted(test.table)} {
				got, err := nbft.Parse(data)
				if err != nil {
					t.Fatal(err)
				}
				want := test.table
				want.Size = len(data)
				if diff := cmp.Diff(want, got, equal); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestFlags(t *testing.T) {
	table := sample()
	one, two := table.SSNS[0], table.SSNS[1]
	header, data := one.Digests()
	nqnSet, idSet := table.Host.Configured()
	got := []any{
		nqnSet, idSet, table.HFIs[0].DHCP(), table.HFIs[0].DefaultRoute(), table.HFIs[1].DHCP(), table.HFIs[1].DefaultRoute(),
		header, data, one.Discovered(), one.Unavailable(), one.NonBootable(), two.Discovered(), two.Unavailable(), two.NonBootable(),
		one.NIDString(), two.NIDString(), nbft.SSNS{}.NIDString(), nbft.SSNS{NIDType: nbft.NIDNGUID}.NIDString(),
		table.HFIs[0].PCI.String(), table.Security[0].SecureChannel().String(), table.Security[0].Authentication().String(),
		table.Security[1].SecureChannel().String(), table.Security[1].Authentication().String(),
	}
	want := []any{
		true, true, true, true, false, false,
		true, true, true, false, false, false, true, true,
		"aa000000-0000-0000-0000-0000000000bb", "0102030405060708", "", "00000000000000000000000000000000",
		"0001:02:00.3", "required", "unsupported", "supported", "required",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if header, data := (nbft.SSNS{TransportFlags: 0x0006}).Digests(); header || data {
		t.Error("digests are taken from transport flags that are not valid")
	}
	if !(nbft.HFI{Origin: 3}).DHCP() {
		t.Error("an address of origin DHCP is not one")
	}
}

// TestBadTable holds what is wrong with a table as a whole.
func TestBadTable(t *testing.T) {
	put32 := func(offset int, value uint32) func([]byte) []byte {
		return func(d []byte) []byte { le.PutUint32(d[offset:], value); return nbfttest.Seal(d) }
	}
	put8 := func(offset int, value byte) func([]byte) []byte {
		return func(d []byte) []byte { d[offset] = value; return nbfttest.Seal(d) }
	}
	for _, test := range []struct {
		name  string
		spoil func([]byte) []byte
		err   string
	}{
		{"empty", func([]byte) []byte { return nil }, "it has 0 bytes, at least 128 are needed"},
		{"short", func(d []byte) []byte { return d[:127] }, "it has 127 bytes, at least 128 are needed"},
		{"signature", put8(0, 'X'), `its signature is "XBFT", not "NBFT"`},
		{"truncated", func(d []byte) []byte { return d[:600] }, "it says that it has 1268 bytes, and has 600"},
		{"length too small", func(d []byte) []byte { le.PutUint32(d[4:], 127); return d }, "it says that it has 127 bytes, and has 1268"},
		{"checksum", func(d []byte) []byte { d[9] += 0x55; return d }, "its checksum is wrong: its bytes add up to 0x55, not to 0"},
		{"revision", put8(8, 2), "its major revision is 2, only 1 is known"},
		{"heap offset", put32(nbfttest.HeapOffset, 1<<32-1), "its heap ends outside of it"},
		{"heap length", put32(nbfttest.HeapLength, 1<<32-1), "its heap ends outside of it"},
		{"control ID", put8(nbfttest.Control, 9), "its control descriptor has structure ID 9, not 1"},
		{"control not valid", put8(nbfttest.Control+6, 0), "its control descriptor is marked as not valid"},
		{"host far away", put32(nbfttest.Control+8, 1<<31), "its host descriptor, 32 bytes at 2147483648, is not inside of it"},
		{"host in the header", put32(nbfttest.Control+8, 32), "its host descriptor, 32 bytes at 32, is not inside of it"},
		{"host too short", put8(nbfttest.Control+12, 31), "its host descriptor, 31 bytes at 128, is not inside of it"},
		{"host ID", put8(nbfttest.Host, 3), "its host descriptor has structure ID 3, not 2"},
		{"host not valid", put8(nbfttest.Host+1, 6), "its host descriptor is marked as not valid"},
		{"host NQN away", put32(nbfttest.Host+18, 1), "its host NQN: 68 bytes at 1 are outside of the heap"},
		{"no host NQN", put8(nbfttest.Host+22, 0), "its host NQN: cannot use an empty NQN"},
		{
			"host NQN with an option in it", func(d []byte) []byte { object(d, nbfttest.Host+18)[5] = ','; return nbfttest.Seal(d) },
			`its host NQN: cannot use NQN "nqn.2,14-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555": it contains a comma`,
		},
		{"HFI list away", put32(nbfttest.Control+16, 1<<32-1), "its list of 2 HFI descriptors, 32 bytes each at 4294967295, is not inside of it"},
		{"HFI list too long", put8(nbfttest.Control+23, 255), "its list of 255 HFI descriptors, 32 bytes each at 160, is not inside of it"},
		{"HFIs too short", put8(nbfttest.Control+20, 16), "its list of 2 HFI descriptors, 16 bytes each at 160, is not inside of it"},
		{"SSNS of no length", put8(nbfttest.Control+28, 0), "its list of 2 SSNS descriptors, 0 bytes each at 416, is not inside of it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, err := nbft.Parse(test.spoil(nbfttest.Encode(sample())))
			want := "cannot use the NBFT: " + test.err
			if err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
			if diff := cmp.Diff(nbft.Table{}, table, equal); diff != "" {
				t.Errorf("a table comes with the error:\n%s", diff)
			}
		})
	}
}

// TestBadRecord holds what is wrong with one record: what becomes of it, of the others, and what is said.
func TestBadRecord(t *testing.T) {
	noHFI1 := func(w *nbft.Table) {
		w.HFIs = w.HFIs[1:]
		w.Discovery[0].HFI = 0
		w.SSNS[0].HFIs = []uint8{2}
	}
	noSSNS1 := func(w *nbft.Table) { w.SSNS = w.SSNS[1:] }
	noDiscovery1 := func(w *nbft.Table) { w.Discovery = w.Discovery[1:]; w.SSNS[0].Discovery = 0 }
	noSecurity1 := func(w *nbft.Table) {
		w.Security = w.Security[1:]
		noDiscovery1(w)
	}
	withoutHFI1 := []string{"discovery 1: it is used without HFI 1, not in the table", "SSNS 1: it is used without HFI 1, not in the table"}
	withoutDiscovery1 := "SSNS 1: it is used without discovery descriptor 1, not in the table"
	withoutSecurity1 := "discovery 1: it is skipped: it asks for security profile 1, not in the table"
	for _, test := range []struct {
		name     string
		spoil    func([]byte)
		want     func(*nbft.Table)
		warnings []string
	}{
		{"HFI not valid", func(d []byte) { d[hfi1+2] = 0 }, noHFI1, withoutHFI1},
		{"HFI ID", func(d []byte) { d[hfi1] = 4 }, noHFI1, append([]string{"HFI 1: it is skipped: its structure ID is 4, not 3"}, withoutHFI1...)},
		{"HFI index 0", func(d []byte) { d[hfi1+1] = 0 }, noHFI1, append([]string{"HFI 1: it is skipped: its index 0 is 0 or taken"}, withoutHFI1...)},
		{"HFI index taken", func(d []byte) { d[hfi2+1] = 1 }, func(w *nbft.Table) {
			w.HFIs = w.HFIs[:1]
			w.Discovery[1].HFI = 0
			w.SSNS[0].HFIs = []uint8{1}
		}, []string{
			"HFI 2: it is skipped: its index 1 is 0 or taken",
			"discovery 2: it is used without HFI 2, not in the table", "SSNS 1: it is used without HFI 2, not in the table",
		}},
		{"HFI transport", func(d []byte) { d[hfi1+3] = 1 }, noHFI1, append([]string{"HFI 1: it is skipped: its transport type 1 is unknown"}, withoutHFI1...)},
		{"HFI information away", func(d []byte) { le.PutUint32(d[hfi1+16:], 1<<32-1) }, noHFI1, append([]string{"HFI 1: it is skipped: its transport information: 128 bytes at 4294967295 are outside of the heap"}, withoutHFI1...)},
		{"HFI information short", func(d []byte) { d[hfi1+20] = 127 }, noHFI1, append([]string{"HFI 1: it is skipped: its transport information has 127 bytes, 128 are needed"}, withoutHFI1...)},
		{"HFI information missing", func(d []byte) { d[hfi1+20] = 0 }, noHFI1, append([]string{"HFI 1: it is skipped: its transport information has 0 bytes, 128 are needed"}, withoutHFI1...)},
		{"HFI information ID", func(d []byte) { object(d, hfi1+16)[0] = 8 }, noHFI1, append([]string{"HFI 1: it is skipped: its transport information has structure ID 8, not 7"}, withoutHFI1...)},
		{"HFI information version", func(d []byte) { object(d, hfi1+16)[1] = 2 }, noHFI1, append([]string{"HFI 1: it is skipped: its transport information has version 2 and transport type 3, not 1 and 3"}, withoutHFI1...)},
		{"HFI information not valid", func(d []byte) { object(d, hfi1+16)[6] = 6 }, noHFI1, append([]string{"HFI 1: it is skipped: its transport information is marked as not valid"}, withoutHFI1...)},
		{"HFI information of another", func(d []byte) { object(d, hfi1+16)[4] = 2 }, noHFI1, append([]string{"HFI 1: it is skipped: its transport information belongs to HFI 2"}, withoutHFI1...)},
		{"VLAN", func(d []byte) { le.PutUint16(object(d, hfi1+16)[17:], 4095) }, noHFI1, append([]string{"HFI 1: it is skipped: its VLAN 4095 is none: they go from 1 to 4094"}, withoutHFI1...)},
		{"prefix", func(d []byte) { object(d, hfi1+16)[36] = 33 }, func(w *nbft.Table) { w.HFIs[0].Prefix = 0 }, []string{"HFI 1: its prefix length 33 is left out: 192.0.2.2 has 32 bits"}},
		{"host name", func(d []byte) { object(d, le0(d, hfi1+16)+104)[0] = 27 }, func(w *nbft.Table) { w.HFIs[0].HostName = "" }, []string{"HFI 1: its host name is left out: it contains a control character"}},
		{"DHCP server without DHCP", func(d []byte) { object(d, hfi1+16)[6] = 3 }, func(w *nbft.Table) { w.HFIs[0].Flags, w.HFIs[0].DHCPServer = 3, netip.Addr{} }, nil},

		{"security not valid", func(d []byte) { d[security1+2] = 0 }, noSecurity1, []string{withoutSecurity1, withoutDiscovery1}},
		{"security index", func(d []byte) { d[security1+1] = 0 }, noSecurity1, []string{"security 1: it is skipped: its index 0 is 0 or taken", withoutSecurity1, withoutDiscovery1}},
		{"key path", func(d []byte) { object(d, security1+36)[3] = 0xff }, func(w *nbft.Table) { w.Security[0].Keypath = "" }, []string{"security 1: its key path is left out: it is not UTF-8"}},

		{"discovery not valid", func(d []byte) { d[discovery1+1] = 0 }, noDiscovery1, []string{withoutDiscovery1}},
		{"discovery index", func(d []byte) { d[discovery1+2] = 0 }, noDiscovery1, []string{"discovery 1: it is skipped: its index 0 is 0 or taken", withoutDiscovery1}},
		{"URI away", func(d []byte) { le.PutUint32(d[discovery1+6:], 0) }, noDiscovery1, []string{"discovery 1: it is skipped: its URI: 26 bytes at 0 are outside of the heap", withoutDiscovery1}},
		{"no URI", func(d []byte) { d[discovery1+10] = 0 }, noDiscovery1, []string{"discovery 1: it is skipped: it has no URI", withoutDiscovery1}},
		{"URI with an escape", func(d []byte) { object(d, discovery1+6)[0] = 27 }, noDiscovery1, []string{"discovery 1: it is skipped: its URI: it contains a control character", withoutDiscovery1}},
		{"NQN of a discovery controller", func(d []byte) { object(d, discovery1+12)[0] = '\n' }, noDiscovery1, []string{`discovery 1: it is skipped: cannot use NQN "\nqn.2024-01.com.example:dc": it contains a control character or white space`, withoutDiscovery1}},

		{"SSNS not valid", func(d []byte) { d[ssns1+3] &^= 1 }, noSSNS1, nil},
		{"SSNS ID", func(d []byte) { d[ssns1] = 0 }, noSSNS1, []string{"SSNS 1: it is skipped: its structure ID is 0, not 4"}},
		{"SSNS index", func(d []byte) { d[ssns1+1] = 0 }, noSSNS1, []string{"SSNS 1: it is skipped: its index 0 is 0 or taken"}},
		{"SSNS index taken", func(d []byte) { d[ssns2+1] = 1 }, func(w *nbft.Table) { w.SSNS = w.SSNS[:1] }, []string{"SSNS 2: it is skipped: its index 1 is 0 or taken"}},
		{"SSNS transport", func(d []byte) { d[ssns1+5] = 2 }, noSSNS1, []string{"SSNS 1: it is skipped: its transport type 2 is unknown"}},
		{"no address", func(d []byte) { d[ssns1+14] = 0 }, noSSNS1, []string{"SSNS 1: it is skipped: its transport address: it has 0 bytes, an IP address has 16"}},
		{"address 0.0.0.0", func(d []byte) { copy(object(d, ssns1+10)[12:], "\x00\x00\x00\x00") }, noSSNS1, []string{"SSNS 1: it is skipped: its transport address: it is unspecified"}},
		{"port", func(d []byte) { copy(object(d, ssns1+16), "44,0") }, noSSNS1, []string{`SSNS 1: it is skipped: its transport service ID: "44,0" is no port: they go from 1 to 65535`}},
		{"port with its NUL", func(d []byte) { d[ssns1+20]++ }, func(*nbft.Table) {}, nil},
		{"no NQN", func(d []byte) { d[ssns1+58] = 0 }, noSSNS1, []string{"SSNS 1: it is skipped: it has no NQN"}},
		{"NQN away", func(d []byte) { le.PutUint16(d[ssns1+58:], 0xffff) }, noSSNS1, []string{fmt.Sprintf("SSNS 1: it is skipped: its NQN: 65535 bytes at %d are outside of the heap", le0(nbfttest.Encode(sample()), ssns1+54))}},
		{"secondary HFIs away", func(d []byte) { le.PutUint16(d[ssns1+52:], 0xffff) }, noSSNS1, []string{fmt.Sprintf("SSNS 1: it is skipped: its secondary HFIs: 65535 bytes at %d are outside of the heap", le0(nbfttest.Encode(sample()), ssns1+48))}},
		{"HFIs not there", func(d []byte) { d[ssns1+46] = 8; object(d, ssns1+48)[1] = 9 }, func(w *nbft.Table) { w.SSNS[0].HFIs = []uint8{1} }, []string{"SSNS 1: it is used without HFI 8, 9, not in the table"}},
		{"namespace identifier", func(d []byte) { d[ssns1+28] = 4 }, func(w *nbft.Table) { w.SSNS[0].NIDType, w.SSNS[0].NID = 0, [16]byte{} }, []string{"SSNS 1: its namespace identifier is left out: type 4 is unknown"}},
		{"discovery controller not there", func(d []byte) { d[ssns1+8] = 9 }, func(w *nbft.Table) { w.SSNS[0].Discovery = 0 }, []string{"SSNS 1: it is used without discovery descriptor 9, not in the table"}},
		{"security profile not there", func(d []byte) { d[ssns1+45] = 9 }, noSSNS1, []string{"SSNS 1: it is skipped: it asks for security profile 9, not in the table"}},
		{"security profile not used", func(d []byte) { d[ssns1+3] = 0x59 }, func(w *nbft.Table) { w.SSNS[0].Flags, w.SSNS[0].Security = 0x59, 0 }, nil},
		{"extension away", func(d []byte) { le.PutUint32(d[ssns1+60:], 1) }, noExtension, []string{"SSNS 1: its extended information is left out: 18 bytes at 1 are outside of the heap"}},
		{"extension empty", func(d []byte) { le.PutUint16(d[ssns1+64:], 0) }, noExtension, nil},
		{"extension short", func(d []byte) { d[ssns1+64] = 17 }, noExtension, []string{"SSNS 1: its extended information is left out: it has 17 bytes, 18 are needed"}},
		{"extension ID", func(d []byte) { object(d, ssns1+60)[0] = 8 }, noExtension, []string{"SSNS 1: its extended information is left out: its structure ID is 8, not 9"}},
		{"extension of another", func(d []byte) { object(d, ssns1+60)[2] = 2 }, noExtension, []string{"SSNS 1: its extended information is left out: it belongs to SSNS 2"}},
		{"extension not valid", func(d []byte) { object(d, ssns1+60)[4] = 2 }, noExtension, nil},
		{"root path", func(d []byte) { object(d, le0(d, ssns1+60)+12)[0] = 7 }, noExtension, []string{"SSNS 1: its extended information is left out: its root path: it contains a control character"}},

		{"no host ID", func(d []byte) { clear(d[nbfttest.Host+2:][:16]) }, func(w *nbft.Table) { w.Host.ID = "" }, []string{"host: it has no host ID"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := nbfttest.Encode(sample())
			test.spoil(data)
			got, err := nbft.Parse(nbfttest.Seal(data))
			if err != nil {
				t.Fatal(err)
			}
			want := sample()
			test.want(&want)
			want.Warnings = test.warnings
			if diff := cmp.Diff(want, got, equal, ignoreSize); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func noExtension(w *nbft.Table) {
	w.SSNS[0].ControllerID, w.SSNS[0].AdminQueueSize, w.SSNS[0].DHCPRootPath = 0, 0, ""
}

// le0 returns where the heap object is that the bytes at ref name.
func le0(data []byte, ref int) int { return int(le.Uint32(data[ref:])) }

func TestLongText(t *testing.T) {
	table := sample()
	table.Discovery[1].URI = strings.Repeat("x", 1025)
	got, err := nbft.Parse(nbfttest.Encode(table))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"discovery 2: it is skipped: its URI: it has 1025 bytes, at most 1024 are allowed"}
	if diff := cmp.Diff(want, got.Warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTrailingBytes(t *testing.T) {
	got, err := nbft.Parse(append(nbfttest.Encode(sample()), 1, 2, 3))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"table: 3 bytes behind its end are ignored"}, got.Warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// greedy is a table whose every record shares the largest heap objects that there can be.
func greedy() []byte {
	const records = 255
	long := bytes.Repeat([]byte{'x'}, 1024)
	all := make([]byte, 65535)
	for i := range all {
		all[i] = byte(i)
	}
	table := nbft.Table{Host: nbft.Host{NQN: hostNQN, ID: hostID}}
	for i := range records {
		h := nbft.HFI{Index: uint8(i + 1), Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}
		table.HFIs = append(table.HFIs, h)
		table.Security = append(table.Security, nbft.Security{Index: h.Index})
		table.Discovery = append(table.Discovery, nbft.Discovery{Index: h.Index, HFI: h.Index})
		table.SSNS = append(table.SSNS, nbft.SSNS{Index: uint16(h.Index), Traddr: netip.AddrFrom4([4]byte{192, 0, 3, byte(i)}), NQN: nqn})
	}
	data := nbfttest.Encode(table)
	offset := uint32(len(data))
	data = append(append(data, long...), all...)
	share := func(ref int, offset uint32, length uint16) {
		le.PutUint32(data[ref:], offset)
		le.PutUint16(data[ref+4:], length)
	}
	for i := range records {
		share(int(le.Uint32(data[nbfttest.HFIs+32*i+16:]))+104, offset, 1024)
		share(nbfttest.HFIs+32*records+64*i+36, offset, 1024)
		share(nbfttest.HFIs+96*records+32*i+6, offset, 1024)
		share(nbfttest.HFIs+128*records+128*i+48, offset+1024, 65535)
	}
	le.PutUint32(data[nbfttest.HeapLength:], uint32(len(data))-le.Uint32(data[nbfttest.HeapOffset:]))
	return nbfttest.Seal(data)
}

// TestMemory holds that no table costs more than a small multiple of its size.
func TestMemory(t *testing.T) {
	data := greedy()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	table, err := nbft.Parse(data)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if len(table.SSNS) != 255 || len(table.SSNS[0].HFIs) != 255 || len(table.HFIs[0].HostName) != 1024 || len(table.Discovery) != 255 {
		t.Fatalf("the table is not the greedy one: %d SSNS", len(table.SSNS))
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(8*len(data)) {
		t.Errorf("%d bytes took %d", len(data), used)
	}
	connections, warnings := nbft.Wishes(table, param.Set{}, param.Set{})
	if len(connections) != 1024 {
		t.Errorf("%d connections, want 1024", len(connections))
	}
	if want := "table: connections are left out: it may ask for 1024"; warnings[len(warnings)-1] != want {
		t.Errorf("last warning %q, want %q", warnings[len(warnings)-1], want)
	}
}

// realTables returns the directory of the tables that firmware wrote. It is beside the repository, not in it.
func realTables(t testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	dir = filepath.Join(dir, "../shared/nbft")
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

// TestRealTables compares what is read with the listings beside the tables. They have lines for later revisions and for what
// nothing is done with, left out here, and spell an address that is not there in four ways.
func TestRealTables(t *testing.T) {
	for _, name := range []string{"Dell.PowerEdge.R660-fw1.5.5-single", "dhcp-ipv6", "mpath+disc-ipv4+6_half", "static-ipv4", "synthetic-2hfi-3ssns-disc-sec"} {
		t.Run(name, func(t *testing.T) {
			dir := realTables(t)
			if dir == "" {
				t.Skip("there are no tables beside the repository, in ../shared/nbft")
			}
			table, err := nbft.ReadFile(filepath.Join(dir, "NBFT-"+name))
			if err != nil {
				t.Fatal(err)
			}
			listing, err := os.ReadFile(filepath.Join(dir, "NBFT-"+name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			later := []string{"pcie_seg_num", "dhcp_iaid", "dhcp_duid", "dhcp_duid_len", "naed", "cipeec", "cto", "nceec"}
			unread := []string{
				"secret_type", "sec_chan_algs", "sec_chan_algs_len", "auth_protocols", "auth_protocols_len",
				"cipher_suites", "cipher_suites_len", "kx_groups", "kx_groups_len", "sec_hash_funcs", "sec_hash_funcs_len",
			}
			var want []string
			for line := range strings.Lines(string(listing)) {
				key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				if slices.Contains([]string{"0.0.0.0", "::", "(null)"}, value) {
					value = ""
				}
				if field := key[strings.LastIndexAny(key, ".>")+1:]; !slices.Contains(append(unread, later...), field) {
					want = append(want, key+"="+value)
				}
			}
			if diff := cmp.Diff(want, lines(table)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(table.Warnings) > 0 {
				t.Errorf("warnings: %v", table.Warnings)
			}
		})
	}
}

// lines lists a table as the real ones are listed.
func lines(t nbft.Table) []string {
	var all []string
	prefix := ""
	add := func(key, format string, args ...any) { all = append(all, prefix+key+"="+fmt.Sprintf(format, args...)) }
	digits := func(b []byte) string { // without leading zeros of the bytes
		s := ""
		for _, c := range b {
			s += fmt.Sprintf("%x", c)
		}
		return s
	}
	addr := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	id, _ := hex.DecodeString(strings.ReplaceAll(t.Host.ID, "-", ""))
	add("raw_nbft_size", "%d", t.Size)
	add("host.id", "%s", digits(id))
	add("host.nqn", "%s", t.Host.NQN)
	add("host.flags", "0x%02x", t.Host.Flags)
	for i, h := range t.HFIs {
		prefix = fmt.Sprintf("hfi_list[%d]->", i)
		add("index", "%d", h.Index)
		add("transport", "%s", h.Transport)
		prefix += "tcp_info."
		add("pci_sbdf", "%d", h.PCI)
		add("mac_addr", "%s", digits(h.Link.MAC[:]))
		add("vlan", "%d", h.Link.VLAN)
		add("ip_origin", "%d", h.Origin)
		add("ipaddr", "%s", addr(h.Address))
		add("subnet_mask_prefix", "%d", h.Prefix)
		add("gateway_ipaddr", "%s", addr(h.Gateway))
		add("route_metric", "%d", h.RouteMetric)
		add("primary_dns_ipaddr", "%s", addr(h.DNS[0]))
		add("secondary_dns_ipaddr", "%s", addr(h.DNS[1]))
		add("dhcp_server_ipaddr", "%s", addr(h.DHCPServer))
		add("host_name", "%s", h.HostName)
		add("flags", "0x%02x", h.Flags)
	}
	for i, s := range t.Security {
		prefix = fmt.Sprintf("security_list[%d]->", i)
		add("index", "%d", s.Index)
		add("flags", "%d", s.Flags)
		add("secret_keypath", "%s", s.Keypath)
	}
	for i, d := range t.Discovery {
		prefix = fmt.Sprintf("discovery_list[%d]->", i)
		add("index", "%d", d.Index)
		if d.Security != 0 {
			add("security->index", "%d", d.Security)
		}
		add("hfi->index", "%d", d.HFI)
		add("uri", "%s", d.URI)
		add("nqn", "%s", d.NQN)
	}
	for i, s := range t.SSNS {
		prefix = fmt.Sprintf("subsystem_ns_list[%d]->", i)
		add("index", "%d", s.Index)
		if s.Discovery != 0 {
			add("discovery->index", "%d", s.Discovery)
		}
		if s.Security != 0 {
			add("security->index", "%d", s.Security)
		}
		add("num_hfis", "%d", len(s.HFIs))
		for i, index := range s.HFIs {
			add(fmt.Sprintf("hfis[%d]->index", i), "%d", index)
		}
		add("transport", "%s", s.Transport)
		add("traddr", "%s", addr(s.Traddr))
		add("trsvcid", "%s", s.Trsvcid)
		add("subsys_port_id", "%d", s.PortID)
		add("nsid", "%d", s.NSID)
		add("nid_type", "%d", s.NIDType)
		add("nid", "%s", digits(s.NID[:]))
		add("subsys_nqn", "%s", s.NQN)
		add("trflags", "0x%04x", s.TransportFlags)
		add("controller_id", "%d", s.ControllerID)
		add("asqsz", "%d", s.AdminQueueSize)
		add("dhcp_root_path_string", "%s", s.DHCPRootPath)
		add("flags", "0x%04x", s.Flags)
	}
	return all
}

// FuzzParse feeds arbitrary bytes, as they are and with length and checksum made right, so that more of them get past the
// header.
func FuzzParse(f *testing.F) {
	f.Add(nbfttest.Encode(sample()))
	f.Add(nbfttest.Encode(nbft.Table{Host: nbft.Host{NQN: hostNQN, ID: hostID}}))
	f.Add([]byte("NBFT"))
	for _, sample := range nbfttest.Samples() {
		f.Add(sample.Data)
	}
	if dir := realTables(f); dir != "" {
		names, _ := filepath.Glob(filepath.Join(dir, "NBFT-*[^t]"))
		for _, name := range names {
			if data, err := os.ReadFile(name); err == nil && !strings.HasSuffix(name, ".txt") {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		check(t, data)
		if len(data) >= nbfttest.Host {
			sealed := bytes.Clone(data)
			copy(sealed, "NBFT")
			check(t, nbfttest.Seal(sealed))
		}
	})
}

// check holds what is true of every table.
func check(t *testing.T, data []byte) {
	table, err := nbft.Parse(data)
	if err != nil {
		return
	}
	hfis := map[uint8]bool{0: true}
	for _, h := range table.HFIs {
		if h.Index == 0 || hfis[h.Index] || h.Address.Is4In6() || h.Link.VLAN > 4094 || int(h.Prefix) > max(0, h.Address.BitLen()) {
			t.Errorf("HFI %+v", h)
		}
		hfis[h.Index] = true
		checkText(t, h.HostName)
	}
	security := map[uint8]bool{0: true}
	for _, s := range table.Security {
		security[s.Index] = true
		checkText(t, s.Keypath)
	}
	discovery := map[uint8]bool{0: true}
	for _, d := range table.Discovery {
		discovery[d.Index] = true
		if !hfis[d.HFI] || !security[d.Security] || d.URI == "" || strings.Contains(table.Host.NQN+d.NQN, "\x00") || d.NQN != "" && tid.CheckNQN(d.NQN) != nil {
			t.Errorf("discovery %+v", d)
		}
		checkText(t, d.URI)
	}
	for _, s := range table.SSNS {
		if !discovery[s.Discovery] || !security[s.Security] || tid.CheckNQN(s.NQN) != nil || !s.Traddr.IsValid() || s.Traddr.Is4In6() {
			t.Errorf("SSNS %+v", s)
		}
		for i, index := range s.HFIs {
			if index == 0 || !hfis[index] || slices.Contains(s.HFIs[:i], index) {
				t.Errorf("SSNS %d has HFIs %v", s.Index, s.HFIs)
			}
		}
		checkText(t, s.DHCPRootPath)
		_ = s.NIDString()
	}
	connections, warnings := nbft.Wishes(table, param.Set{}, param.Set{})
	for i, c := range connections {
		id := c.Wish.TID
		if c.Host != "" {
			if id.Traddr != "" || tid.HostName(c.Host) != c.Host {
				t.Errorf("host %q with TID %+v", c.Host, id)
			}
			id.Traddr = "192.0.2.1"
		}
		if again, err := tid.New(id, c.Wish.Kind); err != nil || again != id {
			t.Errorf("TID %+v is not one: %v", id, err)
		}
		if i > 0 && connections[i-1] == c {
			t.Errorf("%v is there twice", c)
		}
	}
	for _, w := range slices.Concat(table.Warnings, warnings) {
		checkText(t, w)
	}
}

// checkText holds that a text can be shown on a terminal.
func checkText(t *testing.T, s string) {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q cannot be shown", s)
	}
}
