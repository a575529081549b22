// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// A host is its own target by transport loop, without any network: the discovery controller, which has no address, and a
// subsystem behind it are connected; so are they again after a disconnect behind the daemon's back, and after the target
// took the subsystem away and showed it again.
func TestLoop(t *testing.T) {
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	port, subsystem := target.LoopPort(), target.Subsystem("nqn.2024-01.com.example:vol1")
	port.Link(subsystem)
	guest.Configure(m, "[[discovery-controller]]\ncontroller = [{ transport = \"loop\" }]\n")
	guest.Start(m)
	wanted := []guest.TID{port.TID(guest.DiscoveryNQN), port.TID(subsystem.NQN)}
	guest.WaitConsistent(m, connectTimeout, wanted)
	for _, id := range wanted {
		if argv := guest.Argv(m, id.Unit(), "ExecStart"); !hasTransport(argv, "loop") {
			t.Errorf("ExecStart of %s: got %q", id.Unit(), argv)
		}
	}

	mark := m.Mark()
	guest.Delete(m, guest.Devices()[subsystem.NQN])
	guest.Eventually(m, connectTimeout, "it was connected anew", func() (bool, string) { return m.Starts(mark) == 1, m.Journal(mark) })
	guest.WaitConsistent(m, connectTimeout, wanted)

	port.Unlink(subsystem)
	guest.Eventually(m, connectTimeout, "the subsystem's controller is gone", func() (bool, string) {
		return len(guest.Live(subsystem.NQN)) == 0, ""
	})
	port.Link(subsystem)
	guest.WaitConsistent(m, connectTimeout, wanted)
}

func hasTransport(argv []string, want string) bool {
	got, _ := guest.Option(argv, "transport")
	return got == want
}
