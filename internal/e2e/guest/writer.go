// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// host is the directory in sysfs of a subsystem that is connected.
func (s *Subsystem) host() string {
	s.t.Helper()
	found, _ := filepath.Glob("/sys/class/nvme-subsystem/*/subsysnqn")
	for _, file := range found {
		if read(file) == s.NQN {
			return filepath.Dir(file)
		}
	}
	s.t.Fatalf("cannot find %s among the subsystems of the host", s.NQN)
	return ""
}

// RoundRobin spreads what the host writes to a subsystem over all of its paths.
func (s *Subsystem) RoundRobin() {
	s.t.Helper()
	put(s.t, filepath.Join(s.host(), "iopolicy"), "round-robin\n")
}

// Writer writes to a namespace, block after block, until the scenario ends. An error fails the scenario.
type Writer struct {
	t      T
	pause  time.Duration // between two blocks
	blocks atomic.Int64
}

// WriteOn begins to write on the only namespace of a subsystem that is connected, as fast as that goes.
func WriteOn(t T, s *Subsystem) *Writer {
	t.Helper()
	return WriteSlowlyOn(t, s, 0)
}

// WriteSlowlyOn is WriteOn with a pause after each block, for many writers at a time.
func WriteSlowlyOn(t T, s *Subsystem, pause time.Duration) *Writer {
	t.Helper()
	heads, _ := filepath.Glob(filepath.Join(s.host(), "nvme*n1"))
	if len(heads) != 1 {
		t.Fatalf("the namespaces of %s: got %v, want one", s.NQN, heads)
	}
	node := filepath.Join("/dev", filepath.Base(heads[0]))
	device, err := os.OpenFile(node, os.O_WRONLY, 0)
	if err != nil {
		t.Fatalf("cannot write: %v", err)
	}
	w := &Writer{t: t, pause: pause}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- w.write(device, stop) }()
	t.Cleanup(func() {
		defer device.Close()
		close(stop)
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("writing to %s: %v after %d blocks", node, err, w.blocks.Load())
			}
		case <-time.After(time.Minute):
			t.Errorf("writing to %s: stuck after %d blocks", node, w.blocks.Load())
		}
	})
	return w
}

func (w *Writer) write(device *os.File, stop <-chan struct{}) error {
	block := make([]byte, 4096)
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(w.pause):
		}
		n := w.blocks.Load()
		if _, err := device.WriteAt(block, n%1024*int64(len(block))); err != nil {
			return err
		}
		if err := device.Sync(); err != nil {
			return err
		}
		w.blocks.Add(1)
		happen().Tell(follow.Told)
	}
}

// WaitMore waits until that many more blocks have reached the target.
func (w *Writer) WaitMore(blocks int64) {
	w.t.Helper()
	before := w.blocks.Load()
	eventually(w.t, follow.Told, 2*time.Minute, fmt.Sprintf("%d more blocks written", blocks), func() (bool, string) {
		now := w.blocks.Load() - before
		return now >= blocks, fmt.Sprint(now)
	})
}
