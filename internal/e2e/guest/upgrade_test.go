// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// An earlier build is replaced by this one, this one by the earlier one, and that by this one again, while 50 controllers of ten
// subsystems are connected, and written to through all of their paths: none is lost or connected anew, and nothing is written in
// vain. In the end a lost discovery controller comes back.
//
//e2e:previous
//e2e:seldom
func TestUpgrade(t *testing.T) {
	const ports, patience = 5, 10 * time.Minute
	f := guest.Scene(t, 10)
	for _, s := range f.Subsystems {
		s.Namespace(4 << 20)
	}
	config, wanted := discoveryConfig(f.Port), f.Wanted()
	for i := 1; i < ports; i++ {
		port := f.Target.Port(8009 + i)
		port.Link(f.Subsystems...)
		config += discoveryConfig(port)
		for _, nqn := range f.NQNs() {
			wanted = append(wanted, port.TID(nqn))
		}
	}
	guest.Configure(t, config)
	guest.KeepBuild(f)
	t.Logf("from %s", guest.InstallBuild(t, guest.PreviousBuild))
	guest.Start(t)
	guest.WaitConsistent(t, patience, wanted)
	before := fmt.Sprint(guest.Controllers())
	var writers []*guest.Writer
	for _, s := range f.Subsystems {
		s.RoundRobin()
		writers = append(writers, guest.WriteSlowlyOn(f, s, 200*time.Millisecond))
	}
	for _, build := range []string{guest.CurrentBuild, guest.PreviousBuild, guest.CurrentBuild} {
		version := guest.InstallBuild(t, build)
		guest.Run(t, "systemctl", "restart", guest.Service)
		guest.Always(t, quietSpan, "all stay with "+version, func() (bool, string) {
			now := fmt.Sprint(guest.Controllers())
			return now == before, now
		})
		guest.WaitConsistent(t, patience, wanted)
		for _, w := range writers {
			w.WaitMore(ports)
		}
		t.Logf("%d controllers stayed with %s", len(wanted), version)
	}
	for _, c := range guest.Controllers() {
		if c.NQN == guest.DiscoveryNQN && c.Trsvcid == f.Port.Trsvcid {
			guest.Delete(t, c.Name)
		}
	}
	guest.WaitConsistent(t, patience, wanted)
}

// Controllers that nvme-cli's daemon has connected, in units of its own names, are taken over as they are when this one starts in
// its place: the units keep their names, log pages are followed, and what is lost comes back.
func TestUpgradeFromForerunner(t *testing.T) {
	f := guest.Scene(t, 3)
	guest.Run(t, "modprobe", "nvme-tcp")
	devices, units := map[string]string{}, map[string]string{}
	for i, id := range f.Wanted() {
		units[id.NQN], devices[id.NQN] = guest.ConnectAsForerunner(t, id, i)
	}
	guest.Start(t)
	guest.Eventually(t, connectTimeout, "all taken over", func() (bool, string) {
		status := guest.Property(t, guest.Service, "StatusText")
		return status == fmt.Sprintf("%d of %d controllers connected", len(devices), len(devices)), status
	})
	guest.Always(t, quietSpan, "nothing is connected anew", unchanged(devices))
	for nqn, unit := range units {
		if state := guest.ActiveState(t, unit); state != "active" {
			t.Errorf("%s, the unit of %s: got %s, want it kept", unit, nqn, state)
		}
	}
	added := addSubsystem(f, "added")
	guest.WaitOneLive(t, added.NQN, "what the log page has anew is connected")
	lost := f.Subsystems[0].NQN
	guest.Delete(t, devices[lost])
	guest.WaitOneLive(t, lost, "what is lost comes back")
}
