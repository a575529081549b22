package sysfs

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// directory is the open directory of a device. Reading by way of it reads one device, whatever its name means by then.
type directory struct {
	fd   int
	path string
}

func openDirectory(path string) (directory, error) {
	fd, err := open(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return directory{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return directory{fd, path}, nil
}

func (d directory) close() { unix.Close(d.fd) }

// attribute returns the value of one attribute, "" for one that is unset, that this kernel does not have, or whose device is
// going away.
func (d directory) attribute(name string) (string, error) {
	data, err := readAt(d.fd, name, filepath.Join(d.path, name))
	return value(data, err)
}

// attribute returns the value of one attribute of a controller, as directory.attribute does.
func (r Reader) attribute(controller, name string) (string, error) {
	path := filepath.Join(r.Root.SysClassNVMe(), controller, name)
	data, err := readAt(unix.AT_FDCWD, path, path)
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

// readAt reads the file called name in the directory dir; its errors call it path. It takes three system calls, which are most of
// what a connect costs beside many controllers: package os would take nine, as it asks for the size, which sysfs makes up,
// reads up to the end, and has the runtime poll what it opens, which sysfs allows.
func readAt(dir int, name, path string) ([]byte, error) {
	fd, err := open(dir, name, unix.O_RDONLY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	data := make([]byte, 0, 4096) // more than any attribute has that is read here
	for {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if data = data[:len(data)+n]; len(data) < cap(data) { // the kernel gives all that it has at once
			return data, nil
		}
		data = append(data, 0)[:len(data)]
	}
}

func open(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
