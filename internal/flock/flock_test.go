// SPDX-License-Identifier: GPL-3.0-or-later

package flock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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

// Who comes second learns who has the lock, and gets it when that one lets it go.
func TestLockWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "new", "lock")
		unlock, _, err := LockWithin(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		within := func(d time.Duration) (func(), string, error) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			return LockWithin(ctx, path)
		}
		want := strconv.Itoa(os.Getpid())
		if _, holder, err := within(time.Second); !errors.Is(err, ErrHeld) || holder != want {
			t.Errorf("the second: %q, %v, want %s and %v", holder, err, want, ErrHeld)
		}
		for _, garbage := range []string{"", "garbage", "12 34", "-1", strings.Repeat("1", 20) + "x"} {
			if err := os.WriteFile(path, []byte(garbage), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, holder, err := within(0); !errors.Is(err, ErrHeld) || strings.Trim(holder, "0123456789") != "" {
				t.Errorf("signed %q: %q, %v", garbage, holder, err)
			}
		}
		time.AfterFunc(time.Second, unlock)
		unlock, _, err = within(2 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		for path, want := range map[string]string{
			filepath.Join(path, "lock"): "mkdir " + path + ": not a directory",
			filepath.Dir(path):          "open " + filepath.Dir(path) + ": is a directory",
		} {
			if _, _, err := LockWithin(t.Context(), path); err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	})
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

// Who does not want to wait learns at once that another one has the lock.
func TestTryLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "lock")
	unlock, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrHeld) {
		t.Errorf("while it is held: got %v, want %v", err, ErrHeld)
	}
	unlock()
	if unlock, err = TryLock(path); err != nil {
		t.Fatalf("when it is free again: %v", err)
	}
	unlock()
	if _, err := TryLock(filepath.Dir(path)); err == nil || errors.Is(err, ErrHeld) {
		t.Errorf("a directory: got %v", err)
	}
}
