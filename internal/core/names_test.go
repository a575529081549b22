// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"net/netip"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/probe"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

func peer(addr string) probe.Target { return probe.Target{Traddr: addr, Trsvcid: "4420"} }

func named(host string) ConfigLoaded {
	return ConfigLoaded{config.Config{Settings: config.Defaults(), Connections: []config.Connection{{
		Host: host, From: "discoverd.conf:3",
		Wish: wish.Wish{Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Trsvcid: "4420", NQN: "nqn.vol"}},
	}}}}
}

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// The addresses of a name are tried in order, all of them before there is a failure to speak of; then the name is
// resolved anew.
func TestNameTriesAllAddresses(t *testing.T) {
	s := newStage(t, named("array"))
	s.expect(s.step(Tick{}))
	s.expect(s.step(Resolved{Host: "array", Addrs: addrs("192.0.2.1", "192.0.2.2")}), "probe 192.0.2.1:4420")
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.1"), Err: "refused"}), "probe 192.0.2.2:4420")
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.2"), Err: "refused"}),
		"log warn: cannot connect: refused; refused; next attempt in 900ms (tcp, 192.0.2.2, 4420, nqn.vol)")
	s.now = s.now.Add(2 * time.Second)
	s.expect(s.step(Tick{}), "resolve array")
	s.expect(s.step(Resolved{Host: "array", Addrs: addrs("192.0.2.3")}), "probe 192.0.2.3:4420")
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.3")}), "start --transport=tcp --traddr=192.0.2.3 --trsvcid=4420 --nqn=nqn.vol")
	if n := s.m.Targets(); n != 1 {
		t.Errorf("%d targets stand for one name", n)
	}
}

// A name that cannot be resolved is asked again with back-off and told of once.
func TestNameWithoutAddress(t *testing.T) {
	s := newStage(t, named("array"))
	s.expect(s.step(Resolved{Host: "array", Err: "cannot resolve array: no such host"}),
		"log warn: discoverd.conf:3: cannot resolve array: no such host; next attempt in 900ms")
	s.now = s.now.Add(2 * time.Second)
	s.expect(s.step(Tick{}), "resolve array")
	s.expect(s.step(Resolved{Host: "array", Err: "cannot resolve array: no such host"}))
	s.now = s.now.Add(3 * time.Second)
	s.expect(s.step(Tick{}), "resolve array")
	s.expect(s.step(Resolved{Host: "array", Addrs: addrs("2001:db8::1")}), "probe [2001:db8::1]:4420")
}

// After a restart of the daemon the address that is connected counts, not the first one of the answer.
func TestNameKeepsConnectedAddress(t *testing.T) {
	s := newStage(t, named("array"))
	second := tid.TID{Transport: tid.TCP, Traddr: "192.0.2.2", Trsvcid: "4420", NQN: "nqn.vol"}
	d := Device{Owner: "discoverd", Unit: second.UnitName(), Seq: 9}
	d.Name, d.Transport, d.Traddr, d.Trsvcid, d.NQN, d.State, d.Type = "nvme1", tid.TCP, "192.0.2.2", "4420", "nqn.vol", "live", "io"
	s.step(DeviceSeen{Device: d})
	s.m.unitOf(d.Unit).active = true
	s.expect(s.step(Resolved{Host: "array", Addrs: addrs("192.0.2.1", "192.0.2.2")}),
		"log info: connected already, keeping it (tcp, 192.0.2.2, 4420, nqn.vol)")
}

// A reload that changes what is wished for of a named host does not wait for the name to be resolved anew.
func TestNameKeepsItsAddressOverReload(t *testing.T) {
	s := newStage(t, named("array"))
	s.step(Resolved{Host: "array", Addrs: addrs("192.0.2.1")})
	s.step(ProbeDone{Target: peer("192.0.2.1"), Err: "refused"})
	changed := named("array")
	w := &changed.Config.Connections[0].Wish
	w.Params, _ = w.Params.With(param.CtrlLossTMO, "60")
	s.expect(s.step(changed), "log info: the configuration was loaded anew", "resolve array")
	s.expect(s.step(Resolved{Host: "array", Err: "cannot resolve array: no such host"}),
		"log warn: discoverd.conf:3: cannot resolve array: no such host; next attempt in 1s", "probe 192.0.2.1:4420")
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.1")}), "start --transport=tcp --traddr=192.0.2.1 --trsvcid=4420 --nqn=nqn.vol --ctrl-loss-tmo=60")
	if n := s.m.Targets(); n != 1 {
		t.Errorf("%d targets stand for one name", n)
	}
}

func booted(dhcp bool) NBFTLoaded {
	w := wish.Wish{Owner: wish.OwnerNBFT, TID: tid.TID{
		Transport: tid.TCP, Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.vol", HostTraddr: "192.0.2.9", HostNQN: "nqn.firmware",
	}}
	return NBFTLoaded{[]nbft.Connection{{Wish: w, DHCP: dhcp, From: "NBFT, SSNS 1"}}}
}

// What the boot firmware names is its own, with its identity, whatever the configuration says of it.
func TestBootTargetIsNotTheConfigurations(t *testing.T) {
	cfg := named("")
	cfg.Config.Connections[0].Wish.TID.Traddr = "192.0.2.1"
	cfg.Config.Connections[0].Wish.TID.HostNQN = "nqn.host"
	s := &stage{t, New(1), time.Unix(1000, 0)}
	s.step(booted(false))
	s.step(cfg)
	s.step(BusUp{})
	s.expect(s.step(Snapshot{Token: s.m.snapToken, UnitsKnown: true}),
		"kickstart Fibre Channel",
		"log error: discoverd.conf:3 is redundant: the NBFT names this controller, and it is connected as the NBFT says (tcp, 192.0.2.1, 4420, nqn.vol)",
		"probe 192.0.2.1:4420 from 192.0.2.9")
	s.step(Snapshot{Token: s.m.snapToken, UnitsKnown: true})
	via := probe.Target{Traddr: "192.0.2.1", Trsvcid: "4420", HostTraddr: "192.0.2.9"}
	s.expect(s.step(ProbeDone{Target: via}),
		"start --transport=tcp --traddr=192.0.2.1 --trsvcid=4420 --nqn=nqn.vol --hostnqn=nqn.firmware --host-traddr=192.0.2.9")
}

// An address that the firmware got by DHCP and the host has no more is given up; one that was configured is not.
func TestBootAddressByDHCP(t *testing.T) {
	for _, dhcp := range []bool{true, false} {
		s := newStage(t, booted(dhcp), ConfigLoaded{config.Config{Settings: config.Defaults()}})
		via := probe.Target{Traddr: "192.0.2.1", Trsvcid: "4420", HostTraddr: "192.0.2.9"}
		got := s.step(ProbeDone{Target: via, Err: "not ours", Errno: noSuchSource})
		if dhcp {
			s.expect(got, "log info: the address 192.0.2.9 that the firmware got by DHCP is not this host's: connecting from any (tcp, 192.0.2.1, 4420, nqn.vol, 192.0.2.9)",
				"probe 192.0.2.1:4420")
		} else {
			s.expect(got, "log warn: cannot connect 192.0.2.9 → 192.0.2.1: not ours; next attempt in 900ms (tcp, 192.0.2.1, 4420, nqn.vol, 192.0.2.9)")
		}
	}
}

// The address comes back, as a lease does after the link was down: the path from it is wanted again.
func TestBootAddressComesBack(t *testing.T) {
	s := newStage(t, booted(true), ConfigLoaded{config.Config{Settings: config.Defaults()}})
	pinned := probe.Target{Traddr: "192.0.2.1", Trsvcid: "4420", HostTraddr: "192.0.2.9"}
	s.step(ProbeDone{Target: pinned, Err: "not ours", Errno: noSuchSource})
	s.step(ProbeDone{Target: peer("192.0.2.1"), Err: "no route"})
	s.expect(s.step(Kick{Transport: tid.TCP, Iface: "eth1", Addrs: addrs("192.0.2.8")}))
	s.expect(s.step(Kick{Transport: tid.TCP, Iface: "eth0", Addrs: addrs("192.0.2.9")}), "log info: no longer wanted (tcp, 192.0.2.1, 4420, nqn.vol)", "probe 192.0.2.1:4420 from 192.0.2.9")
}

// What came up may not be known, after lost messages: the address is tried again. And it may come back while the connect that
// needs it fails: the retry that its coming has brought about finds it.
func TestBootAddressMayBeBack(t *testing.T) {
	pinned := probe.Target{Traddr: "192.0.2.1", Trsvcid: "4420", HostTraddr: "192.0.2.9"}
	s := newStage(t, booted(true), ConfigLoaded{config.Config{Settings: config.Defaults()}})
	s.step(ProbeDone{Target: pinned, Err: "not ours", Errno: noSuchSource})
	s.step(ProbeDone{Target: peer("192.0.2.1"), Err: "no route"})
	s.expect(s.step(Kick{Transport: tid.TCP, Why: "messages were lost"}), "log info: no longer wanted (tcp, 192.0.2.1, 4420, nqn.vol)", "probe 192.0.2.1:4420 from 192.0.2.9")

	s = newStage(t, booted(true), ConfigLoaded{config.Config{Settings: config.Defaults()}})
	s.expect(s.step(Kick{Transport: tid.TCP, Iface: "eth0", Addrs: addrs("192.0.2.9"), Why: "a link is up"}))
	s.expect(s.step(ProbeDone{Target: pinned, Err: "not ours", Errno: noSuchSource}),
		"log warn: cannot connect 192.0.2.9 → 192.0.2.1: not ours; next attempt in 900ms (tcp, 192.0.2.1, 4420, nqn.vol, 192.0.2.9)")
	s.now = s.m.Deadline()
	s.expect(s.step(Tick{}), "log info: a link is up: trying what waits on tcp now (1)", "probe 192.0.2.1:4420 from 192.0.2.9")
}

// The boot firmware names the host of a discovery controller instead of its address: it is resolved as a configured one is,
// and what this host has lost of the firmware's binding is given up at each of its addresses.
func TestBootHostName(t *testing.T) {
	table := booted(true)
	c := &table.Connections[0]
	c.Host, c.Wish.TID.Traddr = "array", ""
	s := newStage(t, table, ConfigLoaded{config.Config{Settings: config.Defaults()}})
	s.expect(s.step(Resolved{Host: "array", Err: "cannot resolve array: no such host"}),
		"log warn: NBFT: NBFT, SSNS 1: cannot resolve array: no such host; next attempt in 900ms")
	s.now = s.now.Add(2 * time.Second)
	s.expect(s.step(Tick{}), "resolve array")
	via := func(addr string) probe.Target {
		return probe.Target{Traddr: addr, Trsvcid: "4420", HostTraddr: "192.0.2.9"}
	}
	s.expect(s.step(Resolved{Host: "array", Addrs: addrs("192.0.2.1", "192.0.2.2")}), "probe 192.0.2.1:4420 from 192.0.2.9")
	s.expect(s.step(ProbeDone{Target: via("192.0.2.1"), Err: "refused"}), "probe 192.0.2.2:4420 from 192.0.2.9")
	s.expect(s.step(ProbeDone{Target: via("192.0.2.2"), Err: "not ours", Errno: noSuchSource}),
		"log info: the address 192.0.2.9 that the firmware got by DHCP is not this host's: connecting from any (tcp, 192.0.2.2, 4420, nqn.vol, 192.0.2.9)",
		"probe 192.0.2.2:4420")
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.2")}),
		"start --transport=tcp --traddr=192.0.2.2 --trsvcid=4420 --nqn=nqn.vol --hostnqn=nqn.firmware")
	if n := s.m.Targets(); n != 1 {
		t.Errorf("%d targets stand for one name", n)
	}
}

// A configured name turns out to be that of a controller of the boot firmware: it is redundant, and nothing waits for an address.
func TestNameOfBootTarget(t *testing.T) {
	s := newStage(t, booted(false), named("array"))
	s.expect(s.step(Resolved{Host: "array", Addrs: addrs("192.0.2.1")}),
		"log error: discoverd.conf:3 (array) is redundant: the NBFT names this controller, and it is connected as the NBFT says (tcp, 192.0.2.1, 4420, nqn.vol)")
	view := s.m.View()
	if view.Targets.Len() != 1 || view.Status != "0 of 1 controllers connected, 1 connecting" {
		t.Errorf("%d targets, %q; want that of the firmware alone", view.Targets.Len(), view.Status)
	}
}

// request returns the answer to an administrator's request.
func (s *stage) request(op RequestOp, target string) string {
	s.t.Helper()
	for _, e := range s.m.Step(s.now, Request{Op: op, Target: target}) {
		if a, ok := e.(Answer); ok {
			return a.String()
		}
	}
	return ""
}

// An administrator can have a name without an address asked for again, by its NQN and by the TID that the view shows. A stop
// is refused as a whole: the path would come when the name gets its address.
func TestRequestsForName(t *testing.T) {
	cfg := named("array")
	cfg.Config.Connections = append(cfg.Config.Connections, config.Connection{Wish: wish.Wish{
		Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: "192.0.2.7", Trsvcid: "4420", NQN: "nqn.vol"},
	}})
	s := newStage(t, cfg)
	s.step(ProbeDone{Target: peer("192.0.2.7")})
	failed := Resolved{Host: "array", Err: "cannot resolve array: no such host"}
	s.step(failed)
	shown := s.viewed()[1].Wish.TID.Canonical()
	for _, tt := range []struct {
		op           RequestOp
		target, want string
		asked        bool
	}{
		{RequestRetry, "nqn.vol", "answer 0: done for 1", true}, // the other path is connecting
		{RequestStart, shown, "answer 0: done for 1", true},
		{RequestRetry, shown, "answer 0: done for 1", true},
		{RequestRetry, "", "answer 0: done for 1", true},
		{RequestRescan, shown, `answer 0: cannot rescan (tcp, array, 4420, nqn.vol): its host name "array" has no address yet`, false},
		{RequestRescan, "", "answer 0: done for 0", false},
		{RequestStop, shown, `answer 0: cannot stop (tcp, array, 4420, nqn.vol): its host name "array" has no address yet: take it out of the configuration or exclude its NQN`, false},
		{RequestStop, "nqn.vol", `answer 0: cannot stop (tcp, array, 4420, nqn.vol): its host name "array" has no address yet: take it out of the configuration or exclude its NQN, and stop the others by their units`, false},
		{RequestStop, "array", `answer 0: cannot find a target called "array": give a unit, nvmeN, NQN or TID that ` + "`nvme-discoverctl list` shows", false},
	} {
		if got := s.request(tt.op, tt.target); got != tt.want {
			t.Errorf("%s %q: %s\nwant %s", tt.op, tt.target, got, tt.want)
		}
		if asked := s.m.names.list[0].asking; asked != tt.asked {
			t.Errorf("%s %q: asked for the name %v, want %v", tt.op, tt.target, asked, tt.asked)
		}
		s.step(failed)
	}
	if got := s.m.targets.list[0].state; got != Connecting {
		t.Errorf("the other path is %v", got)
	}
}

// Where the configuration and exclusions are no way, a stop does not name them.
func TestStopOfBootName(t *testing.T) {
	table := booted(false)
	c := &table.Connections[0]
	c.Host, c.Wish.TID.Traddr, c.Wish.TID.NQN = "array", "", tid.DiscoveryNQN
	s := newStage(t, table, ConfigLoaded{config.Config{Settings: config.Defaults()}})
	want := `answer 0: cannot stop (tcp, array, 4420, nqn.2014-08.org.nvmexpress.discovery, 192.0.2.9): its host name "array" has no address yet: try again when it has one`
	if got := s.request(RequestStop, tid.DiscoveryNQN); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// A name without an address is shown as a target: since when it is wished for, and since when and how often its lookup fails
// for one reason.
func TestViewOfName(t *testing.T) {
	s := newStage(t, named("array"))
	wished := s.now
	fail := func(err string) {
		t.Helper()
		s.step(Resolved{Host: "array", Err: err})
		s.now = s.now.Add(time.Minute)
		s.step(Tick{})
	}
	fail("a")
	fail("b")
	since := s.now
	fail("c")
	s.step(named("array")) // a reload begins nothing anew
	fail("c")
	v := s.viewed()[0]
	if v.Unit != "" || v.Wish.TID.Traddr != "array" || v.Phase != "resolving" || !v.Since.Equal(wished) {
		t.Errorf("it is shown as %+v", v)
	}
	if v.LastError != "c" || !v.ErrorSince.Equal(since) || v.ErrorCount != 2 {
		t.Errorf("last error %q since %v, %d times; want c since %v, twice", v.LastError, v.ErrorSince, v.ErrorCount, since)
	}
}

// A host name leads to another discovery controller, since the first one does not answer any more. The ends of connections to the
// first one say nothing about the other.
func TestNameCountsEndsOfEachAddress(t *testing.T) {
	cfg := named("array")
	w := &cfg.Config.Connections[0].Wish
	w.Kind, w.TID.Trsvcid, w.TID.NQN = tid.Discovery, "8009", tid.DiscoveryNQN
	s := newStage(t, cfg)
	s.step(Resolved{Host: "array", Addrs: addrs("192.0.2.1", "192.0.2.2")})
	target := func() *target { return s.m.targets.list[0] }
	dc := func() probe.Target { return probe.Target{Traddr: target().wish.TID.Traddr, Trsvcid: "8009"} }
	seq := uint64(0)
	connectAndLose := func() {
		t.Helper()
		s.step(ProbeDone{Target: dc()})
		unit := target().unit
		seq++
		d := Device{Owner: "discoverd", Unit: unit, Seq: seq}
		d.Name, d.Transport, d.Traddr, d.Trsvcid, d.NQN, d.State, d.Type = "nvme1", tid.TCP, target().wish.TID.Traddr, "8009", tid.DiscoveryNQN, "live", "discovery"
		s.step(JobDone{Unit: unit, Op: s.m.unitOf(unit).op, Outcome: Done, Device: &d})
		if target().device == nil {
			t.Fatalf("not connected: %v", target().state)
		}
		r := target().device.reading
		s.step(LogRead{Device: "nvme1", Token: r.token, Pages: JudgePages(discoverylog.Page{}, []PageReader{{s.m.originOf(target()), target().page}})})
		s.now = s.now.Add(shortLife)
		seq++
		s.step(DeviceRemoved{Name: "nvme1", Seq: seq})
		s.step(UnitState{Unit: unit, Known: true, Info: UnitInfo{Name: unit, Active: "active", Argv: s.m.unitOf(unit).argv}})
	}
	for range endsMax - 1 {
		connectAndLose()
	}
	s.step(ProbeDone{Target: dc(), Err: "refused"})
	if got := target().wish.TID.Traddr; got != "192.0.2.2" {
		t.Fatalf("%s is tried", got)
	}
	for range endsMax - 1 {
		connectAndLose()
		if target().state == Parked {
			t.Fatalf("it is parked after %d ends of the connection to the second address", len(target().ended))
		}
	}
	connectAndLose()
	if target().state != Parked {
		t.Errorf("it is %v after %d ends", target().state, endsMax)
	}
}
