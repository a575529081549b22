// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// rootNQN is the subsystem with the root file system, which the machine's initial RAM disk connects (machine/initrd/fabric).
const rootNQN = "nqn.2024-01.com.example:root"

// staysConnected is what the unit of that controller says when it stops.
const staysConnected = `nvme\d+ stays connected: nvme\d+n1 is mounted on /( and \d+ more)?, and the running system needs /`

// rootMirror is where the root file system is: md on a partition of the controller's namespace.
const rootMirror = "/dev/md0"

// The root file system is on a controller that the initial RAM disk has connected. The daemon, whose configuration names that
// connection, claims it as it is. Nothing disconnects it from then on: not the stop of its unit, no command by hand, no
// exclusion, no restart of the daemon; and in the end the machine is switched off.
//
//e2e:on-fabric
func TestRootOnFabric_1(t *testing.T) {
	m := guest.BeginAsBooted(t)
	device := guest.WaitLive(m, connectTimeout, rootNQN)[rootNQN]
	disk := guest.Disk(m, device)
	if source := strings.TrimSpace(guest.Run(m, "findmnt", "--noheadings", "--output=SOURCE", "/")); source != rootMirror {
		t.Fatalf("the root file system is on %s, want %s", source, rootMirror)
	}
	boot := &guest.Port{Transport: "tcp", Traddr: "127.0.0.1", Trsvcid: "4420"}
	unit := boot.TID(rootNQN).Unit()
	target := guest.NewTarget(m)
	port, other := target.Port(8009), target.Subsystem("nqn.2024-01.com.example:other")
	port.Link(other)
	all := []string{rootNQN, guest.DiscoveryNQN, other.NQN}
	stays := func(after string) {
		t.Helper()
		devices := guest.WaitLive(m, connectTimeout, all...)
		if devices[rootNQN] != device {
			t.Fatalf("after %s: the controller of the root file system is %s, want %s", after, devices[rootNQN], device)
		}
		read := guest.Run(m, "sh", "-c", `echo "$0" >/var/tmp/word && sync /var/tmp/word && echo 3 >/proc/sys/vm/drop_caches && cat /var/tmp/word`, after)
		if read != after+"\n" {
			t.Errorf("after %s: the root file system has %q", after, read)
		}
	}
	refused := func(want string, args ...string) {
		t.Helper()
		out := guest.TryCtl(m, args...)
		if out.Status != 1 || out.Stdout != "" || out.Stderr != want+"\n" {
			t.Errorf("%s: exit status %d\n%s%s\nwant 1\n%s", strings.Join(args, " "), out.Status, out.Stdout, out.Stderr, want)
		}
	}

	guest.Configure(m, subsystemConfig(boot, rootNQN, "")+discoveryConfig(port))
	guest.Enable(m)
	stays("the start of the daemon")
	m.WaitUnit(unit, "active")
	if owner := guest.RegistryAttribute(device, "owner"); owner != "discoverd" {
		t.Errorf("owner of %s: got %q", device, owner)
	}
	if argv := guest.Argv(m, unit, "ExecStop"); len(argv) != 0 {
		t.Errorf("ExecStop= of its unit: got %q, want none", argv)
	}

	guest.Run(m, "systemctl", "stop", unit)
	m.WaitUnit(unit, "inactive")
	guest.Always(m, quietSpan, "after the stop of its unit everything stays connected", unchanged(guest.Devices()))
	stays("the stop of its unit")
	if journal := m.Journal(); !regexp.MustCompile(staysConnected).MatchString(journal) {
		t.Errorf("the journal does not say why the stop of the unit has disconnected nothing:\n%s", journal)
	}
	guest.Ctl(m, "start", unit)
	m.WaitUnit(unit, "active")
	stays("the start of its unit")

	kept := fmt.Sprintf("cannot disconnect %s: %s is mounted on /, and the running system needs /: --force disconnects it all the same", device, strings.TrimPrefix(disk, "/dev/"))
	refused(kept, "disconnect", "--device="+device)
	refused(kept, "disconnect", "--nqn="+rootNQN)
	refused(kept, "disconnect", "--device="+device, "--exclude")
	const unsure = "; without a terminal to ask on, --yes says so"
	refused(fmt.Sprintf("cannot disconnect 1 controller without being sure: the running system needs %s: %s is mounted on /%s", device, strings.TrimPrefix(disk, "/dev/"), unsure),
		"disconnect", "--device="+device, "--force")
	owned := device + " (discoverd, with / of the running system)"
	for _, c := range guest.Controllers() {
		if c.Name != device {
			owned += ", " + c.Name + " (discoverd)"
		}
	}
	refused("cannot disconnect 3 controllers without being sure: "+owned+" would be taken from their owners"+unsure, "disconnect-all", "--force")
	stays("the commands that refused")
	guest.Stop(m)
	out := guest.TryCtl(m, "disconnect-all", "--owner=discoverd", "--yes")
	if out.Status != 1 || out.Stderr != kept+"\n" || strings.Count(out.Stdout, "disconnected ") != 2 {
		t.Errorf("disconnect-all: got %+v", out)
	}
	guest.Start(m)
	stays("disconnect-all and a restart of the daemon")

	guest.Ctl(m, "exclusion", "add", "--entry=nqn="+rootNQN)
	stays("an exclusion")
	guest.Run(m, "systemctl", "restart", guest.Service)
	guest.Run(m, "systemctl", "stop", unit)
	guest.Always(m, quietSpan, "after the stop of the excluded unit everything stays connected", unchanged(guest.Devices()))
	stays("an exclusion, a restart of the daemon and the stop of the unit")
	guest.Ctl(m, "exclusion", "remove", "--entry=nqn="+rootNQN)
	guest.TryCtl(m, "start", unit) // the daemon may be faster, and then this is refused
	m.WaitUnit(unit, "active")

	guest.Run(m, "mkdir", "/mnt/root")
	guest.LastWriter(m, "root", "")
	guest.ShutDown(m)
}

// At power-off the others are disconnected, the root file system is written back and stays connected to the end.
func TestRootOnFabric_2(t *testing.T) {
	m := guest.Begin(t)
	down := guest.ReadShutdown(m, "TestRootOnFabric_1")
	down.DaemonFirst()
	down.InOrder(`root: written at stop`)
	down.InOrder(`disconnected nvme\d+: .*:other\)`)
	down.InOrder(staysConnected)
	down.Never(`disconnected nvme\d+: .*` + rootNQN)
	down.Faultless()

	const partition = guest.DataDrive + "-part1"
	guest.CheckFileSystem(m, partition)
	guest.Run(m, "mount", "--options", "ro", partition, "/mnt")
	t.Cleanup(func() { guest.Run(t, "umount", "/mnt") })
	if last := guest.Try(m, "cat", "/mnt/mnt/root/last").Stdout; last != "the last word\n" {
		t.Errorf("the last write to the root file system: got %q", last)
	}
}
