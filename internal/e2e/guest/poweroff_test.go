// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// What one stage of a scenario leaves behind, the next one finds: the content of the data drive and the console.
//
//e2e:everywhere
func TestPowerOff_1(t *testing.T) {
	guest.Begin(t)
	guest.Run(t, "mkfs.ext4", "-q", guest.DataDrive)
	guest.Run(t, "mount", guest.DataDrive, "/mnt")
	for path, text := range map[string]string{"/mnt/note": "from the first stage\n", "/dev/console": "a word on the console\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	guest.SwitchOff(t, "systemctl", "poweroff")
}

func TestPowerOff_2(t *testing.T) {
	guest.Begin(t)
	guest.Run(t, "mount", "--options", "ro", guest.DataDrive, "/mnt")
	t.Cleanup(func() { guest.Run(t, "umount", "/mnt") })
	if note := guest.Run(t, "cat", "/mnt/note"); note != "from the first stage\n" {
		t.Errorf("data drive: got %q", note)
	}
	if console := guest.Console(t, "TestPowerOff_1"); !strings.Contains(console, "a word on the console") {
		t.Errorf("console of the first stage: got\n%s", console)
	}
}
