// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// waitJournal waits until the journal has all the words since the mark.
func waitJournal(f *guest.Fixture, mark guest.Mark, words ...string) {
	f.Helper()
	f.WaitLogged(connectTimeout, "in the journal: "+strings.Join(words, ", "), func(journal string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(journal, w) })
	}, mark)
}

// There is no room below /run, and then /run is read-only for the units' commands: what is connected stays, a subsystem that is
// added meanwhile is tried again and again with the reason in the journal, and all is as it should be soon after. In the former case the
// kernel makes the added subsystem's controller, which stays the one, and a controller that is lost comes back all the same, in the
// room that its own records had; in the latter case the kernel is not asked.
func TestStateUnwritable(t *testing.T) {
	f := guest.Scene(t, 2)
	state := guest.NewSmallState(t)
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	kept := guest.Devices()
	for _, harm := range []struct {
		name       string
		begin, end func()
		says       []string
		made       int // controllers of the added subsystem, meanwhile
	}{
		{"full", func() {
			state.Fill()
			comeBack(f, f.Subsystems[0].NQN)
			guest.WaitConsistent(t, connectTimeout, f.Wanted())
			kept = guest.Devices()
			state.Fill()
		}, state.Free, []string{"cannot record nvme", "no space left on device"}, 1},
		{"read-only", func() { state.ReadOnly(true) }, func() { state.ReadOnly(false) }, []string{"cannot lock", "read-only file system"}, 0},
	} {
		harm.begin()
		mark := f.Mark()
		added := addSubsystem(f, harm.name).NQN
		waitJournal(f, mark, harm.says...)
		made := guest.Live(added)
		if len(made) != harm.made {
			t.Errorf("%s: controllers of %s: got %v, want %d", harm.name, added, made, harm.made)
		}
		for nqn, device := range kept {
			if live := guest.Live(nqn); len(live) != 1 || live[0] != device {
				t.Errorf("%s: controller of %s: got %v, want %s", harm.name, nqn, live, device)
			}
		}
		if got := guest.ActiveState(t, guest.Service); got != "active" {
			t.Errorf("%s: service: got %s, want active", harm.name, got)
		}
		harm.end()
		guest.WaitConsistent(t, 2*connectTimeout, f.Wanted())
		if live := guest.Live(added); harm.made > 0 && !slices.Equal(live, made) {
			t.Errorf("%s: controllers of %s: got %v, want the one of before, %v", harm.name, added, live, made)
		}
	}
}

// The configuration may not be read any more: a reload keeps the last good one; a service that starts says why it does not know
// what to connect, and no controller is touched. The service has no right to pass over permissions.
func TestConfigurationUnreadable(t *testing.T) {
	f, devices := guest.Connected(t, 1)
	allow := guest.Chmod(t, "/etc/nvme", 0)
	mark := f.Mark()
	guest.Try(t, "systemctl", "reload", guest.Service)
	waitJournal(f, mark, "permission denied", "in the configuration: what is concerned is as it was when it was right, or not connected")
	guest.Delete(t, devices[f.Subsystems[0].NQN])
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	devices = guest.Devices()
	guest.Stop(t)
	mark = f.Mark()
	guest.Start(t)
	waitJournal(f, mark, "permission denied")
	if ok, seen := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", seen, devices)
	}
	allow()
	guest.Reload(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	if ok, seen := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", seen, devices)
	}
}

// There is no message bus when the service starts: it is ready all the same, says what is missing, and connects as soon as
// the bus is there. A second daemon, started by hand beside it, says so and ends.
func TestNoBusAtStart(t *testing.T) {
	f := guest.Scene(t, 2)
	give := guest.TakeBusAway(t)
	mark := f.Mark()
	guest.Start(t)
	waitJournal(f, mark, "system bus")
	pid := guest.MainPID(t)
	second := guest.Try(t, "/usr/sbin/nvme-discoverd")
	if want := "it runs already as process " + pid; second.Status != 1 || !strings.Contains(second.Stderr, want) {
		t.Errorf("a second daemon: got status %d and %q, want 1 and %q", second.Status, second.Stderr, want)
	}
	give()
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	if got := guest.MainPID(t); got != pid {
		t.Errorf("process of the daemon: got %s, want the same as before, %s", got, pid)
	}
}

// The daemon is killed because it is out of memory, and later because it hangs: each time systemd starts it anew, and no
// controller notices.
func TestKilledBySystem(t *testing.T) {
	f := guest.Scene(t, 2)
	guest.Override(t, "[Service]\nWatchdogSec=10\n") // instead of half a minute
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	devices := guest.Devices()
	for _, harm := range []struct {
		name  string
		do    func() (undo func())
		cause string
	}{
		{"out of memory", func() func() { return guest.LimitMemory(t, "1M") }, "oom"},
		{"frozen", func() func() { guest.Signal(t, "STOP"); return func() {} }, "watchdog"},
	} {
		mark, restarts := f.Mark(), guest.Restarts(t)
		undo := harm.do()
		waitJournal(f, mark, harm.cause)
		undo()
		guest.WaitRestart(t, 2*time.Minute, restarts)
		guest.WaitConsistent(t, connectTimeout, f.Wanted())
		if ok, seen := unchanged(devices)(); !ok {
			t.Errorf("%s: controllers: %s\nwant %v", harm.name, seen, devices)
		}
	}
	checkAllHands(t, f)
}

// The clock jumps by days, forward and back, while a target is tried again and again: the pauses stay as long as they were,
// nothing is disconnected, the watchdog is silent.
func TestClockJumps(t *testing.T) {
	f := guest.Scene(t, 1)
	absent, port := f.Target.Subsystem("nqn.2024-01.com.example:absent"), f.Target.Port(8010)
	guest.Configure(t, discoveryConfig(f.Port)+subsystemConfig(port, absent.NQN, ""))
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	devices := guest.Devices()
	pid := guest.MainPID(t)
	for _, by := range []time.Duration{48 * time.Hour, -96 * time.Hour} {
		guest.ShiftClock(t, by)
		guest.Always(t, quietSpan, fmt.Sprintf("as before after %v", by), unchanged(devices))
	}
	port.Link(absent)
	guest.WaitConsistent(t, connectTimeout, append(f.Wanted(), port.TID(absent.NQN)))
	if got := guest.MainPID(t); got != pid {
		t.Errorf("process of the daemon: got %s, want the same as before, %s", got, pid)
	}
}

// No process can be started any more: connects fail in systemd and are tried again; when there is room for processes, all is
// connected.
//
//e2e:crowded
func TestNoMoreProcesses(t *testing.T) {
	f := guest.Scene(t, 2)
	guest.NewCrowd(t)
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	mark := f.Mark()
	allow := guest.ForbidProcesses(t)
	guest.Delete(t, guest.Live(f.Subsystems[0].NQN)[0])
	waitJournal(f, mark, "Resource temporarily unavailable")
	allow()
	guest.WaitConsistent(t, 2*connectTimeout, f.Wanted())
}

// A discovery controller takes the command that reads its log page and never answers. Another one and what it names are
// connected and looked after meanwhile; when the mute one speaks, it is listened to.
func TestMuteLogPage(t *testing.T) {
	f := guest.Scene(t, 2)
	mute := guest.NewFakeDC(f, 8011)
	hidden := f.Target.Subsystem("nqn.2024-01.com.example:hidden")
	port := f.Target.Port(8010)
	port.Link(hidden)
	mute.Show(guest.LogPage{Generation: 1, Mute: true})
	guest.Configure(t, discoveryConfig(f.Port)+fmt.Sprintf(
		"[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = %q, trsvcid = %s }]\n", mute.Traddr, mute.Trsvcid))
	guest.Start(t)
	mute.WaitRead(connectTimeout, 0)
	nqns := append(f.NQNs(), guest.DiscoveryNQN)
	guest.WaitLive(t, connectTimeout, nqns...)
	addSubsystem(f, "added")
	nqns = append(f.NQNs(), guest.DiscoveryNQN)
	guest.WaitLive(t, connectTimeout, nqns...)
	mute.Show(guest.LogPage{Generation: 2, Entries: []guest.LogEntry{{Traddr: port.Traddr, Trsvcid: port.Trsvcid, NQN: hidden.NQN}}})
	mute.HangUp()
	guest.WaitLive(t, 2*connectTimeout, append(nqns, hidden.NQN)...)
}
