//go:build e2e

package guest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// An earlier build is replaced by this one, this one by the earlier one, and that by this one again, while 50 controllers are
// connected and written to: none is lost or connected anew, and nothing is written in vain. In the end a lost discovery controller
// comes back.
func TestUpgrade(t *testing.T) {
	f := guest.Scene(t, 50)
	for _, s := range f.Subsystems {
		s.Namespace(4 << 20)
	}
	guest.KeepBuild(f)
	t.Logf("from %s", guest.InstallBuild(t, guest.PreviousBuild))
	guest.Start(t)
	guest.WaitConsistent(t, 2*connectTimeout, f.Wanted())
	devices := f.WaitAllLive()
	var writers []*guest.Writer
	for _, s := range f.Subsystems {
		writers = append(writers, guest.WriteSlowlyOn(f, s, 500*time.Millisecond))
	}
	for _, build := range []string{guest.CurrentBuild, guest.PreviousBuild, guest.CurrentBuild} {
		version := guest.InstallBuild(t, build)
		guest.Run(t, "systemctl", "restart", guest.Service)
		guest.Always(t, quietSpan, "all stay with "+version, unchanged(devices))
		guest.WaitConsistent(t, connectTimeout, f.Wanted())
		for _, w := range writers {
			w.WaitMore(1)
		}
		t.Logf("%d controllers stayed with %s", len(devices), version)
	}
	guest.Delete(t, devices[guest.DiscoveryNQN])
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}

// Controllers that nvme-cli's daemon has connected, in units of its own names, are taken over as they are when this one starts in
// its place: the units keep their names, log pages are followed, and what is lost comes back.
func TestUpgradeFromForerunner(t *testing.T) {
	f := guest.Scene(t, 3)
	guest.Run(t, "modprobe", "nvme-tcp")
	devices, units := map[string]string{}, map[string]string{}
	for i, id := range f.Wanted() {
		units[id.NQN], devices[id.NQN] = guest.ConnectAsForerunner(t, id, i)
	}
	guest.Start(t)
	guest.Eventually(t, connectTimeout, "all taken over", func() (bool, string) {
		status := guest.Property(t, guest.Service, "StatusText")
		return status == fmt.Sprintf("%d of %d controllers connected", len(devices), len(devices)), status
	})
	guest.Always(t, quietSpan, "nothing is connected anew", unchanged(devices))
	for nqn, unit := range units {
		if state := guest.ActiveState(t, unit); state != "active" {
			t.Errorf("%s, the unit of %s: got %s, want it kept", unit, nqn, state)
		}
	}
	added := addSubsystem(f, "added")
	waitOne(t, added.NQN, "what the log page has anew is connected")
	lost := f.Subsystems[0].NQN
	guest.Delete(t, devices[lost])
	waitOne(t, lost, "what is lost comes back")
}

func waitOne(t *testing.T, nqn, what string) {
	t.Helper()
	guest.Eventually(t, connectTimeout, what, func() (bool, string) {
		live := guest.Live(nqn)
		return len(live) == 1, fmt.Sprint(live)
	})
}
