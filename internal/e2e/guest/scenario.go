//go:build e2e

package guest

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
	journal string
	kernel  *kernelLog
}

// Begin brings the machine into its clean state and watches over it until the scenario ends. A scenario during which
// the kernel complains fails; one that fails prints all that there is to know about it.
func Begin(t T) *Machine {
	t.Helper()
	log := openKernelLog(t)
	mountObservedSys(t)
	reset(t)
	return watch(t, log)
}

// BeginAsBooted watches over the machine as it has booted. It is for a boot with a root file system that the clean state, which
// has no controllers over fabrics, would take away; no other scenario may run in that boot.
func BeginAsBooted(t T) *Machine {
	t.Helper()
	mountObservedSys(t)
	identify(t)
	return watch(t, openKernelLog(t))
}

func watch(t T, log *kernelLog) *Machine {
	t.Helper()
	m := &Machine{T: t, kernel: log, journal: journalCursor(t)}
	t.Cleanup(func() {
		m.kernel.check(t)
		if t.Failed() {
			m.dump()
		}
	})
	return m
}
