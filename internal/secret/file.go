// SPDX-License-Identifier: GPL-3.0-or-later

package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
)

// maxFile bounds a file with one secret in bytes: the longest form has 107.
const maxFile = 1024

// ModeError tells that others than its owner can get at a file with a secret.
type ModeError fs.FileMode

func (e ModeError) Error() string {
	return fmt.Sprintf("its mode %04o lets others than its owner at the secret: chmod 600 it", fs.FileMode(e).Perm())
}

// CheckMode tells why a file with this mode must not hold a secret: with a ModeError.
func CheckMode(mode fs.FileMode) error {
	if mode.Perm()&0o077 == 0 {
		return nil
	}
	return ModeError(mode)
}

// ReadFile returns the secret in a file that holds nothing else, one line. readable allows files that others may read.
// The error never contains any of the file, and does not name it.
func ReadFile(k Key, path string, readable bool) (Value, error) {
	// Opening a FIFO or a device must not wait for anybody.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return Value{}, files.Cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return Value{}, files.Cause(err)
	case !info.Mode().IsRegular():
		return Value{}, errors.New("it is not a regular file")
	}
	if err := CheckMode(info.Mode()); err != nil && !readable {
		return Value{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return Value{}, files.Cause(err)
	case len(data) > maxFile:
		return Value{}, fmt.Errorf("it is larger than %d bytes: it must hold the secret and nothing else", maxFile)
	}
	return ParseContent(k, data)
}

// ParseContent checks what a file, or a credential of systemd's, holds: the interchange form of k in one line, and nothing else. The
// error never contains any of it.
func ParseContent(k Key, data []byte) (Value, error) {
	line := strings.TrimSpace(strings.TrimPrefix(string(data), "\ufeff")) // some editors begin with a byte order mark
	switch {
	case line == "":
		return Value{}, errors.New("it is empty")
	case strings.ContainsAny(line, "\r\n"):
		return Value{}, errors.New("it has more than one line: it must hold the secret and nothing else")
	}
	return Parse(k, line)
}

// NoDumps keeps the process out of core dumps and away from the debuggers of others for good. A process that is to hold
// secrets calls it first.
func NoDumps() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot keep secrets out of core dumps: %w", err)
	}
	return nil
}
