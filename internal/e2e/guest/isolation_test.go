// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// The disk that the machine boots from is an NVMe disk too. Neither the daemon nor the connect command ever opens anything
// of it: no device node, no file in sysfs.
func TestLocalDiskIsLeftAlone(t *testing.T) {
	f := guest.Scene(t, 2)
	guest.TraceService(t)
	guest.Start(t)
	devices := f.WaitAllLive()
	// Loss and resynchronisation look at sysfs too.
	guest.Delete(t, devices[f.Subsystems[0].NQN])
	guest.WaitOneLive(t, f.Subsystems[0].NQN, "it is back")
	f.WaitAllLive()
	guest.Stop(t)
	checkTrace(t, "the daemon")

	unit := f.Unit(f.Subsystems[1].NQN)
	argv := guest.Argv(t, unit, "ExecStart")
	guest.TraceCommand(t, argv...)
	checkTrace(t, "an idempotent connect")
	guest.Run(t, "systemctl", "stop", unit)
	guest.TraceCommand(t, argv...)
	checkTrace(t, "a connect")
}

func checkTrace(t *testing.T, who string) {
	t.Helper()
	if guest.TracedOpens() < 5 {
		t.Fatalf("the recording of %s has no opened files", who)
	}
	for _, line := range guest.LocalDiskOpens() {
		t.Errorf("%s: %s", who, line)
	}
}

// From the start of the service to the last connection, through a loss and a stop, no shell and no nvme-cli is started
// anywhere in the machine.
func TestNoShellNoNvmeCli(t *testing.T) {
	f := guest.Scene(t, 2)
	trace := guest.TraceExecs(t)
	guest.Start(t)
	devices := f.WaitAllLive()
	guest.Delete(t, devices[f.Subsystems[0].NQN])
	guest.WaitOneLive(t, f.Subsystems[0].NQN, "it is back")
	f.WaitAllLive()
	guest.Run(t, "systemctl", "stop", f.Unit(f.Subsystems[1].NQN))
	programs := trace.Programs()
	if programs["/usr/bin/nvme-discoverctl"] < 3 {
		t.Errorf("the recording misses connects: %v", programs)
	}
	forbidden := []string{"sh", "dash", "bash", "nvme"}
	for path := range programs {
		if slices.Contains(forbidden, filepath.Base(path)) {
			t.Errorf("%s was started", path)
		}
	}
	for _, unit := range guest.Units(t) {
		for _, property := range []string{"ExecStart", "ExecStop", "ExecStopPost"} {
			if argv := guest.Argv(t, unit, property); len(argv) > 0 && !strings.HasPrefix(argv[0], "/usr/bin/nvme-discoverctl") {
				t.Errorf("%s of %s: %v", property, unit, argv)
			}
		}
	}
}
