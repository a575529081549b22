// SPDX-License-Identifier: GPL-3.0-or-later

// Package flock locks files against other processes (flock(2)).
package flock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld says that another process has the lock.
var ErrHeld = errors.New("another process has the lock")

// Lock waits until no other process has the file at path locked, and locks it. The file and its directory are made if need be; only
// the owner may open the file, since whoever can open it can lock it. The end of the process unlocks too.
func Lock(path string) (unlock func(), err error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	if err := lock(f, unix.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// pause is the time between two tries of LockWithin.
const pause = 20 * time.Millisecond

// LockWithin is Lock, signs the file (see Sign), and gives up when ctx ends: with ErrHeld and the number of the process that
// has the lock, "" if that cannot be told.
func LockWithin(ctx context.Context, path string) (unlock func(), holder string, err error) {
	f, err := open(path)
	if err != nil {
		return nil, "", err
	}
	for {
		err = tryLock(f)
		if err == nil {
			return func() { f.Close() }, "", nil
		}
		if errors.Is(err, ErrHeld) {
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
				holder = Signature(f)
			}
		}
		f.Close()
		return nil, holder, err
	}
}

// TryLock is LockWithin without the wait: its error is ErrHeld if another process has the lock.
func TryLock(path string) (unlock func(), err error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	if err := tryLock(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// tryLock locks and signs f, and fails with ErrHeld at once where another process has the lock.
func tryLock(f *os.File) error {
	err := lock(f, unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return ErrHeld
	case err != nil:
		return err
	}
	return Sign(f)
}

func open(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

func lock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// Sign writes the number of this process into a file that it has locked, for the message of one that finds it so. A disk
// without room for it is no error.
func Sign(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0); err != nil && !errors.Is(err, unix.ENOSPC) {
		return err
	}
	return nil
}

// Signature returns the number of the process that signed the file, "" if that cannot be told.
func Signature(f *os.File) string {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 20))
	pid := strings.TrimSpace(string(text))
	if err != nil || strings.Trim(pid, "0123456789") != "" {
		return ""
	}
	return pid
}
