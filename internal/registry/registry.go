// SPDX-License-Identifier: GPL-3.0-or-later

// Package registry is the ownership registry below /run/nvme/registry (docs/design.md, "Ownership registry"): which of the tools that connect
// controllers made which one. It is a convention of files, shared with programs that are not ours and take no
// lock, so every change is one rename.
package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/nvme-discoverd/nvme-discoverd/internal/atomicfile"
	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// The attributes that have a meaning here. Other programs may keep more.
const (
	Owner  = "owner"  // discoverd, nbft, stas, …
	Seqnum = "seqnum" // the number of the kernel's last uevent when the controller was connected, decimal
)

// Registry is the registry below one root. Devices are named nvmeN; every other name is refused before it becomes a path.
type Registry struct{ root paths.Root }

// New returns the registry below root. Its directory is made with the first entry.
func New(root paths.Root) Registry { return Registry{root} }

func check(device, attr string) error {
	if err := paths.CheckDevice(device); err != nil {
		return err
	}
	return checkAttr(attr)
}

func checkAttr(name string) error {
	const valid = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	if name == "" || strings.Trim(name, valid) != "" {
		return fmt.Errorf("cannot use attribute name %q: it must be of letters, digits, - and _", name)
	}
	return nil
}

// checkValue refuses what a file of one line cannot hold.
func checkValue(attr, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("cannot set %s to nothing: an attribute has a value or is absent", attr)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("cannot set %s to %q: it must be one line of text", attr, value)
	}
	if _, err := strconv.ParseUint(value, 10, 64); attr == Seqnum && err != nil {
		return fmt.Errorf("cannot set %s to %q: it must be the number of an event", attr, value)
	}
	return nil
}

func (r Registry) entryPath(device string) string { return filepath.Join(r.root.Registry(), device) }

// Create makes the entry of device, with exactly these attributes, in place of any older one. Nobody sees it half made.
func (r Registry) Create(device string, attrs map[string]string) error {
	if err := paths.CheckDevice(device); err != nil {
		return err
	}
	for _, attr := range slices.Sorted(maps.Keys(attrs)) {
		if err := checkAttr(attr); err != nil {
			return err
		}
		if err := checkValue(attr, attrs[attr]); err != nil {
			return err
		}
	}
	if err := r.create(device, attrs); err != nil {
		return fmt.Errorf("cannot create the registry entry of %s: %w", device, err)
	}
	return nil
}

func (r Registry) create(device string, attrs map[string]string) error {
	fresh, err := r.build(device, attrs)
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh) // what a failure leaves; after the rename there is nothing
	for attempt := 1; ; attempt++ {
		err := os.Rename(fresh, r.entryPath(device))
		inTheWay := errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTDIR) // ENOTEMPTY is fs.ErrExist too
		if !inTheWay || attempt == 3 {
			return err
		}
		if _, err := r.Remove(device); err != nil {
			return err
		}
	}
}

// build makes a directory that is to become the entry of device by a rename. Its files need no rename of their own: nobody reads
// them before, and what a crash leaves of /run nobody reads at all.
func (r Registry) build(device string, attrs map[string]string) (fresh string, err error) {
	if err := os.MkdirAll(r.root.Registry(), 0o755); err != nil {
		return "", err
	}
	fresh, err = os.MkdirTemp(r.root.Registry(), device+".tmp.*")
	if err != nil {
		return "", err
	}
	err = os.Chmod(fresh, 0o755)
	for attr, value := range attrs {
		if err == nil {
			err = writeNew(filepath.Join(fresh, attr), value+"\n")
		}
	}
	if err != nil {
		_ = os.RemoveAll(fresh)
		return "", err
	}
	return fresh, nil
}

// writeNew makes a file that everybody may read, whatever the umask.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Chmod(0o644), f.Close())
}

// Restore gives device back an owner that its entry has lost, or that was lost with the entry, and reports whether it did. An
// owner that somebody has written meanwhile stays, except instead, which may be "". seqnum is an event number that the caller
// has read before it looked whether the controller is still there: the controller's remove event has a greater one.
func (r Registry) Restore(device, owner, instead string, seqnum uint64) (restored bool, err error) {
	if err := paths.CheckDevice(device); err != nil {
		return false, err
	}
	if restored, err = r.restore(device, owner, instead, strconv.FormatUint(seqnum, 10)); err != nil {
		return false, fmt.Errorf("cannot restore the registry entry of %s: %w", device, err)
	}
	return restored, nil
}

func (r Registry) restore(device, owner, instead, seqnum string) (bool, error) {
	fresh, err := r.build(device, map[string]string{Owner: owner, Seqnum: seqnum})
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(fresh)
	err = os.Rename(fresh, r.entryPath(device))
	if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTDIR) { // ENOTEMPTY is fs.ErrExist too
		return err == nil, err
	}
	// An entry is there, which may hold what others keep in it, or a file that is none and that Set moves away.
	if there, err := r.Owner(device); err != nil || there != "" && there != instead {
		return false, err
	}
	if err := r.Set(device, Seqnum, seqnum); err != nil {
		return false, err
	}
	return true, r.Set(device, Owner, owner)
}

// Get returns one attribute of device, "" if it is absent.
func (r Registry) Get(device, attr string) (string, error) {
	if err := check(device, attr); err != nil {
		return "", err
	}
	return r.read(filepath.Join(r.entryPath(device), attr))
}

func (r Registry) read(path string) (string, error) {
	data, err := files.Read(path)
	if r.absent(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", path, err)
	}
	return strings.TrimSuffix(string(data), "\n"), nil
}

// absent tells whether an attribute is not there. What has the name of a device and is no directory is no entry; where the
// whole registry is none, nobody can tell who owns what.
func (r Registry) absent(err error) bool {
	if errors.Is(err, syscall.ENOTDIR) {
		info, statErr := os.Stat(r.root.Registry())
		return statErr == nil && info.IsDir()
	}
	return errors.Is(err, fs.ErrNotExist)
}

// Owner returns who owns device, "" if nobody does.
func (r Registry) Owner(device string) (string, error) { return r.Get(device, Owner) }

// Set sets one attribute of device, which gets an entry if it has none.
func (r Registry) Set(device, attr, value string) error {
	if err := check(device, attr); err != nil {
		return err
	}
	if err := checkValue(attr, value); err != nil {
		return err
	}
	path := filepath.Join(r.entryPath(device), attr)
	err := atomicfile.Write(path, []byte(value+"\n"), 0o644)
	if r.absent(err) {
		return r.Create(device, map[string]string{attr: value})
	}
	return err
}

// Unset removes one attribute of device, and tells whether it was there.
func (r Registry) Unset(device, attr string) (bool, error) {
	if err := check(device, attr); err != nil {
		return false, err
	}
	err := os.Remove(filepath.Join(r.entryPath(device), attr))
	if err != nil && !r.absent(err) {
		return false, fmt.Errorf("cannot remove %s of %s from the registry: %w", attr, device, err)
	}
	return err == nil, nil
}

// Remove removes the entry of device, and tells whether there was one.
func (r Registry) Remove(device string) (bool, error) {
	if err := paths.CheckDevice(device); err != nil {
		return false, err
	}
	moved, err := r.moveAway(device)
	if err != nil || moved == "" {
		return false, err
	}
	return true, discard(moved)
}

// moveAway takes the entry of device out of everybody's sight and returns where it is now, "" if there was none.
func (r Registry) moveAway(device string) (string, error) {
	if _, err := os.Lstat(r.entryPath(device)); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	away, err := os.MkdirTemp(r.root.Registry(), device+".tmp.*")
	if err != nil {
		return "", fmt.Errorf("cannot remove the registry entry of %s: %w", device, err)
	}
	moved := filepath.Join(away, device)
	err = os.Rename(r.entryPath(device), moved)
	if err == nil {
		return moved, nil
	}
	_ = os.Remove(away)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return "", fmt.Errorf("cannot remove the registry entry of %s: %w", device, err)
}

// discard removes what moveAway returned, and the directory that it made for it.
func discard(moved string) error {
	if err := os.RemoveAll(filepath.Dir(moved)); err != nil {
		return fmt.Errorf("cannot remove the old registry entry of %s: %w", filepath.Base(moved), err)
	}
	return nil
}

// List returns the devices that have an entry, in the order of their numbers.
func (r Registry) List() ([]string, error) {
	names, err := files.Names(r.root.Registry())
	devices := slices.DeleteFunc(names, func(name string) bool { return paths.CheckDevice(name) != nil })
	slices.SortFunc(devices, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return devices, err
}

// Strays returns the names in the registry's directory that are no entries, nobody's temporary files and not hidden: things that
// do not belong there.
func (r Registry) Strays() ([]string, error) {
	names, err := files.Names(r.root.Registry())
	return slices.DeleteFunc(names, func(name string) bool {
		return paths.CheckDevice(name) == nil || strings.Contains(name, ".tmp.") || strings.HasPrefix(name, ".")
	}), err
}

// Entry returns all attributes of device; none if it has no entry. Those that cannot be read are left out, and named in the
// error.
func (r Registry) Entry(device string) (map[string]string, error) {
	if err := paths.CheckDevice(device); err != nil {
		return nil, err
	}
	names, err := files.Names(r.entryPath(device))
	if err != nil {
		return nil, err
	}
	attrs := make(map[string]string)
	var errs []error
	for _, attr := range names {
		if checkAttr(attr) != nil {
			continue // a temporary file, or nothing of ours
		}
		value, err := r.Get(device, attr)
		if err != nil {
			errs = append(errs, err)
		}
		if value != "" {
			attrs[attr] = value
		}
	}
	return attrs, errors.Join(errs...)
}

// Prune removes the entry of a device whose remove event had the number seqnum, and reports whether it did. It keeps the
// entry if /dev has the device, or if the entry was written after that event: the kernel reuses names, and the event
// may be handled when the next controller of that name is there. An entry without a seqnum counts as older.
func (r Registry) Prune(device string, seqnum uint64) (removed bool, err error) {
	if err := paths.CheckDevice(device); err != nil {
		return false, err
	}
	if gone, err := r.gone(device); err != nil || !gone {
		return false, err
	}
	if stale, err := r.stale(device, r.entryPath(device), seqnum); err != nil || !stale {
		return false, err
	}
	moved, err := r.moveAway(device)
	if err != nil || moved == "" {
		return false, err
	}
	return r.finishPrune(device, moved, seqnum)
}

// finishPrune looks at the entry that was moved away: since the first look it may have become that of the next controller.
func (r Registry) finishPrune(device, moved string, seqnum uint64) (removed bool, err error) {
	stale, err := r.stale(device, moved, seqnum)
	if err == nil && stale {
		return true, discard(moved)
	}
	back := os.Rename(moved, r.entryPath(device))
	if back != nil && !errors.Is(back, fs.ErrExist) { // a still newer entry has come: this one can go
		return false, errors.Join(err, fmt.Errorf("cannot put the registry entry of %s back: %w", device, back))
	}
	return false, errors.Join(err, discard(moved))
}

func (r Registry) gone(device string) (bool, error) {
	_, err := os.Lstat(r.root.Device(device))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// stale tells whether the entry at path was written before the event seqnum. Where the entry does not say, it is stale
// while there is no such device.
func (r Registry) stale(device, path string, seqnum uint64) (bool, error) {
	path = filepath.Join(path, Seqnum)
	value, err := r.read(path)
	if err != nil {
		return false, err
	}
	if value == "" {
		return r.gone(device)
	}
	written, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return false, fmt.Errorf("cannot read %s: %q is no event number; remove the entry with nvme-discoverctl registry delete %s",
			path, value, device)
	}
	return seqnum > written, nil
}
