// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"errors"
	"io/fs"
	"os"
)

// Replace writes a file, and puts back what was there when the scenario ends.
func Replace(t T, path, text string) {
	t.Helper()
	before, err := os.ReadFile(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		t.Fatalf("cannot read what is to be replaced: %v", err)
	}
	put(t, path, text)
	t.Cleanup(func() {
		if missing {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, before, 0o644)
		}
		if err != nil && !gone(err) {
			t.Errorf("cannot put back what was there: %v", err)
		}
	})
}

// Remove removes a file that the scenario has made.
func Remove(t T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatalf("cannot clean up: %v", err)
	}
}

// LastEvent is the number of the last uevent that the kernel sent.
func LastEvent() string { return read("/sys/kernel/uevent_seqnum") }

// Ctl runs nvme-discoverctl, which has to succeed.
func Ctl(t T, args ...string) string {
	t.Helper()
	return Run(t, ctlProgram, args...)
}

// TryCtl runs nvme-discoverctl and returns how it ended.
func TryCtl(t T, args ...string) Outcome {
	t.Helper()
	return Try(t, ctlProgram, args...)
}

// HoldUdev keeps the service that answers to uevents from running for a while: the events wait for it. Release lets it go on
// and returns when it has answered to all of them.
func HoldUdev(t T) (release func()) {
	t.Helper()
	kill := func(signal string) {
		Run(t, "systemctl", "kill", "--signal="+signal, "--kill-whom=all", "systemd-udevd.service")
	}
	kill("STOP")
	held := true
	release = func() {
		if held {
			held = false
			kill("CONT")
			Run(t, "udevadm", "settle", "--timeout=60")
		}
	}
	t.Cleanup(release)
	return release
}
