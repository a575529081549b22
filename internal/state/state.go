// SPDX-License-Identifier: GPL-3.0-or-later

// Package state holds the daemon's run-time state below /run/nvme/discoverd (docs/design.md, "Files"): which unit made which
// controller, why a unit failed, which units an administrator has stopped, and which the daemon itself was stopping.
//
// The units' commands write it, the daemon reads it, at any time and in any order; so each file is replaced as a whole,
// and what is removed is checked to be what was meant.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/atomicfile"
	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// Dir is the state below one root. Units are named in full, as in "nvme-discoverd-0123456789ab.service". Any name that
// systemd allows and that begins with "nvme-discoverd-" is taken, since another version may have made the unit; every other
// name, and every device that is not nvmeN, is refused before it becomes a path.
type Dir struct {
	controllers string // <nvmeN>/unit, <nvmeN>/instance
	units       string // <unit without .service>.devid, <unit>.result
	stopped     string // <unit>, empty
	stopping    string // <unit>, empty
	secrets     string // <unit>: root's alone
	retained    string
	sysfs       string // the kernel's own list of controllers, which tells one nvmeN from an earlier one
}

// New returns the state below root. Directories are made when something is written.
func New(root paths.Root) Dir {
	base := root.State()
	return Dir{
		controllers: filepath.Join(base, "controllers"),
		units:       filepath.Join(base, "units"),
		stopped:     filepath.Join(base, "stopped"),
		stopping:    filepath.Join(base, "stopping"),
		secrets:     filepath.Join(base, "secrets"),
		retained:    filepath.Join(base, "retained.json"),
		sysfs:       root.SysClassNVMe(),
	}
}

const (
	service = ".service"
	devid   = ".devid"
)

// checkUnit allows the characters and the length that systemd does (src/basic/unit-name.c, VALID_CHARS_WITH_AT and
// UNIT_NAME_MAX). Every connect is a process that begins with this check: compiling a regular expression would cost it
// a millisecond.
func checkUnit(unit string) error {
	const prefix, maxLen = "nvme-discoverd-", 255
	const valid = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.\\@-"
	rest, ours := strings.CutPrefix(unit, prefix)
	rest, isService := strings.CutSuffix(rest, service)
	if !ours || !isService || len(unit) > maxLen || strings.Trim(rest, valid) != "" {
		return fmt.Errorf("cannot use unit name %q: it must be that of an nvme-discoverd-….service", unit)
	}
	return nil
}

// WriteDevid records that unit has connected device.
func (d Dir) WriteDevid(unit, device string) error {
	if err := check(unit, device); err != nil {
		return err
	}
	return write(d.devidPath(unit), device+"\n")
}

// Devid returns the device that unit has connected, "" if none is recorded.
func (d Dir) Devid(unit string) (string, error) {
	if err := checkUnit(unit); err != nil {
		return "", err
	}
	return readChecked(d.devidPath(unit), paths.CheckDevice)
}

// Devids returns the device of each unit that has one recorded. Files with bad names are skipped; files with bad content
// are left out and named in the error, which comes beside the rest. Where the directory or a file cannot be read there is
// no map at all: a part of it would say that units have no device.
func (d Dir) Devids() (map[string]string, error) {
	names, err := files.Names(d.units)
	if err != nil {
		return nil, err
	}
	devices := make(map[string]string)
	var errs []error
	for _, name := range names {
		base, ok := strings.CutSuffix(name, devid)
		unit := base + service
		if !ok || checkUnit(unit) != nil {
			continue
		}
		device, err := d.Devid(unit)
		if errors.As(err, new(*fs.PathError)) {
			return nil, err
		}
		errs = append(errs, err)
		if device != "" {
			devices[unit] = device
		}
	}
	return devices, errors.Join(errs...)
}

// Result is why a connect failed.
type Result struct {
	Errno   int       `json:"errno"`   // of the write to the kernel, 0 if it did not come to that
	Meaning string    `json:"meaning"` // one line for a person
	Time    time.Time `json:"time"`

	// Lacks is the option that the kernel does not know and that the connection is not made without; "" otherwise.
	Lacks string `json:"lacks,omitempty"`
}

// WriteResult records why unit has failed.
func (d Dir) WriteResult(unit string, r Result) error {
	if err := checkUnit(unit); err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("cannot record the result of %s: %v", unit, err)
	}
	return write(d.resultPath(unit), string(data)+"\n")
}

// TakeResult returns why unit has failed and removes the record, good or bad. It is false if there is none.
func (d Dir) TakeResult(unit string) (Result, bool, error) {
	if err := checkUnit(unit); err != nil {
		return Result{}, false, err
	}
	path := d.resultPath(unit)
	data, err := files.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, false, nil
	}
	if err != nil {
		return Result{}, false, fmt.Errorf("cannot read %s: %w", path, err)
	}
	if err := remove(path); err != nil {
		return Result{}, false, err
	}
	var r Result
	if err := json.Unmarshal(data, &r); err != nil {
		return Result{}, false, fmt.Errorf("cannot read %s: %v", path, err)
	}
	return r, true, nil
}

// ClearResult removes the record of an earlier failure of unit, if there is one.
func (d Dir) ClearResult(unit string) error {
	if err := checkUnit(unit); err != nil {
		return err
	}
	return remove(d.resultPath(unit))
}

// MarkStopped records that an administrator wants unit to stay stopped.
func (d Dir) MarkStopped(unit string) error {
	if err := checkUnit(unit); err != nil {
		return err
	}
	return write(d.stoppedPath(unit), "")
}

// UnmarkStopped removes that record, if there is one.
func (d Dir) UnmarkStopped(unit string) error {
	if err := checkUnit(unit); err != nil {
		return err
	}
	return remove(d.stoppedPath(unit))
}

// Stopped returns the units that an administrator wants to stay stopped, in the order of their names.
func (d Dir) Stopped() ([]string, error) { return listUnits(d.stopped) }

// MarkStopping records that the daemon itself is about to stop or restart unit, so that the next daemon does not take the
// stop for an administrator's should this one end before it.
func (d Dir) MarkStopping(unit string) error {
	if err := checkUnit(unit); err != nil {
		return err
	}
	return write(d.stoppingPath(unit), "")
}

// UnmarkStopping removes that record, if there is one.
func (d Dir) UnmarkStopping(unit string) error {
	if err := checkUnit(unit); err != nil {
		return err
	}
	return remove(d.stoppingPath(unit))
}

// Stopping returns the units that a daemon was about to stop or restart, in the order of their names.
func (d Dir) Stopping() ([]string, error) { return listUnits(d.stopping) }

func (d Dir) devidPath(unit string) string {
	return filepath.Join(d.units, strings.TrimSuffix(unit, service)+devid)
}

func (d Dir) resultPath(unit string) string   { return filepath.Join(d.units, unit+".result") }
func (d Dir) stoppedPath(unit string) string  { return filepath.Join(d.stopped, unit) }
func (d Dir) stoppingPath(unit string) string { return filepath.Join(d.stopping, unit) }

func check(unit, device string) error {
	if err := checkUnit(unit); err != nil {
		return err
	}
	return paths.CheckDevice(device)
}

// write makes the directory and the file. The directory may go between the two, when Forget finds it empty.
func write(path, data string) error {
	for attempt := 1; ; attempt++ {
		if err := makeDir(filepath.Dir(path)); err != nil {
			return fmt.Errorf("cannot write %s: %w", path, err)
		}
		err := atomicfile.Write(path, []byte(data), 0o644)
		if !errors.Is(err, fs.ErrNotExist) || attempt == 3 {
			return err
		}
	}
}

// makeDir makes a directory that everybody may read, and those above it, whatever the umask: the daemon's is strict.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { // another may have been faster
		return err
	}
	return os.Chmod(dir, 0o755)
}

// readChecked returns the line that path holds, which must pass check; "" if there is no such file.
func readChecked(path string, check func(string) error) (string, error) {
	data, err := files.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", path, err)
	}
	line := strings.TrimSuffix(string(data), "\n")
	if err := check(line); err != nil {
		return "", fmt.Errorf("cannot read %s: %v", path, err)
	}
	return line, nil
}

// listUnits returns the names in dir that are those of units.
func listUnits(dir string) ([]string, error) {
	names, err := files.Names(dir)
	var units []string
	for _, name := range names {
		if checkUnit(name) == nil {
			units = append(units, name)
		}
	}
	return units, err
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %s: %w", path, err)
	}
	return nil
}

// removeIf removes the file at path if it holds line. The file may be replaced at any moment: it is moved away, looked at
// once more, and moved back unless there is a newer one by then.
func removeIf(path, line string) error {
	is, err := holds(path, line)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !is {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	away, err := moveAway(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", path, err)
	}
	return finishRemove(path, away, line)
}

func holds(path, line string) (bool, error) {
	data, err := files.Read(path)
	return strings.TrimSuffix(string(data), "\n") == line, err
}

// moveAway returns where the file at path is now. It makes no file on the way: on a full disk too, a file can be removed.
func moveAway(path string) (string, error) {
	away := path + ".tmp." + strconv.FormatUint(rand.Uint64(), 10) // nobody else draws the same
	return away, os.Rename(path, away)
}

// finishRemove looks at the file that was moved away: since the first look it may have become another one.
func finishRemove(path, away, line string) error {
	defer os.Remove(away) // of a file that was put back there is none
	is, err := holds(away, line)
	if err == nil && !is {
		err = unix.Renameat2(unix.AT_FDCWD, away, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot put %s back: %w", path, err)
	}
	return nil
}
