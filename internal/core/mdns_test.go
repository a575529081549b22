// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/mdns"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// TestMDNSFlood announces other names at other addresses each second for a while: what is remembered, tried and logged stays bounded, and
// the discovery controller that is really there stays.
func TestMDNSFlood(t *testing.T) {
	cfg := config.Config{Settings: config.Defaults(), HostNQN: hostNQN}
	cfg.Settings.Zeroconf = true
	m := New(1)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lines, probes := 0, 0
	var step func(Event)
	step = func(ev Event) {
		for _, e := range m.Step(now, ev) {
			switch e := e.(type) {
			case TakeSnapshot:
				step(Snapshot{Token: e.Token, UnitsKnown: true})
			case Probe:
				probes++
				step(ProbeDone{Target: e.Target, Mute: e.Mute, Err: "cannot reach it"})
			case Log:
				if len(e.Msg) > 4 && e.Msg[:4] == "mDNS" {
					lines++
				}
			}
		}
	}
	at := func(instance, addr string) mdns.Announcement {
		return mdns.Announcement{Instance: instance, Iface: "eth0", TID: tid.TID{Transport: tid.TCP, Traddr: addr, Trsvcid: "8009", NQN: tid.DiscoveryNQN, HostIface: "eth0"}}
	}
	step(BusUp{})
	step(ConfigLoaded{Config: cfg})
	const seconds, each = 100, 20
	for i := range seconds {
		now = now.Add(time.Second)
		r := mdns.Report{Service: "Avahi", Complete: true, Found: []mdns.Announcement{at("Array", "192.0.2.10")}}
		for j := range each {
			n := i*each + j
			r.Found = append(r.Found, at(fmt.Sprintf("Flood %08d", n), fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255)))
		}
		step(MDNSReported{r})
		if work := m.Work().Touched; work > 20*(maxAnnounced+2*each) {
			t.Fatalf("second %d: a report costs %d", i, work)
		}
	}
	if n := m.Targets(); n > maxAnnounced+2*each {
		t.Errorf("%d targets", n)
	}
	if most := (seconds/60 + 1) * mdnsLines; lines > most {
		t.Errorf("%d lines of the journal, want at most %d", lines, most)
	}
	if m.targets.byTID[m.mdnsWish(at("", "192.0.2.10")).TID] == nil {
		t.Error("the discovery controller that is announced all the time is gone")
	}
	if v := m.View().MDNS; v == nil || v.Announced != each+1 {
		t.Errorf("the view has %+v", v)
	}
}
