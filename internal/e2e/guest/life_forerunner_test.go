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

// What goes wrong in the C implementation of the same design, one scenario for each failure that was seen there.

// Failure 1: a stock kernel target does not say that it supports persistent discovery connections (EPCSD), the discovery
// controller is disconnected after the first read, and later changes of the log page are not seen. Here the connection is
// kept, and a change is followed at once. What the section of a discovery controller says (persistent) counts before what
// EPCSD and discovery-persistence say.
func TestForerunnerParksStockTarget(t *testing.T) {
	f, devices := guest.Connected(t, 1)
	kept := devices[guest.DiscoveryNQN]
	guest.Always(t, quietSpan, "the discovery controller stays connected", unchanged(devices))
	for i := range 3 {
		addSubsystem(f, fmt.Sprintf("added%d", i))
		if now := f.WaitAllLive(); now[guest.DiscoveryNQN] != kept {
			t.Errorf("discovery controller: got %s, want the same as before, %s", now[guest.DiscoveryNQN], kept)
		}
	}
	persistencePerController(t, f)
}

// persistencePerController has two discovery controllers of the kernel's target, one of which is not to be kept and the other
// one is, first one way and then, by a reload, the other way round. Nobody else's connection is touched.
func persistencePerController(t *testing.T, f *guest.Fixture) {
	other := f.Target.Port(8010)
	behind := f.Target.Subsystem("nqn.2024-01.com.example:behind")
	other.Link(behind)
	subsystems := append(f.Subsystems, behind)
	const no, force = "persistent = no\n", "persistent = force\n"
	configure := func(first, second string) {
		line := func(p *guest.Port, persistent string) string {
			return fmt.Sprintf("[Discovery Controller]\n%scontroller = transport=tcp;traddr=%s;trsvcid=%s\n", persistent, p.Traddr, p.Trsvcid)
		}
		guest.Configure(t, "[global]\ndiscovery-persistence = \"epcsd\"\n")
		guest.Replace(t, "/etc/nvme/nvme-fabrics.conf", line(f.Port, first)+line(other, second))
	}
	settled := func(kept, parked *guest.Port) map[string]string {
		t.Helper()
		guest.Eventually(t, connectTimeout, "the discovery controller of port "+parked.Trsvcid+" parked, that of "+kept.Trsvcid+" connected", func() (bool, string) {
			one, _ := findListed(t, kept.TID(guest.DiscoveryNQN))
			two, _ := findListed(t, parked.TID(guest.DiscoveryNQN))
			return one.State == "connected" && two.State == "parked", one.State + ", " + two.State
		})
		devices := guest.WaitLive(t, connectTimeout, guest.NQNs(true, subsystems...)...)
		if got := guest.ControllerAttribute(devices[guest.DiscoveryNQN], "address"); !strings.Contains(got, "trsvcid="+kept.Trsvcid) {
			t.Errorf("discovery controller that is left: got %s, want that of port %s", got, kept.Trsvcid)
		}
		f.WaitUnit(parked.TID(guest.DiscoveryNQN).Unit(), "inactive")
		return devices
	}

	configure(no, force)
	mark := f.Mark()
	guest.Reload(t)
	before := settled(other, f.Port)
	if text := f.Journal(mark); !strings.Contains(text, "parked: it is asked again in 15m0s") {
		t.Errorf("the journal does not say that it is parked:\n%s", text)
	}
	if text := guest.Ctl(t, "config", "show"); !strings.Contains(text, "persistent") || !strings.Contains(text, "/etc/nvme/nvme-fabrics.conf:2") {
		t.Errorf("config show does not say that persistent is set in line 2 of nvme-fabrics.conf:\n%s", text)
	}
	configure(force, no)
	guest.Reload(t)
	after := settled(f.Port, other)
	delete(before, guest.DiscoveryNQN)
	for nqn, device := range before {
		if after[nqn] != device {
			t.Errorf("%s: got %s, want the same as before, %s", nqn, after[nqn], device)
		}
	}
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Always(t, quietSpan, "the one that is kept stays over a restart", func() (bool, string) {
		live := guest.Live(guest.DiscoveryNQN)
		return len(live) > 0 && slices.Contains(live, after[guest.DiscoveryNQN]), fmt.Sprint(live)
	})
	settled(f.Port, other)
}

// addSubsystem adds a subsystem to the target and to what the scene wants.
func addSubsystem(f *guest.Fixture, name string) *guest.Subsystem {
	f.Helper()
	added := f.Target.Subsystem("nqn.2024-01.com.example:" + name)
	f.Subsystems = append(f.Subsystems, added)
	f.Port.Link(added)
	return added
}

// Failure 2: the kernel shows a source address that the wish does not have, so the first change of the log page makes a
// second unit for every controller. Here each controller keeps its one unit, after a change and after a restart.
func TestForerunnerSecondUnitForSourceAddress(t *testing.T) {
	f, devices := guest.Connected(t, 3)
	for nqn, device := range devices {
		if address := guest.ControllerAttribute(device, "address"); !strings.Contains(address, "src_addr=") {
			t.Errorf("address of %s: got %q, want a source address in it: else this scenario proves nothing", nqn, address)
		}
	}
	before := invocations(f)
	addSubsystem(f, "added")
	f.WaitAllLive()
	checkKept(f, before)
	guest.Run(t, "systemctl", "restart", guest.Service)
	addSubsystem(f, "added-after-restart")
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	checkKept(f, before)
}

// checkKept checks that the units of before are still in the same start.
func checkKept(f *guest.Fixture, before map[string]string) {
	f.Helper()
	now := invocations(f)
	maps.DeleteFunc(now, func(unit, _ string) bool { return before[unit] == "" })
	if !maps.Equal(now, before) {
		f.Errorf("units were started anew:\n got %v\nwant %v", now, before)
	}
}

// Failure 3: every entry of a log page makes it scan all of sysfs, which takes longer with the square of the number of
// subsystems, and the daemon is deaf meanwhile. Here a change of a long page costs a handful of opened files.
func TestForerunnerScansForEveryEntry(t *testing.T) {
	const subsystems = 12
	f := guest.Scene(t, subsystems)
	guest.TraceService(t)
	guest.Start(t)
	guest.WaitConsistent(t, 3*time.Minute, f.Wanted())
	before := guest.TracedMatches(`nvme-fabrics/ctl`)
	addSubsystem(f, "added")
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	opened := guest.TracedMatches(`nvme-fabrics/ctl`) - before
	t.Logf("files of controllers opened for a change of a page with %d entries: %d", subsystems+1, opened)
	// A scan for every entry opens more than ten files of every controller twelve times. Three comparisons of everything
	// may have come due meanwhile, each with some twenty files a controller.
	if limit := 3 * subsystems * 20; opened > limit {
		t.Errorf("files of controllers opened: got %d, want at most %d", opened, limit)
	}
}

// Failure 4: a controller that drops twice within a second is never reconnected, and nobody is told. Here it comes back each
// time, though it is deleted the moment it is live; only the pauses between attempts grow.
func TestForerunnerDroppedTwice(t *testing.T) {
	f, _ := guest.Connected(t, 2)
	nqn := f.Subsystems[0].NQN
	deleted := 0
	guest.Eventually(t, connectTimeout, "deleted three times", func() (bool, string) {
		for _, device := range guest.Live(nqn) {
			guest.Delete(t, device)
			deleted++
		}
		return deleted == 3, fmt.Sprint(deleted)
	})
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}

// Failure 5: `systemctl stop` of a connection's unit ends in "Job canceled", and the connection is back. Here the stop
// succeeds every time, says nothing, and the connection stays away.
func TestForerunnerCancelsStop(t *testing.T) {
	f, devices := guest.Connected(t, 4)
	for _, s := range f.Subsystems[:3] {
		out := guest.Try(t, "systemctl", "stop", f.Unit(s.NQN))
		if out.Status != 0 || out.Stdout+out.Stderr != "" {
			t.Errorf("systemctl stop: got status %d and %q, want success in silence", out.Status, out.Stdout+out.Stderr)
		}
		delete(devices, s.NQN)
		if ok, seen := unchanged(devices)(); !ok {
			t.Errorf("right after the stop: %s\nwant %v", seen, devices)
		}
	}
	guest.Always(t, quietSpan, "what was stopped stays away", unchanged(devices))
}

// Failure 6: a controller that was lost while the daemon was down is reconnected, then there is "UnitExists", then nobody
// looks after it. Here it is looked after as before: lost once more, it comes back once more.
func TestForerunnerForgetsWhatWasLostMeanwhile(t *testing.T) {
	f, devices := guest.Connected(t, 2)
	nqn := f.Subsystems[0].NQN
	guest.Stop(t)
	for _, name := range []string{nqn, guest.DiscoveryNQN} {
		guest.Delete(t, devices[name])
	}
	guest.Eventually(t, connectTimeout, "both deleted", func() (bool, string) { return len(guest.Controllers()) == 1, "" })
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	for range 2 {
		guest.Delete(t, guest.Live(nqn)[0])
		guest.Eventually(t, connectTimeout, "deleted", func() (bool, string) { return len(guest.Live(nqn)) == 0, "" })
		guest.WaitConsistent(t, connectTimeout, f.Wanted())
	}
	addSubsystem(f, "added")
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	if journal := f.Journal(); strings.Contains(journal, "UnitExists") {
		t.Errorf("the journal speaks of UnitExists:\n%s", journal)
	}
}

// Failure 7: after a connect it waits for a second and then races with its own state file: the discovery controller is not
// looked after and its notifications are ignored. Here a change right after the connect is followed.
func TestForerunnerIgnoresFirstNotification(t *testing.T) {
	f := guest.Scene(t, 1)
	for i := range 2 {
		guest.Start(t)
		guest.WaitOneLive(t, guest.DiscoveryNQN, "discovery controller live")
		addSubsystem(f, fmt.Sprintf("added%d", i))
		guest.WaitConsistent(t, connectTimeout, f.Wanted())
		guest.Stop(t)
		guest.Run(t, "systemctl", append([]string{"stop"}, guest.Units(t)...)...)
	}
}

// Failure 8: it reads the log page of any discovery controller that appears, also of one that a user connected, and connects
// what is in there. Here the daemon never opens a user's controller.
func TestForerunnerReadsUsersLogPage(t *testing.T) {
	f := guest.Scene(t, 1)
	others := f.Target.Port(8010)
	others.Link(f.Target.Subsystem("nqn.2024-01.com.example:not-ours"))
	guest.TraceService(t)
	guest.Start(t)
	f.WaitAllLive()
	guest.Run(t, "nvme", "connect", "-t", "tcp", "-a", others.Traddr, "-s", others.Trsvcid, "-n", guest.DiscoveryNQN)
	users := deviceOn(t, others, guest.DiscoveryNQN)
	guest.Run(t, "nvme", "discover", "-t", "tcp", "-a", others.Traddr, "-s", others.Trsvcid)
	others.Link(f.Target.Subsystem("nqn.2024-01.com.example:not-ours-either"))
	guest.Always(t, quietSpan, "nothing else is connected", func() (bool, string) {
		return guest.Consistent(t, f.Wanted(), users)
	})
	if n := guest.TracedMatches(`"/dev/nvme|/dev/` + users + `[">]`); n == 0 {
		t.Error("the recording misses that the daemon opened its own discovery controller")
	}
	if n := guest.TracedMatches(`/dev/` + users + `[">]`); n != 0 {
		t.Errorf("opens of /dev/%s, a user's controller, by the daemon: got %d, want none", users, n)
	}
}

// deviceOn waits for the one live controller of an NQN on a port and returns its name.
func deviceOn(t guest.T, p *guest.Port, nqn string) string {
	t.Helper()
	device := ""
	guest.Eventually(t, connectTimeout, nqn+" live on port "+p.Trsvcid, func() (bool, string) {
		found := 0
		for _, c := range guest.Controllers() {
			if c.NQN == nqn && c.Traddr == p.Traddr && c.Trsvcid == p.Trsvcid && c.State == "live" {
				device = c.Name
				found++
			}
		}
		return found == 1, fmt.Sprint(found)
	})
	return device
}

// Failure 9: `systemctl reload` of it times out after 90 seconds. Here it returns when the configuration is in force, time
// after time.
func TestForerunnerReloadTimesOut(t *testing.T) {
	_, devices := guest.Connected(t, 2)
	for range 5 {
		begin := time.Now()
		out := guest.Try(t, "systemctl", "reload", guest.Service)
		if out.Status != 0 || out.Stderr != "" {
			t.Errorf("systemctl reload: got status %d and %q, want success in silence", out.Status, out.Stderr)
		}
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("systemctl reload took %v", took)
		}
	}
	if ok, seen := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", seen, devices)
	}
	guest.WaitActive(t)
}
