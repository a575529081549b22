// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// What the running system needs stays connected, whatever asks for the disconnect: /usr, here an overlay on a file system of a
// controller that was connected before the daemon came, as an initial RAM disk would; and swap.
func TestNeededBySystem(t *testing.T) {
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	port := target.Port(8009)
	usr, swap, other := target.Subsystem("nqn.2024-01.com.example:usr"), target.Subsystem("nqn.2024-01.com.example:swap"), target.Subsystem("nqn.2024-01.com.example:other")
	for _, s := range []*guest.Subsystem{usr, swap, other} {
		s.Namespace(64 << 20)
	}
	port.Link(usr, swap, other)
	guest.Run(m, "modprobe", "nvme-tcp")
	guest.Run(m, "nvme", "connect", "-t", "tcp", "-a", port.Traddr, "-s", port.Trsvcid, "-n", usr.NQN)
	disk := guest.Disk(m, guest.WaitLive(m, connectTimeout, usr.NQN)[usr.NQN])
	changeUsrOn(m, disk)

	guest.ConfigureDiscovery(m, port)
	guest.Start(m)
	devices := guest.WaitLive(m, connectTimeout, guest.NQNs(true, usr, swap, other)...)
	swapDisk := guest.Disk(m, devices[swap.NQN])
	guest.Run(m, "mkswap", swapDisk)
	guest.Run(m, "swapon", swapDisk)
	t.Cleanup(func() { guest.Run(m, "swapoff", swapDisk) })
	unit := func(s *guest.Subsystem) string { return port.TID(s.NQN).Unit() }
	for _, s := range []*guest.Subsystem{usr, swap, other} {
		m.WaitUnit(unit(s), "active")
		argv := guest.Argv(m, unit(s), "ExecStop")
		if without := len(argv) == 0; without != (s == usr) {
			t.Errorf("ExecStop= of the unit of %s: got %q", s.NQN, argv)
		}
	}

	guest.Run(m, "systemctl", "stop", unit(usr), unit(swap))
	guest.Always(m, quietSpan, "what was needed stays", unchanged(devices))
	kept := devices[swap.NQN] + " stays connected: " + strings.TrimPrefix(swapDisk, "/dev/") + " is used as swap, and the running system needs swap"
	if journal := m.Journal(); !strings.Contains(journal, "nothing disconnected: "+kept) {
		t.Errorf("the journal does not say why the unit of the swap has disconnected nothing")
	}
	refused := guest.Try(m, "nvme-discoverctl", "disconnect", "--device="+devices[usr.NQN])
	want := "cannot disconnect " + devices[usr.NQN] + ": " + strings.TrimPrefix(disk, "/dev/") + " is mounted on /mnt/usr and 1 more, and the running system needs /usr: --force disconnects it all the same\n"
	if refused.Status != 1 || refused.Stderr != want {
		t.Errorf("disconnect of what has /usr on it: exit status %d, %q, want 1, %q", refused.Status, refused.Stderr, want)
	}
	guest.Stop(m)
	all := guest.Try(m, "nvme-discoverctl", "disconnect-all", "--force", "--owner=discoverd", "--yes")
	if all.Status != 2 {
		t.Errorf("disconnect-all with --force and --owner: %+v", all)
	}
	all = guest.Try(m, "nvme-discoverctl", "disconnect-all", "--owner=discoverd", "--yes")
	if all.Status != 1 || strings.Count(all.Stderr, "and the running system needs") != 2 {
		t.Errorf("disconnect-all: %+v", all)
	}
	guest.WaitLive(m, connectTimeout, usr.NQN, swap.NQN)
}

// What is between the controllers and what the system needs does not matter: /usr is on LVM on a mirror of a partition and a whole
// namespace, each of another controller, and swap on a partition. In the end the machine is switched off.
func TestNeededThroughStacks_1(t *testing.T) {
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	port := target.Port(8009)
	left, right, swap := target.Subsystem("nqn.2024-01.com.example:left"), target.Subsystem("nqn.2024-01.com.example:right"), target.Subsystem("nqn.2024-01.com.example:swap")
	all := []*guest.Subsystem{left, right, swap}
	for i, s := range all {
		s.NamespaceOn(guest.Slice(m, i))
	}
	port.Link(all...)
	guest.Run(m, "modprobe", "nvme-tcp")
	for _, s := range []*guest.Subsystem{left, right} {
		guest.Run(m, "nvme", "connect", "-t", "tcp", "-a", port.Traddr, "-s", port.Trsvcid, "-n", s.NQN)
	}
	devices := guest.WaitLive(m, connectTimeout, left.NQN, right.NQN)
	guest.UseVolumesOn(m, "md")
	guest.MakeVolume(m, logicalVolume, guest.Mirror(m, guest.Partition(m, guest.Disk(m, devices[left.NQN])), guest.Disk(m, devices[right.NQN])))
	changeUsrOn(m, logicalVolume)

	guest.ConfigureDiscovery(m, port)
	guest.Enable(m)
	devices = guest.WaitLive(m, connectTimeout, guest.NQNs(true, all...)...)
	area := guest.Partition(m, guest.Disk(m, devices[swap.NQN]))
	guest.Run(m, "mkswap", area)
	guest.Run(m, "swapon", area)

	uses := map[*guest.Subsystem]string{left: "mounted on /mnt/usr and 1 more, and the running system needs /usr", swap: "used as swap, and the running system needs swap"}
	uses[right] = uses[left]
	for _, s := range all {
		unit, device := port.TID(s.NQN).Unit(), devices[s.NQN]
		m.WaitUnit(unit, "active")
		if argv := guest.Argv(m, unit, "ExecStop"); (len(argv) == 0) != (s != swap) {
			t.Errorf("ExecStop= of the unit of %s: got %q", s.NQN, argv)
		}
		guest.Run(m, "systemctl", "stop", unit)
		m.WaitUnit(unit, "inactive")
		why := strings.TrimPrefix(guest.Disk(m, device), "/dev/") + " is " + uses[s]
		guest.Eventually(m, connectTimeout, "the journal says why "+device+" stays connected", func() (bool, string) {
			journal := m.Journal()
			return strings.Contains(journal, device+" stays connected: "+why+"\n"), why + " is not in\n" + journal
		})
		refused := guest.TryCtl(m, "disconnect", "--device="+device)
		want := "cannot disconnect " + device + ": " + why + ": --force disconnects it all the same\n"
		if refused.Status != 1 || refused.Stderr != want {
			t.Errorf("disconnect of %s: exit status %d, %q, want 1, %q", s.NQN, refused.Status, refused.Stderr, want)
		}
	}
	guest.Always(m, quietSpan, "what is needed stays", unchanged(devices))
	guest.Stop(m)
	everything := guest.TryCtl(m, "disconnect-all", "--owner=discoverd", "--yes")
	if everything.Status != 1 || strings.Count(everything.Stderr, "and the running system needs") != len(all) {
		t.Errorf("disconnect-all: %+v", everything)
	}
	guest.Start(m)
	guest.WaitLive(m, connectTimeout, guest.NQNs(true, all...)...)
	for _, s := range all {
		unit := port.TID(s.NQN).Unit()
		guest.Ctl(m, "start", unit)
		m.WaitUnit(unit, "active")
	}

	guest.LastWriter(m, "usr", "")
	guest.ShutDown(m)
}

// At power-off both halves of the mirror stay connected to the end, and so does the swap, which systemd gives up later.
func TestNeededThroughStacks_2(t *testing.T) {
	m := guest.Begin(t)
	down := guest.ReadShutdown(m, "TestNeededThroughStacks_1")
	const kept = `nvme\d+ stays connected: nvme\d+n1 is `
	down.DaemonFirst()
	down.InOrder(kept+`mounted on /mnt/usr and 1 more, and the running system needs /usr`, kept+`mounted on /mnt/usr and 1 more, and the running system needs /usr`)
	down.InOrder(kept+`used as swap, and the running system needs swap`, `Deactivated swap`)
	down.Never(`disconnected nvme\d+: .*:(left|right|swap)\)`)
	down.Faultless()

	guest.UseVolumesOn(m, "md")
	guest.Run(m, "mdadm", "--assemble", "--run", "/dev/md/e2e", guest.Slice(m, 0)+"p1", guest.Slice(m, 1))
	// systemd takes it for unmounted, and the overlay keeps it.
	guest.CheckRecovered(m, activate(m, logicalVolume))
}

// changeUsrOn has what changes in /usr kept on a new file system, until the scenario ends.
func changeUsrOn(m *guest.Machine, device string) {
	guest.Run(m, "mkfs.ext4", "-q", device)
	guest.Run(m, "mkdir", "-p", "/mnt/usr")
	guest.Run(m, "mount", device, "/mnt/usr")
	m.Cleanup(func() {
		guest.Eventually(m, connectTimeout, "/mnt/usr unmounted", func() (bool, string) {
			out := guest.Try(m, "umount", "/mnt/usr")
			return out.Status == 0, out.Stderr
		})
	})
	guest.Run(m, "mkdir", "/mnt/usr/upper", "/mnt/usr/work")
	guest.Run(m, "mount", "-t", "overlay", "overlay", "-o", "lowerdir=/usr,upperdir=/mnt/usr/upper,workdir=/mnt/usr/work", "/usr")
	m.Cleanup(func() {
		guest.Stop(m)
		guest.Run(m, "umount", "--lazy", "/usr")
	})
}
