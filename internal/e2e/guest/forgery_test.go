// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// An unprivileged user tells the daemon over the bus, in systemd's name, that jobs have begun, ended and failed, while there
// are such jobs and when all is quiet, and that systemd has moved; the kernel does not let the same user send device
// events at all, and those of a process of root are not taken for the kernel's. He also sends what takes hundreds of megabytes
// when it is decoded. Nothing changes by any of it, and the daemon goes on doing its work.
//
//e2e:crowded
func TestForgedMessages(t *testing.T) {
	f := guest.Scene(t, 10)
	guest.Configure(t, "[global]\nlog-level = \"debug\"\n"+discoveryConfig(f.Port))
	guest.Start(t)
	forger := guest.NewForger(t)
	pid := guest.MainPID(t)
	victim := forger.Victim(pid)
	waitSome(t, 2)
	flood := func(result string) {
		first := nextJob(t)
		for id := max(1, first-40); id < first+40; id++ {
			forger.Job(victim, id, f.Unit(f.Subsystems[id%len(f.Subsystems)].NQN), result)
		}
		forger.Signal(victim, "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged", "org.freedesktop.systemd1", ":1.0", "")
		forger.Signal(victim, "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged", "org.freedesktop.systemd1", "", forger.Name())
		forger.Settle()
	}
	for _, result := range []string{"failed", "done", "canceled"} {
		flood(result)
	}
	guest.WaitConsistent(t, 2*connectTimeout, f.Wanted())

	devices := guest.Devices()
	mark := f.Mark()
	flood("done")
	forger.Large(victim, 8<<20)
	forger.Settle()
	guest.AsNobody(t, func() error {
		if err := guest.SendUevent(guest.Removal(devices[f.Subsystems[0].NQN])); !errors.Is(err, unix.EPERM) {
			t.Errorf("a uevent of an ordinary user: got %v, want that it is not permitted", err)
		}
		return nil
	})
	for _, device := range devices {
		if err := guest.SendUevent(guest.Removal(device)); err != nil {
			t.Fatalf("cannot send a uevent as root: %v", err)
		}
	}
	guest.Always(t, quietSpan, "nothing changes", unchanged(devices))
	journal := f.Journal(mark)
	for _, told := range []string{"ignoring a signal", "ignoring a message on the system bus that is too long"} {
		if !strings.Contains(journal, told) {
			t.Errorf("the journal does not tell that forged signals came, %q:\n%s", told, journal)
		}
	}
	if now := guest.MainPID(t); now != pid {
		t.Errorf("the daemon was process %s and is %s now", pid, now)
	}
	peak, err := strconv.Atoi(guest.Property(t, guest.Service, "MemoryPeak"))
	if err != nil || peak > 128<<20 {
		t.Errorf("the daemon has taken %d bytes of memory (%v), as if it had decoded what is large", peak, err)
	}
	t.Logf("the most memory that the daemon took: %d KiB", peak>>10)
	for _, effect := range []string{"core.ForeignJob", "core.DeviceRemoved", "core.BusDown", "effect: s", "effect: r"} {
		if strings.Contains(journal, effect) {
			t.Errorf("journal: %q because of what was forged:\n%s", effect, journal)
		}
	}
	if stopped, _ := os.ReadDir("/run/nvme/discoverd/stopped"); len(stopped) > 0 {
		t.Errorf("taken for stopped by an administrator: %v", stopped)
	}
	checkAllHands(t, f)
}

// nextJob makes a job and tells its number: the next ones follow.
func nextJob(t guest.T) int {
	t.Helper()
	path := guest.Run(t, "busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
		"StartUnit", "ss", "basic.target", "replace")
	_, id, _ := strings.Cut(path, "/job/")
	n, err := strconv.Atoi(strings.Trim(id, "\"\n "))
	if err != nil {
		t.Fatalf("cannot tell the number of a job from %q", path)
	}
	return n
}
