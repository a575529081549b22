// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// A subsystem is added to the target while all is connected: the discovery controller tells (an asynchronous event), and the
// new subsystem is connected. Several times, one after the other: no event is lost.
//
//e2e:everywhere
func TestSubsystemAdded(t *testing.T) {
	f, devices := guest.Connected(t, 1)
	for _, name := range []string{"first", "second", "third"} {
		added := f.Target.Subsystem("nqn.2024-01.com.example:" + name)
		f.Subsystems = append(f.Subsystems, added)
		f.Port.Link(added)
		now := f.WaitAllLive()
		for nqn, device := range devices {
			if now[nqn] != device {
				t.Errorf("device of %s: got %s, want the same as before, %s", nqn, now[nqn], device)
			}
		}
		devices = now
	}
}

// Many subsystems are added at once: all of them are connected, though the target sends only one event.
//
//e2e:crowded
func TestSubsystemsAddedAtOnce(t *testing.T) {
	f, _ := guest.Connected(t, 1)
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		added := f.Target.Subsystem("nqn.2024-01.com.example:" + name)
		f.Subsystems = append(f.Subsystems, added)
		f.Port.Link(added)
	}
	f.WaitAllLive()
}

// The target stops showing a subsystem to this host, in its log page, while the connection itself stays good: nothing is
// disconnected. When it is deleted after that, nobody wants it any more: it stays away and its unit goes.
func TestSubsystemHidden(t *testing.T) {
	f, devices := guest.Connected(t, 3)
	hidden := f.Subsystems[0]
	mark := f.Mark()
	hidden.AllowOnly("nqn.2014-08.org.nvmexpress:uuid:99999999-9999-9999-9999-999999999999")
	guest.Always(t, quietSpan, "nothing is disconnected", unchanged(devices))

	guest.Delete(t, devices[hidden.NQN])
	f.WaitUnit(f.Unit(hidden.NQN), "inactive")
	delete(devices, hidden.NQN)
	guest.Always(t, quietSpan, "no longer desired: not reconnected", unchanged(devices))

	hidden.AllowAll()
	f.WaitAllLive()
	t.Logf("journal since it was hidden:\n%s", f.Journal(mark))
}

// A controller is deleted behind the daemon's back, as `nvme disconnect -d` does: that is a loss, not a wish. It comes back,
// under the same unit, and the others are not touched. The discovery controller too.
//
//e2e:everywhere
func TestDeletedComesBack(t *testing.T) {
	f, devices := guest.Connected(t, 3)
	for _, nqn := range []string{f.Subsystems[0].NQN, guest.DiscoveryNQN} {
		guest.Delete(t, devices[nqn])
		guest.Eventually(t, connectTimeout, nqn+" is back", func() (bool, string) {
			live := guest.Live(nqn)
			return len(live) == 1, ""
		})
		now := f.WaitAllLive()
		for other, device := range devices {
			if other != nqn && now[other] != device {
				t.Errorf("device of %s: got %s, want the same as before, %s", other, now[other], device)
			}
		}
		checkEventually(f, nqn)
		devices = now
	}
	// The discovery controller that came back still tells of changes.
	added := f.Target.Subsystem("nqn.2024-01.com.example:added")
	f.Subsystems = append(f.Subsystems, added)
	f.Port.Link(added)
	f.WaitAllLive()
}

// checkEventually waits until the files of a connection that has just come back are right: they are written a moment after
// the controller is live.
func checkEventually(f *guest.Fixture, nqn string) {
	f.Helper()
	device := guest.Devices()[nqn]
	guest.Eventually(f, connectTimeout, "files of "+device, func() (bool, string) {
		owner := guest.RegistryAttribute(device, "owner")
		return owner == "discoverd", owner
	})
	checkFiles(f, nqn, device)
}

// A controller is deleted, comes back and is deleted again at once: it comes back again. Flapping slows the retries down,
// it never ends them.
//
//e2e:crowded
func TestDeletedTwice(t *testing.T) {
	f, _ := guest.Connected(t, 2)
	nqn := f.Subsystems[0].NQN
	for range 3 {
		guest.Delete(t, guest.WaitOneLive(t, nqn, nqn+" is live"))
	}
	f.WaitAllLive()
}

// The whole target goes away for a moment and comes back: the kernel reconnects what it can, the daemon connects what the
// kernel gave up, and in the end everything is connected exactly once.
func TestTargetRestarts(t *testing.T) {
	f, _ := guest.Connected(t, 3)
	f.Port.Unlink(f.Subsystems...)
	guest.Eventually(t, connectTimeout, "no controller is live", func() (bool, string) {
		for _, c := range guest.Controllers() {
			if c.State == "live" {
				return false, c.String()
			}
		}
		return true, ""
	})
	f.Port.Link(f.Subsystems...)
	f.WaitAllLive()
	if got := len(guest.Units(t)); got != 4 {
		t.Errorf("units: got %d, want 4", got)
	}
}
