// Package flock locks files against other processes (flock(2)).
package flock

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Lock waits until no other process has the file at path locked, and locks it. The file and its directory are made if need be; only
// the owner may open the file, since whoever can open it can lock it. The end of the process unlocks too.
func Lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
