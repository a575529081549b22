// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// UseVolumesOn has LVM look at nothing but the devices whose names match: what a scenario exports is there twice, as what it is
// and as a namespace.
func UseVolumesOn(t T, names string) {
	t.Helper()
	put(t, "/etc/lvm/lvmlocal.conf", fmt.Sprintf("devices {\n\tglobal_filter = [ \"a|^/dev/%s|\", \"r|.*|\" ]\n}\n", names))
}

// Partition makes one partition of a disk and returns it.
func Partition(t T, disk string) string {
	t.Helper()
	partition := disk + "p1"
	Run(t, "sh", "-c", `echo , | sfdisk --quiet "$0"`, disk)
	Run(t, "udevadm", "settle")
	return partition
}

// Mirror makes an md device of devices with the same content.
func Mirror(t T, devices ...string) string {
	t.Helper()
	const mirror = "/dev/md/e2e"
	Run(t, "mdadm", append([]string{"--create", mirror, "--run", "--level=mirror", "--bitmap=none", "--assume-clean", "--raid-devices=" + strconv.Itoa(len(devices))}, devices...)...)
	Run(t, "udevadm", "settle")
	return mirror
}

// MakeVolume makes a volume group with one logical volume, /dev/GROUP/VOLUME, on a device.
func MakeVolume(t T, volume, device string) {
	t.Helper()
	group := filepath.Base(filepath.Dir(volume))
	Run(t, "vgcreate", "--quiet", group, device)
	Run(t, "lvcreate", "--quiet", "--extents=100%FREE", "--name="+filepath.Base(volume), group)
}

// StartMultipath starts the daemon that makes one device of all paths to a disk, with its udev rule in force, which the machine
// has masked.
func StartMultipath(t T, configuration string) {
	t.Helper()
	Remove(t, "/etc/udev/rules.d/60-multipath.rules")
	Run(t, "udevadm", "control", "--reload")
	put(t, "/etc/multipath.conf", configuration)
	Run(t, "systemctl", "start", "multipathd.service")
}

// Multipath waits until multipathd has made one device of the paths given, all of them, and returns its path.
func Multipath(t T, paths ...string) string {
	t.Helper()
	device := ""
	eventually(t, follow.Kernel, connectTimeout, "one device over "+strings.Join(paths, " and "), func() (bool, string) {
		holders := names("/sys/class/block/" + filepath.Base(paths[0]) + "/holders")
		if len(holders) != 1 {
			return false, fmt.Sprint(holders)
		}
		device = "/dev/mapper/" + read("/sys/class/block/"+holders[0]+"/dm/name")
		parts := names("/sys/class/block/" + holders[0] + "/slaves")
		return len(parts) == len(paths) && exists(device), fmt.Sprint(device, " of ", parts)
	})
	return device
}

// takeApart is LVM's service that deactivates at shutdown what device mapper has stacked.
const takeApart = "blk-availability.service"

// StartTakingApart starts that service, in the order that the example installed with the product gives it.
func StartTakingApart(t T) {
	t.Helper()
	put(t, "/etc/systemd/system/"+takeApart+".d/nvme.conf", read("/usr/share/doc/nvme-discoverd/examples/blk-availability.conf")+"\n")
	Run(t, "systemctl", "daemon-reload")
	Run(t, "systemctl", "start", takeApart)
}
