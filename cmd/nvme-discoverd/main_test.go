// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// asDaemon in the environment makes the test binary nvme-discoverd.
const asDaemon = "TEST_AS_NVME_DISCOVERD"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		main()
	}
	os.Exit(m.Run())
}

// A version that cannot be written is a failure.
func TestVersionToFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	var stderr strings.Builder
	daemon := exec.Command(os.Args[0], "--version")
	daemon.Env, daemon.Stdout, daemon.Stderr = append(os.Environ(), asDaemon+"=1"), full, &stderr
	var exit *exec.ExitError
	if err := daemon.Run(); !errors.As(err, &exit) || exit.ExitCode() != exitConfig || !strings.Contains(stderr.String(), "cannot write the output") {
		t.Errorf("got %v and %q, want exit status 1", err, stderr.String())
	}
}

// A SIGHUP while the configuration is being loaded for the first time does not end the daemon.
func TestHangupAtStart(t *testing.T) {
	root := paths.Root(t.TempDir())
	file := filepath.Join(string(root), "slow.conf")
	if err := unix.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	// It ends at once when it is done: another daemon runs.
	if err := os.MkdirAll(filepath.Dir(root.DaemonLock()), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(root.DaemonLock())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}

	var stderr strings.Builder
	daemon := exec.Command(os.Args[0], "--root", string(root), "--config", file)
	daemon.Env, daemon.Stderr = append(os.Environ(), asDaemon+"=1"), &stderr
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	slow, err := os.OpenFile(file, os.O_WRONLY, 0) // returns when the daemon reads it
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	slow.Close()
	var exit *exec.ExitError
	if err := daemon.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitConfig || !strings.Contains(stderr.String(), "it runs already") {
		t.Errorf("the daemon ended with %v: %s", err, stderr.String())
	}
}
