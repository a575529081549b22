// SPDX-License-Identifier: GPL-3.0-or-later

package wish

import (
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func TestArgs(t *testing.T) {
	params, err := param.Set{}.With(param.CtrlLossTMO, "600")
	if err == nil {
		params, err = params.With(param.DataDigest, "true")
	}
	if err != nil {
		t.Fatal(err)
	}
	ioc := Wish{Kind: tid.IO, TID: tid.TID{
		Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.vol", HostTraddr: "192.0.2.9", HostIface: "eth0", HostNQN: "nqn.host", HostID: "id",
	}, Params: params}
	for _, tt := range []struct {
		wish Wish
		want string
	}{
		{ioc, "--transport=tcp --traddr=192.0.2.1 --trsvcid=4420 --nqn=nqn.vol --hostnqn=nqn.host --hostid=id --host-traddr=192.0.2.9 --host-iface=eth0 --ctrl-loss-tmo=600 --data-digest"},
		{Wish{Kind: tid.Discovery, TID: tid.TID{Transport: "loop", NQN: tid.DiscoveryNQN}}, "--transport=loop --nqn=" + tid.DiscoveryNQN},
		{Wish{Kind: tid.Discovery, TID: tid.TID{Transport: "loop", NQN: "nqn.dc"}}, "--transport=loop --nqn=nqn.dc --discovery"},
	} {
		if got := strings.Join(tt.wish.Args(), " "); got != tt.want {
			t.Errorf("args\n%s, want\n%s", got, tt.want)
		}
	}
}

func TestDescription(t *testing.T) {
	for _, tt := range []struct {
		wish Wish
		want string
	}{
		{Wish{Kind: tid.IO, TID: tid.TID{Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.vol"}}, "NVMe I/O Controller nqn.vol @ 192.0.2.1:4420"},
		{Wish{Kind: tid.Discovery, TID: tid.TID{Traddr: "nn-0x0000000000000001:pn-0x0000000000000002", NQN: tid.DiscoveryNQN}}, "NVMe Discovery Controller nqn.2014-08.org.nvmexpress.discovery @ nn-0x0000000000000001:pn-0x0000000000000002"},
	} {
		if got := tt.wish.Description(); got != tt.want {
			t.Errorf("description %q, want %q", got, tt.want)
		}
	}
}

func TestOneIPVersion(t *testing.T) {
	for _, tt := range []struct{ traddr, hostTraddr, err string }{
		{"192.0.2.1", "192.0.2.9", ""},
		{"192.0.2.1", "::ffff:192.0.2.9", ""},
		{"fe80::1%eth0", "fe80::9", ""},
		{"192.0.2.1", "", ""},
		{"", "192.0.2.9", ""}, // the address of a host name is not known yet
		{"nn-0x0000000000000001:pn-0x0000000000000002", "nn-0x0000000000000003:pn-0x0000000000000004", ""},
		{"2001:db8::1", "192.0.2.9", "host-traddr 192.0.2.9 is of the other IP version"},
		{"::ffff:192.0.2.1", "2001:db8::9", "host-traddr 2001:db8::9 is of the other IP version"},
	} {
		got := ""
		if err := OneIPVersion(tid.TID{Traddr: tt.traddr, HostTraddr: tt.hostTraddr}); err != nil {
			got = err.Error()
		}
		if got != tt.err {
			t.Errorf("%s from %s: got %q, want %q", tt.traddr, tt.hostTraddr, got, tt.err)
		}
	}
}
