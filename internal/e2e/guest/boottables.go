// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// acpiTables is where the kernel shows the firmware's tables.
const acpiTables = "/sys/firmware/acpi/tables"

// HideBootTables lays an empty directory over the firmware's tables, so that only scenarios that want its controllers get
// them. To be called once, before the first scenario.
func HideBootTables() {
	if err := hideBootTables(); err != nil {
		fmt.Println("cannot hide the firmware's tables:", err)
		os.Exit(1)
	}
}

func hideBootTables() error { return unix.Mount("empty", acpiTables, "tmpfs", 0, "mode=0755") }

// ShowBootTables uncovers the firmware's tables for one scenario.
func ShowBootTables(t T) {
	t.Helper()
	if err := unix.Unmount(acpiTables, unix.MNT_DETACH); err != nil {
		t.Fatalf("cannot show the firmware's tables: %v", err)
	}
	t.Cleanup(func() {
		if err := hideBootTables(); err != nil {
			t.Errorf("cannot hide the firmware's tables: %v", err)
		}
	})
}
