// SPDX-License-Identifier: GPL-3.0-or-later

package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// The kernel gives the number of a controller that went to the next one at once, whoever connects it. So the record of
// nvme3's unit has the instance of nvme3 beside it: the inode number of its directory in sysfs, which the kernel does not
// give out again (fs/kernfs/dir.c, idr_alloc_cyclic: not before four thousand million others). Records of builds that wrote
// no instance are believed.

// Bind records that device belongs to unit, in place of any unit it had.
func (d Dir) Bind(device, unit string) error {
	if err := check(unit, device); err != nil {
		return err
	}
	now, err := d.Instance(device)
	if err != nil {
		return err
	}
	if was, err := d.recordedInstance(device); err != nil || was != now {
		// At no moment may an earlier controller's unit stand beside this one's instance.
		if err := remove(d.bindingPath(device)); err != nil {
			return err
		}
		if err := d.recordInstance(device, now); err != nil {
			return err
		}
	}
	return write(d.bindingPath(device), unit+"\n")
}

// UnitOf returns the unit that device belongs to, "" if none is recorded or the record is that of an earlier controller of
// the same name.
func (d Dir) UnitOf(device string) (string, error) {
	now, err := d.Instance(device)
	if err != nil {
		return "", err
	}
	return d.UnitOfInstance(device, now)
}

// UnitOfInstance is UnitOf for a controller that had the given Instance when it was read: it may have another one by now.
func (d Dir) UnitOfInstance(device, instance string) (string, error) {
	if err := paths.CheckDevice(device); err != nil {
		return "", err
	}
	unit, bound, err := d.binding(device)
	if bound != "" && instance != "" && bound != instance {
		unit = ""
	}
	return unit, err
}

// binding reads both files of device. Bind may replace them meanwhile: they belong together where the instance is the same
// before and after.
func (d Dir) binding(device string) (unit, instance string, err error) {
	for range 3 {
		before, err := d.recordedInstance(device)
		if err != nil { // as if a build had written it that knew no instances: the rest of the record still holds
			before = ""
		}
		if unit, err = readChecked(d.bindingPath(device), checkUnit); err != nil || unit == "" {
			return "", "", err
		}
		if instance, err = d.recordedInstance(device); err != nil {
			instance = ""
		}
		if instance == before {
			return unit, instance, nil
		}
	}
	return "", "", fmt.Errorf("cannot read %s: it was replaced again and again meanwhile", d.bindingPath(device))
}

// Forget removes what connects device and unit: the unit of the device if it is this one, the device of the unit if it is
// this one. What is recorded of a later device or unit of the same name stays.
func (d Dir) Forget(device, unit string) error {
	if err := check(unit, device); err != nil {
		return err
	}
	err := errors.Join(
		removeIf(d.bindingPath(device), unit),
		removeIf(d.devidPath(unit), device),
	)
	err = errors.Join(err, d.forgetInstance(device))
	// The directory stays where somebody has written to it since.
	_ = os.Remove(filepath.Dir(d.bindingPath(device)))
	return err
}

// forgetInstance removes the instance of a device that belongs to no unit any more. Should another process bind the device to
// a unit at the same moment, that record may end without an instance, and is believed.
func (d Dir) forgetInstance(device string) error {
	data, err := os.ReadFile(d.instancePath(device))
	if err != nil {
		return nil // there is none, or what keeps it from being read keeps the unit's file too, which says so
	}
	if _, err := os.Lstat(d.bindingPath(device)); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return removeIf(d.instancePath(device), strings.TrimSuffix(string(data), "\n"))
}

// Instance returns what tells the controller that is called device now from others of the same name, "" if there is none.
func (d Dir) Instance(device string) (string, error) {
	if err := paths.CheckDevice(device); err != nil {
		return "", err
	}
	info, err := os.Stat(filepath.Join(d.sysfs, device))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("cannot look at %s: %w", device, err)
	}
	inode := info.Sys().(*syscall.Stat_t).Ino
	return strconv.FormatUint(inode, 10), nil
}

func (d Dir) recordedInstance(device string) (string, error) {
	return readChecked(d.instancePath(device), checkInstance)
}

func (d Dir) recordInstance(device, instance string) error {
	if instance == "" {
		return remove(d.instancePath(device))
	}
	return write(d.instancePath(device), instance+"\n")
}

func checkInstance(instance string) error {
	if _, err := strconv.ParseUint(instance, 10, 64); err != nil {
		return fmt.Errorf("%q is not an inode number", instance)
	}
	return nil
}

func (d Dir) bindingPath(device string) string { return filepath.Join(d.controllers, device, "unit") }

func (d Dir) instancePath(device string) string {
	return filepath.Join(d.controllers, device, "instance")
}
