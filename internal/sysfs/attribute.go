// SPDX-License-Identifier: GPL-3.0-or-later

package sysfs

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
)

// directory is an open directory. Reading by way of that of a device reads one device, whatever its name means by then; by way of
// that of many devices the kernel has not so far to go.
type directory struct {
	fd   int
	path string // for errors
}

func openDirectory(path string) (directory, error) {
	fd, err := files.OpenAt(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return directory{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return directory{fd, path}, nil
}

func (d directory) close() { unix.Close(d.fd) }

// attribute returns the value of one attribute, "" for one that is unset, that this kernel does not have, or whose device is
// going away.
func (d directory) attribute(name string) (string, error) {
	data, err := files.ReadAt(d.fd, name, filepath.Join(d.path, name))
	return value(data, err)
}

// of returns the value of one attribute of a device in the directory, as attribute does.
func (d directory) of(device, name string) (string, error) { return d.attribute(device + "/" + name) }

func value(data []byte, err error) (string, error) {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	switch value := strings.TrimSpace(string(data)); value {
	case "none", "(efault)", "(null)":
		return "", nil
	default:
		return value, nil
	}
}
