// SPDX-License-Identifier: GPL-3.0-or-later

package tid

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNew(t *testing.T) {
	const vol = "nqn.2024-01.com.example:vol1"
	for _, tt := range []struct {
		name string
		in   TID
		kind Kind
		want TID
		err  string
	}{
		{
			name: "DC over tcp has port 8009 and the well-known NQN", kind: Discovery,
			in: TID{Transport: "tcp", Traddr: "192.0.2.10"}, want: TID{Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "8009", NQN: DiscoveryNQN},
		},
		{
			name: "DC keeps a unique NQN", kind: Discovery,
			in:   TID{Transport: "tcp", Traddr: "192.0.2.10", NQN: "nqn.2024-01.com.example:dc"},
			want: TID{Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "8009", NQN: "nqn.2024-01.com.example:dc"},
		},
		{
			name: "IOC over tcp has port 4420", in: TID{Transport: "tcp", Traddr: "192.0.2.10", NQN: vol},
			want: TID{Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "4420", NQN: vol},
		},
		{
			name: "DC over rdma has port 4420", kind: Discovery, in: TID{Transport: "rdma", Traddr: "192.0.2.10"},
			want: TID{Transport: "rdma", Traddr: "192.0.2.10", Trsvcid: "4420", NQN: DiscoveryNQN},
		},
		{
			name: "addresses are normalised", in: TID{Transport: "tcp", Traddr: "0:0:0:0:0:0:0:1", Trsvcid: "04420", NQN: vol, HostTraddr: "::ffff:192.0.2.1"},
			want: TID{Transport: "tcp", Traddr: "::1", Trsvcid: "4420", NQN: vol, HostTraddr: "192.0.2.1"},
		},
		{name: "a zone stays", in: TID{Transport: "tcp", Traddr: "FE80::1%eth0", NQN: vol}, want: TID{Transport: "tcp", Traddr: "fe80::1%eth0", Trsvcid: "4420", NQN: vol}},
		{
			name: "fc has no port, and its addresses are normalised",
			in:   TID{Transport: "fc", Traddr: "nn-0x201700A09890F5BF,pn-0x201900A09890F5BF", NQN: vol, HostTraddr: "nn-21:00:00:24:ff:7f:00:01:pn-21:01:00:24:ff:7f:00:01"},
			want: TID{Transport: "fc", Traddr: "nn-0x201700a09890f5bf:pn-0x201900a09890f5bf", NQN: vol, HostTraddr: "nn-0x21000024ff7f0001:pn-0x21010024ff7f0001"},
		},
		{name: "loop needs no address", in: TID{Transport: "loop", NQN: vol}, want: TID{Transport: "loop", NQN: vol}},
		{name: "no transport", in: TID{NQN: vol}, err: `cannot connect without a transport: give tcp, rdma, fc or loop`},
		{name: "unknown transport", in: TID{Transport: "pcie", NQN: vol}, err: `cannot use transport "pcie": it must be tcp, rdma, fc or loop`},
		{name: "host name", in: TID{Transport: "tcp", Traddr: "array", NQN: vol}, err: `cannot use traddr "array": transport tcp needs an IP address`},
		{name: "host-traddr", in: TID{Transport: "rdma", Traddr: "192.0.2.1", HostTraddr: "x", NQN: vol}, err: `cannot use host-traddr "x": transport rdma needs an IP address`},
		{name: "port 0", in: TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "0", NQN: vol}, err: `cannot use trsvcid "0": a port is a number from 1 to 65535`},
		{name: "IOC without NQN", in: TID{Transport: "tcp", Traddr: "192.0.2.1"}, err: `cannot connect an I/O controller without the nqn of its subsystem`},
		{name: "injected option", in: TID{Transport: "tcp", Traddr: "192.0.2.1", NQN: vol + ",tls"}, err: `cannot use nqn "nqn.2024-01.com.example:vol1,tls": it contains a comma`},
		{name: "control character", in: TID{Transport: "tcp", Traddr: "192.0.2.1", NQN: vol, HostIface: "eth0\n"}, err: `cannot use host-iface "eth0\n": it contains a control character or white space`},
		{name: "not UTF-8", in: TID{Transport: "tcp", Traddr: "192.0.2.1", NQN: "nqn\xff"}, err: `cannot use nqn "nqn\xff": it is not UTF-8`},
		{
			name: "long NQN", in: TID{Transport: "tcp", Traddr: "192.0.2.1", NQN: strings.Repeat("n", 224)},
			err: `cannot use NQN "` + strings.Repeat("n", 40) + `"…: it has 224 bytes, at most 223 are allowed`,
		},
		{name: "interface path", in: TID{Transport: "tcp", Traddr: "192.0.2.1", NQN: vol, HostIface: "../x"}, err: `cannot use host-iface "../x": it is no name of a network interface`},
		{
			name: "a short World Wide Name", in: TID{Transport: "fc", Traddr: "nn-0x1:pn-0x201900a09890f5bf", NQN: vol},
			err: `cannot use traddr "nn-0x1:pn-0x201900a09890f5bf": "0x1" is not a World Wide Name of 16 hexadecimal digits; it must be like nn-0x20000090fa942779:pn-0x10000090fa942779`,
		},
		{
			name: "an option behind an fc address", in: TID{Transport: "fc", Traddr: "nn-0x201700a09890f5bf:pn-0x201900a09890f5bf", NQN: vol, HostTraddr: "nn-0x201700a09890f5bf:pn-0x201900a09890f5bf,tls"},
			err: `cannot use host-traddr "nn-0x201700a09890f5bf:pn-0x201900a09890f5bf,tls": "0x201900a09890f5bf,tls" is not a World Wide Name of 16 hexadecimal digits; it must be like nn-0x20000090fa942779:pn-0x10000090fa942779`,
		},
		{name: "fc without address", in: TID{Transport: "fc", NQN: vol}, err: `cannot connect without a traddr: transport fc needs one such as nn-0x…:pn-0x…`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := New(tt.in, tt.kind)
			if msg := errText(err); msg != tt.err {
				t.Fatalf("error %q, want %q", msg, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("TID differs (-want +got):\n%s", diff)
			}
		})
	}
}

// The UUID that ends an NQN has no case; the rest has, and so has the NQN of a subsystem, which is the target's to spell.
func TestFoldNQN(t *testing.T) {
	for _, test := range []struct{ nqn, want string }{
		{"nqn.2014-08.org.nvmexpress:uuid:4C4C4544-0044-4410-8030-B8C04F445833", "nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0044-4410-8030-b8c04f445833"},
		{"nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0044-4410-8030-b8c04f445833", "nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0044-4410-8030-b8c04f445833"},
		{"nqn.2024-01.com.Example:uuid:4C4C4544-0044-4410-8030-B8C04F445833", "nqn.2024-01.com.Example:uuid:4c4c4544-0044-4410-8030-b8c04f445833"},
		{"nqn.2024-01.com.example:UUID:4C4C4544-0044-4410-8030-B8C04F445833", "nqn.2024-01.com.example:UUID:4C4C4544-0044-4410-8030-B8C04F445833"},
		{"nqn.2024-01.com.example:uuid:4C4C4544-0044-4410-8030-B8C04F445833:A", "nqn.2024-01.com.example:uuid:4C4C4544-0044-4410-8030-B8C04F445833:A"},
		{"nqn.2024-01.com.example:uuid:4C4C4544-0044-4410-8030-B8C04F44583G", "nqn.2024-01.com.example:uuid:4C4C4544-0044-4410-8030-B8C04F44583G"},
		{"nqn.2024-01.com.example:uuid:4C4C4544A0044-4410-8030-B8C04F445833", "nqn.2024-01.com.example:uuid:4C4C4544A0044-4410-8030-B8C04F445833"},
		{"uuid:4C4C4544-0044-4410-8030-B8C04F445833", "uuid:4C4C4544-0044-4410-8030-B8C04F445833"},
		{"nqn.2024-01.com.example:VOL", "nqn.2024-01.com.example:VOL"},
		{"", ""},
	} {
		if got := FoldNQN(test.nqn); got != test.want {
			t.Errorf("%s: got %s, want %s", test.nqn, got, test.want)
		}
		if !SameNQN(test.nqn, test.want) {
			t.Errorf("%s and %s are not the same", test.nqn, test.want)
		}
	}
	if SameNQN("nqn.2024-01.com.example:VOL", "nqn.2024-01.com.example:vol") {
		t.Error("the case of an NQN does not count")
	}
	capitals := "nqn.2014-08.org.nvmexpress:uuid:4C4C4544-0044-4410-8030-B8C04F445833"
	got, err := New(TID{Transport: "loop", NQN: capitals, HostNQN: capitals}, IO)
	if want := (TID{Transport: "loop", NQN: capitals, HostNQN: FoldNQN(capitals)}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestForms(t *testing.T) {
	full := TID{"tcp", "192.0.2.10", "4420", "nqn.x", "192.0.2.1", "eth0", "nqn.host", "id"}
	if got, want := full.Canonical(), "transport=tcp;traddr=192.0.2.10;trsvcid=4420;nqn=nqn.x;host-traddr=192.0.2.1;host-iface=eth0;hostnqn=nqn.host;hostid=id"; got != want {
		t.Errorf("canonical form %q, want %q", got, want)
	}
	if got, want := full.String(), "(tcp, 192.0.2.10, 4420, nqn.x, eth0, 192.0.2.1)"; got != want {
		t.Errorf("log form %q, want %q", got, want)
	}
	// The 64-bit FNV-1a hash of "transport=loop;nqn=a", computed by another implementation, is 0x62d83295915bb2eb.
	if got, want := (TID{Transport: "loop", NQN: "a"}).UnitName(), "nvme-discoverd-3295915bb2eb.service"; got != want {
		t.Errorf("unit name %q, want %q", got, want)
	}
}

func TestKeys(t *testing.T) {
	want := []string{"transport", "traddr", "trsvcid", "nqn", "host-traddr", "host-iface", "hostnqn", "hostid"}
	if diff := cmp.Diff(want, Keys()); diff != "" {
		t.Errorf("keys differ (-want +got):\n%s", diff)
	}
	var id TID
	for _, key := range Keys() {
		if !id.Set(key, "v-"+key) {
			t.Errorf("Set does not know %s", key)
		}
		if got, ok := id.Get(key); !ok || got != "v-"+key {
			t.Errorf("Get(%s) = %q, %v", key, got, ok)
		}
	}
	if id.Set("owner", "x") {
		t.Error("Set takes an unknown key")
	}
}

func TestSameAddr(t *testing.T) {
	for _, tt := range []struct {
		transport, a, b string
		want            bool
	}{
		{"tcp", "::1", "0:0:0:0:0:0:0:1", true},
		{"tcp", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"tcp", "fe80::1%eth0", "fe80::1%eth1", false},
		{"rdma", "192.0.2.1", "192.0.2.2", false},
		{"fc", "nn-0x201700A09890F5BF:pn-0x201900A09890F5BF", "nn-201700a09890f5bf,pn-201900a09890f5bf", true},
		{"fc", "nn-0x201700a09890f5bf:pn-0x201900a09890f5bf", "nn-0x201700a09890f5bf:pn-0x201900a09890f5b0", false},
		{"fc", "nn-0xAB:pn-0xCD", "nn-0xab:pn-0xcd", false},
		{"loop", "a", "A", false},
		{"tcp", "x", "y", false},
	} {
		if got := SameAddr(tt.transport, tt.a, tt.b); got != tt.want {
			t.Errorf("SameAddr(%s, %s, %s) = %v, want %v", tt.transport, tt.a, tt.b, got, tt.want)
		}
	}
}

// FuzzNew holds New to what the kernel's option string needs: whatever passes cannot end one option and begin another,
// and passing twice changes nothing.
func FuzzNew(f *testing.F) {
	f.Add("tcp", "192.0.2.10", "4420", "nqn.x", "", "", true)
	f.Add("tcp", "fe80::1%eth0", "", "", "fe80::2", "eth0", false)
	f.Add("fc", "nn-0x201700a09890f5bf,pn-0x201900a09890f5bf", "", "nqn.x", "nn-20:17:00:a0:98:90:f5:bf:pn-20:19:00:a0:98:90:f5:bf", "", true)
	f.Add("loop", "", "", "nqn,tls", "", "", true)
	f.Fuzz(func(t *testing.T, transport, traddr, trsvcid, nqn, hostTraddr, hostIface string, io bool) {
		kind := Discovery
		if io {
			kind = IO
		}
		id, err := New(TID{Transport: transport, Traddr: traddr, Trsvcid: trsvcid, NQN: nqn, HostTraddr: hostTraddr, HostIface: hostIface}, kind)
		if err != nil {
			return
		}
		for _, key := range Keys() {
			if v, _ := id.Get(key); strings.ContainsAny(v, ",\n\x00") {
				t.Errorf("%s %q gets through", key, v)
			}
		}
		again, err := New(id, kind)
		if err != nil || again != id {
			t.Errorf("New(%v) = %v, %v", id, again, err)
		}
	})
}

// TestCheckForm: the names that targets have in practice pass; what is mistyped or made up does not.
func TestCheckForm(t *testing.T) {
	for _, nqn := range []string{
		DiscoveryNQN,
		"nqn.2014-08.org.nvmexpress:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
		"nqn.2014-08.org.nvmexpress:uuid:F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6",
		"nqn.2016-06.io.spdk:cnode1",
		"nqn.1992-08.com.netapp:sn.d5a5b7c1a3a511ecb5fad039ea9bbd5c:subsystem.vol1",
		"nqn.2010-06.com.purestorage:flasharray.1d3c6f1f3c7b1c2b",
		"nqn.1988-11.com.dell:powerstore:00:60148e5b0e4d",
		"nqn.2024-01.com.Example-1.2:x",
		"nqn.2024-12.example",
	} {
		if err := CheckForm(nqn); err != nil {
			t.Error(err)
		}
	}
	for _, nqn := range []string{
		"", "vol1", "nqn", "nqn.", "nqn.vol1", "nqn.2024-01", "nqn.2024-01.", "nqn.2024-01.:vol1", "nqn.2024-13.com.example", "nqn.24-01.com.example",
		"nqn.2024-1.com.example", "nqn.2024.01.com.example:vol1", "NQN.2024-01.com.example", "nqn.2024-01.com..example", "nqn.2024-01.com/example",
		"iqn.2024-01.com.example:vol1", " nqn.2024-01.com.example", "eui.0123456789abcdef",
		"nqn.2014-08.org.nvmexpress:uuid:", "nqn.2014-08.org.nvmexpress:uuid:f81d4fae-7dec-11d0-a765", "nqn.2014-08.org.nvmexpress:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6x",
	} {
		if CheckForm(nqn) == nil {
			t.Errorf("%q passes", nqn)
		}
	}
}
