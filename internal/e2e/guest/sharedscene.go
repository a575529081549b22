// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// keptScene is a connected scene that a scenario leaves to the next one.
type keptScene struct {
	*Fixture
	seen string // by sight, when it was whole
	pid  string // of the daemon then
}

// kept is what the last scenario has left, nil if the next one has to begin with a clean machine.
var kept *keptScene

// Shared is Connected for scenarios that put back what they change: such scenarios that follow one another have one scene. Devices may
// have other names than when it was built; a daemon that is not the same process any more is restarted, so that it knows nothing of
// what the last scenario did. Where that one left another target or configuration, or failed, the scene is built anew. The journal of
// the scenario begins with the scene. What depends on a daemon that has just begun, such as its counters, needs Connected.
func Shared(t T, n int) (*Fixture, map[string]string) {
	t.Helper()
	f := takeOver(t, n)
	if f == nil {
		f, _ = Connected(t, n)
		WaitConsistent(f, connectTimeout, f.Wanted())
	}
	scene := &keptScene{Fixture: f, seen: sight(), pid: MainPID(t)}
	t.Cleanup(func() { kept = scene }) // the next one looks what it is worth
	return f, Devices()
}

// takeOver returns the scene that the last scenario has left, nil if there is none with n subsystems, whole and as it was.
func takeOver(t T, n int) *Fixture {
	t.Helper()
	last := kept
	kept = nil
	if last == nil || len(last.Subsystems) != n || last.Failed() || sight() != last.seen {
		return nil
	}
	log := openKernelLog(t)
	if MainPID(t) != last.pid {
		Run(t, "systemctl", "restart", Service)
		WaitActive(t)
	}
	if !whole(t, last.Wanted()) {
		return nil
	}
	f := &Fixture{Machine: watch(t, log, last.journal), Target: &Target{t: t}, Port: last.Port.of(t)}
	for _, s := range last.Subsystems {
		f.Subsystems = append(f.Subsystems, &Subsystem{t: t, dir: s.dir, NQN: s.NQN})
	}
	return f
}

// whole waits a moment until all connections are as they should be, and reports whether they are.
func whole(t T, wanted []TID) bool {
	t.Helper()
	h := following(t)
	return h.Until(follow.Any, h.tick, 10*time.Second, func() bool {
		ok, _ := Consistent(t, wanted)
		return ok
	})
}

// of is the port in the hands of another scenario.
func (p *Port) of(t T) *Port {
	same := *p
	same.t = t
	return &same
}

// sight is all of a scene that has to stay the same, besides what Consistent looks at: the configuration, the target, what an
// administrator stopped.
func sight() string {
	var seen []string
	for _, pattern := range []string{"ports/*/subsystems/*", "ports/*/referrals/*", "subsystems/*/allowed_hosts/*", "subsystems/*/namespaces/*"} {
		found, _ := filepath.Glob(filepath.Join(nvmet, pattern))
		seen = append(seen, found...)
	}
	for _, dir := range []string{"/etc/nvme", overrides, filepath.Join(stateDir, "stopped")} {
		if exists(dir) {
			seen = append(seen, strings.TrimSpace(treeText(dir)))
		}
	}
	return strings.TrimSpace(strings.Join(seen, "\n"))
}
