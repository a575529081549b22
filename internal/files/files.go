// SPDX-License-Identifier: GPL-3.0-or-later

// Package files has what the packages that read files share.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Cause strips the operation and the path from an error of package os: the caller names the file in its own words.
func Cause(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// ReadAll reads the rest of f, which may have up to most bytes. Its errors do not name the file.
func ReadAll(f io.Reader, most int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil {
		return nil, Cause(err)
	}
	if len(data) > most {
		return nil, fmt.Errorf("it is larger than %d bytes", most)
	}
	return data, nil
}

// Names returns the names in a directory, sorted; none if there is no such directory.
func Names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list %s: %w", dir, err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}
