// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

const (
	// quiet is how long the lists must be left alone before they are worth reading: editors write a file in several steps.
	quiet = 100 * time.Millisecond
	// patience is how long a list that is never left alone goes unread.
	patience = time.Second
)

// exclusionWatch tells when the exclusion lists may have changed on disk. A directory that appears later is watched from then on.
type exclusionWatch struct {
	fs   *fsnotify.Watcher
	dirs []string
}

// watchLists begins to watch the places that exclusion.Load reads.
func watchLists(root paths.Root) (*exclusionWatch, error) {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("cannot watch the exclusion lists: %w", err)
	}
	w := &exclusionWatch{fs, []string{root.ConfigDir(), root.Exclusions(), root.ExclusionsDropIns()}}
	w.add()
	return w, nil
}

// add watches every directory that there is. One that is missing shows up as a change in the directory above it, which is
// watched for that alone while the first of them, which holds the others, is missing.
func (w *exclusionWatch) add() {
	above := filepath.Dir(w.dirs[0])
	if _, err := os.Stat(w.dirs[0]); err == nil {
		_ = w.fs.Remove(above) // it mostly is not watched
	} else {
		_ = w.fs.Add(above)
	}
	for _, dir := range w.dirs {
		if _, err := os.Stat(dir); err == nil {
			_ = w.fs.Add(dir) // a failure costs the hint, not the check on disk right before a connect
		}
	}
}

// next waits for a change and returns true, or false when ctx ends or the watcher is closed.
func (w *exclusionWatch) next(ctx context.Context) bool {
	return settled(ctx, w.fs.Events, w.fs.Errors, w.add)
}

// settled waits for a change that none follows within quiet, or that is patience old. It calls changed at every event, and
// returns false when ctx ends or a channel is closed. An error stands for changes too: inotify's queue overflowed.
func settled(ctx context.Context, events <-chan fsnotify.Event, errs <-chan error, changed func()) bool {
	var calm, late <-chan time.Time // nil until something changes
	for {
		var open bool
		select {
		case <-ctx.Done():
			return false
		case <-calm:
			return true
		case <-late:
			return true
		case _, open = <-events:
			if open {
				changed()
			}
		case _, open = <-errs:
		}
		if !open {
			return false
		}
		calm = time.After(quiet)
		if late == nil {
			late = time.After(patience)
		}
	}
}

// close ends next.
func (w *exclusionWatch) close() error { return w.fs.Close() }
