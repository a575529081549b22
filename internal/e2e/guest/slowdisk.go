// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// SlowDisk is a disk for a namespace that can be made to keep its readers waiting.
type SlowDisk struct {
	// Stalled is when Stall was about to begin its read.
	Stalled time.Time

	t         T
	suspended bool
}

// slowName is the disk's name in device mapper.
const slowName = "e2e-slow"

// NewSlowDisk makes a disk of 64 MiB. To be called before Begin, so that it outlives the target.
func NewSlowDisk(t T) *SlowDisk {
	t.Helper()
	d := &SlowDisk{t: t}
	loop := strings.TrimSpace(Run(t, "losetup", "--find", "--show", sparseFile(t, 64<<20)))
	Run(t, "dmsetup", "create", slowName, "--table", "0 131072 linear "+loop+" 0")
	t.Cleanup(func() {
		d.Resume()
		reset(t)
		Run(t, "dmsetup", "remove", "--retry", slowName)
	})
	return d
}

// Path is the disk's device file.
func (d *SlowDisk) Path() string { return "/dev/mapper/" + slowName }

// Stall makes the disk keep its readers waiting, and waits until a read of it through that controller is under way.
func (d *SlowDisk) Stall(controller string) {
	d.t.Helper()
	disk := Disk(d.t, controller)
	Run(d.t, "udevadm", "settle")
	Run(d.t, "dmsetup", "suspend", slowName)
	d.suspended = true
	dd := exec.Command("dd", "if="+disk, "of=/dev/null", "bs=4096", "count=1", "skip=100", "iflag=direct")
	d.Stalled = time.Now()
	if err := dd.Start(); err != nil {
		d.t.Fatalf("cannot read: %v", err)
	}
	d.t.Cleanup(func() {
		d.Resume()
		_ = dd.Wait() // it failed, or has found another path
	})
	Eventually(d.t, connectTimeout, "a read under way", func() (bool, string) {
		paths, _ := filepath.Glob(filepath.Join(fabricsDevices, controller, "nvme*c*n*", "inflight"))
		if len(paths) == 0 {
			return false, "no namespace"
		}
		inflight := read(paths[0])
		return strings.Trim(inflight, " 0") != "", inflight
	})
}

// Resume makes the disk answer again.
func (d *SlowDisk) Resume() {
	d.t.Helper()
	if d.suspended {
		Run(d.t, "dmsetup", "resume", slowName)
		d.suspended = false
	}
}
