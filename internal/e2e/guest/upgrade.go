// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Builds of the programs: the one under test, and an earlier one that a run brings along.
const (
	CurrentBuild  = "/usr/lib/e2e/current"
	PreviousBuild = "/usr/lib/e2e/previous"
)

// daemonProgram and ctlProgram are the programs where they are installed.
const (
	daemonProgram = "/usr/sbin/nvme-discoverd"
	ctlProgram    = "/usr/bin/nvme-discoverctl"
)

// KeepBuild sets the build under test aside, and has it back when the scenario ends.
func KeepBuild(t T) {
	t.Helper()
	Run(t, "mkdir", "-p", CurrentBuild)
	Run(t, "cp", daemonProgram, ctlProgram, CurrentBuild)
	t.Cleanup(func() { InstallBuild(t, CurrentBuild) })
}

// InstallBuild puts the programs of a build in the place of the installed ones, as a package manager does: running ones keep
// theirs. It returns what the build calls itself.
func InstallBuild(t T, build string) string {
	t.Helper()
	for _, program := range []string{daemonProgram, ctlProgram} {
		Run(t, "cp", filepath.Join(build, filepath.Base(program)), program+".new")
		if err := os.Rename(program+".new", program); err != nil {
			t.Fatalf("cannot install %s: %v", build, err)
		}
	}
	return strings.TrimSpace(Ctl(t, "version"))
}

// ConnectAsForerunner connects a TID as the C daemon does, by Debian's nvme-cli in a transient unit whose name comes from
// another hash than ours, and leaves the records that it leaves. It returns unit and device.
func ConnectAsForerunner(t T, id TID, number int) (unit, device string) {
	t.Helper()
	unit = fmt.Sprintf("nvme-discoverd-c0ffee%06x.service", number)
	Run(t, "systemd-run", "--quiet", "--unit="+unit, "--property=Type=oneshot", "--property=RemainAfterExit=yes", "--collect",
		"/usr/sbin/nvme", "connect", "--transport="+id.Transport, "--traddr="+id.Traddr, "--trsvcid="+id.Trsvcid, "--nqn="+id.NQN,
		"--hostnqn="+id.HostNQN, "--hostid="+id.HostID, "--keep-alive-tmo=30")
	device = WaitOneLive(t, id.NQN, id.NQN+" live")
	put(t, filepath.Join(registryDir, device, "owner"), "discoverd\n")
	put(t, filepath.Join(registryDir, device, "seqnum"), LastEvent()+"\n")
	put(t, DevidFile(unit), device+"\n")
	put(t, UnitFile(device), unit+"\n")
	return unit, device
}
