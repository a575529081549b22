// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func TestSleepWatch(t *testing.T) {
	var clock int64 = 5e9 // suspended before the start
	s := newSleepWatch(func() int64 { return clock })
	for _, step := range []struct {
		ahead int64
		want  bool
	}{
		{0, false},
		{3e5, false}, // the two clocks are read one after the other
		{-3e5, false},
		{8 * 3600e9, true},
		{0, false},
		{2e9, true},
	} {
		clock += step.ahead
		if got := s.slept(); got != step.want {
			t.Errorf("%d ns later: slept %v, want %v", step.ahead, got, step.want)
		}
	}
	if suspendedTime() < -1e9 {
		t.Errorf("the system was suspended for %d ns", suspendedTime())
	}
}

// Whatever changes the lists is noticed, in directories too that appear later.
func TestExclusionWatch(t *testing.T) {
	root := paths.Root(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(root.ConfigDir()), 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := watchLists(root)
	if err != nil {
		t.Fatal(err)
	}
	change := func(what string, f func()) {
		t.Helper()
		f()
		if !w.next(t.Context()) {
			t.Fatalf("%s: the watch has ended", what)
		}
	}
	file := filepath.Join(root.Exclusions(), "a.conf")
	change("the first of them is made", func() {
		if err := os.Mkdir(root.ConfigDir(), 0o755); err != nil {
			t.Fatal(err)
		}
	})
	change("everything goes", func() {
		if err := os.Remove(root.ConfigDir()); err != nil {
			t.Fatal(err)
		}
	})
	change("and is made anew", func() {
		if err := os.Mkdir(root.ConfigDir(), 0o755); err != nil {
			t.Fatal(err)
		}
	})
	change("nvme-cli's file", func() { put(t, root.ExclusionsFile(), "exclusion = nqn=a\n") })
	change("a new directory", func() {
		if err := os.Mkdir(root.Exclusions(), 0o755); err != nil {
			t.Fatal(err)
		}
	})
	change("a file in it", func() { put(t, file, "exclusion = nqn=b\n") })
	change("another content", func() { put(t, file, "exclusion = nqn=c\n") })
	change("the file is removed", func() {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	})
	change("a directory of nvme-cli's with a file", func() { put(t, filepath.Join(root.ExclusionsDropIns(), "b.conf"), "") })

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if w.next(ctx) {
		t.Error("a change after the end")
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
	if w.next(t.Context()) {
		t.Error("a change after close")
	}
}

// A change is read when it is over, and one that is never over every second.
func TestExclusionsSettle(t *testing.T) {
	for _, test := range []struct {
		name    string
		every   time.Duration
		changes int
		want    time.Duration // after the first one
	}{
		{"one", 0, 1, quiet},
		{"a file written in steps", quiet / 2, 3, 2 * quiet},
		{"rewritten for ever", quiet - 10*time.Millisecond, 1000, patience},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancel(t.Context())
				events, overflows := make(chan fsnotify.Event), make(chan error)
				go func() {
					for i := range test.changes {
						select {
						case <-ctx.Done():
							return
						default:
						}
						if i%2 == 0 {
							events <- fsnotify.Event{}
						} else {
							overflows <- fsnotify.ErrEventOverflow
						}
						time.Sleep(test.every)
					}
				}()
				begun, n := time.Now(), 0
				if !settled(ctx, events, overflows, func() { n++ }) || time.Since(begun) != test.want || n == 0 {
					t.Errorf("settled after %v and %d calls, want %v", time.Since(begun), n, test.want)
				}
				end()
				for range 2 { // what is being sent
					select {
					case <-events:
					case <-overflows:
					case <-time.After(time.Second):
					}
				}
			})
		})
	}
}

// The lists are read when those that were read before are posted: what was read last is posted last, whoever read it.
func TestExclusionsInOrder(t *testing.T) {
	d, _ := idle(t, host(t))
	file := filepath.Join(d.Root.Exclusions(), "a.conf")
	put(t, file, "exclusion = nqn=old\n")
	d.events = make(chan arrival)
	load := func() { d.loadExclusions(t.Context()) }
	change, reload := overtaking(load), overtaking(load) // the queue is full
	put(t, file, "exclusion = nqn=new\n")
	<-d.events
	last := (<-d.events).Event.(core.ExclusionsLoaded)
	if _, excluded := last.List.Match(tid.TID{NQN: "new"}); !excluded {
		t.Errorf("loaded %+v last, want one that excludes new", last.List)
	}
	<-change
	<-reload
}

// A change of the lists reaches the loop.
func TestWatchExclusions(t *testing.T) {
	const nqn = "nqn.2024-01.com.example:vol1"
	d, _ := idle(t, host(t))
	if err := os.MkdirAll(d.Root.Exclusions(), 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := watchLists(d.Root)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		d.watchExclusions(t.Context(), w)
		close(ended)
	}()
	put(t, filepath.Join(d.Root.Exclusions(), "a.conf"), "exclusion = nqn="+nqn+"\n")
	loaded := (<-d.events).Event.(core.ExclusionsLoaded)
	if _, excluded := loaded.List.Match(tid.TID{Transport: tid.TCP, Traddr: "192.0.2.1", NQN: nqn}); !excluded {
		t.Errorf("loaded %+v, which does not exclude %s", loaded.List, nqn)
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
	<-ended
}

// A SIGHUP that came before anybody could deal with it reloads the configuration.
func TestHangup(t *testing.T) {
	d, _ := idle(t, host(t))
	hangups := make(chan os.Signal, 1)
	hangups <- unix.SIGHUP
	d.Hangups, d.Loader, d.notify = hangups, config.NewLoader(d.Root, ""), newNotifier(d.Log)
	d.boot, d.api = newBootTables(d.Root, d.Log, config.Config{}), &api{}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		d.watchReloads(ctx)
		close(ended)
	}()
	var got []string
	for range 3 {
		got = append(got, fmt.Sprintf("%T", (<-d.events).Event))
	}
	if diff := cmp.Diff([]string{"core.ExclusionsLoaded", "core.NBFTLoaded", "core.ConfigLoaded"}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	end()
	<-ended
}
