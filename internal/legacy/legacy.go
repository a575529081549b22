// SPDX-License-Identifier: GPL-3.0-or-later

// Package legacy finds, masks and restores what nvme-cli installs to connect controllers by itself: a udev rule and the units
// around it. Beside a daemon that keeps connections they connect a second time, and connect again what somebody
// has just disconnected, without asking the exclusion lists or the registry.
//
// The names are those of nvme-cli's nvmf-autoconnect directory, 1.x to 3.x. Its other rules (keys, I/O policies, names of boot
// interfaces) connect nothing and are left alone.
package legacy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// State is what becomes of a piece.
type State string

// The states of a piece.
const (
	InForce State = "in-force" // it connects controllers, or will at the next boot or event
	Idle    State = "idle"     // it is installed, but nothing starts it
	Masked  State = "masked"   // it is installed, and cannot be started
	Absent  State = "absent"   // it is not installed
)

// Piece is one file of nvme-cli's autoconnect.
type Piece struct {
	Name  string
	What  string // what it does, in a few words
	State State
	Path  string // of the file that decides: the mask, or what would run; "" if it is absent
}

// kind is where the files of a piece are.
type kind int

const (
	udevRule kind = iota
	systemdUnit
)

// starter is what starts a piece.
type starter int

const (
	itself starter = iota // being there is enough
	boot                  // a link in a .wants directory
	byRule                // the udev rule
)

// pieces begins with the rule, on which others depend.
var pieces = [...]struct {
	name, what string
	kind       kind
	starter    starter
}{
	{"70-nvmf-autoconnect.rules", "connects upon events of discovery controllers and of Fibre Channel", udevRule, itself},
	{"nvmf-connect@.service", "does so for the udev rule", systemdUnit, byRule},
	{"nvmf-connect.target", "groups what the udev rule starts", systemdUnit, byRule},
	{"nvmf-autoconnect.service", "connects what /etc/nvme/discovery.conf and config.json name, at boot", systemdUnit, boot},
	{"nvmefc-boot-connections.service", "asks Fibre Channel for discovery controllers, at boot", systemdUnit, boot},
	{"nvmf-connect-nbft.service", "connects what the firmware names, when NetworkManager brings an interface up", systemdUnit, itself},
}

// devNull is what a mask leads to, whatever the root: systemd and udev look at the text of the link.
const devNull = "/dev/null"

// Status returns all pieces and their states.
func Status(root paths.Root) []Piece {
	var all []Piece
	for _, p := range pieces {
		found := Piece{Name: p.name, What: p.what, State: Absent}
		found.Path = effective(p.kind.dirs(root), p.name)
		switch {
		case found.Path == "":
		case isMask(found.Path):
			found.State = Masked
		case p.starter == itself, p.starter == boot && wanted(root, p.name), p.starter == byRule && all[0].State == InForce:
			found.State = InForce
		default:
			found.State = Idle
		}
		all = append(all, found)
	}
	return all
}

// Active returns the names of the pieces that are in force, for a daemon to warn of.
func Active(root paths.Root) []string {
	var names []string
	for _, p := range Status(root) {
		if p.State == InForce {
			names = append(names, p.Name)
		}
	}
	return names
}

// Services are the units of the pieces that connect, as patterns of systemctl(1): a pattern names what is loaded, and is no
// error where nothing is.
func Services() []string {
	var all []string
	for _, p := range pieces {
		if stem, ok := strings.CutSuffix(p.name, ".service"); ok {
			if strings.HasSuffix(stem, "@") {
				stem += "*"
			}
			all = append(all, stem+"[.]service")
		}
	}
	return all
}

// dirs are the directories of a kind, those that go before others first.
func (k kind) dirs(root paths.Root) []string {
	if k == udevRule {
		return root.UdevRules()
	}
	return root.SystemdUnits()
}

// effective returns the first file called name, "" if there is none. A directory that cannot be read has none.
func effective(dirs []string, name string) string {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			return path
		}
	}
	return ""
}

// isMask tells whether path is a link to /dev/null or an empty file, which mean the same to systemd and udev.
func isMask(path string) bool {
	if target, err := os.Readlink(path); err == nil && target == devNull {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == 0
}

// wanted tells whether a unit is enabled: another one has it among what it wants or requires.
func wanted(root paths.Root, unit string) bool {
	for _, dir := range root.SystemdUnits() {
		for _, kind := range []string{"wants", "requires"} {
			links, err := filepath.Glob(filepath.Join(dir, "*."+kind, unit))
			if err == nil && len(links) > 0 {
				return true
			}
		}
	}
	return false
}

// Disable masks every piece that is installed and not masked, as systemctl mask does, and returns the masks that it made. A file
// that an administrator has put in the mask's place is an error and stays; the others are masked all the same.
func Disable(root paths.Root) (made []string, err error) {
	var errs []error
	for i, p := range Status(root) {
		if p.State == Absent || p.State == Masked {
			continue
		}
		mask := filepath.Join(pieces[i].kind.dirs(root)[0], p.Name)
		err := os.MkdirAll(filepath.Dir(mask), 0o755)
		if err == nil {
			err = os.Symlink(devNull, mask)
		}
		switch {
		case errors.Is(err, fs.ErrExist):
			errs = append(errs, fmt.Errorf("cannot mask %s: %s is a file of this host's administrator: move it away", p.Name, mask))
		case err != nil:
			errs = append(errs, fmt.Errorf("cannot mask %s: %w", p.Name, err))
		default:
			made = append(made, mask)
		}
	}
	return made, errors.Join(errs...)
}

// Enable removes the masks that Disable makes, and nothing else, and returns what it removed.
func Enable(root paths.Root) (removed []string, err error) {
	var errs []error
	for _, p := range pieces {
		mask := filepath.Join(p.kind.dirs(root)[0], p.name)
		if target, err := os.Readlink(mask); err != nil || target != devNull {
			continue
		}
		if err := os.Remove(mask); err != nil {
			errs = append(errs, fmt.Errorf("cannot unmask %s: %w", p.name, err))
			continue
		}
		removed = append(removed, mask)
	}
	return removed, errors.Join(errs...)
}
