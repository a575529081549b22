// SPDX-License-Identifier: GPL-3.0-or-later

package files

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// Read is os.ReadFile for what is small and read often: attributes of sysfs, state files of one line. It takes three system calls.
// Package os takes up to thirteen: it asks for the size, which sysfs makes up, has the runtime poll the file where that is
// possible, as it is in sysfs, and reads up to the end.
func Read(path string) ([]byte, error) { return ReadAt(unix.AT_FDCWD, path, path) }

// ReadAt is Read for the file called name in the open directory dir. Its errors are *fs.PathError, with path.
func ReadAt(dir int, name, path string) ([]byte, error) {
	fd, err := OpenAt(dir, name, unix.O_RDONLY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var data []byte
	var part [2048]byte // more than most have
	for {
		n, err := unix.Read(fd, part[:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		data = append(data, part[:n]...)
		if n < len(part) { // the kernel gives all that it has at once
			return data, nil
		}
	}
}

// OpenAt opens the file or directory called name in the open directory dir; the caller closes it.
func OpenAt(dir int, name string, flags int) (fd int, err error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
