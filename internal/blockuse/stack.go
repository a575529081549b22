// SPDX-License-Identifier: GPL-3.0-or-later

package blockuse

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// below returns devices and everything that they are made of, down to the disks.
func (h Host) below(devices []string) []string {
	var all []string
	for len(devices) > 0 {
		device := devices[0]
		devices = devices[1:]
		if !slices.Contains(all, device) {
			all = append(all, device)
			devices = append(devices, h.madeOf(device)...)
		}
	}
	return all
}

// partition is what the name of a partition has after that of its disk: sda1, nvme0n1p1.
var partition = regexp.MustCompile(`^p?[0-9]+$`)

// madeOf returns what a block device consists of: the slaves of device mapper, md and bcache, the disk of a partition, what
// holds the file of a loop device. A disk of the host's own hardware has none of that and is not looked into.
func (h Host) madeOf(device string) []string {
	dir := h.root.SysClassBlock(device)
	target, err := os.Readlink(dir)
	if err != nil {
		return nil
	}
	if !strings.Contains(target, "/devices/virtual/") {
		disk := filepath.Base(filepath.Dir(target))
		if part, found := strings.CutPrefix(device, disk); found && partition.MatchString(part) {
			return []string{disk}
		}
		return nil
	}
	lower := names(filepath.Join(dir, "slaves"))
	if _, err := os.Lstat(filepath.Join(dir, "partition")); err == nil {
		lower = append(lower, filepath.Base(filepath.Dir(target)))
	}
	if file, err := os.ReadFile(filepath.Join(dir, "loop", "backing_file")); err == nil {
		lower = append(lower, h.holding(strings.TrimSuffix(string(file), "\n"))...)
	}
	return lower
}

// holders returns what is stacked directly on a disk and its partitions.
func (h Host) holders(disk string) []string {
	dir := h.root.SysClassBlock(disk)
	all := names(filepath.Join(dir, "holders"))
	for _, name := range names(dir) {
		if strings.HasPrefix(name, disk) { // nvme1n1p1 in nvme1n1
			all = append(all, names(filepath.Join(dir, name, "holders"))...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// under returns the block devices right below a mounted file system. Those of many file systems have no device number of
// their own; of these btrfs and overlay are known.
func (h Host) under(m mount) []string {
	if !strings.HasPrefix(m.device, "0:") {
		if device := h.numbered(m.device); device != "" {
			return []string{device}
		}
		return nil
	}
	switch m.kind {
	case "btrfs": // the source is one of its devices, and all of them are listed in one directory
		one := h.named(m.source)
		all, _ := filepath.Glob(h.root.BtrfsDevices("*", "*"))
		for _, device := range all {
			if filepath.Base(device) == one {
				return names(filepath.Dir(device))
			}
		}
		return []string{one}
	case "overlay":
		var devices []string
		for _, layer := range m.layers {
			// Not an overlay again: those that name each other would go round for ever.
			if plain := h.on(layer, func(m mount) bool { return m.kind != "overlay" }); plain.kind != "" {
				devices = append(devices, h.under(plain)...)
			}
		}
		return devices
	}
	return nil
}

// holding returns the block devices that hold the file at path: itself if it is one, else those of its file system.
func (h Host) holding(path string) []string {
	if device := h.named(path); device != "" {
		return []string{device}
	}
	return h.under(h.on(path, func(mount) bool { return true }))
}

// on returns the mount that path is on, of those that may be: of two on one place the later, which is on top.
func (h Host) on(path string, may func(mount) bool) mount {
	var in mount
	for _, m := range h.mounts {
		if len(m.point) >= len(in.point) && m.holds(path) && may(m) {
			in = m
		}
	}
	return in
}

// numbered returns the name of the block device with a number such as "259:3", "" if there is none.
func (h Host) numbered(number string) string {
	target, err := os.Readlink(h.root.SysDevBlock(number))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// named returns the name that the kernel has for the block device at path, which may be a link such as /dev/mapper/vg-lv,
// "" if it is none. Nothing outside /dev is touched: a look at a file of a dead server may never end.
func (h Host) named(path string) string {
	name, found := strings.CutPrefix(path, "/dev/")
	if !found {
		return ""
	}
	var stat unix.Stat_t
	if err := unix.Stat(h.root.Join(path), &stat); err == nil && stat.Mode&unix.S_IFMT == unix.S_IFBLK {
		return h.numbered(fmt.Sprintf("%d:%d", unix.Major(stat.Rdev), unix.Minor(stat.Rdev)))
	}
	// The device file may be gone, and the device not.
	if _, err := os.Lstat(h.root.SysClassBlock(name)); err == nil && !strings.Contains(name, "/") {
		return name
	}
	return ""
}
