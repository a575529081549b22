// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"
)

// Kernel names one of the kernels that the root file system has modules for.
type Kernel string

const (
	// Cloud is Debian's kernel for virtual machines. It has all that it needs to mount the root file system built in and
	// boots quickest.
	Cloud Kernel = "cloud"
	// Ordinary is Debian's kernel for every computer, the only one of the two with RDMA. It needs an initial RAM disk.
	Ordinary Kernel = "ordinary"
)

// RootOnFabric is the word on the command line of the ordinary kernel by which its initial RAM disk exports the data drive
// over NVMe/TCP and connects it, and the root file system is there: that of a Boot whose data drive CopyRoot made.
const RootOnFabric = "e2e_root=fabric"

// makeInitrd is the script that makes an initial RAM disk, initrdInit the script that runs in it: Debian's own takes three
// times as long to find the one disk there is. initrdFabric is what it runs for RootOnFabric.
var (
	//go:embed initrd/make
	makeInitrd string
	//go:embed initrd/init
	initrdInit string
	//go:embed initrd/fabric
	initrdFabric string
)

// files are a kernel and its initial RAM disk in the directory of an image.
func (k Kernel) files(dir string) (kernel, initrd string) {
	kernel = filepath.Join(dir, "vmlinuz-"+string(k))
	if k == Ordinary {
		initrd = filepath.Join(dir, "initrd-"+string(k))
	}
	return kernel, initrd
}

// take copies the kernel out of the tree into dir, and makes its initial RAM disk.
func (k Kernel) take(tree, dir string) error {
	found, _ := filepath.Glob(filepath.Join(tree, "boot", "vmlinuz-*"))
	for _, file := range found {
		if strings.Contains(filepath.Base(file), "-cloud-") != (k == Cloud) {
			continue
		}
		kernel, initrd := k.files(dir)
		if err := copyFile(file, kernel, 0o644); err != nil {
			return fmt.Errorf("cannot keep kernel: %w", err)
		}
		if initrd == "" {
			return nil
		}
		release := strings.TrimPrefix(filepath.Base(file), "vmlinuz-")
		return run("sh", "-eu", "-c", makeInitrd, "make-initrd", tree, release, initrdInit, initrdFabric, initrd)
	}
	return fmt.Errorf("cannot find the %s kernel in the new tree", k)
}
