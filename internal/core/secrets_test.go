// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"maps"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// A unit is restarted with other secrets, but not as one that has none when it wants some, nor the other way round.
func TestStartedAsWithSecrets(t *testing.T) {
	with := wish.Wish{Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: "tcp", Traddr: "192.0.2.1", NQN: "nqn.a"}, Secrets: "/etc/nvme/discoverd.conf:3:1"}
	without, moved := with, with
	without.Secrets, moved.Secrets = "", "/etc/nvme/discoverd.conf:9:1"
	command := func(w wish.Wish, more ...string) []string {
		argv := append([]string{"/usr/sbin/nvme-discoverctl", "connect"}, w.Args()...)
		return append(append(argv, "--idempotent", "--owner=discoverd", "--devid-file=/x"), more...)
	}
	const file = "--secrets-file=/run/nvme/discoverd/secrets/u"
	for _, test := range []struct {
		name string
		argv []string
		wish wish.Wish
		want bool
	}{
		{"none, none wanted", command(without, "--unit=u"), without, true},
		{"some, some wanted", command(with, file, "--unit=u"), with, true},
		{"some, others wanted", command(with, file, "--unit=u"), moved, true},
		{"none, some wanted", command(without, "--unit=u"), with, false},
		{"some, none wanted", command(with, file, "--unit=u"), without, false},
		{"as this daemon started it", argvOf(with), moved, true},
	} {
		if got := startedAs(test.argv, test.wish); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// What a log page names gets the secrets of the host and not those of the discovery controller.
func TestChildSecrets(t *testing.T) {
	o := Origin{tid: tid.TID{Transport: "tcp", Traddr: "192.0.2.1"}, found: config.Discovered{Secrets: "[host]"}}
	v := judge(o, discoverylog.Entry{Subtype: discoverylog.NVM, Transport: "tcp", Traddr: "192.0.2.2", Trsvcid: "4420", NQN: "nqn.a"})
	if v.skipped != "" || v.wish.Secrets != secret.Ref("[host]") {
		t.Errorf("%q, %v", v.wish.Secrets, v.skipped)
	}
}

// An offer of TLS is used with a key from the authentication. Where the kernel turns out to have no concat, the connection is
// made without, as nobody requires it; what the configuration asks for stays.
func TestOfferedWithoutConcat(t *testing.T) {
	value, err := secret.Parse(secret.DHChap, "DHHC-1:00:YWtha2FrYWtha2FrYWtha2FrYWtha2FrYWtha2FrYWuxHBYh:")
	if err != nil {
		t.Fatal(err)
	}
	concat, err := param.Set{}.With(param.Concat, "true")
	if err != nil {
		t.Fatal(err)
	}
	dc := wish.Wish{Kind: tid.Discovery, Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: "192.0.2.1", Trsvcid: "8009", NQN: tid.DiscoveryNQN}}
	own := wish.Wish{Owner: wish.OwnerDiscoverd, Params: concat, TID: tid.TID{Transport: tid.TCP, Traddr: "192.0.2.3", Trsvcid: "4420", NQN: "nqn.own"}}
	s := newStage(t, ConfigLoaded{config.Config{
		Settings: config.Defaults(), Secrets: map[secret.Ref]secret.Set{"[host]": {secret.DHChap: {Value: value}}},
		Connections: []config.Connection{{Wish: dc, Discovered: config.Discovered{Secrets: "[host]"}}, {Wish: own}},
	}})
	s.give(dc.TID, discoverylog.Entry{
		Subtype: discoverylog.NVM, Transport: tid.TCP, Traddr: "192.0.2.2", Trsvcid: "4420", NQN: "nqn.vol", TREQ: 2, SecType: discoverylog.SecTLS13,
	})
	unit := s.m.targets.list[s.m.Targets()-1].unit
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.2")}), "start --transport=tcp --traddr=192.0.2.2 --trsvcid=4420 --nqn=nqn.vol --concat")
	s.expect(s.step(JobDone{Unit: unit, Op: OpStart, Outcome: "failed", Failure: &state.Result{Meaning: "it lacks it", Lacks: "concat"}}),
		"log info: this kernel cannot make a TLS key from the authentication (concat): what log pages offer TLS for without requiring it is connected without",
		"log warn: cannot connect: it lacks it; next attempt in 900ms (tcp, 192.0.2.2, 4420, nqn.vol)")
	s.now = s.now.Add(2 * time.Second)
	s.expect(s.step(Tick{}), "start --transport=tcp --traddr=192.0.2.2 --trsvcid=4420 --nqn=nqn.vol")
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.3")}), "start --transport=tcp --traddr=192.0.2.3 --trsvcid=4420 --nqn=nqn.own --concat")
}

// A file asks for TLS to a target by one path, and a log page names the target without a path: one connection would serve both,
// so that neither is made without TLS. What the file says of two paths stays as it is.
func TestDiscoveredAsSecureAsConfigured(t *testing.T) {
	tls, err := param.Set{}.With(param.TLS, "true")
	if err != nil {
		t.Fatal(err)
	}
	address := func(kind tid.Kind, traddr, trsvcid, nqn, iface string) wish.Wish {
		return wish.Wish{Kind: kind, Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: traddr, Trsvcid: trsvcid, NQN: nqn, HostIface: iface}}
	}
	dc := address(tid.Discovery, "192.0.2.1", "8009", tid.DiscoveryNQN, "")
	pinned, other := address(tid.IO, "192.0.2.2", "4420", "nqn.vol", "eth0"), address(tid.IO, "192.0.2.2", "4420", "nqn.vol", "eth1")
	pinned.Params, pinned.Secrets = tls, "discoverd.conf:3:1"
	s := newStage(t, configured(dc, pinned, other))
	entry := discoverylog.Entry{Subtype: discoverylog.NVM, Transport: tid.TCP, Traddr: "192.0.2.2", Trsvcid: "4420", NQN: "nqn.vol"}
	elsewhere := entry
	elsewhere.Traddr = "192.0.2.3"
	s.give(dc.TID, entry, elsewhere)
	got := map[string]bool{}
	for _, w := range s.m.targets.list {
		_, on := w.wish.Params.Get(param.TLS)
		if (w.wish.Secrets != "") != on {
			t.Errorf("%v: secrets %q", w.wish.TID, w.wish.Secrets)
		}
		got[w.wish.TID.Traddr+" "+w.wish.TID.HostIface] = on
	}
	want := map[string]bool{"192.0.2.1 ": false, "192.0.2.2 eth0": true, "192.0.2.2 eth1": false, "192.0.2.2 ": true, "192.0.2.3 ": false}
	if !maps.Equal(got, want) {
		t.Errorf("with TLS: %v, want %v", got, want)
	}
}

// Two configured connections that one would serve, or that become one once a host name has its address, get the security that
// either asks for.
func TestConfiguredTwiceIsAsSecure(t *testing.T) {
	tls, err := param.Set{}.With(param.TLS, "true")
	if err != nil {
		t.Fatal(err)
	}
	vol := tid.TID{Transport: tid.TCP, Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.vol"}
	plain := wish.Wish{Owner: wish.OwnerDiscoverd, TID: vol}
	secured := wish.Wish{Owner: wish.OwnerDiscoverd, TID: vol, Params: tls}
	secured.TID.HostIface = "eth0"
	s := newStage(t, configured(plain, secured))
	s.expect(s.step(Tick{}))
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.1")}), "start --transport=tcp --traddr=192.0.2.1 --trsvcid=4420 --nqn=nqn.vol --tls")

	twice := named("array")
	secured.TID = vol
	twice.Config.Connections = append(twice.Config.Connections, config.Connection{Wish: secured, From: "discoverd.conf:9"})
	s = newStage(t, twice)
	s.step(Resolved{Host: "array", Addrs: addrs("192.0.2.1")})
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.1")}), "start --transport=tcp --traddr=192.0.2.1 --trsvcid=4420 --nqn=nqn.vol --tls")
}
