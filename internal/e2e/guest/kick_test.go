// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// Three connections are pinned to an interface each and wait a long time for their next attempt: nobody listens at their
// addresses yet, and one of the interfaces is a bridge without a port. A cable is plugged in, and then a link is made a port
// of the bridge. Each time the connection that can use what came up is made at once, and the others keep their next attempt.
//
//e2e:patient
func TestKicksByInterface(t *testing.T) {
	far := guest.NewFar(t)
	far.Cable("fabric-b", "198.51.100.2/24", "198.51.100.1/24")
	far.Cable("fabric-c", "203.0.113.3/24", "203.0.113.1/24")
	guest.NewBridge(t, "bridge", "203.0.113.2/24")
	guest.Run(t, "ip", "address", "flush", "dev", "fabric-c")
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	subsystem := target.Subsystem("nqn.2024-01.com.example:vol1")
	ports := []*guest.Port{target.PortAt(guest.FarAddress, 8009), target.PortAt("198.51.100.1", 8010), target.PortAt("203.0.113.1", 8011)}
	links := []string{guest.FarLink, "fabric-b", "bridge"}
	var paths []string
	var wanted []guest.TID
	for i, p := range ports {
		paths = append(paths, fmt.Sprintf("traddr = %q, trsvcid = %s, host-iface = %q", p.Traddr, p.Trsvcid, links[i]))
		id := p.TID(subsystem.NQN)
		id.HostIface = links[i]
		wanted = append(wanted, id)
	}
	// At the level of debug the journal has the reason of each attempt, however soon after another one.
	guest.Configure(m, "[global]\nlog-level = \"debug\"\nreconnect-max-delay = \"1h\"\n"+pathConfig(subsystem.NQN, paths...))
	guest.Start(m)

	// next is when each of the targets is tried next, once none is within the next 15 seconds.
	next := func(targets ...guest.TID) map[string]string {
		t.Helper()
		found := map[string]string{}
		guest.Eventually(m, 4*time.Minute, "the next attempts are far away", func() (bool, string) {
			for _, id := range targets {
				got, _ := findListed(m, id)
				found[id.Traddr] = got.NextRetry
				if at, err := time.Parse(time.RFC3339, got.NextRetry); err != nil || time.Until(at) < 15*time.Second {
					return false, fmt.Sprintf("%+v", got)
				}
			}
			return true, ""
		})
		return found
	}
	// kept checks that a target is tried when it was to be.
	kept := func(before map[string]string, id guest.TID) {
		t.Helper()
		if got, _ := findListed(m, id); got.State != "waiting" || got.NextRetry != before[id.Traddr] {
			t.Errorf("%s: got %s, next attempt at %s, want waiting until %s", id.HostIface, got.State, got.NextRetry, before[id.Traddr])
		}
	}

	// listens has a port listen, which nothing tells this host. Until then each of its attempts fails, whenever it comes.
	listens := func(p *guest.Port) { far.There(func() { p.Link(subsystem) }) }

	before := next(wanted[:2]...)
	listens(ports[1])
	mark := m.Mark()
	guest.Run(m, "ip", "link", "set", "fabric-b", "down")
	guest.Run(m, "ip", "link", "set", "fabric-b", "up")
	guest.WaitConsistent(m, connectTimeout, wanted[1:2])
	kept(before, wanted[0])
	if journal := m.Journal(mark); !strings.Contains(journal, "link fabric-b is up: trying what waits on tcp now (1)") {
		t.Errorf("journal: want the reason of the attempt, got:\n%s", journal)
	}

	before = next(wanted[0], wanted[2])
	listens(ports[2])
	mark = m.Mark()
	guest.Run(m, "ip", "link", "set", "fabric-c", "master", "bridge")
	guest.WaitConsistent(m, connectTimeout, wanted[1:])
	kept(before, wanted[0])
	if journal := m.Journal(mark); !strings.Contains(journal, "link bridge is up: trying what waits on tcp now (1)") {
		t.Errorf("journal: want the reason of the attempt, got:\n%s", journal)
	}

	before = next(wanted[0])
	mark = m.Mark()
	guest.Run(m, "ip", "link", "set", "fabric-c", "nomaster")
	guest.Run(m, "ip", "link", "set", "fabric-c", "down")
	guest.Run(m, "ip", "link", "set", "fabric-c", "up")
	guest.Run(m, "ip", "link", "set", "fabric-c", "master", "bridge")
	guest.Always(m, quietSpan, "what is connected stays", func() (bool, string) { return guest.Consistent(m, wanted[1:]) })
	kept(before, wanted[0])
	if journal := m.Journal(mark); strings.Contains(journal, "trying what waits") {
		t.Errorf("journal: want no attempt, got:\n%s", journal)
	}

	listens(ports[0])
	far.SetLink("down")
	far.SetLink("up")
	guest.WaitConsistent(m, connectTimeout, wanted)
}
