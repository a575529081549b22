//go:build e2e

package guest_test

import (
	"net"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// The target is down when the daemon starts: the daemon becomes active all the same, retries, and connects everything once
// the target is up. The journal tells of the failure, but does not repeat it at every try.
func TestTargetDownAtStart(t *testing.T) {
	f := guest.Scene(t, 2)
	f.Port.Unlink(f.Subsystems...)
	guest.Start(t)
	f.WaitLogged(connectTimeout, "the journal says that the target cannot be reached", func(text string) bool {
		return strings.Contains(text, "refused")
	})
	guest.Always(t, quietSpan, "nothing to connect to", func() (bool, string) {
		all := guest.Controllers()
		return len(all) == 0, ""
	})
	if n := strings.Count(f.Journal(), "refused"); n > 4 {
		t.Errorf("the journal repeats the failure %d times", n)
	}
	f.Port.Link(f.Subsystems...)
	f.WaitAllLive()
}

// A subsystem does not let this host in at first: it is retried and connected once it does. It is not retried in a tight loop.
func TestRefusedThenAllowed(t *testing.T) {
	f := guest.Scene(t, 1)
	f.Subsystems[0].AllowOnly()
	guest.Configure(t, subsystemConfig(f.Port, f.Subsystems[0].NQN, ""))
	guest.Start(t)
	unit := f.Unit(f.Subsystems[0].NQN)
	f.WaitLogged(connectTimeout, "a failed attempt in the journal", func(text string) bool {
		return strings.Contains(text, unit) || strings.Contains(text, f.Subsystems[0].NQN)
	})
	f.Subsystems[0].AllowAll()
	guest.WaitLive(t, connectTimeout, f.Subsystems[0].NQN)
	f.WaitUnit(unit, "active")
}

// One of the configured discovery controllers accepts connections and never says a word: its unit's start timeout ends the connect,
// which is told and tried again. The others are connected at once all the same.
func TestMutePeer(t *testing.T) {
	f := guest.Scene(t, 3)
	mute, err := net.Listen("tcp", "127.0.0.1:9999")
	if err != nil {
		t.Fatalf("cannot listen: %v", err)
	}
	defer mute.Close()
	unit := (&guest.Port{Transport: "tcp", Traddr: "127.0.0.1", Trsvcid: "9999"}).TID(guest.DiscoveryNQN).Unit()
	guest.OverrideConnections(t, unit, "[Service]\nTimeoutStartSec=5s\n")
	guest.Configure(t, "[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = \"127.0.0.1\", trsvcid = 9999 }]\n"+
		discoveryConfig(f.Port))
	mark := f.Mark()
	guest.Start(t)
	guest.Eventually(t, connectTimeout, "everything else live", func() (bool, string) {
		live := 0
		for _, nqn := range f.NQNs() {
			live += len(guest.Live(nqn))
		}
		return live == 4, ""
	})
	waitJournal(f, mark, unit+": Failed with result 'timeout'.",
		"(tcp, 127.0.0.1, 9999, "+guest.DiscoveryNQN+"): cannot connect: the connect was killed, or not done within the unit's start timeout; next attempt in ")
}

// A configured address leads nowhere (every packet to it is dropped): the others are connected meanwhile.
func TestBlackHole(t *testing.T) {
	f := guest.Scene(t, 3)
	guest.Run(t, "ip", "link", "add", "hole", "type", "dummy")
	t.Cleanup(func() { guest.Run(t, "ip", "link", "delete", "hole") })
	guest.Run(t, "ip", "address", "add", "198.51.100.1/24", "dev", "hole")
	guest.Run(t, "ip", "link", "set", "hole", "up")
	guest.Run(t, "ip", "neighbour", "add", "198.51.100.9", "lladdr", "02:00:00:00:00:01", "dev", "hole")
	guest.Configure(t, "[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = \"198.51.100.9\", trsvcid = 8009 }]\n"+
		discoveryConfig(f.Port))
	guest.Start(t)
	f.WaitAllLive()
}
