// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// A subsystem is taken out of the configuration. It stays connected until it drops; then it is not connected again and its
// unit goes.
func TestReloadRemovesEndpoint(t *testing.T) {
	f := guest.Scene(t, 2)
	kept, removed := f.Subsystems[0].NQN, f.Subsystems[1].NQN
	guest.Configure(t, subsystemConfig(f.Port, kept, "")+subsystemConfig(f.Port, removed, ""))
	guest.Start(t)
	devices := guest.WaitLive(t, connectTimeout, kept, removed)
	guest.WaitConsistent(t, connectTimeout, []guest.TID{f.Port.TID(kept), f.Port.TID(removed)})
	guest.Configure(t, subsystemConfig(f.Port, kept, ""))
	guest.Reload(t)
	guest.Always(t, quietSpan, "it stays connected", unchanged(devices))
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Always(t, quietSpan, "it stays connected after a restart of the daemon", unchanged(devices))
	guest.Delete(t, devices[removed])
	f.WaitUnit(f.Unit(removed), "inactive")
	guest.WaitConsistent(t, connectTimeout, []guest.TID{f.Port.TID(kept)})
	guest.Always(t, quietSpan, "it stays away", func() (bool, string) { return len(guest.Controllers()) == 1, "" })
}

// A parameter of a connection is changed in the configuration: the live controller is not touched, the next connect has it,
// and the unit's command shows it.
func TestReloadChangesParameter(t *testing.T) {
	f := guest.Scene(t, 2)
	changed, other := f.Subsystems[0].NQN, f.Subsystems[1].NQN
	guest.Configure(t, subsystemConfig(f.Port, changed, "ctrl-loss-tmo = 1800\n")+subsystemConfig(f.Port, other, ""))
	guest.Start(t)
	wanted := []guest.TID{f.Port.TID(changed), f.Port.TID(other)}
	guest.WaitConsistent(t, connectTimeout, wanted)
	devices := guest.Devices()
	guest.Configure(t, subsystemConfig(f.Port, changed, "ctrl-loss-tmo = 900\n")+subsystemConfig(f.Port, other, ""))
	guest.Reload(t)
	guest.Always(t, quietSpan, "the live controller is not touched", unchanged(devices))
	if got := guest.ControllerAttribute(devices[changed], "ctrl_loss_tmo"); got != "1800" {
		t.Errorf("ctrl_loss_tmo of the live controller: got %q, want 1800 still", got)
	}
	guest.Delete(t, devices[changed])
	guest.Eventually(t, connectTimeout, "connected with the new parameter", func() (bool, string) {
		live := guest.Live(changed)
		if len(live) != 1 {
			return false, ""
		}
		got := guest.ControllerAttribute(live[0], "ctrl_loss_tmo")
		return got == "900", got
	})
	guest.WaitConsistent(t, connectTimeout, wanted)
	if got, _ := guest.Option(guest.Argv(t, f.Unit(changed), "ExecStart"), "ctrl-loss-tmo"); got != "900" {
		t.Errorf("ctrl-loss-tmo in the unit's command: got %q, want 900", got)
	}
	if now := guest.Devices(); now[other] != devices[other] {
		t.Errorf("device of %s: got %s, want the same as before, %s", other, now[other], devices[other])
	}
}

// An exclusion is written: the live controller is not touched. When it is lost it is not connected again, and its unit goes.
// When the exclusion is removed it is back, without a reload.
func TestExclusion(t *testing.T) {
	f, devices := guest.Connected(t, 2)
	nqn := f.Subsystems[0].NQN
	guest.Exclude(t, "e2e", "transport=tcp;traddr="+f.Port.Traddr+";nqn="+nqn)
	guest.Always(t, quietSpan, "the live controller is not touched", unchanged(devices))
	guest.Delete(t, devices[nqn])
	f.WaitUnit(f.Unit(nqn), "inactive")
	delete(devices, nqn)
	guest.Always(t, quietSpan, "it stays away", unchanged(devices))
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Always(t, quietSpan, "it stays away after a restart of the daemon", unchanged(devices))
	guest.Unexclude(t, "e2e")
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}
