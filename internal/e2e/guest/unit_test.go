// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// The unit of a connection is described and ordered so that file systems on it are unmounted before it is disconnected, and
// so that the daemon stops first; its commands are the product's own and show every parameter of the connection.
//
//e2e:everywhere
func TestUnitProperties(t *testing.T) {
	f, _ := guest.Shared(t, 2)
	volume := f.Subsystems[0].NQN
	tests := []struct{ nqn, description string }{
		{guest.DiscoveryNQN, "NVMe Discovery Controller " + guest.DiscoveryNQN + " @ 127.0.0.1:8009"},
		{volume, "NVMe I/O Controller " + volume + " @ 127.0.0.1:8009"},
	}
	for _, test := range tests {
		t.Run(test.nqn, func(t *testing.T) {
			unit := f.Unit(test.nqn)
			got := guest.Properties(t, unit, "Description", "Type", "RemainAfterExit", "CollectMode", "TimeoutStopUSec",
				"Before", "After", "Wants", "Transient", "ActiveState", "SubState", "LoadState", "TimeoutStartUSec")
			for key, want := range map[string]string{
				"Description": test.description, "Type": "oneshot", "RemainAfterExit": "yes",
				"CollectMode": "inactive-or-failed", "TimeoutStopUSec": "5min", "Transient": "yes",
				"ActiveState": "active", "SubState": "exited", "LoadState": "loaded",
			} {
				if got[key] != want {
					t.Errorf("%s: got %q, want %q", key, got[key], want)
				}
			}
			if got["TimeoutStartUSec"] == "infinity" {
				t.Error("TimeoutStartUSec: got infinity, want a bound for a stuck connect")
			}
			for key, units := range map[string][]string{
				"Before": {guest.Service, "remote-fs-pre.target", "blk-availability.service"}, "After": {"network.target"}, "Wants": {"remote-fs-pre.target", "nvme-fabrics-shutdown.service"},
			} {
				for _, want := range units {
					if !slices.Contains(strings.Fields(got[key]), want) {
						t.Errorf("%s: got %q, want %s in it", key, got[key], want)
					}
				}
			}
			checkExecStart(t, f, unit, test.nqn)
			for _, property := range []string{"ExecStop", "ExecStopPost"} {
				if argv := guest.Argv(t, unit, property); len(argv) == 0 || argv[0] != "/usr/bin/nvme-discoverctl" {
					t.Errorf("%s: got %q, want a command of /usr/bin/nvme-discoverctl", property, argv)
				}
			}
		})
	}
}

// checkExecStart compares the connect command of a unit with the connection it is for.
func checkExecStart(t *testing.T, f *guest.Fixture, unit, nqn string) {
	t.Helper()
	argv := guest.Argv(t, unit, "ExecStart")
	if len(argv) < 2 || argv[0] != "/usr/bin/nvme-discoverctl" || argv[1] != "connect" {
		t.Fatalf("ExecStart: got %q, want /usr/bin/nvme-discoverctl connect …", argv)
	}
	want := map[string]string{
		"transport": "tcp", "traddr": f.Port.Traddr, "trsvcid": f.Port.Trsvcid, "nqn": nqn,
		"hostnqn": guest.HostNQN, "hostid": guest.HostID, "idempotent": "", "owner": "discoverd",
		"devid-file": guest.DevidFile(unit),
	}
	if nqn == guest.DiscoveryNQN {
		want["keep-alive-tmo"] = "30"
	} else {
		want["ctrl-loss-tmo"] = "600"
	}
	for name, value := range want {
		if got, found := guest.Option(argv, name); !found || got != value {
			t.Errorf("ExecStart: --%s: got %q (there: %v), want %q", name, got, found, value)
		}
	}
	if got, _ := guest.Option(argv, "unit"); strings.TrimSuffix(got, ".service")+".service" != unit {
		t.Errorf("ExecStart: --unit: got %q, want %q", got, unit)
	}
}

// A subsystem whose NQN has dollar signs and a backslash keeps its unit, commands included, when systemd reads the units again, and
// when it and the daemon start anew. Nothing in the name is expanded: the unit can be restarted and stopped.
//
//e2e:everywhere
func TestDollarSign(t *testing.T) {
	f := guest.Scene(t, 1)
	odd := f.Target.Subsystem(`nqn.2024-01.com.example:a$HOME${USER}\x24$$`)
	f.Port.Link(odd)
	f.Subsystems = append(f.Subsystems, odd)
	guest.Start(t)
	devices := f.WaitAllLive()
	unit := f.Unit(odd.NQN)
	commands := func() string {
		return fmt.Sprint(guest.Argv(t, unit, "ExecStart"), guest.Argv(t, unit, "ExecStop"), guest.Argv(t, unit, "ExecStopPost"))
	}
	before := commands()
	if strings.Contains(before, "$") {
		t.Errorf("systemd has dollar signs to expand: %s", before)
	}
	guest.Run(t, "systemctl", "daemon-reload")
	guest.Run(t, "systemctl", "daemon-reexec")
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Always(t, quietSpan, "all stays", unchanged(devices))
	if after := commands(); after != before {
		t.Errorf("commands: got\n%s\nbefore\n%s", after, before)
	}
	guest.Run(t, "systemctl", "restart", unit)
	f.WaitAllLive()
	guest.Run(t, "systemctl", "stop", unit)
	if live := guest.Live(odd.NQN); len(live) > 0 {
		t.Errorf("stopped, %s is connected: %v", odd.NQN, live)
	}
}

var processLine = regexp.MustCompile(`Process: \d+ ExecStart=(.*) \(code=exited, status=0/SUCCESS`)

// `systemctl status` of a unit shows the command that connected it. An administrator who copies that line and runs it
// gets exit status 0, and nothing is connected twice.
func TestCopiedCommandLine(t *testing.T) {
	f, devices := guest.Shared(t, 2)
	for _, nqn := range f.NQNs() {
		status := guest.Run(t, "systemctl", "status", "--full", "--no-pager", f.Unit(nqn))
		match := processLine.FindStringSubmatch(status)
		if match == nil {
			t.Fatalf("no command line in the status:\n%s", status)
		}
		argv := strings.Fields(match[1])
		for range 2 {
			guest.Run(t, argv[0], argv[1:]...)
		}
		if ok, seen := unchanged(devices)(); !ok {
			t.Fatalf("after running %q again: %s\nbefore: %v", match[1], seen, devices)
		}
		checkFiles(f, nqn, devices[nqn])
	}
	if got := len(guest.Units(f)); got != 3 {
		t.Errorf("units: got %d, want 3", got)
	}
}

// The commands of a unit have one capability, by which they may load a module, and can get no more; what they hold in memory
// is never written to a file.
func TestUnitSandbox(t *testing.T) {
	f, _ := guest.Shared(t, 2)
	unit := f.Unit(f.Subsystems[0].NQN)
	got := guest.Properties(t, unit, "NoNewPrivileges", "CapabilityBoundingSet", "LimitCORE", "MemoryMax")
	for key, want := range map[string]string{
		"NoNewPrivileges": "yes", "CapabilityBoundingSet": "cap_sys_module", "LimitCORE": "0", "MemoryMax": "infinity",
	} {
		if got[key] != want {
			t.Errorf("%s: got %q, want %q", key, got[key], want)
		}
	}
	lines := strings.Split(strings.TrimSpace(guest.Run(t, "systemd-analyze", "security", "--no-pager", unit)), "\n")
	t.Log(lines[len(lines)-1])
	guest.Run(t, "systemctl", "stop", unit)
	guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, f.Subsystems[1].NQN)
}
