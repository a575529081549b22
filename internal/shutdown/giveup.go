// SPDX-License-Identifier: GPL-3.0-or-later

package shutdown

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// giveUp has the kernel give up a controller that it cannot reach: everything that waits for it fails then. It returns false for
// one that is live, or gone, after all, and may take as long as the attempt to reconnect that is under way.
//
// ctrl_loss_tmo comes first: with 0 the kernel gives the controller up itself, at its next failed attempt, also one that it lets
// nobody delete because it never was live (nvme_sysfs_delete in drivers/nvme/host/sysfs.c). The delete spares the wait for that
// attempt, which is up to reconnect_delay.
func giveUp(root paths.Root, device string) (bool, error) {
	// Held open, they are files of this very controller, whoever gets its name.
	handle, err := os.OpenFile(root.DeleteController(device), os.O_WRONLY, 0)
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot give %s up: %w", device, err)
	}
	defer handle.Close()
	dir := filepath.Join(root.SysClassNVMe(), device)
	timeout := filepath.Join(dir, "ctrl_loss_tmo")
	before := word(dir, "ctrl_loss_tmo")
	unlimited := os.WriteFile(timeout, []byte("0"), 0o200)
	if word(dir, "state") == "live" {
		if unlimited == nil {
			if before == "off" {
				before = "-1"
			}
			_ = os.WriteFile(timeout, []byte(before), 0o200)
		}
		return false, nil
	}
	_, err = handle.WriteString("1")
	switch {
	case err == nil || gone(err):
		return true, nil
	case errors.Is(err, syscall.EBUSY) && unlimited == nil:
		return true, nil // by the kernel, at its next attempt
	}
	return false, fmt.Errorf("cannot give %s up: %w", device, err)
}

// gone reports whether the error says that there is no such controller any more.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) }
