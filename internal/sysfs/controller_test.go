// SPDX-License-Identifier: GPL-3.0-or-later

package sysfs

import (
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

const (
	nqnA    = "nqn.2024-01.com.example:a"
	nqnB    = "nqn.2024-01.com.example:b"
	nqnHost = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"

	nqnHostSmall    = "nqn.2014-08.org.nvmexpress:uuid:1111abcd-2222-3333-4444-555555555555"
	nqnHostCapitals = "nqn.2014-08.org.nvmexpress:uuid:1111ABCD-2222-3333-4444-555555555555"
)

func TestServes(t *testing.T) {
	io := Controller{
		Name: "nvme1", Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqnA, HostNQN: nqnHost,
		SrcAddr: "192.0.2.100", SrcIface: "eth0", State: "live", Type: "io",
	}
	ioWish := tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqnA, HostNQN: nqnHost}
	dc := Controller{
		Name: "nvme2", Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "8009", NQN: tid.DiscoveryNQN, HostNQN: nqnHost,
		SrcAddr: "192.0.2.100", SrcIface: "eth0", State: "live", Type: "discovery",
	}
	dcWish := tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "8009", NQN: tid.DiscoveryNQN, HostNQN: nqnHost}
	// A controller that somebody connected without pinning it, and that has lost its connection.
	lost := io
	lost.State, lost.SrcAddr, lost.SrcIface = "connecting", "", ""
	v6 := io
	v6.Traddr, v6.SrcAddr = "fe80::1%eth0", "fe80::2%eth0"
	v6Wish := ioWish
	v6Wish.Traddr = "fe80::1%eth0"
	rdma := Controller{
		Name: "nvme3", Transport: "rdma", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqnA, HostNQN: nqnHost,
		State: "live", Type: "io",
	}
	rdmaWish := ioWish
	rdmaWish.Transport = "rdma"
	fc := Controller{
		Name: "nvme4", Transport: "fc", Traddr: "nn-0x20000090fa942779:pn-0x10000090fa942779", NQN: nqnA, HostNQN: nqnHost,
		HostTraddr: "nn-0x20000090fa942778:pn-0x10000090fa942778", State: "live", Type: "io",
	}
	fcWish := tid.TID{
		Transport: "fc", Traddr: "nn-0x20000090fa942779:pn-0x10000090fa942779", NQN: nqnA, HostNQN: nqnHost,
		HostTraddr: "nn-0x20000090fa942778:pn-0x10000090fa942778",
	}
	loop := Controller{Name: "nvme5", Transport: "loop", NQN: nqnA, HostNQN: nqnHost, State: "live", Type: "io"}
	loopWish := tid.TID{Transport: "loop", NQN: nqnA, HostNQN: nqnHost}

	c := func(c Controller, change func(*Controller)) Controller { change(&c); return c }
	w := func(t tid.TID, change func(*tid.TID)) tid.TID { change(&t); return t }

	for _, test := range []struct {
		name string
		c    Controller
		wish tid.TID
		want bool
	}{
		{"the same", io, ioWish, true},
		{"nothing known of the controller", Controller{}, ioWish, false},
		{"host NQN in capitals", c(io, func(c *Controller) { c.HostNQN = nqnHostCapitals }), w(ioWish, func(t *tid.TID) { t.HostNQN = nqnHostSmall }), true},
		{"NQN in capitals", c(io, func(c *Controller) { c.NQN = nqnHostSmall }), w(ioWish, func(t *tid.TID) { t.NQN = nqnHostCapitals }), true},
		{"another case of what is no UUID", c(io, func(c *Controller) { c.NQN = "nqn.2024-01.com.example:A" }), ioWish, false},
		{"nothing wished", io, tid.TID{}, false},
		{"nothing against nothing", Controller{}, tid.TID{}, false},

		{"state new", c(io, func(c *Controller) { c.State = "new" }), ioWish, true},
		{"state resetting", c(io, func(c *Controller) { c.State = "resetting" }), ioWish, true},
		{"state connecting", c(io, func(c *Controller) { c.State = "connecting" }), ioWish, true},
		{"state deleting", c(io, func(c *Controller) { c.State = "deleting" }), ioWish, false},
		{"state deleting (no IO)", c(io, func(c *Controller) { c.State = "deleting (no IO)" }), ioWish, false},
		{"state dead", c(io, func(c *Controller) { c.State = "dead" }), ioWish, false},
		{"state unknown", c(io, func(c *Controller) { c.State = "" }), ioWish, false},
		{"a state of a later kernel", c(io, func(c *Controller) { c.State = "frozen" }), ioWish, false},

		{"another transport", rdma, ioWish, false},
		{"transport unknown", c(io, func(c *Controller) { c.Transport = "" }), ioWish, false},
		{"another address", io, w(ioWish, func(t *tid.TID) { t.Traddr = "192.0.2.2" }), false},
		{"address unknown", c(io, func(c *Controller) { c.Traddr = "" }), ioWish, false},
		{"the address mapped into IPv6", c(io, func(c *Controller) { c.Traddr = "::ffff:192.0.2.1" }), ioWish, true},
		{"the wish mapped into IPv6", io, w(ioWish, func(t *tid.TID) { t.Traddr = "::ffff:192.0.2.1" }), true},
		{
			"IPv6 spelled differently",
			c(io, func(c *Controller) { c.Traddr = "2001:db8::1" }),
			w(ioWish, func(t *tid.TID) { t.Traddr = "2001:0DB8:0::1" }), true,
		},
		{"another port", io, w(ioWish, func(t *tid.TID) { t.Trsvcid = "4421" }), false},
		{"port unknown", c(io, func(c *Controller) { c.Trsvcid = "" }), ioWish, false},
		{"another NQN", io, w(ioWish, func(t *tid.TID) { t.NQN = nqnB }), false},
		{"NQN unknown", c(io, func(c *Controller) { c.NQN = "" }), ioWish, false},
		{"NQN that differs in case", io, w(ioWish, func(t *tid.TID) { t.NQN = "NQN.2024-01.com.example:a" }), false},
		{"NQN neither known nor wished", c(io, func(c *Controller) { c.NQN = "" }), w(ioWish, func(t *tid.TID) { t.NQN = "" }), false},

		{"another host NQN", io, w(ioWish, func(t *tid.TID) { t.HostNQN = nqnB }), false},
		{"host NQN unknown", c(io, func(c *Controller) { c.HostNQN = "" }), ioWish, true},
		{"host NQN not wished", io, w(ioWish, func(t *tid.TID) { t.HostNQN = "" }), true},
		{"another host ID", c(io, func(c *Controller) { c.HostID = "1" }), w(ioWish, func(t *tid.TID) { t.HostID = "2" }), true},

		{"DC by its well-known NQN", dc, dcWish, true},
		{"DC that shows a unique NQN", c(dc, func(c *Controller) { c.NQN = nqnA }), dcWish, true},
		{"DC that shows no NQN", c(dc, func(c *Controller) { c.NQN = "" }), dcWish, true},
		{"DC by its unique NQN", c(dc, func(c *Controller) { c.NQN = nqnA }), w(dcWish, func(t *tid.TID) { t.NQN = nqnA }), true},
		{"DC by another unique NQN", c(dc, func(c *Controller) { c.NQN = nqnA }), w(dcWish, func(t *tid.TID) { t.NQN = nqnB }), false},
		{"DC by a unique NQN that it does not show", dc, w(dcWish, func(t *tid.TID) { t.NQN = nqnA }), false},
		{"DC of a kernel without cntrltype", c(dc, func(c *Controller) { c.Type = "" }), dcWish, true},
		{"DC that reports no type", c(dc, func(c *Controller) { c.Type = "reserved" }), dcWish, true},
		{"an I/O controller is no DC", c(io, func(c *Controller) { c.Trsvcid = "8009" }), dcWish, false},
		{"something that was never up is no DC", c(dc, func(c *Controller) { c.Type, c.NQN = "reserved", "" }), dcWish, false},
		{"another DC", dc, w(dcWish, func(t *tid.TID) { t.Traddr = "192.0.2.2" }), false},

		{"pinned to its source address", io, w(ioWish, func(t *tid.TID) { t.HostTraddr = "192.0.2.100" }), true},
		{"pinned to another source address", io, w(ioWish, func(t *tid.TID) { t.HostTraddr = "192.0.2.101" }), false},
		{
			"the source address mapped into IPv6",
			c(io, func(c *Controller) { c.SrcAddr = "::ffff:192.0.2.100" }),
			w(ioWish, func(t *tid.TID) { t.HostTraddr = "192.0.2.100" }), true,
		},
		{
			"both pinned to one address",
			c(lost, func(c *Controller) { c.HostTraddr = "192.0.2.100" }),
			w(ioWish, func(t *tid.TID) { t.HostTraddr = "192.0.2.100" }), true,
		},
		{
			"both pinned, to two addresses",
			c(lost, func(c *Controller) { c.HostTraddr = "192.0.2.100" }),
			w(ioWish, func(t *tid.TID) { t.HostTraddr = "192.0.2.101" }), false,
		},
		{"a pinned controller, an open wish", c(io, func(c *Controller) { c.HostTraddr, c.HostIface = "192.0.2.100", "eth0" }), ioWish, true},
		{"lost, wish pinned to an address", lost, w(ioWish, func(t *tid.TID) { t.HostTraddr = "192.0.2.100" }), true},

		{"pinned to its interface", io, w(ioWish, func(t *tid.TID) { t.HostIface = "eth0" }), true},
		{"pinned to another interface", io, w(ioWish, func(t *tid.TID) { t.HostIface = "eth1" }), false},
		{
			"both pinned to one interface",
			c(lost, func(c *Controller) { c.HostIface = "eth0" }),
			w(ioWish, func(t *tid.TID) { t.HostIface = "eth0" }), true,
		},
		{
			"both pinned, to two interfaces",
			c(lost, func(c *Controller) { c.HostIface = "eth1" }),
			w(ioWish, func(t *tid.TID) { t.HostIface = "eth0" }), false,
		},
		{"lost, wish pinned to an interface", lost, w(ioWish, func(t *tid.TID) { t.HostIface = "eth0" }), true},
		{
			"lost, pinned to an address of the interface",
			c(lost, func(c *Controller) { c.HostTraddr, c.SrcIface = "192.0.2.100", "eth0" }),
			w(ioWish, func(t *tid.TID) { t.HostIface = "eth0" }), true,
		},
		{
			"lost, pinned to an address of another interface",
			c(lost, func(c *Controller) { c.HostTraddr, c.SrcIface = "192.0.2.100", "eth1" }),
			w(ioWish, func(t *tid.TID) { t.HostIface = "eth0" }), false,
		},
		{
			"source address that no interface holds",
			c(io, func(c *Controller) { c.SrcIface = "" }),
			w(ioWish, func(t *tid.TID) { t.HostIface = "eth0" }), false,
		},
		{"pinned to both", io, w(ioWish, func(t *tid.TID) { t.HostTraddr, t.HostIface = "192.0.2.100", "eth0" }), true},
		{"pinned to both, the interface differs", io, w(ioWish, func(t *tid.TID) { t.HostTraddr, t.HostIface = "192.0.2.100", "eth1" }), false},
		{"pinned to both, the address differs", io, w(ioWish, func(t *tid.TID) { t.HostTraddr, t.HostIface = "192.0.2.101", "eth0" }), false},

		{"IPv6 in one zone", v6, v6Wish, true},
		{"IPv6 in two zones", v6, w(v6Wish, func(t *tid.TID) { t.Traddr = "fe80::1%eth1" }), false},
		{
			"the zone is the interface of the wish",
			v6, w(v6Wish, func(t *tid.TID) { t.Traddr, t.HostIface = "fe80::1", "eth0" }), true,
		},
		{
			"the zone is not the interface of the wish",
			v6, w(v6Wish, func(t *tid.TID) { t.Traddr, t.HostIface = "fe80::1", "eth1" }), false,
		},
		{"the wish names no zone", v6, w(v6Wish, func(t *tid.TID) { t.Traddr = "fe80::1" }), false},
		{
			"the zone is the interface of the controller",
			c(v6, func(c *Controller) { c.Traddr, c.HostIface = "fe80::1", "eth0" }), v6Wish, true,
		},
		{"a link-local source address", v6, w(v6Wish, func(t *tid.TID) { t.HostTraddr = "fe80::2%eth0" }), true},
		{"a link-local source address in another zone", v6, w(v6Wish, func(t *tid.TID) { t.HostTraddr = "fe80::2%eth1" }), false},
		{"a link-local source address by its interface", v6, w(v6Wish, func(t *tid.TID) { t.HostTraddr, t.HostIface = "fe80::2", "eth0" }), true},

		{"RDMA", rdma, rdmaWish, true},
		{"RDMA never shows where it comes from: address", rdma, w(rdmaWish, func(t *tid.TID) { t.HostTraddr = "192.0.2.100" }), false},
		{"RDMA never shows where it comes from: interface", rdma, w(rdmaWish, func(t *tid.TID) { t.HostIface = "eth0" }), false},
		{
			"RDMA pinned",
			c(rdma, func(c *Controller) { c.HostTraddr, c.SrcIface = "192.0.2.100", "eth0" }),
			w(rdmaWish, func(t *tid.TID) { t.HostTraddr, t.HostIface = "192.0.2.100", "eth0" }), true,
		},

		{"FC", fc, fcWish, true},
		{"FC in capitals", fc, w(fcWish, func(t *tid.TID) { t.Traddr = "nn-0x20000090FA942779:pn-0x10000090FA942779" }), true},
		{"FC host port in capitals", fc, w(fcWish, func(t *tid.TID) { t.HostTraddr = "nn-0x20000090FA942778:pn-0x10000090FA942778" }), true},
		{"FC from another host port", fc, w(fcWish, func(t *tid.TID) { t.HostTraddr = "nn-0x0000000000000002:pn-0x0000000000000001" }), false},
		{"FC from any host port", fc, w(fcWish, func(t *tid.TID) { t.HostTraddr = "" }), true},
		{"FC to another port", fc, w(fcWish, func(t *tid.TID) { t.Traddr = "nn-0x0000000000000002:pn-0x0000000000000001" }), false},
		{"FC has no service, whatever a log page says", fc, w(fcWish, func(t *tid.TID) { t.Trsvcid = "none" }), true},
		{"FC that has never reached its target", c(fc, func(c *Controller) { c.State, c.NQN, c.Type = "connecting", "", "reserved" }), fcWish, false},

		{"loop", loop, loopWish, true},
		{"loop to another port", loop, w(loopWish, func(t *tid.TID) { t.Traddr = "1" }), false},
	} {
		if got := test.c.Serves(test.wish); got != test.want {
			t.Errorf("%s: %v, want %v\n%+v\n%+v", test.name, got, test.want, test.c, test.wish)
		}
	}
}

func TestServesSurely(t *testing.T) {
	live := Controller{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqnA, SrcAddr: "192.0.2.100", SrcIface: "eth0", State: "live", Type: "io"}
	lost := live
	lost.State, lost.SrcAddr, lost.SrcIface = "connecting", "", ""
	toIface, toAddr := lost, lost
	toIface.HostIface = "eth0"
	toAddr.HostTraddr, toAddr.SrcIface = "192.0.2.100", "eth0"
	free := tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqnA}
	byIface, byAddr := free, free
	byIface.HostIface = "eth0"
	byAddr.HostTraddr = "192.0.2.100"

	for _, test := range []struct {
		name         string
		c            Controller
		wish         tid.TID
		serves, sure bool
	}{
		{"live, nothing is pinned", live, free, true, true},
		{"live, by the interface that it uses", live, byIface, true, true},
		{"live, by the address that it uses", live, byAddr, true, true},
		{"lost, nothing is pinned", lost, free, true, true},
		{"lost, by an interface", lost, byIface, true, false},
		{"lost, by an address", lost, byAddr, true, false},
		{"lost and pinned to the interface", toIface, byIface, true, true},
		{"lost and pinned to the interface, by an address", toIface, byAddr, true, false},
		{"lost and pinned to the address", toAddr, byAddr, true, true},
		{"lost and pinned to the address, by its interface", toAddr, byIface, true, true},
	} {
		if got := test.c.Serves(test.wish); got != test.serves {
			t.Errorf("%s: Serves is %v", test.name, got)
		}
		if got := test.c.ServesSurely(test.wish); got != test.sure {
			t.Errorf("%s: ServesSurely is %v", test.name, got)
		}
	}
}
