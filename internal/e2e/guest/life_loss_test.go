// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// lossConfig makes the kernel give up controllers after that many seconds of trying every delay seconds.
func lossConfig(giveUp, delay int, more string) string {
	defaults := fmt.Sprintf("ctrl-loss-tmo = %d\nreconnect-delay = %d\n", giveUp, delay)
	return "[discovery-controller-defaults]\n" + defaults + "[io-controller-defaults]\n" + defaults + more
}

// scene builds the scene with a kernel that gives up soon, and connects it.
func scene(t guest.T, n, giveUp, delay int, timeout time.Duration) (*guest.Fixture, map[string]string) {
	t.Helper()
	f := guest.Scene(t, n)
	guest.Configure(t, lossConfig(giveUp, delay, discoveryConfig(f.Port)))
	guest.Start(t)
	took := guest.WaitConsistent(t, timeout, f.Wanted())
	t.Logf("%d controllers were connected within %v", n+1, took.Round(100*time.Millisecond))
	return f, guest.Devices()
}

// waitStates waits until every controller that there is has one of the states given.
func waitStates(t guest.T, timeout time.Duration, states ...string) {
	t.Helper()
	guest.Eventually(t, timeout, "every controller "+strings.Join(states, " or "), func() (bool, string) {
		for _, c := range guest.Controllers() {
			if !slices.Contains(states, c.State) {
				return false, c.String()
			}
		}
		return true, ""
	})
}

// waitNone waits until the kernel has given up every controller.
func waitNone(t guest.T, timeout time.Duration) {
	t.Helper()
	guest.Eventually(t, timeout, "no controllers", func() (bool, string) {
		left := guest.Controllers()
		return len(left) == 0, fmt.Sprint(len(left), " left")
	})
}

// A port of the array goes down and is back before the kernel gives up: the kernel reconnects by itself and the daemon
// starts nothing anew. The discovery controller's log page is read again, so what was added meanwhile is connected.
func TestPortBackInTime(t *testing.T) {
	f, devices := scene(t, 3, 120, 1, connectTimeout)
	before := invocations(f)
	f.Port.Unlink(f.Subsystems...)
	waitStates(t, connectTimeout, "connecting")
	mark := f.Mark()
	f.Port.Link(f.Subsystems...)
	addSubsystem(f, "added-meanwhile")
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	now := guest.Devices()
	for nqn, device := range devices {
		if now[nqn] != device {
			t.Errorf("device of %s: got %s, want the same as before, %s", nqn, now[nqn], device)
		}
	}
	checkKept(f, before)
	if n := f.Starts(mark); n != 1 {
		t.Errorf("starts of units: got %d, want that of the added one alone", n)
	}
	if journal := f.Journal(mark); !strings.Contains(journal, "log page read") {
		t.Errorf("the journal does not tell that the log page was read again:\n%s", journal)
	}
}

// A port of the array goes down and is back after the kernel has given up its controllers: the daemon connects them anew,
// each once and by the unit that it had.
//
//e2e:patient
func TestPortBackTooLate(t *testing.T) {
	f, _ := scene(t, 3, 3, 1, connectTimeout)
	before := invocations(f)
	mark := f.Mark()
	f.Port.Unlink(f.Subsystems...)
	waitNone(t, connectTimeout)
	guest.Always(t, quietSpan, "nothing to connect to", func() (bool, string) { return len(guest.Controllers()) == 0, "" })
	f.Port.Link(f.Subsystems...)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	if n := f.Starts(mark); n != len(before) {
		t.Errorf("starts of units: got %d, want one each for %d", n, len(before))
	}
	addSubsystem(f, "added")
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}

// An array with sixty subsystems reboots: all its ports are away for longer than the kernel waits, then it is back. So
// is every controller, each started once, and the journal tells it in a bounded number of lines.
//
//e2e:crowded
func TestArrayReboot(t *testing.T) {
	const subsystems = 60
	const patience = 10 * time.Minute
	f, _ := scene(t, subsystems, 5, 2, patience)
	mark := f.Mark()
	f.Port.Unlink(f.Subsystems...)
	begin := time.Now()
	waitNone(t, patience)
	t.Logf("the kernel had given up all of them after %v", time.Since(begin).Round(100*time.Millisecond))
	f.Port.Link(f.Subsystems...)
	begin = time.Now()
	guest.Eventually(t, patience, "the first controller is live", func() (bool, string) { return guest.LiveCount() > 0, "" })
	first := time.Since(begin)
	guest.Eventually(t, patience, "all controllers are live", func() (bool, string) {
		live := guest.LiveCount()
		return live >= subsystems+1, fmt.Sprint(live, " live")
	})
	t.Logf("back: the first controller after %v, all after %v", first.Round(100*time.Millisecond), time.Since(begin).Round(100*time.Millisecond))
	guest.WaitConsistent(t, patience, f.Wanted())
	if n := f.Starts(mark); n != subsystems+1 {
		t.Errorf("starts of units: got %d, want one each, %d", n, subsystems+1)
	}
	lines := strings.Count(f.Journal(mark), "\n")
	t.Logf("the journal has %d lines about it, %.1f for each controller", lines, float64(lines)/(subsystems+1))
	// systemd alone writes seven for a restart of a unit.
	if limit := 20 * (subsystems + 1); lines > limit {
		t.Errorf("lines in the journal: got %d, want at most %d", lines, limit)
	}
}

// The network to the array goes away for so long that the kernel gives up the controllers, and comes back: the daemon, which
// pauses longer and longer between its attempts, tries at once when the link is up.
//
//e2e:patient
func TestLinkUp(t *testing.T) {
	far := guest.NewFar(t)
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	port, subsystem := target.PortAt(guest.FarAddress, 8009), target.Subsystem("nqn.2024-01.com.example:vol1")
	far.There(func() { port.Link(subsystem) })
	// At the level of debug the journal has the order of events and what was done about them.
	guest.Configure(t, "[global]\nlog-level = \"debug\"\nreconnect-max-delay = \"1h\"\n"+
		subsystemConfig(port, subsystem.NQN, "ctrl-loss-tmo = 3\nreconnect-delay = 1\nkeep-alive-tmo = 3\n"))
	guest.Start(t)
	wanted := []guest.TID{port.TID(subsystem.NQN)}
	guest.WaitConsistent(t, connectTimeout, wanted)

	mark := m.Mark()
	far.SetLink("down")
	waitNone(t, 2*time.Minute)
	// Pauses of 1, 2, 4, 8 and 16 seconds: after the fifth attempt the next one would be 14 seconds away at least.
	guest.Eventually(t, 2*time.Minute, "five failed attempts", func() (bool, string) {
		n := strings.Count(m.Journal(mark), "effect: probe")
		return n >= 5, fmt.Sprint(n)
	})
	mark = m.Mark()
	far.SetLink("up")
	m.WaitLogged(10*time.Second, "tried again", func(journal string) bool {
		return strings.Contains(journal, "effect: probe")
	}, mark)
	guest.WaitConsistent(t, connectTimeout, wanted)
	journal := m.Journal(mark)
	kick, probe := strings.Index(journal, "event core.Kick"), strings.Index(journal, "effect: probe")
	if kick < 0 || probe < kick {
		t.Errorf("journal: want a probe after a kick, got:\n%s", journal)
	}
}

// A controller is lost while the kernel itself tries to reconnect it, and the daemon is restarted in the middle of that:
// first while the kernel still tries, then when it has given up. Each time all is as if the daemon had been there.
//
//e2e:crowded
func TestRestartDuringLoss(t *testing.T) {
	f, _ := scene(t, 3, 20, 1, connectTimeout)
	f.Port.Unlink(f.Subsystems...)
	waitStates(t, connectTimeout, "connecting")
	guest.Run(t, "systemctl", "restart", guest.Service)
	if n := len(guest.Controllers()); n == 0 {
		t.Fatal("the kernel gave up before the daemon was back: this proves nothing")
	}
	waitNone(t, connectTimeout)
	f.Port.Link(f.Subsystems...)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())

	units := slices.Sorted(maps.Keys(invocations(f)))
	f.Port.Unlink(f.Subsystems...)
	waitNone(t, connectTimeout)
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Always(t, quietSpan, "nothing to connect to", func() (bool, string) { return len(guest.Controllers()) == 0, "" })
	f.Port.Link(f.Subsystems...)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	if got := slices.Sorted(maps.Keys(invocations(f))); !slices.Equal(got, units) {
		t.Errorf("units: got %v, want %v", got, units)
	}
}
