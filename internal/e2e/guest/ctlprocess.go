// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// CtlProcess is an nvme-discoverctl that runs.
type CtlProcess struct {
	t              T
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

// StartCtl starts nvme-discoverctl. It is killed when the scenario ends.
func StartCtl(t T, args ...string) *CtlProcess {
	t.Helper()
	p := &CtlProcess{t: t, cmd: exec.Command(ctlProgram, args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("cannot start nvme-discoverctl: %v", err)
	}
	t.Cleanup(p.Kill)
	return p
}

// Kill kills it with SIGKILL, unless it has ended, and waits for its end.
func (p *CtlProcess) Kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// Wait waits for its end.
func (p *CtlProcess) Wait() Outcome {
	p.t.Helper()
	Eventually(p.t, commandTimeout, "nvme-discoverctl ends", func() (bool, string) {
		stat := read(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
		return bytes.Contains([]byte(stat), []byte("State:\tZ")), stat
	})
	_ = p.cmd.Wait() // how it ended is in ProcessState
	return Outcome{Status: p.cmd.ProcessState.ExitCode(), Stdout: p.stdout.String(), Stderr: p.stderr.String()}
}

// WaitOpen waits until it has a file open whose path matches the pattern.
func (p *CtlProcess) WaitOpen(pattern string) {
	p.t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "fd")
	Eventually(p.t, commandTimeout, "nvme-discoverctl opens "+pattern, func() (bool, string) {
		var open string
		for _, fd := range names(dir) {
			path, _ := os.Readlink(filepath.Join(dir, fd))
			if match, _ := filepath.Match(pattern, path); match {
				return true, ""
			}
			open += " " + path
		}
		return false, open
	})
}
