// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"os"
)

// T is what support code needs of a scenario: *testing.T has it, and so have the demonstration and the benchmark.
type T interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	Cleanup(func())
}

// Machine is the machine as one scenario finds it: clean, and with the service not running.
type Machine struct {
	T
	// journal is where the journal stood when the scenario began.
	journal Mark
	kernel  *kernelLog
}

// Begin brings the machine into its clean state and watches over it until the scenario ends. A scenario during which
// the kernel complains fails; one that fails prints all that there is to know about it.
func Begin(t T) *Machine {
	t.Helper()
	log := openKernelLog(t)
	mountObservedSys(t)
	cleanly := false
	t.Cleanup(func() {
		if !cleanly {
			giveUp(t)
		}
	})
	reset(t)
	cleanly = true
	return watchFromNow(t, log)
}

// giveUp ends the program, and so this boot, because the machine cannot be brought into its clean state: each scenario that
// followed would fail for that and not for a reason of its own. The host has them run on another machine where it repeats
// scenarios.
func giveUp(t T) {
	(&Machine{T: t}).dump()
	fmt.Println(t.Name() + " could not begin: this machine cannot be cleaned and is given up")
	os.Exit(1)
}

// BeginAsBooted watches over the machine as it has booted. It is for a boot with a root file system that the clean state, which
// has no controllers over fabrics, would take away; no other scenario may run in that boot.
func BeginAsBooted(t T) *Machine {
	t.Helper()
	mountObservedSys(t)
	identify(t)
	return watchFromNow(t, openKernelLog(t))
}

func watchFromNow(t T, log *kernelLog) *Machine {
	t.Helper()
	m := watch(t, log, mark(t))
	m.ForgetJournal(m.journal)
	return m
}

// watch watches over the machine; the scenario's part of the journal begins at the mark.
func watch(t T, log *kernelLog, journal Mark) *Machine {
	t.Helper()
	m := &Machine{T: t, kernel: log, journal: journal}
	t.Cleanup(func() {
		m.kernel.check(t)
		if t.Failed() {
			m.dump()
		}
	})
	return m
}
