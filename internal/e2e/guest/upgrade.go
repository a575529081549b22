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

const sbin = "/usr/sbin"

// KeepBuild sets the build under test aside, and has it back when the scenario ends.
func KeepBuild(t T) {
	t.Helper()
	Run(t, "mkdir", "-p", CurrentBuild)
	Run(t, "cp", filepath.Join(sbin, "nvme-discoverd"), filepath.Join(sbin, "nvme-discoverctl"), CurrentBuild)
	t.Cleanup(func() { InstallBuild(t, CurrentBuild) })
}

// InstallBuild puts the programs of a build in the place of the installed ones, as a package manager does: running ones keep
// theirs. It returns what the build calls itself.
func InstallBuild(t T, build string) string {
	t.Helper()
	for _, name := range []string{"nvme-discoverd", "nvme-discoverctl"} {
		Run(t, "cp", filepath.Join(build, name), filepath.Join(sbin, name+".new"))
		if err := os.Rename(filepath.Join(sbin, name+".new"), filepath.Join(sbin, name)); err != nil {
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
