// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// checkRegistry checks that every controller has an entry of ours, which is younger than the controller, and that there is no
// other entry, neither on disk nor in what `registry list --json` says.
func checkRegistry(t *testing.T, when string) {
	t.Helper()
	var want []string
	for _, c := range guest.Controllers() {
		want = append(want, c.Name)
	}
	slices.Sort(want)
	if got := sorted(guest.RegistryEntries()); !slices.Equal(got, want) {
		t.Errorf("%s: registry entries: got %v, want those of the controllers, %v", when, got, want)
	}
	var list struct {
		Entries []struct {
			Device     string
			Attributes map[string]string
		}
	}
	out := guest.Ctl(t, "registry", "list", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("registry list --json: %v\n%s", err, out)
	}
	listed := map[string]string{}
	for _, entry := range list.Entries {
		listed[entry.Device] = entry.Attributes["owner"]
		if got, want := entry.Attributes["seqnum"], guest.RegistryAttribute(entry.Device, "seqnum"); got != want || got == "" {
			t.Errorf("%s: registry list: seqnum of %s: got %q, want %q", when, entry.Device, got, want)
		}
	}
	if got := slices.Sorted(maps.Keys(listed)); !slices.Equal(got, want) {
		t.Errorf("%s: registry list: got %v, want %v", when, got, want)
	}
	for device, owner := range listed {
		if owner != "discoverd" {
			t.Errorf("%s: owner of %s: got %q, want discoverd", when, device, owner)
		}
	}
}

// The udev rule that removes registry entries acts long after the fact: while udev is held back, controllers are lost and
// come back under each other's names, over and over. When udev has caught up, every live controller has its entry, and
// there is no other one.
func TestRegistryKeepsRecycledNames(t *testing.T) {
	f := guest.Scene(t, 3)
	// Not too long a pause between short lives.
	guest.Configure(t, "[global]\nreconnect-max-delay = \"1s\"\n\n"+discoveryConfig(f.Port))
	guest.Start(t)
	devices := f.WaitAllLive()
	release := guest.HoldUdev(t)
	names := map[string]bool{}
	for round := range 6 {
		// Another order each time, so that the names wander.
		for i := range f.Subsystems {
			guest.Delete(t, devices[f.Subsystems[(i*2+round)%3].NQN])
		}
		guest.WaitConsistent(t, connectTimeout, f.Wanted())
		devices = guest.Devices()
		for nqn, device := range devices {
			names[nqn+" "+device] = true
		}
	}
	if len(names) <= len(devices) {
		t.Errorf("no name was given to another controller: %v", slices.Sorted(maps.Keys(names)))
	}
	checkRegistry(t, "before udev has caught up")
	release()
	guest.Always(t, quietSpan, "no live controller loses its entry", func() (bool, string) { return guest.Consistent(t, f.Wanted()) })
	checkRegistry(t, "after udev has caught up")
}

// The same without a daemon: `nvme-discoverctl connect` and losses by turns, while udev is held back. If the last one was a
// connect, its entry stays; if it was a loss, no entry is left.
func TestRegistryWithoutDaemon(t *testing.T) {
	f := guest.Scene(t, 1)
	nqn := f.Subsystems[0].NQN
	loops := func(n int) {
		for i := range n {
			if i > 0 {
				guest.Delete(t, guest.Live(nqn)[0])
			}
			guest.Ctl(t, "connect", "--transport=tcp", "--traddr="+f.Port.Traddr, "--trsvcid="+f.Port.Trsvcid, "--nqn="+nqn,
				"--hostnqn="+guest.HostNQN, "--hostid="+guest.HostID, "--owner=discoverd")
		}
	}
	for _, last := range []string{"connect", "loss"} {
		t.Run(last, func(t *testing.T) {
			release := guest.HoldUdev(t)
			loops(6)
			if last == "loss" {
				guest.Delete(t, guest.Live(nqn)[0])
				if got := guest.RegistryEntries(); len(got) != 1 {
					t.Errorf("registry entries before udev has caught up: got %v, want the one of the lost controller", got)
				}
			}
			release()
			checkRegistry(t, "after udev has caught up")
			if last == "connect" {
				guest.Delete(t, guest.Live(nqn)[0])
				guest.Run(t, "udevadm", "settle")
				checkRegistry(t, "after the last loss")
			}
		})
	}
	if got := strings.TrimSpace(guest.TryCtl(t, "registry", "list").Stderr); got != "no controller is in the registry" {
		t.Errorf("registry list: got %q, want that there is none", got)
	}
}
