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
	guest.Run(m, "mkfs.ext4", "-q", disk)
	guest.Run(m, "mkdir", "-p", "/mnt/usr")
	guest.Run(m, "mount", disk, "/mnt/usr")
	t.Cleanup(func() {
		guest.Eventually(m, connectTimeout, "/mnt/usr unmounted", func() (bool, string) {
			out := guest.Try(m, "umount", "/mnt/usr")
			return out.Status == 0, out.Stderr
		})
	})
	guest.Run(m, "mkdir", "/mnt/usr/upper", "/mnt/usr/work")
	guest.Run(m, "mount", "-t", "overlay", "overlay", "-o", "lowerdir=/usr,upperdir=/mnt/usr/upper,workdir=/mnt/usr/work", "/usr")
	t.Cleanup(func() {
		guest.Stop(m)
		guest.Run(m, "umount", "--lazy", "/usr")
	})

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
