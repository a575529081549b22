// SPDX-License-Identifier: GPL-3.0-or-later

package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever its length, a file is read whole.
func TestRead(t *testing.T) {
	for _, length := range []int{0, 1, 2047, 2048, 2049, 20000} {
		path := filepath.Join(t.TempDir(), "file")
		want := strings.Repeat("x", length)
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		dir, err := OpenAt(unix.AT_FDCWD, filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(dir)
		got, err := Read(path)
		if err != nil || string(got) != want {
			t.Errorf("%d bytes: got %d, %v", length, len(got), err)
		}
		if got, err = ReadAt(dir, "file", path); err != nil || string(got) != want {
			t.Errorf("%d bytes in a directory: got %d, %v", length, len(got), err)
		}
	}
}

// Its errors are those of os.ReadFile.
func TestReadErrors(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none"), filepath.Join(dir, "none\x00"), ""} {
		_, err := Read(path)
		_, want := os.ReadFile(path)
		var pathErr *fs.PathError
		if err == nil || want == nil || err.Error() != want.Error() || !errors.As(err, &pathErr) {
			t.Errorf("%q: got %v, want %v", path, err, want)
		}
	}
}
