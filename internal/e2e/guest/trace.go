// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"os"
	"path/filepath"
	"regexp"
)

// ExecTrace records which programs are started anywhere in the machine.
type ExecTrace struct {
	t   T
	dir string
}

var execFilename = regexp.MustCompile(`sched_process_exec: filename=(\S+)`)

// TraceExecs starts recording.
func TraceExecs(t T) *ExecTrace {
	t.Helper()
	trace := &ExecTrace{t: t, dir: "/sys/kernel/tracing/instances/e2e"}
	mkdir(t, trace.dir)
	t.Cleanup(func() {
		if err := os.Remove(trace.dir); err != nil {
			t.Errorf("cannot remove trace: %v", err)
		}
	})
	write(t, filepath.Join(trace.dir, "events/sched/sched_process_exec/enable"), "1")
	return trace
}

// Programs ends the recording and returns the paths of the programs started, with how often.
func (e *ExecTrace) Programs() map[string]int {
	e.t.Helper()
	write(e.t, filepath.Join(e.dir, "events/sched/sched_process_exec/enable"), "0")
	count := map[string]int{}
	for _, match := range execFilename.FindAllStringSubmatch(read(filepath.Join(e.dir, "trace")), -1) {
		count[match[1]]++
	}
	return count
}

// straceOptions record every file that a program and its children open, with directory descriptors spelled out. The
// tracer detaches (-D), so that the traced program stays the process that was asked for.
var straceOptions = []string{"-D", "-f", "-qq", "-y", "-s", "4096", "-e", "trace=open,openat,openat2,execve"}

// straceFile is where the recordings go.
const straceFile = "/run/e2e/strace"

// TraceService makes the service run under strace.
func TraceService(t T) {
	t.Helper()
	_ = os.Remove(straceFile)
	command := Argv(t, Service, "ExecStart")
	line := "/usr/bin/strace"
	for _, word := range append(append([]string{}, straceOptions...), append([]string{"-o", straceFile}, command...)...) {
		line += " " + word
	}
	// The sandbox gives way as far as a tracer needs.
	Override(t, "[Service]\nExecStart=\nExecStart="+line+"\nReadWritePaths=/run/e2e\nSystemCallFilter=\nNoNewPrivileges=no\n"+
		"CapabilityBoundingSet=~\nPrivatePIDs=no\nWatchdogSec=0\n")
}

// TraceCommand runs a command under strace; it has to succeed.
func TraceCommand(t T, argv ...string) {
	t.Helper()
	_ = os.Remove(straceFile)
	// No -D here: the recording is complete when strace returns.
	Run(t, "strace", append(append(append([]string{}, straceOptions[1:]...), "-o", straceFile), argv...)...)
}

// localDisk matches the PCIe disk in a recorded call: its character and block devices, its entries in sysfs under any
// path, and the PCI device itself.
var localDisk = regexp.MustCompile(`nvme0(n\d|[/">])|devices/pci`)

// LocalDiskOpens returns the recorded calls that open anything of the PCIe disk.
func LocalDiskOpens() []string {
	return matchingLines(read(straceFile), localDisk)
}

// TracedOpens tells how many calls were recorded, to see that recording worked at all.
func TracedOpens() int {
	return len(matchingLines(read(straceFile), regexp.MustCompile(`open`)))
}
