// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// stalled connects a subsystem whose disk then ceases to answer, with a read under way: the kernel ends such a disconnect only
// when it gives the read up.
func stalled(t *testing.T, disk *guest.SlowDisk, config string) (m *guest.Machine, device, unit string) {
	t.Helper()
	m = guest.Begin(t)
	target := guest.NewTarget(m)
	port, volume := target.Port(8009), target.Subsystem("nqn.2024-01.com.example:slow")
	volume.NamespaceOn(disk.Path())
	port.Link(volume)
	guest.Configure(m, config+subsystemConfig(port, volume.NQN, ""))
	guest.Start(m)
	device = guest.WaitLive(m, connectTimeout, volume.NQN)[volume.NQN]
	unit = port.TID(volume.NQN).Unit()
	m.WaitUnit(unit, "active")
	disk.Stall(device)
	return m, device, unit
}

// ioTimeout is how long the kernel waits for a read, in seconds.
const ioTimeout = "/sys/module/nvme_core/parameters/io_timeout"

// A disconnect that takes half a minute, since the kernel waits that long for a read, is waited for.
//
//e2e:patient
func TestSlowDisconnect(t *testing.T) {
	disk := guest.NewSlowDisk(t)
	m, device, unit := stalled(t, disk, "")
	guest.Run(m, "systemctl", "stop", unit)
	took := time.Since(disk.Stalled)
	timeout, err := os.ReadFile(ioTimeout)
	if err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.Atoi(strings.TrimSpace(string(timeout)))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the stop ended %v after the begin of the read", took.Round(time.Second))
	if want := time.Duration(seconds-1) * time.Second; took < want {
		t.Errorf("the stop ended %v after the begin of the read, want at least %v: it has not waited for the disconnect", took, want)
	}
	if left := guest.Controllers(); len(left) != 0 {
		t.Errorf("after the stop: %v", left)
	}
	if journal := m.Journal(); !strings.Contains(journal, "disconnected "+device+": ") {
		t.Errorf("the journal does not say that %s was disconnected", device)
	}
}

// One that takes longer than disconnect-timeout does not hold up the stop of its unit. (A shutdown would stop the unit in the same
// way, which is not tried here.)
//
//e2e:patient
func TestHungDisconnect(t *testing.T) {
	before, err := os.ReadFile(ioTimeout)
	if err != nil {
		t.Fatal(err)
	}
	set := func(seconds string) {
		if err := os.WriteFile(ioTimeout, []byte(seconds), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set("110") // a task that hangs for 120 s makes the kernel complain
	t.Cleanup(func() { set(string(before)) })
	disk := guest.NewSlowDisk(t)
	const bound = 8 * time.Second
	m, device, unit := stalled(t, disk, fmt.Sprintf("[global]\ndisconnect-timeout = %q\n", bound))
	begin := time.Now()
	guest.Try(m, "systemctl", "stop", unit)
	took := time.Since(begin).Round(time.Second)
	t.Logf("the stop took %v, with a disconnect-timeout of %v", took, bound)
	if took >= 3*bound {
		t.Errorf("the stop took %v, want little more than the disconnect-timeout of %v", took, bound)
	}
	if state := guest.ControllerAttribute(device, "state"); !strings.HasPrefix(state, "deleting") {
		t.Errorf("after the stop %s is in state %q, want it to be going still", device, state)
	}
	// systemd remembers it until the command has ended.
	if state := guest.ActiveState(m, unit); state != "failed" && state != "inactive" {
		t.Errorf("the unit is %s after its stop", state)
	}
	if journal := m.Journal(); !strings.Contains(journal, "timed out") {
		t.Errorf("the journal does not say that the disconnect took too long")
	}
	disk.Resume()
	guest.Eventually(m, connectTimeout, "the controller gone", func() (bool, string) {
		return len(guest.Controllers()) == 0, ""
	})
	m.WaitUnit(unit, "inactive")
	guest.Always(m, quietSpan, "it stays away", func() (bool, string) { return len(guest.Controllers()) == 0, "" })
}
