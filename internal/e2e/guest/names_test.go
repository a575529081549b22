// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// hosts writes /etc/hosts for one scenario, with lines added to what is there.
func hosts(t *testing.T, lines ...string) {
	t.Helper()
	guest.Replace(t, "/etc/hosts", "127.0.0.1 localhost machine\n::1 localhost\n"+strings.Join(lines, "\n")+"\n")
}

// namedConfig names a discovery controller by the name of a host.
func namedConfig(p *guest.Port, host string) string {
	return fmt.Sprintf("[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = %q, trsvcid = %s }]\n", host, p.Trsvcid)
}

// The configuration names a discovery controller by host name. The name has two addresses, and nothing answers at one of
// them: the controller is connected by the other, once, with a unit of that address; a loss and a restart of the daemon
// change nothing in that.
func TestHostNameWithDeadAddress(t *testing.T) {
	f := guest.Scene(t, 2)
	hosts(t, "127.0.0.66 array", f.Port.Traddr+" array")
	guest.Configure(t, namedConfig(f.Port, "array"))
	guest.Start(t)
	devices := f.WaitAllLive()
	guest.Delete(t, devices[guest.DiscoveryNQN])
	guest.Eventually(t, connectTimeout, "the discovery controller is gone or back", func() (bool, string) {
		return len(guest.Live(guest.DiscoveryNQN)) == 0, ""
	})
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	devices = guest.Devices()
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Always(t, quietSpan, "the restarted daemon keeps all", unchanged(devices))
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}

// The name of a configured host does not resolve when the daemon starts: it becomes active, says so once, and connects what
// has an address. When the name resolves, its controller is connected, without a reload.
func TestHostNameResolvesLater(t *testing.T) {
	f := guest.Scene(t, 1)
	other := f.Target.Port(8010)
	late := f.Target.Subsystem("nqn.2024-01.com.example:late")
	other.Link(late)
	guest.Configure(t, discoveryConfig(f.Port)+strings.Replace(subsystemConfig(other, late.NQN, ""), other.Traddr, "late.array.example", 1))
	hosts(t)
	guest.Start(t)
	devices := f.WaitAllLive()
	f.WaitLogged(connectTimeout, "the journal tells that the name does not resolve", func(journal string) bool {
		return strings.Contains(journal, "cannot resolve late.array.example")
	})
	guest.Always(t, quietSpan, "nothing else is connected", unchanged(devices))
	if n := strings.Count(f.Journal(), "cannot resolve late.array.example"); n > 2 {
		t.Errorf("the journal repeats %d times that the name does not resolve:\n%s", n, f.Journal())
	}
	hosts(t, other.Traddr+" late.array.example")
	now := guest.WaitLive(t, connectTimeout, append(f.NQNs(), late.NQN)...)
	f.WaitUnit(other.TID(late.NQN).Unit(), "active")
	for nqn, device := range devices {
		if now[nqn] != device {
			t.Errorf("device of %s: got %s, want the same as before, %s", nqn, now[nqn], device)
		}
	}
}
