// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// DataDrive is the drive that keeps its content from one stage of a scenario to the next. Stages are functions whose names
// end in _1, _2 and so on: each has a boot of its own, all but the last switch the machine off, and what they have in common is
// this drive (256 MiB, empty at the first stage) and the consoles.
const DataDrive = "/dev/disk/by-id/virtio-data"

// Console returns all that the machine printed on its console in an earlier stage.
func Console(t T, stage string) string {
	t.Helper()
	text := read(filepath.Join("/run/e2e/drive/consoles", stage+".console"))
	if text == "" {
		t.Fatalf("cannot find the console of %s", stage)
	}
	return text
}

// SwitchOff ends a stage that has done its part: it runs a command which leads to the machine's being off, such as `systemctl
// poweroff`, and does not return. Nothing is cleaned up.
func SwitchOff(t T, name string, args ...string) {
	t.Helper()
	if t.Failed() {
		t.Fatalf("not switched off: failed before that")
	}
	if h := following(t); h.journal != nil {
		h.journal.Close() // one process less that a shutdown has to end
	}
	fmt.Println("e2e: program switches the machine off")
	Run(t, name, args...)
	for {
		_ = unix.Pause()
	}
}
