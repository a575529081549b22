// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"os"
	"path/filepath"
	"strings"
)

// DebianPackage returns the Debian package of this tree that a run brings along as the version given.
func DebianPackage(t T, version string) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/e2e/packages/nvme-discoverd_" + version + "-*_amd64.deb")
	if err != nil || len(found) != 1 {
		t.Fatalf("cannot find the package of version %s: there is %v, %v", version, found, err)
	}
	return found[0]
}

// InstalledFromTree has the tree installed again, as each boot begins, when the scenario ends.
func InstalledFromTree(t T) {
	t.Helper()
	t.Cleanup(func() {
		Run(t, "cp", "-r", "--remove-destination", "--no-dereference", "--preserve=mode,links", "/run/e2e/drive/stage/.", "/")
		Run(t, "systemctl", "daemon-reload")
		Run(t, "udevadm", "control", "--reload")
	})
}

// ctlBefore is where versions before the first package had nvme-discoverctl.
const ctlBefore = "/usr/sbin/nvme-discoverctl"

// MoveCtlBack lays the installed tree out as versions before the first package did: both programs in sbin.
func MoveCtlBack(t T) {
	t.Helper()
	if err := os.Rename(ctlProgram, ctlBefore); err != nil {
		t.Fatalf("cannot lay the tree out as it was: %v", err)
	}
	const unit = "/usr/lib/systemd/system/nvme-fabrics-shutdown.service"
	put(t, unit, strings.ReplaceAll(read(unit), ctlProgram, ctlBefore)+"\n")
	Run(t, "systemctl", "daemon-reload")
}

// Named lists everything below the directories whose name matches the words with anything around them. A directory need not be there.
func Named(t T, words string, dirs ...string) []string {
	t.Helper()
	return strings.Fields(Try(t, "find", append(dirs, "-name", "*"+words+"*")...).Stdout)
}
