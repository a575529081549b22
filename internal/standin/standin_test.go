// SPDX-License-Identifier: GPL-3.0-or-later

package standin

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// of learns texts and names, and returns the stand-ins.
func of(names []string, texts ...string) *Names {
	s := New()
	for _, name := range names {
		s.LearnName(name)
	}
	for _, text := range texts {
		s.Learn(text)
	}
	return s.Names()
}

func TestReplace(t *testing.T) {
	for _, tt := range []struct {
		names    []string
		in, want string
	}{
		{nil, "nothing of note", "nothing of note"},
		{nil, "probe of 192.0.2.10:4420: connection refused", "probe of 198.18.0.0:4420: connection refused"},
		{nil, "192.0.2.10, 192.0.2.11 and 203.0.113.5", "198.18.0.0, 198.18.0.1 and 198.18.1.0"},
		{nil, "127.0.0.1 0.0.0.0 224.0.0.1 255.255.255.255 ::1 ::", "127.0.0.1 0.0.0.0 224.0.0.1 255.255.255.255 ::1 ::"},
		{nil, "192.0.2.1 ::ffff:192.0.2.1", "198.18.0.0 ::ffff:198.18.0.0"},
		{nil, "[2001:db8:7::10]:4420 2001:db8:7:0:0:0:0:10", "[2001:db8::1]:4420 2001:db8::1"},
		{nil, "fe80::3:1%eth0, 169.254.7.8.", "fe80::1%eth0, 169.254.0.1."},
		{nil, "fe80::1%san-town", "fe80::1%if0001"},
		{nil, "nqn.2014-08.org.nvmexpress.discovery", "nqn.2014-08.org.nvmexpress.discovery"},
		{nil, "nqn.2019-05.com.maker:array7: connected", "nqn.2000-01.com.example:n000001: connected"},
		{
			nil, "nqn.2014-08.org.nvmexpress:uuid:1B4E28BA-2fa1-11d2-883f-0016d3cca427 1b4e28ba-2fa1-11d2-883f-0016d3cca427",
			"nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001 00000000-0000-4000-8000-000000000001",
		},
		{nil, "machine 1b4e28ba2fa111d2883f0016d3cca427", "machine 00000000000040008000000000000001"},
		{nil, "nn-0x201700a09890f5bf:pn-0x201900a09890f5bf", "nn-0x2000000000000001:pn-0x2000000000000002"},
		{nil, "20:17:00:a0:98:90:f5:bf is 0x201700a09890f5bf", "20:00:00:00:00:00:00:01 is 0x2000000000000001"},
		{nil, "00:16:3e:12:34:56 enx00163e123456", "02:00:00:00:00:01 enx020000000001"},
		{[]string{"array1"}, "array1: myarray1, array10, array1.", "name0001: myarray1, array10, name0001."},
		{[]string{"array1.lab.maker.com"}, "array1 array2.lab.maker.com array1.lab.maker.com", "name0001 array2.name0003.example name0002.example"},
		{[]string{"tcp", "nvme1", "db"}, "tcp nvme1 db", "tcp nvme1 db"}, // words of everybody's
		{nil, "/etc/nvme/discoverd.conf.d/customer-x.conf:3", "/etc/nvme/discoverd.conf.d/name0001.conf:3"},
		{nil, "12:30:01 std::string v6.12.3", "12:30:01 std::string v6.12.3"},
	} {
		if got := of(tt.names, tt.in).Replace(tt.in); got != tt.want {
			t.Errorf("Replace(%q)\n got %q\nwant %q", tt.in, got, tt.want)
		}
	}
}

// The unit of a connection is that of its stand-in; another one has a name of the same form.
func TestUnits(t *testing.T) {
	id := tid.TID{Transport: tid.TCP, Traddr: "192.0.2.20", Trsvcid: "4420", NQN: "nqn.2024-01.com.maker:vol1", HostNQN: "nqn.2014-08.org.nvmexpress:uuid:1b4e28ba-2fa1-11d2-883f-0016d3cca427"}
	s := New()
	s.LearnTID(id)
	text := "stop " + id.UnitName() + ", ask about nvme-discoverd-0123456789ab.service"
	s.Learn(text)
	n := s.Names()
	renamed := n.TID(id)
	got := n.Replace(text)
	if renamed.Traddr != "198.18.0.0" || !strings.HasPrefix(got, "stop "+renamed.UnitName()+", ask about nvme-discoverd-") || strings.Contains(got, "0123456789ab") {
		t.Errorf("%v: %s", renamed, got)
	}
	if again, err := tid.New(renamed, tid.IO); err != nil || again != renamed {
		t.Errorf("%v is %v in its normal form, %v", renamed, again, err)
	}
}

// Stand-ins sort as what they stand for, and addresses are of as many networks.
func TestOrder(t *testing.T) {
	texts := []string{"10.1.0.1", "10.1.0.2", "10.1.1.1", "192.168.3.4", "2001:db8:1::1", "2001:db8:1::2", "2001:db8:2::1"}
	n := of(nil, texts...)
	var last netip.Addr
	seen := map[netip.Addr]bool{}
	for _, text := range texts {
		a, err := netip.ParseAddr(n.Replace(text))
		if err != nil || last.IsValid() && a.Compare(last) <= 0 || seen[a] {
			t.Errorf("%s is %v, %v", text, a, err)
		}
		last, seen[a] = a, true
	}
}

// FuzzReplace: what was learned is not there any more, and to replace again changes nothing that is not a stand-in.
func FuzzReplace(f *testing.F) {
	for _, text := range []string{"192.0.2.10", "fe80::1%eth0", "nqn.2019-05.com.maker:a 00:16:3e:12:34:56", "nn-0x201700a09890f5bf:pn-0x201900a09890f5bf", "::ffff:1.2.3.4 \xff"} {
		f.Add(text, "array1")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		s := New()
		s.LearnName(name)
		s.Learn(text)
		n := s.Names()
		got := n.Replace(" " + text + " ")
		for addr := range s.addrs {
			if stand := n.byWord[addr.String()]; addr.Is4() && stand != "" && stand != addr.String() && !strings.HasPrefix(addr.String(), "198.1") &&
				strings.Contains(" "+got+" ", " "+addr.String()+" ") {
				t.Errorf("%q is still in %q", addr, got)
			}
		}
	})
}
