// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"net"
	"os"
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

// Six hundred configured addresses lead nowhere, and the one discovery controller that is there is named behind them. It is
// connected, with what is behind it, before most of the others have so much as failed, and no more peers are probed at one time than the
// service has places. While they are tried again and again a lost controller comes back, and another discovery controller, whose first
// attempt it is, is connected.
//
//e2e:crowded
func TestDeadPeers(t *testing.T) {
	const dead, places = 600, 256
	f := guest.Scene(t, 3)
	guest.Run(t, "ip", "link", "add", "hole", "type", "dummy")
	t.Cleanup(func() { guest.Run(t, "ip", "link", "delete", "hole") })
	guest.Run(t, "ip", "address", "add", "198.18.0.1/16", "dev", "hole")
	guest.Run(t, "ip", "link", "set", "hole", "up")
	config := ""
	for i := range dead {
		config += fmt.Sprintf("[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = \"198.18.%d.%d\", trsvcid = 8009 }]\n", 1+i/250, 1+i%250)
	}
	config += discoveryConfig(f.Port)
	guest.Configure(f, config)
	mark := f.Mark()
	guest.Start(f)
	most := 0
	guest.Eventually(f, connectTimeout, "everything else live", func() (bool, string) {
		most = max(most, synSent(t))
		ok, why := guest.Consistent(f, f.Wanted())
		return ok, why
	})
	var failed, failedBefore int
	for line := range strings.Lines(f.Journal(mark)) {
		switch {
		case strings.HasPrefix(line, "(tcp, 198.18.") && strings.Contains(line, "cannot connect"):
			failed++
		case strings.Contains(line, ": connected"):
			failedBefore = failed
		}
	}
	t.Logf("dead peers that had failed when all others were connected: %d of %d; probed at one time: %d at most", failedBefore, dead, most)
	if failedBefore > dead/2 {
		t.Errorf("dead peers that had failed before: got %d of %d, want fewer than half", failedBefore, dead)
	}

	guest.Eventually(f, connectTimeout, "all dead peers have failed", func() (bool, string) {
		most = max(most, synSent(t))
		n := strings.Count(f.Journal(mark), "cannot connect")
		return n >= dead, fmt.Sprint(n)
	})
	comeBack(f, f.Subsystems[0].NQN)
	second := f.Target.Port(8010)
	second.Link(f.Subsystems[1])
	guest.Configure(f, config+discoveryConfig(second))
	guest.Reload(f)
	wanted := append(f.Wanted(), second.TID(guest.DiscoveryNQN), second.TID(f.Subsystems[1].NQN))
	guest.Eventually(f, connectTimeout, "the second discovery controller live", func() (bool, string) {
		most = max(most, synSent(t))
		return guest.Consistent(f, wanted)
	})
	if most > places {
		t.Errorf("probes at one time: got %d, want at most %d", most, places)
	}
	if text := guest.Ctl(f, "status"); !strings.Contains(text, "6 of 606 controllers connected") {
		t.Errorf("status: want 6 of 606 connected in\n%.1000s", text)
	}
}

// synSent is how many TCP connections to 198.18.0.0/16 wait for a first answer. A reading of the kernel's list takes a while: where one
// ends and another begins meanwhile, it may have both. So the smallest of three readings in a row counts.
func synSent(t guest.T) int {
	t.Helper()
	return min(synSentOnce(t), synSentOnce(t), synSentOnce(t))
}

func synSentOnce(t guest.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatalf("%v", err)
	}
	const remote, state, sent = 2, 3, "02"
	n := 0
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > state && words[state] == sent && strings.HasPrefix(words[remote][4:], "12C6:") { // little endian
			n++
		}
	}
	return n
}
