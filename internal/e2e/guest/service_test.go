// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// The service tells systemd when it is ready and when it reloads, restarts when it fails, and shows in one line of
// `systemctl status` how many controllers are connected.
func TestServiceStatus(t *testing.T) {
	f, _ := guest.Shared(t, 2)
	got := guest.Properties(t, guest.Service, "Type", "Restart", "WatchdogUSec", "RuntimeDirectoryPreserve")
	for key, want := range map[string]string{
		"Type": "notify-reload", "Restart": "on-failure", "RuntimeDirectoryPreserve": "yes",
	} {
		if got[key] != want {
			t.Errorf("%s: got %q, want %q", key, got[key], want)
		}
	}
	if got["WatchdogUSec"] == "0" || got["WatchdogUSec"] == "infinity" {
		t.Errorf("WatchdogUSec: got %q, want a watchdog", got["WatchdogUSec"])
	}
	status := regexp.MustCompile(`Status: "(.*)"`)
	guest.Eventually(f, connectTimeout, "3 of 3 controllers in the status line", func() (bool, string) {
		match := status.FindStringSubmatch(guest.Try(f, "systemctl", "status", "--no-pager", guest.Service).Stdout)
		if match == nil {
			return false, "no status line"
		}
		return strings.Contains(match[1], "3 of 3"), match[1]
	})
	for line := range strings.Lines(f.Journal()) {
		if strings.Contains(line, "panic:") || strings.Contains(line, "goroutine ") {
			t.Errorf("journal: %s", line)
		}
	}
}

// The service may do little besides its work: what systemd makes of its sandbox is at most 2.0, and its memory is bounded. What
// it writes is readable for everybody all the same, as the documentation says.
func TestServiceSandbox(t *testing.T) {
	f, _ := guest.Shared(t, 2)
	judged := guest.Run(t, "systemd-analyze", "security", "--no-pager", guest.Service)
	level := regexp.MustCompile(`Overall exposure level for nvme-discoverd\.service: (\d+\.\d)`).FindStringSubmatch(judged)
	if level == nil {
		t.Fatalf("systemd-analyze security: got\n%s", judged)
	}
	exposure, err := strconv.ParseFloat(level[1], 64)
	t.Logf("exposure: %.1f", exposure)
	if err != nil || exposure > 2.0 {
		t.Errorf("exposure: got %s, want at most 2.0:\n%s", level[1], judged)
	}
	for key, unwanted := range map[string]string{"MemoryMax": "infinity", "LimitCORE": "infinity", "NoNewPrivileges": "no"} {
		if got := guest.Property(t, guest.Service, key); got == unwanted {
			t.Errorf("%s: got %q", key, got)
		}
	}
	nqn := f.Subsystems[0].NQN
	guest.Run(t, "systemctl", "stop", f.Unit(nqn))
	guest.Eventually(t, connectTimeout, "the stop is remembered where everybody may look", func() (bool, string) {
		seen := guest.Try(t, "setpriv", "--reuid=65534", "--clear-groups", "ls", "/run/nvme/discoverd/stopped")
		return strings.Contains(seen.Stdout, f.Unit(nqn)), seen.Stdout + seen.Stderr
	})
}

// Someone else's discovery controller is left alone, though the daemon runs: its log page is not read, nothing behind it is
// connected, it gets no unit and no entry in the registry.
func TestForeignDiscoveryController(t *testing.T) {
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	port := target.Port(8009)
	port.Link(target.Subsystems(2)...)
	guest.Configure(m, "")
	guest.Start(m)
	guest.Run(m, "modprobe", "nvme-tcp")
	guest.Run(m, "nvme", "connect", "-t", "tcp", "-a", port.Traddr, "-s", port.Trsvcid, "-n", guest.DiscoveryNQN)
	devices := guest.WaitLive(m, connectTimeout, guest.DiscoveryNQN)
	guest.Always(m, quietSpan, "nothing else is connected", unchanged(devices))
	if units := guest.Units(m); len(units) != 0 {
		t.Errorf("units: got %v, want none", units)
	}
	if entries := guest.RegistryEntries(); len(entries) != 0 {
		t.Errorf("registry entries: got %v, want none", entries)
	}
}
