// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"net"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// An administrator stops a unit. It stays stopped over a restart and a crash of the daemon; a reload of the service takes
// the stop back and connects it again.
func TestStopUntilReload(t *testing.T) {
	f, devices := guest.Shared(t, 2)
	nqn := f.Subsystems[0].NQN
	guest.Run(t, "systemctl", "stop", f.Unit(nqn))
	delete(devices, nqn)
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Signal(t, "KILL")
	guest.Eventually(t, connectTimeout, "the service is back", func() (bool, string) {
		got := guest.Properties(t, guest.Service, "NRestarts", "ActiveState")
		return got["NRestarts"] != "0" && got["ActiveState"] == "active", got["ActiveState"]
	})
	guest.Always(t, quietSpan, "what was stopped stays away", unchanged(devices))
	guest.Reload(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}

// An administrator stops the unit of the discovery controller: what it led to stays connected and is still looked after;
// what is added to the log page meanwhile is connected after a reload.
func TestStopDiscoveryController(t *testing.T) {
	f, devices := guest.Shared(t, 2)
	guest.Run(t, "systemctl", "stop", f.Unit(guest.DiscoveryNQN))
	delete(devices, guest.DiscoveryNQN)
	guest.Always(t, quietSpan, "the rest stays connected", unchanged(devices))
	nqn := f.Subsystems[0].NQN
	guest.Delete(t, devices[nqn])
	guest.WaitOneLive(t, nqn, nqn+" is back")
	addSubsystem(f, "added")
	guest.Always(t, quietSpan, "nobody tells of the added one", func() (bool, string) { return len(guest.Controllers()) <= 2, "" })
	guest.Reload(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}

// A controller is lost and its target does not answer, so that the daemon pauses between attempts. An administrator stops
// the unit: when the target is back, everything else is connected and this one stays away, until a reload.
//
//e2e:patient
func TestStopWhileBackingOff(t *testing.T) {
	f, _ := scene(t, 2, 3, 1, connectTimeout)
	nqn := f.Subsystems[0].NQN
	f.Port.Unlink(f.Subsystems...)
	waitNone(t, connectTimeout)
	guest.Run(t, "systemctl", "stop", f.Unit(nqn))
	guest.WaitStatus(t, "1 stopped")
	f.Port.Link(f.Subsystems...)
	guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, f.Subsystems[1].NQN)
	guest.Always(t, quietSpan, "what was stopped stays away", func() (bool, string) { return len(guest.Controllers()) == 2, "" })
	guest.Reload(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}

// An administrator stops a unit while its connect hangs on a peer that accepts and stays mute: the stop succeeds, and the
// connect is not tried again.
//
//e2e:crowded
func TestStopWhileConnecting(t *testing.T) {
	f := guest.Scene(t, 1)
	mute, err := net.Listen("tcp", "127.0.0.1:9999")
	if err != nil {
		t.Fatalf("cannot listen: %v", err)
	}
	defer mute.Close()
	peer := &guest.Port{Transport: "tcp", Traddr: "127.0.0.1", Trsvcid: "9999"}
	guest.Configure(t, discoveryConfig(f.Port)+subsystemConfig(peer, "nqn.2024-01.com.example:mute", ""))
	guest.Start(t)
	unit := peer.TID("nqn.2024-01.com.example:mute").Unit()
	f.WaitUnit(unit, "activating")
	guest.Run(t, "systemctl", "stop", unit)
	mark := f.Mark()
	guest.WaitStatus(t, "1 stopped")
	guest.WaitLive(t, connectTimeout, f.NQNs()...)
	guest.Always(t, quietSpan, "it is not tried again", func() (bool, string) {
		state := guest.ActiveState(t, unit)
		return state == "inactive", state
	})
	if journal := f.Journal(mark); strings.Contains(journal, "Starting "+unit) {
		t.Errorf("the unit was started again:\n%s", journal)
	}
}

// An administrator restarts the unit of a connection: it is disconnected and connected anew, once, by the same unit; the
// daemon goes on looking after it, and the others are not touched.
func TestRestartOfUnit(t *testing.T) {
	f, devices := guest.Connected(t, 3)
	for _, nqn := range []string{f.Subsystems[0].NQN, guest.DiscoveryNQN} {
		guest.Run(t, "systemctl", "restart", f.Unit(nqn))
		guest.WaitConsistent(t, connectTimeout, f.Wanted())
	}
	now := guest.Devices()
	for _, s := range f.Subsystems[1:] {
		if now[s.NQN] != devices[s.NQN] {
			t.Errorf("device of %s: got %s, want the same as before, %s", s.NQN, now[s.NQN], devices[s.NQN])
		}
	}
	nqn := f.Subsystems[0].NQN
	guest.Delete(t, now[nqn])
	guest.Eventually(t, connectTimeout, "deleted", func() (bool, string) { return len(guest.Live(nqn)) == 0, "" })
	addSubsystem(f, "added")
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}
