// SPDX-License-Identifier: GPL-3.0-or-later

package follow

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// Files follows what changes in some directories and all that are below them.
type Files struct {
	events  *Events
	roots   []string
	watcher *fsnotify.Watcher
}

// FollowFiles begins. The directories need not be there yet, but those above them must.
func FollowFiles(events *Events, roots ...string) (*Files, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("cannot follow files: %w", err)
	}
	f := &Files{events: events, roots: roots, watcher: watcher}
	for _, root := range roots {
		if err := watcher.Add(filepath.Dir(root)); err != nil {
			return nil, fmt.Errorf("cannot follow files: %w", err)
		}
	}
	f.Again()
	go f.run()
	return f, nil
}

// Again begins once more with all that is in the directories: nothing says that a file system was mounted there or taken away.
func (f *Files) Again() {
	for _, root := range f.roots {
		f.add(root)
	}
	f.events.Tell(Changed)
}

// add follows a directory and those below it. What goes away meanwhile needs no watch.
func (f *Files) add(dir string) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = f.watcher.Add(path)
		}
		return nil
	})
}

func (f *Files) run() {
	for {
		select {
		case event, ok := <-f.watcher.Events:
			if !ok {
				return
			}
			if !f.followed(event.Name) {
				continue // a neighbour of a root
			}
			if event.Has(fsnotify.Create) {
				f.add(event.Name) // if it is a directory; what was put into it before is seen by who looks now
			}
			f.events.Tell(Changed)
		case _, ok := <-f.watcher.Errors: // events were lost, which may have been of new directories
			if !ok {
				return
			}
			f.Again()
		}
	}
}

// followed reports whether a path is one of the roots or below one.
func (f *Files) followed(path string) bool {
	for _, root := range f.roots {
		if path == root || strings.HasPrefix(path, root+"/") {
			return true
		}
	}
	return false
}

// Close ends following.
func (f *Files) Close() error { return f.watcher.Close() }
