// SPDX-License-Identifier: GPL-3.0-or-later

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "owner")
	for _, want := range []struct {
		data string
		perm fs.FileMode
	}{
		{"discoverd\n", 0o644},
		{"", 0o600},
		{"a longer value than before\n", 0o666},
	} {
		if err := Write(path, []byte(want.data), want.perm); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want.data {
			t.Errorf("content is %q, want %q", got, want.data)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want.perm {
			t.Errorf("mode is %v, want %v", info.Mode(), want.perm)
		}
	}
	assertNames(t, dir, "owner")
}

func TestWriteErrors(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing", "owner")
	err := Write(missing, []byte("x"), 0o644)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its directory: %v, want an error that is fs.ErrNotExist", err)
	}

	// A directory in the way: the rename fails, and the temporary file goes away.
	inTheWay := filepath.Join(dir, "owner")
	if err := os.MkdirAll(filepath.Join(inTheWay, "child"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(inTheWay, []byte("x"), 0o644); err == nil {
		t.Error("a directory was replaced by a file")
	}
	assertNames(t, dir, "owner")
}

// TestCreate: a file is made, and what is there under its name stays whatever it is.
func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "hostnqn")
	if err := Create(path, []byte("first\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := Create(path, []byte("second\n"), 0o644)
	if want := "cannot create " + path + ": file exists"; !errors.Is(err, fs.ErrExist) || err.Error() != want {
		t.Errorf("over a file: %v, want %s", err, want)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "first\n" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := Create(filepath.Join(dir, "link"), nil, 0o644); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a link that leads nowhere: %v", err)
	}
	if err := Create(filepath.Join(dir, "missing", "hostnqn"), nil, 0o644); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its directory: %v", err)
	}
	assertNames(t, dir, "hostnqn", "link")
}

func assertNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names in the directory (-want +got):\n%s", diff)
	}
}
