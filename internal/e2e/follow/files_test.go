// SPDX-License-Identifier: GPL-3.0-or-later

package follow

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestFiles(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	events := NewEvents()
	files, err := FollowFiles(events, root)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	step := func(what string, do func() error) {
		t.Helper()
		next := events.next(Changed)
		if err := do(); err != nil {
			t.Fatalf("cannot %s: %v", what, err)
		}
		select {
		case <-next.woken:
		case <-time.After(time.Minute):
			t.Fatalf("no event although I have done this: %s", what)
		}
	}
	// settled waits until a directory has a watch: only what happens afterwards must be an event.
	settled := func(dir string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; {
			for _, watched := range files.watcher.WatchList() {
				if watched == dir {
					return
				}
			}
			if time.Now().After(end) {
				t.Fatalf("%s is not watched", dir)
			}
		}
	}
	unit := filepath.Join(root, "controllers", "nvme1", "unit")
	for range 2 { // the second time after it was removed
		step("make the directories", func() error { return os.MkdirAll(filepath.Dir(unit), 0o755) })
		settled(filepath.Dir(unit))
		step("write a file", func() error { return os.WriteFile(unit, []byte("x"), 0o644) })
		step("remove the file", func() error { return os.Remove(unit) })
		step("remove the directories", func() error { return os.RemoveAll(root) })
		for end := time.Now().Add(time.Minute); len(files.watcher.WatchList()) > 1 && time.Now().Before(end); {
		}
	}
}

func TestFilesIgnoresNeighbours(t *testing.T) {
	f := &Files{roots: []string{"/run/nvme", "/etc/nvme"}}
	for path, want := range map[string]bool{
		"/run/nvme": true, "/run/nvme/registry/nvme1": true, "/etc/nvme/hostid": true,
		"/run/nvme-other": false, "/run": false, "/etc/passwd": false,
	} {
		if got := f.followed(path); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}
