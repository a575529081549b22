// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// The file systems of the shutdown scenario, each on a slice of the data drive: on two paths of a network that goes away and
// with _netdev, as it should be; in a mount unit without _netdev; and with _netdev on device mapper, by hand and by LVM. The one
// without is on a network that stays: where that goes first, what writes to it hangs in the kernel, and the power-off waits for all
// timeouts.
var shutdownVolumes = []string{"netdev", "plain", "stacked", "lvm"}

// logicalVolume is where the file system on LVM is.
const logicalVolume = "/dev/e2e-group/volume"

// A host with file systems on its controllers is switched off. What that does is judged by the console of this boot and by what
// the next one finds on the disks.
func TestShutdown_1(t *testing.T) {
	far := guest.NewFar(t)
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	far1, far2 := target.PortAt(guest.FarAddress, 8009), target.PortAt(guest.FarAddress, 8010)
	near := target.Port(8011)
	volumes := map[string]*guest.Subsystem{}
	for i, name := range shutdownVolumes {
		volumes[name] = target.Subsystem("nqn.2024-01.com.example:" + name)
		volumes[name].NamespaceOn(guest.Slice(m, i))
	}
	far.There(func() {
		far1.Link(volumes["netdev"])
		far2.Link(volumes["netdev"])
	})
	near.Link(volumes["plain"], volumes["stacked"], volumes["lvm"])

	guest.NetworkOrder(m)
	guest.ConfigureDiscovery(m, far1, far2, near)
	guest.Enable(m)
	guest.Eventually(m, connectTimeout, "3 discovery controllers and 5 others live", func() (bool, string) {
		return guest.LiveCount() == 8, fmt.Sprint(guest.Controllers())
	})
	devices := guest.Devices()
	disk := map[string]string{}
	for name, volume := range volumes {
		disk[name] = guest.Disk(m, devices[volume.NQN])
	}
	guest.Run(m, "dmsetup", "create", "e2e", "--table", "0 "+strings.TrimSpace(guest.Run(m, "blockdev", "--getsz", disk["stacked"]))+" linear "+disk["stacked"]+" 0")
	guest.UseVolumesOn(m, "nvme[1-9]")
	guest.MakeVolume(m, logicalVolume, disk["lvm"])
	for _, device := range []string{disk["netdev"], disk["plain"], "/dev/mapper/e2e", logicalVolume} {
		guest.Run(m, "mkfs.ext4", "-q", device)
	}
	for _, name := range shutdownVolumes {
		if err := os.MkdirAll("/mnt/"+name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const options = " ext4 _netdev,nofail 0 0\n"
	guest.Append(m, "/etc/fstab", disk["netdev"]+" /mnt/netdev"+options+"/dev/mapper/e2e /mnt/stacked"+options+logicalVolume+" /mnt/lvm"+options)
	guest.InstallUnit(m, "mnt-plain.mount", "[Mount]\nWhat="+disk["plain"]+"\nWhere=/mnt/plain\nType=ext4\n")
	guest.Run(m, "systemctl", "start", "mnt-netdev.mount", "mnt-stacked.mount", "mnt-lvm.mount")
	for _, name := range shutdownVolumes {
		wait := ""
		if name == "plain" {
			// Its file system is in use until its unit has stopped.
			wait = "while [ -e /run/systemd/transient/" + near.TID(volumes["plain"].NQN).Unit() + " ]; do sleep 0.2; done;"
		}
		guest.LastWriter(m, name, wait)
	}
	guest.ShutDown(m)
}

// Everything is in order: what is marked _netdev is unmounted, and the daemon ends, in silence but for that; when both are through,
// whichever is first, the units disconnect, both paths of the one, then the network goes; what is in use otherwise stays connected, a
// volume group too, which nothing deactivates here; nothing fails, nothing is waited for in vain.
func TestShutdown_2(t *testing.T) {
	m := guest.Begin(t)
	down := guest.ReadShutdown(m, "TestShutdown_1")
	down.DaemonFirst()
	down.InOrder(`netdev: written at stop`, `Unmounted mnt-netdev\.mount`, `disconnected nvme\d+: .*:netdev\)`, `disconnected nvme\d+: .*:netdev\)`, `the network goes`)
	down.InOrder(`nvme\d+ stays connected: nvme\d+n1 is mounted on /mnt/plain while the system shuts down`, `plain: written at stop`, `Unmounted mnt-plain\.mount`)
	down.InOrder(`stacked: written at stop`, `Unmounted mnt-stacked\.mount`, `nvme\d+ stays connected: nvme\d+n1 is held by dm-0 while the system shuts down`)
	down.InOrder(`lvm: written at stop`, `Unmounted mnt-lvm\.mount`, `nvme\d+ stays connected: nvme\d+n1 is held by dm-1 while the system shuts down`)
	down.Faultless()

	guest.UseVolumesOn(m, "loop")
	for i, name := range shutdownVolumes {
		device := guest.Slice(m, i)
		if name == "lvm" {
			device = activate(m, logicalVolume)
		}
		guest.CheckLastWords(m, device)
	}
}

// activate activates a logical volume until the scenario ends.
func activate(m *guest.Machine, volume string) string {
	guest.Run(m, "lvchange", "--activate", "y", volume)
	m.Cleanup(func() { guest.Run(m, "lvchange", "--activate", "n", volume) })
	return volume
}

// multipathConfiguration has multipathd look at controllers over fabrics only, and use them even before it sees a second path.
const multipathConfiguration = `defaults {
	find_multipaths no
	user_friendly_names yes
}
blacklist {
	protocol ".*"
}
blacklist_exceptions {
	protocol "nvme:tcp"
}
`

// The subsystems of the scenario with dm-multipath, and what has the file system of each.
const (
	onPaths  = "nqn.2024-01.com.example:multipath"
	onVolume = "nqn.2024-01.com.example:lvm"
)

// The same with device mapper's multipath in place of the kernel's own, a file system on that and one on LVM on that, and with
// LVM's service that takes such things apart at shutdown, in the order of the example that comes with the product.
//
//e2e:parameter nvme_core.multipath=N
func TestShutdownMultipath_1(t *testing.T) {
	far := guest.NewFar(t)
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	far1, far2 := target.PortAt(guest.FarAddress, 8009), target.PortAt(guest.FarAddress, 8010)
	plain, grouped := target.Subsystem(onPaths), target.Subsystem(onVolume)
	plain.NamespaceOn(guest.Slice(m, 0))
	grouped.NamespaceOn(guest.Slice(m, 1))
	far.There(func() {
		far1.Link(plain, grouped)
		far2.Link(plain, grouped)
	})

	guest.NetworkOrder(m)
	guest.StartMultipath(m, multipathConfiguration)
	guest.StartTakingApart(m)
	guest.ConfigureDiscovery(m, far1, far2)
	guest.Enable(m)
	guest.Eventually(m, connectTimeout, "2 discovery controllers and 4 paths live", func() (bool, string) {
		return guest.LiveCount() == 6, fmt.Sprint(guest.Controllers())
	})
	paths := func(nqn string) (disks []string) {
		for _, controller := range guest.Live(nqn) {
			disks = append(disks, guest.Disk(m, controller))
		}
		return disks
	}
	device := guest.Multipath(m, paths(onPaths)...)
	guest.UseVolumesOn(m, "mapper/mpath")
	guest.MakeVolume(m, logicalVolume, guest.Multipath(m, paths(onVolume)...))
	for name, device := range map[string]string{"multipath": device, "lvm": logicalVolume} {
		guest.Run(m, "mkfs.ext4", "-q", device)
		guest.Run(m, "mkdir", "-p", "/mnt/"+name)
		guest.Append(m, "/etc/fstab", device+" /mnt/"+name+" ext4 _netdev,nofail 0 0\n")
	}
	guest.Run(m, "systemctl", "daemon-reload")
	for _, name := range []string{"multipath", "lvm"} {
		guest.Run(m, "systemctl", "start", "mnt-"+name+".mount")
		guest.LastWriter(m, name, "")
	}
	guest.ShutDown(m)
}

// What is stacked is taken apart between the unmount and the disconnect, so that both paths of both are disconnected before the
// network goes.
//
//e2e:parameter nvme_core.multipath=N
func TestShutdownMultipath_2(t *testing.T) {
	m := guest.Begin(t)
	down := guest.ReadShutdown(m, "TestShutdownMultipath_1")
	for name, nqn := range map[string]string{"multipath": onPaths, "lvm": onVolume} {
		gone := `disconnected nvme\d+: .*` + nqn + `\)`
		down.InOrder(name+`: written at stop`, `Unmounted mnt-`+name+`\.mount`, `Stopped blk-availability\.service`, gone, gone, `the network goes`)
	}
	down.DaemonFirst()
	down.InOrder(`Stopped blk-availability\.service`, `multipathd\.service`)
	down.Never(`stays connected`)
	down.Faultless()

	guest.UseVolumesOn(m, "loop")
	guest.CheckLastWords(m, guest.Slice(m, 0))
	guest.Slice(m, 1)
	guest.CheckLastWords(m, activate(m, logicalVolume))
}
