package flock

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// One at a time has the lock, whose file only the owner can open.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "lock")
	var inside atomic.Int32 // the race detector does not know such locks
	var locking sync.WaitGroup
	for range 20 {
		locking.Go(func() {
			unlock, err := Lock(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			if n := inside.Add(1); n != 1 {
				t.Errorf("%d have the lock", n)
			}
			inside.Add(-1)
		})
	}
	locking.Wait()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode of the file: got %o, want 600", mode)
	}
}

func TestLockErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(file, "lock"): "mkdir " + file + ": not a directory",
		dir:                         "open " + dir + ": is a directory",
	} {
		if _, err := Lock(path); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
