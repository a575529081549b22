// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"slices"
	"strconv"
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

// nvme-cli 3's udev units own a controller that we want, as the registry says: hands off while one of their units runs or their
// files are in force. `nvme-discoverctl legacy disable` ends both, and the daemon claims the controller as it is. Then another
// program removes the entries of all our controllers, which a comparison writes again: no controller notices, and an entry goes
// with its controller as ever. What a user connected gets none.
func TestAutoconnectOwner(t *testing.T) {
	f := guest.Scene(t, 2)
	const running, masked = "nvmf-connect@scenario.service", "/etc/systemd/system/nvmf-connect-nbft.service"
	nqn, other := f.Subsystems[0].NQN, f.Subsystems[1].NQN
	users := f.Target.Port(8010)
	usersOwn := f.Target.Subsystem("nqn.2024-01.com.example:users")
	users.Link(usersOwn)
	connect := func(p *guest.Port, nqn string) string {
		guest.Run(t, "nvme", "connect", "-t", "tcp", "-a", p.Traddr, "-s", p.Trsvcid, "-n", nqn, "--hostnqn="+guest.HostNQN, "--hostid="+guest.HostID)
		return guest.WaitOneLive(t, nqn, "connected by hand")
	}
	guest.Run(t, "modprobe", "nvme-tcp")
	device, theirs := connect(f.Port, nqn), connect(users, usersOwn.NQN)
	guest.Own(t, device, "autoconnect")
	instance := guest.ControllerAttribute(device, "cntlid")
	guest.InstallUnit(t, running, "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n")
	t.Cleanup(func() {
		guest.Run(t, "rm", "-f", "/run/systemd/system/"+running)
		guest.Run(t, "systemctl", "daemon-reload")
	})

	guest.Start(t)
	rest := slices.DeleteFunc(f.Wanted(), func(id guest.TID) bool { return id.NQN == nqn })
	handsOff := func() (bool, string) { return guest.Consistent(t, rest, device, theirs) }
	guest.WaitConsistent(t, connectTimeout, rest, device, theirs)
	guest.Ctl(t, "rescan")
	guest.Always(t, quietSpan, "hands off while a unit runs", handsOff)
	guest.Remove(t, masked)
	guest.Run(t, "systemctl", "stop", running)
	guest.Ctl(t, "rescan")
	guest.Always(t, quietSpan, "hands off while a file is in force", handsOff)
	if got := guest.RegistryAttribute(device, "owner"); got != "autoconnect" {
		t.Errorf("owner of %s: got %q, want autoconnect still", device, got)
	}
	guest.Run(t, "systemctl", "start", running)
	mark := f.Mark()
	if out := guest.Ctl(t, "legacy", "disable"); !strings.Contains(out, "masked "+masked+"\n") {
		t.Errorf("legacy disable: got:\n%s", out)
	}
	if got := guest.ActiveState(t, running); got != "inactive" {
		t.Errorf("%s: got %s, want it stopped", running, got)
	}
	guest.WaitConsistent(t, connectTimeout, f.Wanted(), theirs)
	if got := guest.ControllerAttribute(device, "cntlid"); got != instance || guest.Live(nqn)[0] != device {
		t.Errorf("the controller was connected anew: got cntlid %s of %v, want %s of %s", got, guest.Live(nqn), instance, device)
	}
	if got := f.Journal(mark); !strings.Contains(got, "nvme-cli's automatic connects are not in force any more: claiming it") {
		t.Errorf("journal: want that %s is claimed, got:\n%s", device, got)
	}

	before := guest.Devices()
	mark = f.Mark()
	for _, nqn := range f.NQNs() {
		guest.Run(t, "rm", "-r", "/run/nvme/registry/"+before[nqn])
	}
	// And a late cleanup the file by which a unit finds its controller: without it, its stop would disconnect nothing.
	guest.Run(t, "rm", guest.DevidFile(strings.TrimSpace(read(t, guest.UnitFile(before[other])))))
	guest.Ctl(t, "rescan")
	guest.WaitConsistent(t, connectTimeout, f.Wanted(), theirs)
	guest.Always(t, quietSpan, "no controller notices", unchanged(before))
	for _, nqn := range f.NQNs() {
		written, err := strconv.Atoi(guest.RegistryAttribute(before[nqn], "seqnum"))
		last, lastErr := strconv.Atoi(guest.LastEvent())
		if err != nil || lastErr != nil || written == 0 || written > last {
			t.Errorf("seqnum of %s: got %q, want a number up to that of the last event, %s", before[nqn], guest.RegistryAttribute(before[nqn], "seqnum"), guest.LastEvent())
		}
	}
	if got := f.Journal(mark); strings.Count(got, "its owner is missing in the registry") != len(f.NQNs()) {
		t.Errorf("journal: want one line for each controller of ours, got:\n%s", got)
	}
	if got := f.Journal(mark); strings.Count(got, "the file is missing by which its unit finds it: writing it again") != 1 {
		t.Errorf("journal: want one line that the file of %s is written again, got:\n%s", before[other], got)
	}
	if slices.Contains(guest.RegistryEntries(), theirs) {
		t.Errorf("%s, the user's, has an entry in the registry", theirs)
	}
	guest.Ctl(t, "stop", before[other])
	guest.Eventually(t, connectTimeout, "the entry goes with its controller", func() (bool, string) {
		entries := guest.RegistryEntries()
		return !slices.Contains(entries, before[other]) && len(guest.Live(other)) == 0, strings.Join(entries, " ")
	})
}
