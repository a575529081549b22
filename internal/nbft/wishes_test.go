// SPDX-License-Identifier: GPL-3.0-or-later

package nbft_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// describe lists what a connection is in one line: its command line, less the persona, and what travels beside it.
func describe(c nbft.Connection) string {
	args := c.Wish.Args()
	kept := args[:0:0]
	for _, a := range args {
		if a != "--transport=tcp" && !strings.HasPrefix(a, "--hostnqn=") && !strings.HasPrefix(a, "--hostid=") {
			kept = append(kept, strings.TrimPrefix(a, "--"))
		}
	}
	line := fmt.Sprintf("%s: %s %s", c.From, c.Wish.Kind, strings.Join(kept, " "))
	if c.Host != "" {
		line += " at " + c.Host
	}
	if c.Link != (nbft.Link{}) {
		line += " via " + c.Link.String()
	}
	if c.DHCP {
		line += " by DHCP"
	}
	if c.Authentication {
		line += " with authentication"
	}
	return line
}

func TestWishes(t *testing.T) {
	mac := func(last byte) nbft.Link { return nbft.Link{MAC: [6]byte{0x52, 0x54, 0, 0, 0, last}} }
	hfis := []nbft.HFI{
		{Index: 1, Link: mac(1), Address: netip.MustParseAddr("192.0.2.11")},
		{Index: 2, Link: mac(2), Address: netip.MustParseAddr("192.0.2.12"), Flags: 0x04},
		{Index: 3, Link: nbft.Link{MAC: mac(3).MAC, VLAN: 5}, Address: netip.MustParseAddr("2001:db8::13")},
		{Index: 4, Link: mac(4), Flags: 0x04}, // no address
		{Index: 5, Link: nbft.Link{VLAN: 5}},  // no MAC address
	}
	profiles := []nbft.Security{{Index: 1, Flags: 0x0041}, {Index: 2, Flags: 0x0005}, {Index: 3, Flags: 0x0023}}
	one := nbft.SSNS{Index: 1, Transport: "tcp", Traddr: netip.MustParseAddr("192.0.2.1"), Trsvcid: "4420", NQN: nqn, HFIs: []uint8{1}}
	with := func(change func(*nbft.SSNS)) nbft.SSNS {
		s := one
		change(&s)
		return s
	}
	for _, test := range []struct {
		name      string
		ssns      []nbft.SSNS
		discovery []nbft.Discovery
		want      []string
		warnings  []string
	}{
		{name: "nothing"},
		{
			name: "one per HFI",
			ssns: []nbft.SSNS{with(func(s *nbft.SSNS) { s.HFIs = []uint8{1, 2} })},
			want: []string{
				"SSNS 1 over HFI 1: I/O traddr=192.0.2.1 trsvcid=4420 nqn=" + nqn + " host-traddr=192.0.2.11 ctrl-loss-tmo=600 via 52:54:00:00:00:01",
				"SSNS 1 over HFI 2: I/O traddr=192.0.2.1 trsvcid=4420 nqn=" + nqn + " host-traddr=192.0.2.12 ctrl-loss-tmo=600 via 52:54:00:00:00:02 by DHCP",
			},
		},
		{
			name: "several namespaces of one subsystem, digests of any of them",
			ssns: []nbft.SSNS{
				with(func(s *nbft.SSNS) { s.NSID = 1 }),
				with(func(s *nbft.SSNS) { s.Index, s.NSID, s.TransportFlags = 2, 2, 3 }),
				with(func(s *nbft.SSNS) { s.Index, s.NSID, s.TransportFlags = 3, 3, 5 }),
			},
			want: []string{
				"SSNS 1 over HFI 1: I/O traddr=192.0.2.1 trsvcid=4420 nqn=" + nqn + " host-traddr=192.0.2.11 ctrl-loss-tmo=600 hdr-digest data-digest via 52:54:00:00:00:01",
			},
		},
		{
			name: "default ports",
			ssns: []nbft.SSNS{with(func(s *nbft.SSNS) { s.Trsvcid = "" })},
			discovery: []nbft.Discovery{
				{Index: 1, HFI: 1, URI: "nvme+tcp://192.0.2.1"},
				{Index: 2, HFI: 3, URI: "nvme+tcp://[2001:DB8::1]/", NQN: "nqn.2024-01.com.example:dc"},
			},
			want: []string{
				"discovery 1 over HFI 1: Discovery traddr=192.0.2.1 trsvcid=8009 nqn=nqn.2014-08.org.nvmexpress.discovery host-traddr=192.0.2.11 keep-alive-tmo=30 via 52:54:00:00:00:01",
				"discovery 2 over HFI 3: Discovery traddr=2001:db8::1 trsvcid=8009 nqn=nqn.2024-01.com.example:dc host-traddr=2001:db8::13 keep-alive-tmo=30 discovery via 52:54:00:00:00:03 VLAN 5",
				"SSNS 1 over HFI 1: I/O traddr=192.0.2.1 trsvcid=4420 nqn=" + nqn + " host-traddr=192.0.2.11 ctrl-loss-tmo=600 via 52:54:00:00:00:01",
			},
		},
		{
			name:      "a discovery controller as SSNS and as descriptor",
			ssns:      []nbft.SSNS{with(func(s *nbft.SSNS) { s.NQN, s.Trsvcid, s.Flags = "nqn.2014-08.org.nvmexpress.discovery", "8009", 0x0101 })},
			discovery: []nbft.Discovery{{Index: 1, HFI: 1, URI: "nvme+tcp://192.0.2.1:8009/"}},
			want: []string{
				"discovery 1 over HFI 1: Discovery traddr=192.0.2.1 trsvcid=8009 nqn=nqn.2014-08.org.nvmexpress.discovery host-traddr=192.0.2.11 keep-alive-tmo=30 via 52:54:00:00:00:01",
			},
			warnings: []string{"SSNS 1: firmware says that it is unavailable; it is connected all the same"},
		},
		{
			name: "no HFI, no address, no MAC address, another family",
			ssns: []nbft.SSNS{
				with(func(s *nbft.SSNS) { s.HFIs = nil }),
				with(func(s *nbft.SSNS) { s.Index, s.HFIs = 2, []uint8{3, 4, 5} }),
			},
			discovery: []nbft.Discovery{{Index: 1, URI: "nvme+tcp://192.0.2.1:8009/"}},
			want: []string{
				"discovery 1: Discovery traddr=192.0.2.1 trsvcid=8009 nqn=nqn.2014-08.org.nvmexpress.discovery keep-alive-tmo=30",
				"SSNS 1: I/O traddr=192.0.2.1 trsvcid=4420 nqn=" + nqn + " ctrl-loss-tmo=600",
				"SSNS 2 over HFI 3: I/O traddr=192.0.2.1 trsvcid=4420 nqn=" + nqn + " ctrl-loss-tmo=600 via 52:54:00:00:00:03 VLAN 5",
				"SSNS 2 over HFI 4: I/O traddr=192.0.2.1 trsvcid=4420 nqn=" + nqn + " ctrl-loss-tmo=600 via 52:54:00:00:00:04",
			},
			warnings: []string{
				"discovery 1: it names no HFI of the table; it is connected over any interface",
				"SSNS 1: it names no HFI of the table; it is connected over any interface",
				"SSNS 2 over HFI 3: it is connected without host-traddr: 2001:db8::13 and 192.0.2.1 are of different families",
			},
		},
		{
			name: "security",
			ssns: []nbft.SSNS{
				with(func(s *nbft.SSNS) { s.Security = 1 }),
				with(func(s *nbft.SSNS) { s.Index, s.HFIs, s.Security = 2, []uint8{2}, 2 }),
			},
			discovery: []nbft.Discovery{{Index: 1, HFI: 1, Security: 3, URI: "nvme+tcp://192.0.2.1:8009/"}},
			want: []string{
				"discovery 1 over HFI 1: Discovery traddr=192.0.2.1 trsvcid=8009 nqn=nqn.2014-08.org.nvmexpress.discovery host-traddr=192.0.2.11 keep-alive-tmo=30 via 52:54:00:00:00:01",
				"SSNS 1 over HFI 1: I/O traddr=192.0.2.1 trsvcid=4420 nqn=" + nqn + " host-traddr=192.0.2.11 ctrl-loss-tmo=600 tls via 52:54:00:00:00:01",
				"SSNS 2 over HFI 2: I/O traddr=192.0.2.1 trsvcid=4420 nqn=" + nqn + " host-traddr=192.0.2.12 ctrl-loss-tmo=600 via 52:54:00:00:00:02 by DHCP with authentication",
			},
		},
		{
			name: "host names",
			discovery: []nbft.Discovery{
				{Index: 1, HFI: 2, URI: "nvme+tcp://DC.example:4420/path"},
				{Index: 2, HFI: 2, URI: "nvme+tcp://dc.example:4420/"},
				{Index: 3, HFI: 3, URI: "nvme+tcp://dc.example"},
				{Index: 4, URI: "nvme+tcp://other/"},
			},
			want: []string{
				"discovery 1 over HFI 2: Discovery trsvcid=4420 nqn=nqn.2014-08.org.nvmexpress.discovery host-traddr=192.0.2.12 keep-alive-tmo=30 at dc.example via 52:54:00:00:00:02 by DHCP",
				"discovery 3 over HFI 3: Discovery trsvcid=8009 nqn=nqn.2014-08.org.nvmexpress.discovery host-traddr=2001:db8::13 keep-alive-tmo=30 at dc.example via 52:54:00:00:00:03 VLAN 5",
				"discovery 4: Discovery trsvcid=8009 nqn=nqn.2014-08.org.nvmexpress.discovery keep-alive-tmo=30 at other",
			},
			warnings: []string{"discovery 4: it names no HFI of the table; it is connected over any interface"},
		},
		{
			name: "bad URIs",
			discovery: []nbft.Discovery{
				{Index: 1, HFI: 1, URI: "nvme+rdma://192.0.2.1/"},
				{Index: 2, HFI: 1, URI: "nvme+tcp://dc_1.example/"},
				{Index: 3, HFI: 1, URI: "nvme+tcp://192.0.2.1:70000/"},
				{Index: 4, HFI: 1, URI: "nvme+tcp://192.0.2.1:x/"},
				{Index: 5, HFI: 1, URI: "nvme+tcp://user@192.0.2.1/"},
				{Index: 6, HFI: 1, URI: "nvme+tcp://2001:db8::1:8009/"},
				{Index: 7, HFI: 1, URI: "nvme+tcp:///"},
				{Index: 8, HFI: 1, URI: "192.0.2.1:8009"},
				{Index: 9, HFI: 3, URI: "nvme+tcp://[fe80::1%25eth0,tls]:8009/"},
			},
			warnings: []string{
				`discovery 1: it is not connected: cannot use URI "nvme+rdma://192.0.2.1/": its scheme must be nvme+tcp`,
				`discovery 2 over HFI 1: it is not connected: cannot use traddr "dc_1.example": transport tcp needs an IP address`,
				`discovery 3 over HFI 1: it is not connected: cannot use trsvcid "70000": a port is a number from 1 to 65535`,
				`discovery 4: it is not connected: cannot use URI "nvme+tcp://192.0.2.1:x/": invalid port ":x" after host`,
				`discovery 5: it is not connected: cannot use URI "nvme+tcp://user@192.0.2.1/": it must be nvme+tcp://address:port/, an IPv6 address in brackets`,
				`discovery 6: it is not connected: cannot use URI "nvme+tcp://2001:db8::1:8009/": it must be nvme+tcp://address:port/, an IPv6 address in brackets`,
				`discovery 7 over HFI 1: it is not connected: cannot connect without a traddr: transport tcp needs an IP address`,
				`discovery 8: it is not connected: cannot use URI "192.0.2.1:8009": first path segment in URL cannot contain colon`,
				`discovery 9 over HFI 3: it is not connected: cannot use traddr "fe80::1%eth0,tls": it contains a comma`,
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			dc, err := param.Set{}.With(param.KeepAliveTMO, "30")
			if err != nil {
				t.Fatal(err)
			}
			ioc, err := param.Set{}.With(param.CtrlLossTMO, "600")
			if err != nil {
				t.Fatal(err)
			}
			connections, warnings := nbft.Wishes(nbft.Table{
				Host: nbft.Host{NQN: hostNQN, ID: hostID}, HFIs: hfis, Security: profiles, SSNS: test.ssns, Discovery: test.discovery,
			}, dc, ioc)
			var got []string
			for _, c := range connections {
				got = append(got, describe(c))
				if c.Wish.Owner != wish.OwnerNBFT || c.Wish.TID.HostNQN != hostNQN || c.Wish.TID.HostID != hostID || c.Wish.TID.HostIface != "" {
					t.Errorf("owner or persona of %+v", c)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("connections (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.warnings, warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPersonaWithoutID holds that a host ID that the table does not have is that of its NQN, and known to be no more than that.
func TestPersonaWithoutID(t *testing.T) {
	for _, test := range []struct{ nqn, want string }{
		{"nqn.2014-08.org.nvmexpress:uuid:aaaaaaaa-2222-3333-4444-555555555555", "aaaaaaaa-2222-3333-4444-555555555555"},
		{"nqn.2024-01.com.example:host", ""},
	} {
		connections, _ := nbft.Wishes(nbft.Table{
			Host: nbft.Host{NQN: test.nqn},
			SSNS: []nbft.SSNS{{Index: 1, Transport: "tcp", Traddr: netip.MustParseAddr("192.0.2.1"), NQN: nqn}},
		}, param.Set{}, param.Set{})
		if len(connections) != 1 || connections[0].Wish.TID.HostNQN != test.nqn || connections[0].Wish.TID.HostID != test.want || connections[0].Derived != (test.want != "") {
			t.Errorf("%s: %+v, want host ID %q", test.nqn, connections, test.want)
		}
	}
}
