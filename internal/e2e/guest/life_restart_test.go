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

// waitSome waits until at least n controllers are live: so many connects are through, others are under way.
func waitSome(t guest.T, n int) {
	t.Helper()
	guest.Eventually(t, 2*time.Minute, fmt.Sprint(n, " controllers live"), func() (bool, string) {
		live := guest.LiveCount()
		return live >= n, fmt.Sprint(live)
	})
}

// The daemon is killed while it connects forty controllers, and once more in its second life. Connects that were under way
// go on without it. In the end there is exactly one controller, with one unit, for every wish.
//
//e2e:crowded
func TestKilledDuringConnects(t *testing.T) {
	const subsystems = 40
	f := guest.Scene(t, subsystems)
	guest.Start(t)
	for _, live := range []int{6, 20} {
		waitSome(t, live)
		guest.Signal(t, "KILL")
	}
	guest.WaitConsistent(t, 3*time.Minute, f.Wanted())
	if got := guest.Property(t, guest.Service, "NRestarts"); got != "2" {
		t.Errorf("restarts of the service: got %s, want those after two kills", got)
	}
	devices := guest.Devices()
	guest.Always(t, quietSpan, "all stays as it is", unchanged(devices))
	addSubsystem(f, "added")
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}

// The message bus is killed while controllers are being connected, and restarted when all is quiet. systemd does not
// start a killed bus anew before somebody dials it, as the daemon does. The daemon runs on and does all its work afterwards:
// a lost controller comes back, an added subsystem is connected, a stop is understood.
//
//e2e:crowded
func TestBusRestart(t *testing.T) { busRestarts(t, guest.Scene(t, 15), 4) }

// The same holds where dbus-broker is the bus in place of dbus-daemon.
//
//e2e:parameter e2e_bus=broker
//e2e:seldom
//e2e:everywhere
func TestBusBroker_1(t *testing.T) {
	busRestarts(t, guest.Scene(t, 4), 2)
	if command := guest.Run(t, "ps", "-o", "comm=", "-p", guest.Property(t, "dbus.service", "MainPID")); !strings.HasPrefix(command, "dbus-broker") {
		t.Fatalf("the bus is %s", command)
	}
}

// busRestarts kills the bus when some controllers are live, and restarts it when all are.
func busRestarts(t *testing.T, f *guest.Fixture, some int) {
	t.Helper()
	guest.Start(t)
	pid := guest.MainPID(t)
	waitSome(t, some)
	bus := guest.Property(t, "dbus.service", "MainPID")
	guest.Run(t, "systemctl", "kill", "--signal=KILL", "dbus.service")
	guest.WaitConsistent(t, 2*time.Minute, f.Wanted())
	guest.Eventually(t, connectTimeout, "another bus", func() (bool, string) {
		got := guest.Properties(t, "dbus.service", "ActiveState", "MainPID")
		return got["ActiveState"] == "active" && got["MainPID"] != bus, fmt.Sprint(got)
	})
	guest.Run(t, "systemctl", "restart", "dbus.service")
	checkAllHands(t, f)
	if got := guest.MainPID(t); got != pid {
		t.Errorf("process of the daemon: got %s, want the same as before, %s", got, pid)
	}
}

// systemd re-executes itself, as at its own upgrade, twice while controllers are being connected and once when all is quiet.
// No result of a job is missed for good, and all goes on.
//
//e2e:crowded
func TestReexecDuringConnects(t *testing.T) {
	f := guest.Scene(t, 20)
	guest.Start(t)
	pid := guest.MainPID(t)
	for _, live := range []int{3, 10} {
		waitSome(t, live)
		guest.Run(t, "systemctl", "daemon-reexec")
	}
	guest.WaitConsistent(t, 3*time.Minute, f.Wanted())
	guest.Run(t, "systemctl", "daemon-reexec")
	checkAllHands(t, f)
	if got := guest.MainPID(t); got != pid {
		t.Errorf("process of the daemon: got %s, want the same as before, %s", got, pid)
	}
}

// checkAllHands checks that the daemon still does all that it is there for.
func checkAllHands(t *testing.T, f *guest.Fixture) {
	t.Helper()
	lost := f.Subsystems[0].NQN
	device := guest.Live(lost)[0]
	guest.Delete(t, device)
	guest.Eventually(t, connectTimeout, "it is gone", func() (bool, string) {
		return guest.Devices()[lost] != device, ""
	})
	addSubsystem(f, "added")
	guest.WaitConsistent(t, 2*time.Minute, f.Wanted())
	stopped := f.Subsystems[1]
	guest.Run(t, "systemctl", "stop", f.Unit(stopped.NQN))
	f.Subsystems = append(f.Subsystems[:1:1], f.Subsystems[2:]...)
	guest.Always(t, quietSpan, "what was stopped stays away", func() (bool, string) {
		return len(guest.Live(stopped.NQN)) == 0, ""
	})
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}

// Thousands of device events come while the daemon cannot read them: the kernel throws some away, among them that two
// controllers were lost and that the log page changed. The journal tells in a line that events were lost; the lost
// controllers come back and the added subsystem is connected.
//
//e2e:crowded
func TestEventFlood(t *testing.T) {
	f := guest.Scene(t, 4)
	guest.Override(t, "[Service]\nWatchdogSec=0\n") // being stopped is not the point here
	// At the level of debug the journal tells why everything was compared.
	guest.Configure(t, "[global]\nlog-level = \"debug\"\n"+discoveryConfig(f.Port))
	guest.Start(t)
	devices := f.WaitAllLive()
	guest.StopUdev(t)
	mark := f.Mark()
	guest.Signal(t, "STOP")
	t.Logf("events until the first was thrown away: %d", guest.Overrun(t, guest.MainPID(t)))
	lost := []string{f.Subsystems[0].NQN, f.Subsystems[1].NQN}
	for _, nqn := range lost {
		guest.Delete(t, devices[nqn])
		guest.Eventually(t, connectTimeout, nqn+" is gone", func() (bool, string) { return len(guest.Live(nqn)) == 0, "" })
	}
	addSubsystem(f, "added")
	guest.Signal(t, "CONT")
	// While the daemon works its way through what the buffer held, the kernel still throws away what comes.
	guest.Delete(t, devices[f.Subsystems[2].NQN])
	f.WaitLogged(connectTimeout, "the journal tells that events were lost", func(journal string) bool {
		return strings.Contains(journal, "events may have been lost")
	}, mark)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	journal := f.Journal(mark)
	// Not the regular comparison, which is made every minute, has found out.
	compared, found := strings.Index(journal, "take a snapshot: cannot receive a uevent"), strings.Index(journal, ": lost\n")
	if compared < 0 || found < compared {
		t.Errorf("journal: want a comparison because of the lost events, then a loss, got:\n%s", journal)
	}
	if n := strings.Count(journal, "events may have been lost"); n > 4 {
		t.Errorf("lines about lost events: got %d, want a few at most", n)
	}
}
