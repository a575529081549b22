// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCached(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	builds := 0
	build := func(dir string) error {
		builds++
		return os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)
	}
	get := func(ingredients ...string) string {
		t.Helper()
		dir, err := cached("thing", ingredients, build)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	first := get("ab", "c")
	if again := get("ab", "c"); again != first || builds != 1 {
		t.Errorf("same ingredients: got %q after %d builds, want %q after 1", again, builds, first)
	}
	if other := get("a", "bc"); other == first || builds != 2 {
		t.Errorf("other ingredients: got %q after %d builds, want another directory after 2", other, builds)
	}

	long := time.Now().Add(-2 * unusedFor)
	if err := os.Chtimes(first, long, long); err != nil {
		t.Fatal(err)
	}
	_, err := cached("thing", []string{"broken"}, func(string) error { return errors.New("no space") })
	if err == nil {
		t.Error("a build that failed: got no error")
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(first), "thing-*"))
	if err != nil || len(left) != 1 {
		t.Errorf("left: got %v (%v), want only the version used lately", left, err)
	}
}
