// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// pathToNamespace is what a controller's directory in sysfs has for each namespace: nvme1c4n2 leads to nvme1n2, and without
// the kernel's own multipath it is nvme4n2 itself.
var pathToNamespace = regexp.MustCompile(`^(nvme\d+)(?:c\d+)?(n\d+)$`)

// Disk waits until the one namespace of a controller has a device file and returns its path.
func Disk(t T, controller string) string {
	t.Helper()
	disk := ""
	eventually(t, follow.Kernel, connectTimeout, "namespace of "+controller, func() (bool, string) {
		for _, name := range names(filepath.Join(fabricsDevices, controller)) {
			if parts := pathToNamespace.FindStringSubmatch(name); parts != nil {
				disk = "/dev/" + parts[1] + parts[2]
				return exists(disk), disk + " is not there yet"
			}
		}
		return false, "no namespace"
	})
	return disk
}

// sliceSize is the size of one slice of the data drive, in bytes.
const sliceSize = 64 << 20

// Slice returns a loop device for one of the four slices of the data drive, numbered from 0.
func Slice(t T, number int) string {
	t.Helper()
	return strings.TrimSpace(Run(t, "losetup", "--find", "--show", "--partscan", "--offset="+strconv.Itoa(number*sliceSize),
		"--sizelimit="+strconv.Itoa(sliceSize), DataDrive))
}

// InstallUnit installs a unit of systemd's until the machine is switched off, and starts it.
func InstallUnit(t T, name, text string) {
	t.Helper()
	put(t, "/run/systemd/system/"+name, text)
	Run(t, "systemctl", "daemon-reload")
	Run(t, "systemctl", "start", name)
}

// MirrorJournal has everything that is logged from now on, by whomever, appear on the console.
func MirrorJournal(t T) {
	t.Helper()
	put(t, "/run/systemd/journald.conf.d/console.conf", "[Journal]\nForwardToConsole=yes\nTTYPath=/dev/ttyS0\nMaxLevelConsole=debug\n")
	Run(t, "systemctl", "restart", "systemd-journald.service")
	Run(t, "dmesg", "--console-level", "info")
}
