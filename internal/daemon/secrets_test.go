// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// configuration has one secret, found at a place.
func configuration(t *testing.T, from string) config.Config {
	t.Helper()
	v, err := secret.Parse(secret.DHChap, "DHHC-1:01:YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmLUSf1H:")
	if err != nil {
		t.Fatal(err)
	}
	return config.Config{Secrets: map[secret.Ref]secret.Set{"[host]": {secret.DHChap: {Value: v, From: from}}}}
}

// The secrets of a wish are there when its job begins: those of the configuration of the moment at which it was wanted. A
// reload renews those that are there, and no others. A wish without secrets takes them away.
func TestProvideSecrets(t *testing.T) {
	x, posted, _ := executing(t, host(t))
	const unitB = "nvme-discoverd-bbbbbbbbbbbb.service"
	w := wish.Wish{Secrets: "[host]"}
	from := func(name string) string {
		done := make(chan struct{})
		x.queue.run(name, func() { close(done) })
		<-done
		if !x.reader.state.HasSecrets(name) {
			return ""
		}
		set, err := x.reader.state.Secrets(name)
		if err != nil {
			t.Fatal(err)
		}
		return set.String()
	}
	run := func(w wish.Wish) core.JobDone {
		j := job{op: core.OpRestart, unit: unitA, prepare: x.provide(unitA, w)}
		j.do = func(context.Context) unit.Result { return unit.Result{Outcome: unit.Done, Err: nil} }
		j.timeout = config.Infinity
		x.use(configuration(t, "a reload after it was wanted"))
		x.run(t.Context(), j)
		return (<-posted).(core.JobDone)
	}
	x.use(configuration(t, "one"))
	if done := run(w); done.Outcome != core.Done || from(unitA) != "dhchap-secret from one" {
		t.Errorf("%+v, %q", done, from(unitA))
	}
	x.use(configuration(t, "two"))
	x.renew(slices.Values([]*core.TargetView{{Wish: w, Unit: unitA}, {Wish: w, Unit: unitB}, {Wish: w}}))
	if a, b := from(unitA), from(unitB); a != "dhchap-secret from two" || b != "" {
		t.Errorf("after a reload: %q, %q", a, b)
	}
	x.use(config.Config{})
	done := run(w)
	if want := "cannot connect (): its secrets, those of [host], are no longer configured"; done.Outcome != core.Outcome(unit.Error) || done.Err != want {
		t.Errorf("%+v, want error %q", done, want)
	}
	x.use(config.Config{Unusable: map[secret.Ref]string{"[host]": "/etc/nvme/discoverd.conf:3:1: cannot use it"}})
	stop := job{op: core.OpStart, unit: unitA, prepare: x.provide(unitA, w)}
	if err := stop.prepare(); err == nil || err.Error() != "its configuration has an error: /etc/nvme/discoverd.conf:3:1: cannot use it" {
		t.Errorf("unusable: %v", err)
	}
	if run(wish.Wish{}); from(unitA) != "" {
		t.Errorf("left: %q", from(unitA))
	}
}

// A reload gives the discovery controller nvme0 other secrets for what its log page names, and all units' secrets are renewed. When
// the page is judged anew, or was read again before that, those of what it names are renewed, and no others.
func TestRenewSecretsOfPage(t *testing.T) {
	wishOf := func(traddr, nqn string, kind tid.Kind) wish.Wish {
		return wish.Wish{Kind: kind, Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: traddr, Trsvcid: "8009", NQN: nqn}}
	}
	dcs := []wish.Wish{wishOf("192.0.2.1", tid.DiscoveryNQN, tid.Discovery), wishOf("192.0.2.2", tid.DiscoveryNQN, tid.Discovery)}
	children := []wish.Wish{wishOf("192.0.2.3", "nqn.a", tid.IO), wishOf("192.0.2.4", "nqn.b", tid.IO)}
	configured := func(from string, first secret.Ref) core.ConfigLoaded {
		cfg := configuration(t, from)
		cfg.Settings, cfg.Secrets["other"] = config.Defaults(), cfg.Secrets["[host]"]
		cfg.Connections = []config.Connection{
			{Wish: dcs[0], Discovered: config.Discovered{Secrets: first}}, {Wish: dcs[1], Discovered: config.Discovered{Secrets: "[host]"}},
		}
		return core.ConfigLoaded{Config: cfg}
	}
	var snap core.Snapshot
	for i, w := range slices.Concat(dcs, children) {
		d := core.Device{Owner: "discoverd", Unit: w.TID.UnitName(), Seq: 1}
		d.Name, d.Transport, d.Traddr, d.Trsvcid, d.NQN, d.State = fmt.Sprintf("nvme%d", i), w.TID.Transport, w.TID.Traddr, w.TID.Trsvcid, w.TID.NQN, "live"
		snap.Devices = append(snap.Devices, d)
		snap.Units = append(snap.Units, core.UnitInfo{Name: d.Unit, Active: "active"})
	}
	snap.UnitsKnown = true
	page := map[string]discoverylog.Page{}
	for i, w := range children {
		page[fmt.Sprintf("nvme%d", i)] = discoverylog.Page{Entries: []discoverylog.Entry{{
			Subtype: discoverylog.NVM, Transport: w.TID.Transport, Traddr: w.TID.Traddr, Trsvcid: w.TID.Trsvcid, NQN: w.TID.NQN,
		}}}
	}
	d, _ := idle(t, host(t))
	d.machine = core.New(1)
	now := time.Unix(1000, 0)
	var judge []core.Judge
	// step takes an event and all that follows from it, but for what is to be judged anew.
	var step func(core.Event)
	step = func(ev core.Event) {
		if loaded, ok := ev.(core.ConfigLoaded); ok {
			d.effects.use(loaded.Config)
		}
		effects := d.machine.Step(now, ev)
		d.renewSecrets(ev)
		for _, e := range effects {
			switch e := e.(type) {
			case core.TakeSnapshot:
				snap.Token = e.Token
				step(snap)
			case core.ReadLog:
				step(core.LogRead{Device: e.Device, Token: e.Token, Pages: core.JudgePages(page[e.Device], e.Readers)})
			case core.Judge:
				judge = append(judge, e)
			}
		}
	}
	settle := func(w wish.Wish) { // what is done about its unit is done
		done := make(chan struct{})
		d.effects.queue.run(w.TID.UnitName(), func() { close(done) })
		<-done
	}
	write := func(from string) {
		for _, w := range children {
			settle(w)
			if err := d.reader.state.WriteSecrets(w.TID.UnitName(), configuration(t, from).Secrets["[host]"]); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect := func(when string, want ...string) {
		t.Helper()
		var got []string
		for _, w := range children {
			settle(w)
			set, err := d.reader.state.Secrets(w.TID.UnitName())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, set.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	const stale, one, two, three = "dhchap-secret from stale", "dhchap-secret from one", "dhchap-secret from two", "dhchap-secret from three"

	step(configured("one", "[host]"))
	step(core.BusUp{})
	if n := d.machine.View().Targets.Len(); n != 4 || len(judge) > 0 {
		t.Fatalf("%d targets, %d pages are judged anew", n, len(judge))
	}
	write("stale")
	step(configured("one", "[host]"))
	expect("a reload", one, one)
	step(configured("two", "other"))
	write("stale")
	step(core.Judged{TID: judge[0].TID, Page: core.JudgeAnew(judge[0].Page, judge[0].Origin)})
	expect("the page is judged anew", two, stale)
	step(configured("three", "[host]"))
	write("stale")
	step(core.LogChanged{Device: "nvme0"})
	expect("the page is read again", three, stale)
	step(core.Judged{TID: judge[1].TID, Page: core.JudgeAnew(judge[1].Page, judge[1].Origin)})
	expect("and has been judged anew, too late", three, stale)
}
