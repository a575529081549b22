// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// host is this host in tests: interfaces 2 (eth0) and 3 (eth1), and 4 (ib0) without an address of the network that is asked for.
func host() network {
	n := network{
		links: map[int][]netip.Prefix{
			2: {netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("fe80::1/64")},
			3: {netip.MustParsePrefix("198.51.100.1/24")},
		},
		own: map[netip.Addr]bool{},
		names: func(index int) string {
			return map[int]string{2: "eth0", 3: "eth1", 4: "ib0"}[index]
		},
	}
	for _, prefixes := range n.links {
		for _, p := range prefixes {
			n.own[p.Addr()] = true
		}
	}
	return n
}

func TestAnnouncement(t *testing.T) {
	for _, test := range []struct {
		name string
		service
		want string
	}{
		{"IPv4", service{"Array", 2, netip.MustParseAddr("192.0.2.10"), 8009, nil}, "Array on eth0: (tcp, 192.0.2.10, 8009, " + tid.DiscoveryNQN + ", eth0)"},
		{"link-local", service{"Array", 2, netip.MustParseAddr("fe80::10"), 8009, nil}, "Array on eth0: (tcp, fe80::10%eth0, 8009, " + tid.DiscoveryNQN + ", eth0)"},
		{"mapped", service{"Array", 3, netip.MustParseAddr("::ffff:192.0.2.10"), 4420, nil}, "Array on eth1: (tcp, 192.0.2.10, 4420, " + tid.DiscoveryNQN + ", eth1)"},
		{"RDMA", service{"Array", 2, netip.MustParseAddr("192.0.2.10"), 4420, strs("p=roce")}, "Array on eth0: (rdma, 192.0.2.10, 4420, " + tid.DiscoveryNQN + ", 192.0.2.1)"},
		{"RDMA, link-local", service{"Array", 2, netip.MustParseAddr("fe80::10"), 4420, strs("p=roce")}, "Array on eth0: (rdma, fe80::10%eth0, 4420, " + tid.DiscoveryNQN + ", fe80::1%eth0)"},
		{"RDMA that is not reached", service{"Array", 4, netip.MustParseAddr("192.0.2.10"), 4420, strs("p=roce")}, "Array: interface ib0 has no address from which 192.0.2.10 is reached over rdma"},
		{"interface gone", service{"Array", 9, netip.MustParseAddr("192.0.2.10"), 8009, nil}, "Array: its interface 9 is gone"},
		{"own", service{"Array", 2, netip.MustParseAddr("198.51.100.1"), 8009, nil}, "Array: its address 198.51.100.1 is one of this host"},
		{"own, link-local", service{"Array", 2, netip.MustParseAddr("fe80::1"), 8009, nil}, "Array: its address fe80::1 is one of this host"},
		{"loopback", service{"Array", 2, netip.MustParseAddr("127.0.0.1"), 8009, nil}, "Array: nothing can be connected at its address 127.0.0.1"},
		{"multicast", service{"Array", 2, netip.MustParseAddr("224.0.0.251"), 8009, nil}, "Array: nothing can be connected at its address 224.0.0.251"},
		{"no port", service{"Array", 2, netip.MustParseAddr("192.0.2.10"), 0, nil}, `Array: cannot use trsvcid "0": a port is a number from 1 to 65535`},
		{
			"hostile name",
			service{"\x1b[2J\xff" + strings.Repeat("ä", 100), 2, netip.MustParseAddr("192.0.2.10"), 8009, nil},
			"?[2J?" + strings.Repeat("ä", 29) + " on eth0: (tcp, 192.0.2.10, 8009, " + tid.DiscoveryNQN + ", eth0)",
		},
	} {
		a, err := test.announcement(host())
		got := fmt.Sprintf("%s: %v", a.Instance, err)
		if err == nil {
			got = fmt.Sprintf("%s on %s: %v", a.Instance, a.Iface, a.TID)
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestTable holds a table with thousands of announcements to its bound: those that came first stay.
func TestTable(t *testing.T) {
	table := newTable()
	table.put("good", service{"Array", 2, netip.MustParseAddr("192.0.2.10"), 8009, nil})
	for i := range 5000 {
		table.put(i, service{fmt.Sprint("A", i), 2, netip.AddrFrom4([4]byte{192, 0, byte(3 + i/250), byte(1 + i%250)}), 8009, nil})
	}
	table.put("bad", service{"Bad", 2, netip.MustParseAddr("127.0.0.1"), 8009, nil})
	table.complete(true, 7, "")
	var r Report
	if ready := table.fill(&r, host()); !ready || len(r.Found) != MaxAnnouncements || r.Ignored != 5001-MaxAnnouncements+1+7 ||
		r.Example != "A255: only 256 are looked after" {
		t.Errorf("%v, %d announcements, %d ignored, for example %s", ready, len(r.Found), r.Ignored, r.Example)
	}
	if i := len(r.Found) - 1; r.Found[i].Instance != "Array" {
		t.Errorf("the first one is not there: %v", r.Found[i])
	}
	for i := range 5000 {
		table.take(i)
	}
	table.take("no such")
	table.complete(false, 0, "")
	ready := table.fill(&r, host())
	want := Report{Ignored: 1, Example: "Bad: nothing can be connected at its address 127.0.0.1", Found: []Announcement{{
		"Array", "eth0", tid.TID{Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "8009", NQN: tid.DiscoveryNQN, HostIface: "eth0"},
	}}}
	if d := cmp.Diff(want, r); d != "" || ready {
		t.Errorf("%v (-want +got):\n%s", ready, d)
	}
}

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{"p=tcp": "p=tcp", `a\134b\042\303\244`: "a\\b\"ä", `\9`: `\9`, `\777`: `\777`, `x\01`: `x\01`} {
		if got := string(unescape(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
