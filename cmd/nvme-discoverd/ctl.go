// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const ctlName = "nvme-discoverctl"

// ctlOfThis returns the absolute path of nvme-discoverctl, which the units of connections run.
func ctlOfThis() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find %s, which connects: %w", ctlName, err)
	}
	return findCtl(self)
}

// findCtl returns the absolute path of nvme-discoverctl for the daemon whose executable is self. bin beside the daemon's sbin
// comes first: that is where it is installed. A file beside the daemon itself is second, for builds that had both in sbin and
// for a directory that holds both. A packager who puts them elsewhere relies on PATH, which systemd sets for the service.
func findCtl(self string) (string, error) {
	dir := filepath.Dir(self)
	for _, file := range []string{filepath.Join(filepath.Dir(dir), "bin", ctlName), filepath.Join(dir, ctlName)} {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, nil
		}
	}
	found, err := exec.LookPath(ctlName)
	if err == nil {
		found, err = filepath.Abs(found)
	}
	if err != nil {
		return "", fmt.Errorf("cannot find %s, which connects: install it in %s", ctlName, filepath.Join(filepath.Dir(dir), "bin"))
	}
	return found, nil
}
