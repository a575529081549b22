// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// HeldCommands are the commands that the daemon gives to one controller and that do not come back from the kernel: strace
// stops its threads where they enter the call.
type HeldCommands struct {
	t      T
	pid    string // the daemon's
	strace *exec.Cmd
}

// HoldCommands holds all that come from now on, until they are let go or the scenario ends.
func HoldCommands(t T, device string) *HeldCommands {
	t.Helper()
	const forEver = "delay_enter=36000s"
	h := &HeldCommands{t: t, pid: MainPID(t)}
	h.strace = exec.Command("strace", "-f", "-qq", "-p", h.pid, "-P", "/dev/"+device, "-e", "trace=ioctl", "-e", "inject=ioctl:"+forEver, "-o", straceFile)
	if err := h.strace.Start(); err != nil {
		t.Fatalf("cannot hold commands: %v", err)
	}
	t.Cleanup(h.LetGo)
	Eventually(t, connectTimeout, "every thread is traced", func() (bool, string) {
		threads := h.threads()
		for _, thread := range threads {
			if strings.Contains(read(filepath.Join(thread, "status")), "TracerPid:\t0\n") {
				return false, thread
			}
		}
		return len(threads) > 0, ""
	})
	return h
}

func (h *HeldCommands) threads() []string {
	found, _ := filepath.Glob(filepath.Join("/proc", h.pid, "task", "*"))
	return found
}

// Held is how many commands are held at the moment.
func (h *HeldCommands) Held() int {
	const ioctl = "16 "
	count := 0
	for _, thread := range h.threads() {
		stopped := strings.Contains(read(filepath.Join(thread, "status")), "State:\tt ")
		if stopped && strings.HasPrefix(read(filepath.Join(thread, "syscall")), ioctl) {
			count++
		}
	}
	return count
}

// WaitHeld waits until a command is held, for so long that it is no other stop of a traced thread.
func (h *HeldCommands) WaitHeld() {
	h.t.Helper()
	Eventually(h.t, connectTimeout, "a command is held", func() (bool, string) {
		return h.Held() > 0, read(straceFile)
	})
	Always(h.t, time.Second, "a command is held", func() (bool, string) {
		return h.Held() > 0, read(straceFile)
	})
}

// LetGo lets the commands reach the kernel.
func (h *HeldCommands) LetGo() {
	if h.strace.ProcessState != nil {
		return
	}
	_ = h.strace.Process.Signal(os.Interrupt)
	_ = h.strace.Wait() // it ends by the signal
}
