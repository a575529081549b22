// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// An administrator excludes a connection with `nvme-discoverctl exclusion add`, and in the instant in which the command is
// done the controller is deleted. It is never reconnected, and its unit goes: thirty controllers one after the other,
// twice, the daemon hearing of the loss each time before it can have heard of the exclusion. When the list is deleted
// all are back.
//
//e2e:crowded
//e2e:seldom
func TestExclusionRace(t *testing.T) {
	const subsystems, rounds = 30, 2
	f := guest.Scene(t, subsystems)
	// A connection that lived for less than thirty seconds counts as failed: not too long a pause when all are back.
	guest.Configure(t, "[global]\nreconnect-max-delay = \"2s\"\n\n"+discoveryConfig(f.Port))
	guest.Start(t)
	devices := f.WaitAllLive()
	var units []string
	for _, s := range f.Subsystems {
		units = append(units, f.Unit(s.NQN))
	}
	for round := range rounds {
		if round > 0 {
			guest.Ctl(t, "exclusion", "delete", "--name=race")
			guest.WaitConsistent(t, connectTimeout*2, f.Wanted())
			devices = guest.Devices()
		}
		for _, s := range f.Subsystems {
			guest.Ctl(t, "exclusion", "add", "--name=race", "--entry="+entryOf(f, s.NQN))
			guest.Delete(t, devices[s.NQN])
		}
		only := map[string]string{guest.DiscoveryNQN: devices[guest.DiscoveryNQN]}
		guest.Always(t, quietSpan, "nothing that was excluded is connected again", unchanged(only))
		guest.Eventually(t, connectTimeout, "no unit of what was excluded is left", func() (bool, string) {
			left := guest.Units(t)
			return !slices.ContainsFunc(left, func(unit string) bool { return slices.Contains(units, unit) }), strings.Join(left, " ")
		})
	}
}
