package sysfs

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
)

// directory is the open directory of a device. Reading by way of it reads one device, whatever its name means by then.
type directory struct {
	fd   int
	path string
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

// attribute returns the value of one attribute of a controller, as directory.attribute does.
func (r Reader) attribute(controller, name string) (string, error) {
	data, err := files.Read(filepath.Join(r.Root.SysClassNVMe(), controller, name))
	return value(data, err)
}

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
