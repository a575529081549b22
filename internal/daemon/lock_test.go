// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

func TestLock(t *testing.T) {
	root := paths.Root(t.TempDir())
	put(t, root.DaemonLock(), "12345678\n") // of an earlier boot's daemon, longer than ours
	first, err := lock(root)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lock(root)
	want := fmt.Sprintf("cannot start nvme-discoverd: it runs already as process %d; stop it first, `systemctl stop nvme-discoverd` if it is the service", os.Getpid())
	if err == nil || err.Error() != want || !errors.Is(err, ErrRunning) {
		t.Errorf("the second: %v, want %s", err, want)
	}
	if other, err := lock(paths.Root(t.TempDir())); err != nil {
		t.Errorf("below another root: %v", err)
	} else {
		other.Close()
	}
	first.Close()
	again, err := lock(root)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	again.Close()
}

// The holder's number is whatever the file says, and is not believed to be one.
func TestLockUnsigned(t *testing.T) {
	root := paths.Root(t.TempDir())
	first, err := lock(root)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	put(t, root.DaemonLock(), "garbage\n")
	_, err = lock(root)
	if want := "cannot start nvme-discoverd: it runs already; stop it first, `systemctl stop nvme-discoverd` if it is the service"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// One that was killed and cannot end, since the kernel does not let a thread go, keeps no other from starting.
func TestLockOfDying(t *testing.T) {
	for _, test := range []struct {
		name, status string
		dying        bool
	}{
		{"runs", "Name:\tnvme-discoverd\nState:\tS (sleeping)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n", false},
		{"stuck", "State:\tD (disk sleep)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000004000\n", false}, // SIGTERM
		{"first thread gone", "State:\tZ (zombie)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n", true},
		{"first thread stuck", "State:\tD (disk sleep)\nSigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n", true},
		{"killed", "State:\tD (disk sleep)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n", true},
		{"garbage", "State\nSigPnd:\t\nShdPnd: x\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := paths.Root(t.TempDir())
			first, err := lock(root)
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			put(t, root.ProcessStatus(strconv.Itoa(os.Getpid())), test.status)
			second, err := lock(root)
			if !test.dying {
				if !errors.Is(err, ErrRunning) {
					t.Errorf("the second: %v, want %v", err, ErrRunning)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer second.Close()
			if err := os.Remove(root.ProcessStatus(strconv.Itoa(os.Getpid()))); err != nil {
				t.Fatal(err)
			}
			if _, err := lock(root); !errors.Is(err, ErrRunning) {
				t.Errorf("the third: %v, want %v", err, ErrRunning)
			}
		})
	}
}

// Whoever takes the place of a dying one does so alone, from the look at it on: another would look at the same one and then
// take the place of the wrong one.
func TestLockTogether(t *testing.T) {
	root := paths.Root(t.TempDir())
	dead, err := lock(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	put(t, root.DaemonLock(), "4711\n")
	status := root.ProcessStatus("4711")
	if err := os.MkdirAll(filepath.Dir(status), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(status, 0o600); err != nil { // whoever opens it is waited for
		t.Fatal(err)
	}

	var starting sync.WaitGroup
	var got atomic.Int32
	start := func() {
		f, err := lock(root)
		switch {
		case err == nil:
			got.Add(1)
			t.Cleanup(func() { f.Close() })
		case !errors.Is(err, ErrRunning):
			t.Error(err)
		}
	}
	starting.Go(start)
	answer, err := os.OpenFile(status, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := os.Open(root.DaemonStartLock())
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close()
	if err := unix.Flock(int(guard.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Fatalf("another could look as well: %v", err)
	}
	for range 4 {
		starting.Go(start)
	}
	fmt.Fprintln(answer, "State:\tZ (zombie)")
	answer.Close()
	starting.Wait()
	if got.Load() != 1 {
		t.Errorf("%d have the lock, want 1", got.Load())
	}
}

// A whole daemon, on an empty root: it starts, answers, keeps a second one from running, and ends.
func TestRun(t *testing.T) {
	opts, _, end := runWhole(t)
	if err := Run(t.Context(), opts); !errors.Is(err, ErrRunning) {
		t.Errorf("the second: %v", err)
	}
	end()
}

// runWhole starts a whole daemon on an empty root and returns when its loop answers a client. end ends it.
func runWhole(t *testing.T) (opts Options, c *client.Client, end func()) {
	t.Helper()
	opts = Options{Root: host(t), Config: config.Config{Settings: config.Defaults()}, Log: slog.New(slog.DiscardHandler), Level: &slog.LevelVar{}, Version: "1.0"}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, opts) }()
	c = dial(t, t.Context(), &Daemon{Options: opts})
	if _, err := c.Controllers(ctx, ""); err != nil {
		t.Fatal(err)
	}
	return opts, c, func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
