// SPDX-License-Identifier: GPL-3.0-or-later

// Package atomicfile replaces files so that a reader sees the old content or the new, whole, whatever crashes meanwhile.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write makes data the content of path, with exactly the permissions perm. The directory must exist. Until the last step
// the data is in a file beside path whose name contains ".tmp."; an error leaves path as it was, and wraps its cause.
func Write(path string, data []byte, perm fs.FileMode) error {
	if err := write(path, data, perm); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// Create is Write where there is no path yet, and for files that have to outlast a loss of power as soon as it returns. What is
// there already stays, and the error wraps fs.ErrExist.
func Create(path string, data []byte, perm fs.FileMode) error {
	err := replace(path, data, perm, func(temporary string) error {
		if err := os.Link(temporary, path); err != nil { // unlike a rename it replaces nothing
			return err
		}
		return os.Remove(temporary)
	})
	if err == nil {
		err = syncDirectory(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("cannot create %s: %w", path, cause(err))
	}
	return nil
}

// cause returns what is wrong without the names that the operation had, one of which means nothing to people.
func cause(err error) error {
	if link := (*os.LinkError)(nil); errors.As(err, &link) {
		return link.Err
	}
	return err
}

func syncDirectory(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func write(path string, data []byte, perm fs.FileMode) (err error) {
	return replace(path, data, perm, func(temporary string) error { return os.Rename(temporary, path) })
}

// replace writes a temporary file, which publish gives its name.
func replace(path string, data []byte, perm fs.FileMode, publish func(temporary string) error) (err error) {
	dir, base := filepath.Dir(path), filepath.Base(path)
	f, err := os.CreateTemp(dir, base+".tmp.*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // a second close does no harm
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(perm); err != nil { // the umask does not apply
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return publish(f.Name())
}
