// SPDX-License-Identifier: GPL-3.0-or-later

package flock

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// Dying tells whether a process, by its number, was killed and is not gone: its first thread has ended, or has SIGKILL pending
// (proc_pid_status(5)). Such a one is stuck in the kernel; its files stay open, and its locks held, until that lets it go.
func Dying(root paths.Root, pid string) bool {
	if pid == "" {
		return false
	}
	status, err := os.ReadFile(root.ProcessStatus(pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "State":
			if strings.HasPrefix(value, "Z") {
				return true
			}
		case "SigPnd", "ShdPnd":
			if pending, err := strconv.ParseUint(value, 16, 64); err == nil && pending&(1<<(unix.SIGKILL-1)) != 0 {
				return true
			}
		}
	}
	return false
}
