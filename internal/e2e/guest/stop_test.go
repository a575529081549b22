// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// An administrator stops one unit: exactly its controller is disconnected, its files and registry entry are gone, and it
// stays away, also when the daemon is restarted. The stop job itself succeeds.
//
//e2e:everywhere
func TestStopOneUnit(t *testing.T) {
	f, devices := guest.Connected(t, 3)
	checkStop(f, devices, f.Subsystems[1].NQN)
}

// The same after a restart of the daemon: it did not start the unit itself, it has adopted it.
func TestStopAdoptedUnit(t *testing.T) {
	f, devices := guest.Connected(t, 3)
	guest.Run(t, "systemctl", "restart", guest.Service)
	checkStop(f, devices, f.Subsystems[1].NQN)
}

// checkStop stops the unit of an NQN and looks at what becomes of it and of the others.
func checkStop(t *guest.Fixture, devices map[string]string, nqn string) {
	t.Helper()
	unit, device := t.Unit(nqn), devices[nqn]
	guest.Run(t, "systemctl", "stop", unit)

	rest := maps.Clone(devices)
	delete(rest, nqn)
	if ok, seen := unchanged(rest)(); !ok {
		t.Fatalf("right after the stop: %s\nwant %v", seen, rest)
	}
	guest.Eventually(t, connectTimeout, "nothing left of "+device, func() (bool, string) {
		for _, path := range []string{
			"/run/nvme/registry/" + device, guest.DevidFile(unit), guest.UnitFile(device),
		} {
			if _, err := os.Stat(path); err == nil {
				return false, path + " is still there"
			}
		}
		return true, ""
	})
	guest.WaitStatus(t, "1 stopped")
	if _, err := os.Stat(guest.StoppedFile(unit)); err != nil {
		t.Errorf("it is not remembered that the unit was stopped: %v", err)
	}
	guest.Always(t, quietSpan, "stopped unit stays away", unchanged(rest))
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Always(t, quietSpan, "stopped unit stays away after a restart of the daemon", unchanged(rest))
}

// Stopping the daemon disconnects nothing. Started again, it adopts what is there: no unit is started anew, no controller
// reconnected.
//
//e2e:everywhere
func TestRestartAdopts(t *testing.T) {
	f, devices := guest.Shared(t, 2)
	before := invocations(f)
	guest.Stop(t)
	guest.Always(t, quietSpan, "connections stay while the daemon is stopped", unchanged(devices))
	guest.Start(t)
	guest.Always(t, quietSpan, "connections stay when the daemon is back", unchanged(devices))
	if after := invocations(f); !maps.Equal(before, after) {
		t.Errorf("invocations of the units changed:\n got %v\nwant %v", after, before)
	}
	for _, nqn := range f.NQNs() {
		checkFiles(f, nqn, devices[nqn])
	}
}

// invocations maps the scene's units to the IDs that systemd gave to their last start.
func invocations(f *guest.Fixture) map[string]string {
	all := map[string]string{}
	for _, unit := range guest.Units(f) {
		all[unit] = guest.Property(f, unit, "InvocationID")
	}
	return all
}

// The daemon is killed: systemd starts it again, and it carries on with the same connections.
//
//e2e:everywhere
func TestKilledDaemon(t *testing.T) {
	f, devices := guest.Shared(t, 2)
	before := invocations(f)
	guest.Run(t, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", guest.Service)
	guest.Eventually(t, connectTimeout, "service restarted and active", func() (bool, string) {
		got := guest.Properties(t, guest.Service, "NRestarts", "ActiveState")
		return got["NRestarts"] == "1" && got["ActiveState"] == "active", got["NRestarts"] + " " + got["ActiveState"]
	})
	guest.Always(t, quietSpan, "connections stay", unchanged(devices))
	if after := invocations(f); !maps.Equal(before, after) {
		t.Errorf("invocations of the units changed:\n got %v\nwant %v", after, before)
	}
}

// While the daemon is stopped, one controller is lost and a subsystem is added to the target. Back again, the daemon
// reconnects the one and connects the other.
func TestChangesWhileAway(t *testing.T) {
	f, devices := guest.Shared(t, 2)
	guest.Stop(t)
	guest.Delete(t, devices[f.Subsystems[0].NQN])
	guest.Eventually(t, connectTimeout, "controller deleted", func() (bool, string) {
		return len(guest.Controllers()) == 2, ""
	})
	added := f.Target.Subsystem("nqn.2024-01.com.example:added")
	f.Subsystems = append(f.Subsystems, added)
	f.Port.Link(added)
	guest.Start(t)
	now := f.WaitAllLive()
	if kept := f.Subsystems[1].NQN; now[kept] != devices[kept] {
		t.Errorf("device of %s: got %s, want the same as before, %s", kept, now[kept], devices[kept])
	}
}

// An administrator has connected a controller by hand before the daemon starts: the daemon claims it, with a unit and in the
// registry, and does not reconnect it.
func TestClaimsWhatIsConnected(t *testing.T) {
	f := guest.Scene(t, 2)
	nqn := f.Subsystems[0].NQN
	guest.Run(t, "modprobe", "nvme-tcp")
	guest.Run(t, "nvme", "connect", "-t", "tcp", "-a", f.Port.Traddr, "-s", f.Port.Trsvcid, "-n", nqn,
		"--hostnqn="+guest.HostNQN, "--hostid="+guest.HostID)
	before := guest.WaitLive(t, connectTimeout, nqn)
	guest.Start(t)
	after := f.WaitAllLive()
	if after[nqn] != before[nqn] {
		t.Errorf("device of %s: got %s, want the one connected by hand, %s", nqn, after[nqn], before[nqn])
	}
	checkFiles(f, nqn, after[nqn])
}

// While the daemon is stopped, one of its controllers goes, and an administrator connects the same subsystem by hand: the kernel
// gives that controller the number of the first. It is not the unit's, so stopping the unit leaves it connected. Back again, the
// daemon claims it.
func TestNumberGivenAway(t *testing.T) {
	f, devices := guest.Connected(t, 2)
	nqn := f.Subsystems[0].NQN
	device := devices[nqn]
	guest.Stop(t)
	guest.Delete(t, device)
	guest.Eventually(t, connectTimeout, "controller deleted", func() (bool, string) { return len(guest.Live(nqn)) == 0, "" })
	guest.Run(t, "nvme", "connect", "-t", "tcp", "-a", f.Port.Traddr, "-s", f.Port.Trsvcid, "-n", nqn,
		"--hostnqn="+guest.HostNQN, "--hostid="+guest.HostID)
	if got := guest.WaitOneLive(t, nqn, "connected by hand"); got != device {
		t.Fatalf("device of %s connected by hand: got %s, want the number that was free, %s", nqn, got, device)
	}
	unit := f.Unit(nqn)
	guest.Run(t, "systemctl", "stop", unit)
	if got := guest.ControllerAttribute(device, "state"); got != "live" {
		t.Errorf("%s, connected by hand, after the stop of %s: state %q, want live", device, unit, got)
	}
	if journal, want := f.Journal(), "nothing disconnected: "+device+" is not on record as the controller of "+unit; !strings.Contains(journal, want) {
		t.Errorf("the journal lacks %q", want)
	}
	guest.Start(t)
	if now := f.WaitAllLive(); now[nqn] != device {
		t.Errorf("device of %s: got %s, want the one connected by hand, %s", nqn, now[nqn], device)
	}
	checkFiles(f, nqn, device)
}
