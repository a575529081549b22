//go:build e2e

package guest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// A user runs `nvme connect-all` by hand, against our discovery controller and against another one, and `nvme connect` for what
// is connected already. What is connected stays as it is; what the user connected is nobody's and left alone, until
// `nvme-discoverctl disconnect-all`, which leaves all of ours.
func TestConnectAllByHand(t *testing.T) {
	f, devices := guest.Connected(t, 2)
	other := f.Target.Port(8010)
	users := f.Target.Subsystem("nqn.2024-01.com.example:users")
	other.Link(users)
	connectAll := func(p *guest.Port) {
		guest.Run(t, "nvme", "connect-all", "-t", "tcp", "-a", p.Traddr, "-s", p.Trsvcid, "--hostnqn="+guest.HostNQN, "--hostid="+guest.HostID)
	}
	connectAll(f.Port)
	again := guest.Try(t, "nvme", "connect", "-t", "tcp", "-a", f.Port.Traddr, "-s", f.Port.Trsvcid, "-n", f.Subsystems[0].NQN,
		"--hostnqn="+guest.HostNQN, "--hostid="+guest.HostID)
	t.Logf("nvme connect for what is connected: exit status %d, %s", again.Status, strings.TrimSpace(again.Stderr))
	guest.Always(t, quietSpan, "what is connected stays", unchanged(devices))
	guest.WaitConsistent(t, connectTimeout, f.Wanted())

	connectAll(other)
	theirs := guest.WaitOneLive(t, users.NQN, "what the user wanted is connected")
	guest.Always(t, quietSpan, "it is left alone", func() (bool, string) { return guest.Consistent(t, f.Wanted(), theirs) })
	if slices.Contains(guest.RegistryEntries(), theirs) {
		t.Errorf("%s, the user's, has an entry in the registry", theirs)
	}
	if got, want := guest.Ctl(t, "disconnect-all"), "disconnected "+theirs; !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 1 {
		t.Errorf("disconnect-all: got %q, want %q alone", got, want)
	}
	guest.Always(t, quietSpan, "all of ours is left", unchanged(devices))
	forced := guest.TryCtl(t, "disconnect-all", "--force")
	if forced.Status != 1 || !strings.Contains(forced.Stderr, "would be taken from their owners") {
		t.Errorf("disconnect-all --force without a yes: got status %d and %q, want a refusal", forced.Status, forced.Stderr)
	}
	if ok, seen := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", seen, devices)
	}
}

// A user ran `nvme connect-all` before the daemon was started for the first time: the daemon claims every controller as it is.
func TestConnectAllBefore(t *testing.T) {
	f := guest.Scene(t, 3)
	guest.Run(t, "modprobe", "nvme-tcp")
	guest.Run(t, "nvme", "connect-all", "-t", "tcp", "-a", f.Port.Traddr, "-s", f.Port.Trsvcid, "--hostnqn="+guest.HostNQN, "--hostid="+guest.HostID)
	before := guest.Devices()
	if len(before) < 3 {
		t.Fatalf("controllers of connect-all: got %v, want three", before)
	}
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	now := guest.Devices()
	for nqn, device := range before {
		if now[nqn] != device {
			t.Errorf("device of %s: got %s, want the same as before, %s", nqn, now[nqn], device)
		}
	}
}

// legacyWarning is how the daemon tells that nvme-cli connects too.
const legacyWarning = "nvme-cli connects controllers by itself on this host (70-nvmf-autoconnect.rules"

// nvme-cli's own automatic connects are in force on the host, as its package installs them. The daemon says so once when it
// starts and works all the same: what is added is connected once. `nvme-discoverctl legacy disable` masks them, and then the
// daemon has nothing to say; `legacy enable` gives them back.
func TestLegacyAutoconnect(t *testing.T) {
	f := guest.Scene(t, 2)
	guest.Ctl(t, "legacy", "enable")
	t.Cleanup(func() { guest.Ctl(t, "legacy", "disable") })
	status := guest.Ctl(t, "legacy", "status")
	if !strings.HasPrefix(status, "in-force  70-nvmf-autoconnect.rules") || !strings.Contains(status, "legacy disable masks it") {
		t.Errorf("legacy status: got\n%s", status)
	}
	mark := f.Mark()
	guest.Start(t)
	devices := f.WaitAllLive()
	addSubsystem(f, "added")
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	guest.Delete(t, devices[guest.DiscoveryNQN])
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	guest.Reload(t)
	guest.Always(t, quietSpan, "each is connected once", func() (bool, string) { return guest.Consistent(t, f.Wanted()) })
	if got := f.Complaints(mark, guest.Service); strings.Count(got, legacyWarning) != 1 {
		t.Errorf("warnings: want one about nvme-cli's automatic connects, got:\n%s", got)
	}

	out := guest.Ctl(t, "legacy", "disable")
	for _, want := range []string{"masked /etc/udev/rules.d/70-nvmf-autoconnect.rules\n", "masked /etc/systemd/system/nvmf-autoconnect.service\n", "masked /etc/systemd/system/nvmf-connect@.service\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("legacy disable: want %q, got:\n%s", want, out)
		}
	}
	if got := guest.Property(t, "nvmf-autoconnect.service", "LoadState"); got != "masked" {
		t.Errorf("nvmf-autoconnect.service: got %s, want masked", got)
	}
	if status := guest.Ctl(t, "legacy", "status"); strings.Contains(status, "in-force") {
		t.Errorf("legacy status: want nothing in force, got:\n%s", status)
	}
	mark = f.Mark()
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	if got := f.Complaints(mark, guest.Service); got != "" {
		t.Errorf("complaints: want none, got:\n%s", got)
	}
	if out := guest.Ctl(t, "legacy", "enable"); !strings.Contains(out, "removed /etc/udev/rules.d/70-nvmf-autoconnect.rules\n") {
		t.Errorf("legacy enable: got:\n%s", out)
	}
	if got := guest.Property(t, "nvmf-autoconnect.service", "LoadState"); got != "loaded" {
		t.Errorf("nvmf-autoconnect.service: got %s, want loaded", got)
	}
}
