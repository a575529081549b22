// SPDX-License-Identifier: GPL-3.0-or-later

// Package blockuse tells what on this host uses the namespaces of a controller: file systems, swap, and what is stacked on
// them (device mapper, md, partitions, loop devices). It reads what the kernel says and decides nothing.
//
// Under native multipath one namespace has several controllers. It counts as in use through each of them, whatever other
// paths there are: at shutdown the units of all paths stop at one time, and each would take the others for those that stay.
// Use.Others is for who wants to know better.
package blockuse

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
)

// Host is what uses block devices on a host at one moment.
type Host struct {
	root   paths.Root
	mounts []mount
	users  []user
	// claimed tells whether the device file at path is open for exclusive use at this moment.
	claimed func(path string) bool
}

// user is a mounted file system or an area of swap, with all block devices below it.
type user struct {
	what    string // "mounted on /srv", "swap"
	needed  string // "/", "/usr" or "swap" where the running system cannot do without
	devices []string
}

// Use is what uses the namespaces of one controller. The zero Use is none.
type Use struct {
	// By says it for people, one for each namespace in use: "nvme1n1 is mounted on /srv".
	By []string
	// Needed is what of the running system is on them: "/", "/usr", "swap".
	Needed []string
	// Others are the live controllers that lead to all of the namespaces in use as well.
	Others []string
}

// Any tells whether anything uses the namespaces.
func (u Use) Any() bool { return len(u.By) > 0 }

// String is By in one line.
func (u Use) String() string { return strings.Join(u.By, ", ") }

// Read looks at the host below root. The mounts are those of the calling process's mount namespace.
func Read(root paths.Root) (Host, error) {
	mountinfo, err := os.ReadFile(root.MountInfo())
	if err != nil {
		return Host{}, fmt.Errorf("cannot tell what is mounted: %w", err)
	}
	return ReadWith(root, string(mountinfo))
}

// ReadWith is Read with a list of mounts, in the form of proc_pid_mountinfo(5), in place of the present one.
func ReadWith(root paths.Root, mountinfo string) (Host, error) {
	swaps, err := os.ReadFile(root.Swaps())
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without swap has no such file
		return Host{}, fmt.Errorf("cannot tell where the swap is: %w", err)
	}
	return look(root, mountinfo, string(swaps)), nil
}

func look(root paths.Root, mountinfo, swaps string) Host {
	h := Host{root: root, claimed: claimed, mounts: parseMounts(mountinfo)}
	for _, m := range h.mounts {
		u := userOf(m)
		u.devices = h.below(h.under(m))
		h.users = append(h.users, u)
	}
	for _, s := range parseSwaps(swaps) {
		h.users = append(h.users, user{what: "used as swap", needed: "swap", devices: h.below(h.holding(s))})
	}
	return h
}

// userOf is a mounted file system without its devices.
func userOf(m mount) user {
	u := user{what: "mounted on " + m.point}
	if m.point == "/" || m.point == "/usr" {
		u.needed = m.point
	}
	return u
}

// Of returns what uses the namespaces of a controller, which may be none.
func (h Host) Of(controller string) Use {
	var use Use
	var others []string
	for _, namespace := range h.Namespaces(controller) {
		by, needed := h.of(namespace)
		if by == "" {
			continue
		}
		live := h.liveTo(namespace, controller)
		if use.Any() {
			live = slices.DeleteFunc(live, func(name string) bool { return !slices.Contains(others, name) })
		}
		others = live
		use.By = append(use.By, namespace+" is "+by)
		use.Needed = append(use.Needed, needed...)
	}
	slices.Sort(use.Needed)
	use.Needed, use.Others = slices.Compact(use.Needed), others
	return use
}

// On returns what Of does but for Others, which takes a look at every other controller.
func (h Host) On(controller string) Use {
	var use Use
	for _, namespace := range h.Namespaces(controller) {
		if by, needed := h.of(namespace); by != "" {
			use.By = append(use.By, namespace+" is "+by)
			use.Needed = append(use.Needed, needed...)
		}
	}
	slices.Sort(use.Needed)
	use.Needed = slices.Compact(use.Needed)
	return use
}

// RootControllers returns the controllers whose namespaces are below / or /usr.
func (h Host) RootControllers() []string {
	var found []string
	for _, u := range h.users {
		if u.needed == "/" || u.needed == "/usr" {
			found = append(found, h.leadingTo(u.devices)...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// RootControllers is that of the Host below root. It looks at no other mounts and at no controllers that do not lead to / or /usr:
// it costs the same beside any number of them.
func RootControllers(root paths.Root) ([]string, error) {
	mountinfo, err := os.ReadFile(root.MountInfo())
	if err != nil {
		return nil, fmt.Errorf("cannot tell what is mounted: %w", err)
	}
	h := Host{root: root, mounts: parseMounts(string(mountinfo))}
	for _, m := range h.mounts {
		if u := userOf(m); u.needed != "" {
			u.devices = h.below(h.under(m))
			h.users = append(h.users, u)
		}
	}
	return h.RootControllers(), nil
}

// leadingTo returns the fabrics controllers of those block devices that are namespaces. Where the kernel keeps a namespace tells
// whose it is: in the directory of its one controller or, under native multipath, of the subsystem, which links to all of
// its controllers (drivers/nvme/host/core.c, nvme_init_subsystem).
func (h Host) leadingTo(devices []string) []string {
	var found []string
	for _, device := range devices {
		if !strings.HasPrefix(device, "nvme") {
			continue
		}
		target, err := os.Readlink(h.root.SysClassBlock(device))
		if err != nil {
			continue
		}
		owner := filepath.Join(filepath.Dir(h.root.SysClassBlock(device)), filepath.Dir(target))
		controllers := []string{filepath.Base(owner)} // whose directory is not opened: it may be a local disk's
		if paths.CheckDevice(controllers[0]) != nil { // a subsystem
			controllers = names(owner)
		}
		for _, controller := range controllers {
			if paths.CheckDevice(controller) == nil && slices.Contains(h.Namespaces(controller), device) {
				found = append(found, controller)
			}
		}
	}
	return found
}

// of says what uses one namespace, "" for nothing.
func (h Host) of(namespace string) (by string, needed []string) {
	var whats []string
	for _, u := range h.users {
		if !slices.Contains(u.devices, namespace) {
			continue
		}
		whats = append(whats, u.what)
		if u.needed != "" {
			needed = append(needed, u.needed)
		}
	}
	holders := h.holders(namespace)
	switch {
	case len(whats) > 1:
		return fmt.Sprintf("%s and %d more", mostTelling(whats), len(whats)-1), needed
	case len(whats) == 1:
		return whats[0], needed
	case len(holders) > 0:
		return "held by " + strings.Join(holders, " and "), nil
	case h.heldOpen(h.root.Device(namespace)):
		// A file system that is just being unmounted is in no list of mounts any more and still writes; one of
		// another mount namespace never was.
		return "held open by something", nil
	}
	return "", nil
}

// mostTelling prefers the mount of the root file system to those of its parts.
func mostTelling(whats []string) string {
	if slices.Contains(whats, "mounted on /") {
		return "mounted on /"
	}
	return whats[0]
}

// pathName is the name of one path to a namespace under native multipath, nvme1c4n2 (drivers/nvme/host/multipath.c,
// nvme_mpath_set_disk_name); its namespace is called nvme1n2. Without multipath there is nvme4n2 only.
var pathName = regexp.MustCompile(`^(nvme[0-9]+)(c[0-9]+)?(n[0-9]+)$`)

// Namespaces returns the block devices that users see of a fabrics controller's namespaces.
func (h Host) Namespaces(controller string) []string {
	if !(sysfs.Reader{Root: h.root}).IsFabrics(controller) {
		return nil
	}
	var found []string
	for _, name := range names(filepath.Join(h.root.SysClassNVMe(), controller)) {
		if parts := pathName.FindStringSubmatch(name); parts != nil {
			found = append(found, parts[1]+parts[3])
		}
	}
	return found
}

// liveTo returns the live controllers beside one that lead to a namespace.
func (h Host) liveTo(namespace, beside string) []string {
	var found []string
	for _, controller := range names(h.root.SysClassNVMe()) {
		if controller == beside || !slices.Contains(h.Namespaces(controller), namespace) {
			continue
		}
		state, err := os.ReadFile(filepath.Join(h.root.SysClassNVMe(), controller, "state"))
		if err == nil && strings.TrimSpace(string(state)) == "live" {
			found = append(found, controller)
		}
	}
	return found
}

const (
	// claims is how often a device is asked for before it counts as held open.
	claims = 6
	// A pause between two claims lasts claimPause to twice claimPause: a claim itself takes some ten microseconds, so those
	// that met once hardly meet again.
	claimPause = 20 * time.Millisecond
)

// heldOpen tells whether somebody keeps the device file at path open for exclusive use. Whoever asks that of the kernel has
// the device for this moment himself, and the commands of all units of one namespace ask at one time when the system goes
// down; other programs look in the same way. So one refusal is not believed. A lock between the commands would not do
// without looking again: on the device it waits for a worker of udev that is stuck on a dead path, in /run it may find
// no room, and other programs heed neither.
func (h Host) heldOpen(path string) bool {
	for range claims - 1 {
		if !h.claimed(path) {
			return false
		}
		time.Sleep(claimPause + rand.N(claimPause))
	}
	return h.claimed(path)
}

// claimed asks the kernel once for exclusive use, which it grants to nobody beside a file system, swap, a stacked device or
// a program that has it (open(2), O_EXCL on a block device).
func claimed(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_EXCL|syscall.O_NONBLOCK, 0)
	if err != nil {
		return errors.Is(err, syscall.EBUSY)
	}
	f.Close()
	return false
}

// names lists a directory; one that is not there, or is going away, has nothing in it.
func names(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
