// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"time"
)

// commandTimeout bounds every command: one that hangs is a finding, not a reason to wait for ever.
const commandTimeout = 2 * time.Minute

// Outcome is what a command left behind.
type Outcome struct {
	Status int
	Stdout string
	Stderr string
}

// Try runs a command and returns how it ended.
func Try(t T, name string, args ...string) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A grandchild that keeps the pipes open must not keep us.
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("cannot run %s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return Outcome{Status: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// Background starts a command that has to succeed; wait waits for its end.
func Background(t T, name string, args ...string) (wait func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatalf("cannot start %s: %v", name, err)
	}
	return func() {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, output.String())
		}
	}
}

// Run runs a command that has to succeed and returns its output.
func Run(t T, name string, args ...string) string {
	t.Helper()
	out := Try(t, name, args...)
	if out.Status != 0 {
		t.Fatalf("%s %s: exit status %d\n%s%s", name, strings.Join(args, " "), out.Status, out.Stdout, out.Stderr)
	}
	return out.Stdout
}
