// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// A user asks discovery controllers by hand, with `nvme discover`, the one that the daemon is connected to and another one:
// nothing of ours changes, nothing is connected because of it.
func TestUserDiscovers(t *testing.T) {
	f, devices := guest.Connected(t, 2)
	other := f.Target.Port(8010)
	other.Link(f.Target.Subsystem("nqn.2024-01.com.example:not-ours"))
	for _, p := range []*guest.Port{f.Port, other, f.Port} {
		guest.Run(t, "nvme", "discover", "-t", "tcp", "-a", p.Traddr, "-s", p.Trsvcid)
	}
	guest.Always(t, quietSpan, "all is as before", unchanged(devices))
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	addSubsystem(f, "added") // the event for it was not taken by the user's reads
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}

// A user connects by hand, with `nvme connect`: a subsystem that nobody wants, and a second discovery controller on the port
// of ours. Both are left alone: no unit, no entry in the registry, not disconnected when the daemon restarts or reloads, not
// reconnected when the user disconnects them.
func TestUserConnects(t *testing.T) {
	f, _ := guest.Connected(t, 2)
	other := f.Target.Port(8010)
	other.Link(f.Target.Subsystem("nqn.2024-01.com.example:not-ours"))
	before := guest.Devices()
	guest.Run(t, "nvme", "connect", "-t", "tcp", "-a", other.Traddr, "-s", other.Trsvcid, "-n", "nqn.2024-01.com.example:not-ours")
	guest.Run(t, "nvme", "connect", "-t", "tcp", "-a", f.Port.Traddr, "-s", f.Port.Trsvcid, "-n", guest.DiscoveryNQN,
		"--hostnqn="+guest.HostNQN, "--hostid="+guest.HostID, "--duplicate-connect")
	var users []string
	for _, c := range guest.Controllers() {
		if before[c.NQN] != c.Name {
			users = append(users, c.Name)
		}
	}
	if len(users) != 2 {
		t.Fatalf("controllers of the user: got %v, want two", users)
	}
	guest.Always(t, quietSpan, "the user's controllers are left alone", func() (bool, string) {
		return guest.Consistent(t, f.Wanted(), users...)
	})
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Reload(t)
	guest.Always(t, quietSpan, "the user's controllers are left alone", func() (bool, string) {
		return guest.Consistent(t, f.Wanted(), users...)
	})
	for _, device := range guest.RegistryEntries() {
		if slices.Contains(users, device) {
			t.Errorf("%s, the user's, has an entry in the registry", device)
		}
	}
	for _, device := range users {
		if got := guest.ControllerAttribute(device, "state"); got != "live" {
			t.Errorf("%s, the user's: got state %q, want live", device, got)
		}
		guest.Delete(t, device)
	}
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	guest.Always(t, quietSpan, "the user's controllers stay away", func() (bool, string) {
		return guest.Consistent(t, f.Wanted())
	})
}

// Another orchestrator owns the controller of a subsystem that we want too, as the registry says: hands off, in every way.
// When it is lost, the other one has a minute to connect it again; then it is connected by us.
func TestOtherOrchestrator(t *testing.T) {
	f := guest.Scene(t, 2)
	nqn := f.Subsystems[0].NQN
	guest.Run(t, "modprobe", "nvme-tcp")
	guest.Run(t, "nvme", "connect", "-t", "tcp", "-a", f.Port.Traddr, "-s", f.Port.Trsvcid, "-n", nqn,
		"--hostnqn="+guest.HostNQN, "--hostid="+guest.HostID)
	theirs := guest.Live(nqn)[0]
	guest.Own(t, theirs, "stas")
	guest.Start(t)
	rest := slices.DeleteFunc(f.Wanted(), func(id guest.TID) bool { return id.NQN == nqn })
	guest.WaitConsistent(t, connectTimeout, rest, theirs)
	guest.Reload(t)
	guest.Always(t, quietSpan, "hands off", func() (bool, string) { return guest.Consistent(t, rest, theirs) })
	if got := guest.RegistryAttribute(theirs, "owner"); got != "stas" {
		t.Errorf("owner of %s: got %q, want stas still", theirs, got)
	}
	guest.Delete(t, theirs)
	guest.Always(t, quietSpan, "the other one's turn", func() (bool, string) { return len(guest.Live(nqn)) == 0, "" })
	guest.WaitConsistent(t, connectTimeout+time.Minute, f.Wanted())
}
