// SPDX-License-Identifier: GPL-3.0-or-later

package shutdown

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// ends are the targets of systemd with which a system ends, and what the kernel is told in the end.
var ends = map[string]int{
	"poweroff.target":    unix.LINUX_REBOOT_CMD_POWER_OFF,
	"halt.target":        unix.LINUX_REBOOT_CMD_HALT,
	"reboot.target":      unix.LINUX_REBOOT_CMD_RESTART,
	"kexec.target":       unix.LINUX_REBOOT_CMD_KEXEC,
	"soft-reboot.target": unix.LINUX_REBOOT_CMD_RESTART, // the system that would come back is gone
}

const (
	// unanswered is how many questions in a row systemd leaves unanswered when it has given up.
	unanswered = 4
	// remountTime is how long the kernel gets to write other file systems back and make them read-only.
	remountTime = 10 * time.Second
)

// replaced reports whether systemd has made way, as process 1, for the program that ends the system (systemd-shutdown).
func replaced(root paths.Root) bool {
	name, err := os.ReadFile(root.InitName())
	return err == nil && string(name) != "systemd\n"
}

// endSystem ends the system in the place of systemd where that cannot, because what it needs itself was given up. Without the root file
// system it does all it can and then stops dead ("Failed to execute shutdown binary, freezing execution"); without its pages of
// the swap it crashes. No job or timeout of its own ends that.
func (w *Watcher) endSystem(ctx context.Context, end string) {
	for silent := 0; silent < unanswered; {
		asked, cancel := context.WithTimeout(ctx, askTime)
		_, _, err := goingDown(asked, w.root)
		cancel()
		silent++
		if err == nil {
			silent = 0
		}
		time.Sleep(lookPause)
	}
	if replaced(w.root) { // it could start that program after all, which ends the system
		w.mu.Lock()
		defer w.mu.Unlock()
		w.end = done
		return
	}
	command, known := ends[end]
	if !known {
		end, command = "poweroff.target", unix.LINUX_REBOOT_CMD_POWER_OFF
	}
	w.say.say("systemd cannot end the system without the file systems that were given up: all others are written back, and then the kernel does (%s)", end)
	written := make(chan struct{})
	go func() {
		defer close(written)
		unix.Sync()
		_ = os.WriteFile(w.root.SysRq(), []byte("u"), 0o200) // remounts all file systems read-only, in the background
		time.Sleep(remountTime / 2)
		unix.Sync()
	}()
	select {
	case <-written:
	case <-time.After(remountTime):
	}
	if err := unix.Reboot(command); err != nil {
		w.say.say("cannot end the system (%s): %v", end, err)
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
}
