// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// A host knows one discovery controller with five subsystems behind it. After `systemctl enable --now nvme-discoverd` the
// discovery controller and all five are connected, each by a unit of its own, with the name that both implementations of
// the design compute; the registry says who connected them, and the state files join units and devices.
func TestColdStart(t *testing.T) {
	f := guest.Scene(t, 5)
	guest.Enable(f)
	devices := f.WaitAllLive()

	var want []string
	for _, nqn := range f.NQNs() {
		want = append(want, f.Unit(nqn))
	}
	slices.Sort(want)
	if got := guest.Units(f); !slices.Equal(got, want) {
		t.Errorf("units:\n got %v\nwant %v", got, want)
	}
	for _, nqn := range f.NQNs() {
		checkFiles(f, nqn, devices[nqn])
	}
	if got, want := sorted(guest.RegistryEntries()), sorted(slices.Collect(maps.Values(devices))); !slices.Equal(got, want) {
		t.Errorf("registry entries: got %v, want %v", got, want)
	}
	for _, c := range guest.Controllers() {
		if c.Type == "discovery" && c.KATO != "30" {
			t.Errorf("keep-alive timeout of discovery controller %s: got %q, want 30", c.Name, c.KATO)
		}
		if c.HostNQN != guest.HostNQN {
			t.Errorf("host NQN of %s: got %q, want %q", c.Name, c.HostNQN, guest.HostNQN)
		}
	}
}

// checkFiles looks at what is written down about one connection.
func checkFiles(f *guest.Fixture, nqn, device string) {
	f.Helper()
	unit := f.Unit(nqn)
	if got := guest.RegistryAttribute(device, "owner"); got != "discoverd" {
		f.Errorf("owner of %s in the registry: got %q, want discoverd", device, got)
	}
	seqnum := guest.RegistryAttribute(device, "seqnum")
	if n, err := strconv.ParseUint(seqnum, 10, 64); err != nil || n == 0 {
		f.Errorf("seqnum of %s in the registry: got %q, want a number above 0", device, seqnum)
	}
	if got := fileText(f, guest.DevidFile(unit)); got != device {
		f.Errorf("devid file of %s: got %q, want %s", unit, got, device)
	}
	if got := fileText(f, guest.UnitFile(device)); strings.TrimSuffix(got, ".service")+".service" != unit {
		f.Errorf("unit file of %s: got %q, want %s", device, got, unit)
	}
	for _, dir := range []string{"/run/nvme/registry", "/run/nvme/registry/" + device} {
		checkMode(f, dir, 0o755)
	}
	for _, name := range []string{"owner", "seqnum"} {
		checkMode(f, filepath.Join("/run/nvme/registry", device, name), 0o644)
	}
}

func checkMode(t guest.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Errorf("cannot look at file: %v", err)
		return
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("permissions of %s: got %v, want %v", path, got, want)
	}
}

// fileText reads a file that holds one line.
func fileText(t guest.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("cannot read file: %v", err)
		return ""
	}
	return strings.TrimSuffix(string(text), "\n")
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// Nothing has loaded the kernel's NVMe over TCP module yet: connecting loads it.
func TestModuleIsLoaded(t *testing.T) {
	f := guest.Scene(t, 1)
	guest.Run(f, "modprobe", "-r", "nvme-tcp", "nvme-fabrics")
	guest.Start(f)
	f.WaitAllLive()
}

// A discovery controller refers to a second one: that one is connected too, and the subsystems behind it.
func TestReferral(t *testing.T) {
	f := guest.Scene(t, 2)
	behind := f.Target.Port(8010)
	behind.Link(f.Target.Subsystem("nqn.2024-01.com.example:behind"))
	f.Port.Refer(behind)
	guest.Start(f)
	guest.WaitLive(f, connectTimeout, append(f.NQNs(), guest.DiscoveryNQN, "nqn.2024-01.com.example:behind")...)
	f.WaitUnit(behind.TID(guest.DiscoveryNQN).Unit(), "active")
	f.WaitUnit(behind.TID("nqn.2024-01.com.example:behind").Unit(), "active")
}

// Two discovery controllers refer to each other: both are connected once, and nothing runs in circles.
func TestReferralCycle(t *testing.T) {
	f := guest.Scene(t, 1)
	other := f.Target.Port(8010)
	other.Link(f.Subsystems[0])
	f.Port.Refer(other)
	other.Refer(f.Port)
	guest.Start(f)
	nqn := f.Subsystems[0].NQN
	// The subsystem is reached on two paths: one through each port.
	guest.WaitLive(f, connectTimeout, guest.DiscoveryNQN, guest.DiscoveryNQN, nqn, nqn)
	if got := len(guest.Units(f)); got != 4 {
		t.Errorf("units: got %d, want 4", got)
	}
}

// A subsystem is named in the configuration and shown by the discovery controller too: it is connected once.
func TestConfiguredAndDiscovered(t *testing.T) {
	f := guest.Scene(t, 2)
	guest.Configure(f, discoveryConfig(f.Port)+subsystemConfig(f.Port, f.Subsystems[0].NQN, "ctrl-loss-tmo = 1800\n"))
	guest.Start(f)
	devices := f.WaitAllLive()
	if got := guest.ControllerAttribute(devices[f.Subsystems[0].NQN], "ctrl_loss_tmo"); got != "1800" {
		t.Errorf("ctrl_loss_tmo of the configured subsystem: got %q, want its own 1800", got)
	}
	if got := guest.ControllerAttribute(devices[f.Subsystems[1].NQN], "ctrl_loss_tmo"); got != "600" {
		t.Errorf("ctrl_loss_tmo of the discovered subsystem: got %q, want the default 600", got)
	}
	if got := len(guest.Units(f)); got != 3 {
		t.Errorf("units: got %d, want 3", got)
	}
}
