// SPDX-License-Identifier: GPL-3.0-or-later

package files

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCause(t *testing.T) {
	_, err := os.Open(filepath.Join(t.TempDir(), "nothing"))
	if got := Cause(fmt.Errorf("wrapped: %w", err)).Error(); got != "no such file or directory" {
		t.Error(got)
	}
	if Cause(fs.ErrInvalid) != fs.ErrInvalid || Cause(nil) != nil {
		t.Error("another error changed")
	}
}

func TestReadAll(t *testing.T) {
	if data, err := ReadAll(strings.NewReader("four"), 4); string(data) != "four" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if data, err := ReadAll(strings.NewReader("fives"), 4); data != nil || err == nil || err.Error() != "it is larger than 4 bytes" {
		t.Errorf("%q, %v", data, err)
	}
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := ReadAll(dir, 4); err == nil || err.Error() != "is a directory" {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b", "a", ".c"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := Names(dir); !slices.Equal(names, []string{".c", "a", "b"}) || err != nil {
		t.Error(names, err)
	}
	if names, err := Names(filepath.Join(dir, "nothing")); names != nil || err != nil {
		t.Error(names, err)
	}
	if _, err := Names(filepath.Join(dir, "a")); err == nil || !strings.HasPrefix(err.Error(), "cannot list "+dir) {
		t.Error(err)
	}
}
