// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/flock"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// ErrRunning is wrapped by Run's error when another daemon of the same root runs: another start would end the same way.
var ErrRunning = errors.New("it runs already")

// lock makes sure that this is the only daemon of its root: two would undo each other's work. The lock ends with the process,
// or with Close; one of a process that was killed and cannot end, since a thread of it is stuck in the kernel, counts as
// ended. Only root may open the file, since whoever can open it can lock it.
func lock(root paths.Root) (io.Closer, error) {
	path := root.DaemonLock()
	f, err := lockAlone(root)
	if errors.Is(err, ErrRunning) {
		defer f.Close()
		process := ""
		if pid := flock.Signature(f); pid != "" {
			process = " as process " + pid
		}
		return nil, fmt.Errorf("cannot start nvme-discoverd: %w%s; stop it first, `systemctl stop nvme-discoverd` if it is the service", ErrRunning, process)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return f, nil
}

// lockAlone locks and signs the file, with that of a dying process put aside. All that is one step for others that start: two
// that find one dying would put each other's file aside. With ErrRunning the file is open too.
func lockAlone(root paths.Root) (*os.File, error) {
	path := root.DaemonLock()
	// Whoever has this can get stuck in nothing, so the wait takes a moment. The file stays: a lock on one that may be
	// removed keeps nobody out.
	unlock, err := flock.Lock(root.DaemonStartLock())
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := lockFile(path)
	if errors.Is(err, ErrRunning) && flock.Dying(root, flock.Signature(f)) {
		f.Close()
		if err = os.Remove(path); err == nil { // the next one is another file
			f, err = lockFile(path)
		}
	}
	if err != nil {
		return f, err
	}
	if err := flock.Sign(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lockFile opens and locks a file. With ErrRunning, which says that another has the lock, it is open too.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	switch err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case err == nil && isAt(f, path):
		return f, nil
	case err == nil, err == unix.EWOULDBLOCK: // the former: another one has just put its own file there
		return f, ErrRunning
	}
	f.Close()
	return nil, err
}

// isAt tells whether f is the file that path names now.
func isAt(f *os.File, path string) bool {
	mine, err := f.Stat()
	there, errThere := os.Stat(path)
	return err == nil && errThere == nil && os.SameFile(mine, there)
}
