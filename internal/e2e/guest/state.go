// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"os"
	"path/filepath"
	"strings"
)

// Where the product keeps what it knows.
const (
	stateDir    = "/run/nvme/discoverd"
	registryDir = "/run/nvme/registry"
)

// RegistryAttribute reads one attribute of a controller's registry entry.
func RegistryAttribute(device, name string) string {
	return read(filepath.Join(registryDir, device, name))
}

// RegistryEntries lists the devices that have a registry entry.
func RegistryEntries() []string { return names(registryDir) }

// DevidFile is where a unit's command leaves the name of its device.
func DevidFile(unit string) string {
	return filepath.Join(stateDir, "units", strings.TrimSuffix(unit, ".service")+".devid")
}

// UnitFile is where a device's unit is noted.
func UnitFile(device string) string {
	return filepath.Join(stateDir, "controllers", device, "unit")
}

// StoppedFile is where it is remembered that an administrator stopped a unit.
func StoppedFile(unit string) string { return filepath.Join(stateDir, "stopped", unit) }

// mode is a file's permissions, 0 where there is none.
func mode(path string) os.FileMode {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Mode().Perm()
}
