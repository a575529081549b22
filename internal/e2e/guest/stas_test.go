// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// stasTimeout is for what nvme-stas does: it is in no hurry.
const stasTimeout = 2 * time.Minute

// peaceSpan is how long two that want the same are watched.
const peaceSpan = 10 * time.Second

// stasScene is a host on which nvme-stas and we want the same: a discovery controller, what it names, and one of that by name.
// All have a namespace: what has none is a discovery controller to nvme-stas 2.4, at whose address we have ours.
func stasScene(t *testing.T) *guest.Fixture {
	t.Helper()
	f := guest.Scene(t, 3)
	for _, s := range f.Subsystems {
		s.Namespace(1 << 20)
	}
	guest.Configure(t, discoveryConfig(f.Port)+subsystemConfig(f.Port, f.Subsystems[1].NQN, ""))
	guest.Run(t, "modprobe", "nvme-tcp")
	guest.ConfigureStas(t, f.Port, f.Subsystems[0].NQN)
	return f
}

// checkPeace checks that no controller was connected or disconnected again for a while: all keep their names, no event about
// any comes, no unit is started, and nobody complains.
func checkPeace(t *testing.T, f *guest.Fixture, mark guest.Mark, devices map[string]string) {
	t.Helper()
	guest.Eventually(t, connectTimeout, "every subsystem's disk is there", func() (bool, string) {
		disks, _ := filepath.Glob("/dev/nvme*n1")
		return len(disks) == len(f.Subsystems)+1, strings.Join(disks, " ") // and the local one
	})
	guest.Run(t, "udevadm", "settle")
	before, begin := guest.LastEvent(), f.Mark()
	guest.Always(t, peaceSpan, "no controller flaps", unchanged(devices))
	if got := guest.LastEvent(); got != before {
		t.Errorf("number of the kernel's last event: got %s, want that of before, %s", got, before)
	}
	if n := f.Starts(begin); n > 0 {
		t.Errorf("units started: got %d, want none", n)
	}
	if got := f.Complaints(mark, guest.Service, "nvme-discoverd-*.service", guest.Stafd, guest.Stacd); got != "" {
		t.Errorf("complaints: got\n%s", got)
	}
}

// checkAdded adds a subsystem, which both learn of at the same moment: one controller comes of it, and peace.
func checkAdded(t *testing.T, f *guest.Fixture) {
	t.Helper()
	mark := f.Mark()
	added := f.Target.Subsystem("nqn.2024-01.com.example:added")
	added.Namespace(1 << 20)
	f.Subsystems = append(f.Subsystems, added)
	f.Port.Link(added)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	checkPeace(t, f, mark, guest.Devices())
}

// nvme-stas runs and has connected everything; then our daemon is started with the same wishes. nvme-stas 2.4 writes no owner
// into the registry, so its controllers are nobody's: the daemon claims them as they are, without a reconnect. Both live on
// in peace, and when nvme-stas is stopped and started again nothing changes.
func TestStasBeforeUs(t *testing.T) {
	f := stasScene(t)
	guest.StartStas(t)
	devices := guest.WaitLive(t, stasTimeout, f.NQNs()...)
	if got := guest.RegistryEntries(); len(got) > 0 {
		t.Errorf("registry entries of nvme-stas: got %v, want none of this version", got)
	}
	mark := f.Mark()
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	checkPeace(t, f, mark, devices)
	checkAdded(t, f)
	devices = guest.Devices()
	mark = f.Mark()
	guest.StopStas(t)
	guest.Always(t, quietSpan, "nothing changes when nvme-stas stops", unchanged(devices))
	guest.StartStas(t)
	checkPeace(t, f, mark, devices)
}

// Our daemon runs and has connected everything; then nvme-stas is started with the same wishes. It finds what it wants
// connected and uses it; all stays ours. When our daemon is stopped, nothing changes either.
func TestStasAfterUs(t *testing.T) {
	f := stasScene(t)
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	devices := guest.Devices()
	mark := f.Mark()
	guest.StartStas(t)
	waitStas(t, len(f.Subsystems))
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	checkPeace(t, f, mark, devices)
	checkAdded(t, f)
	devices = guest.Devices()
	mark = f.Mark()
	guest.Stop(t)
	guest.Always(t, quietSpan, "nothing changes when we stop", unchanged(devices))
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	checkPeace(t, f, mark, devices)
}

// Both have all connected, and a subsystem and the discovery controller are lost. We bring them back at once, each once;
// nvme-stas, which looks again after a minute, finds them and uses them.
//
//e2e:crowded
func TestStasAndLoss(t *testing.T) {
	f := stasScene(t)
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	guest.StartStas(t)
	waitStas(t, len(f.Subsystems))
	mark := f.Mark()
	for _, nqn := range []string{f.Subsystems[0].NQN, guest.DiscoveryNQN} {
		guest.Delete(t, guest.Devices()[nqn])
	}
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	devices := guest.Devices()
	guest.Always(t, 70*time.Second, "what is back stays, and stays one", unchanged(devices))
	waitStas(t, len(f.Subsystems))
	checkPeace(t, f, mark, devices)
}

// Both have all connected, and an administrator takes the discovery controller out of stafd.conf. nvme-stas then disconnects
// what it had of it, though it is ours, as it does by default. All of it comes back once, and nvme-stas leaves it alone from
// then on.
func TestStasLetsGo(t *testing.T) {
	f := stasScene(t)
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	before := guest.Devices()
	guest.StartStas(t)
	waitStas(t, len(f.Subsystems))
	mark := f.Mark()
	guest.ReleaseByStas(t)
	guest.Eventually(t, connectTimeout, "nvme-stas keeps only what stacd.conf names", func() (bool, string) { return stasHas(t, 1) })
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	devices := guest.Devices()
	checkPeace(t, f, mark, devices)
	lost := strings.Count(f.Journal(mark), ": lost\n")
	t.Logf("of %v, %d were lost and came back: %v", before, lost, devices)
}

// waitStas waits until nvme-stas says that it has n I/O controllers.
func waitStas(t *testing.T, n int) {
	t.Helper()
	guest.Eventually(t, stasTimeout, "nvme-stas has all", func() (bool, string) { return stasHas(t, n) })
}

var stasDevice = regexp.MustCompile(`'device': 'nvme\d`)

// stasHas tells whether nvme-stas has n I/O controllers connected, and no others.
func stasHas(t *testing.T, n int) (bool, string) {
	t.Helper()
	out := guest.Try(t, "stacctl", "ls")
	return len(stasDevice.FindAllString(out.Stdout, -1)) == n && strings.Count(out.Stdout, "'device'") == n, out.Stdout + out.Stderr
}

// A host that nvme-stas and config.json of nvme-cli served changes over to us: `nvme-discoverctl config import` turns what is
// installed into a drop-in and tells what it leaves out; then nvme-stas is stopped and we are started. What is connected stays
// connected, and is ours.
func TestImportFromStas(t *testing.T) {
	f := stasScene(t)
	guest.Configure(t, "")
	guest.StartStas(t)
	devices := guest.WaitLive(t, stasTimeout, f.NQNs()...)
	other := f.Target.Port(8010)
	extra := f.Target.Subsystem("nqn.2024-01.com.example:extra")
	other.Link(extra)
	guest.Replace(t, "/etc/nvme/config.json", fmt.Sprintf(`[{"hostnqn": %q, "hostid": %q, "subsystems": [
  {"nqn": %q, "ports": [{"transport": "tcp", "traddr": %q, "trsvcid": %q, "ctrl_loss_tmo": 900}]}]}]`,
		guest.HostNQN, guest.HostID, extra.NQN, other.Traddr, other.Trsvcid))
	out := guest.TryCtl(t, "config", "import")
	if out.Status != 0 {
		t.Fatalf("config import: got status %d and\n%s%s", out.Status, out.Stdout, out.Stderr)
	}
	if strings.Contains(out.Stderr, "not imported") {
		t.Errorf("config import: want all imported, got:\n%s", out.Stderr)
	}
	guest.StopStas(t)
	guest.Start(t)
	now := guest.WaitLive(t, connectTimeout, append(f.NQNs(), extra.NQN)...)
	f.WaitUnit(other.TID(extra.NQN).Unit(), "active")
	guest.WaitConsistent(t, connectTimeout, append(f.Wanted(), other.TID(extra.NQN)))
	for nqn, device := range devices {
		if now[nqn] != device {
			t.Errorf("device of %s: got %s, want the same as before, %s", nqn, now[nqn], device)
		}
	}
	if got := guest.ControllerAttribute(now[extra.NQN], "ctrl_loss_tmo"); got != "900" {
		t.Errorf("ctrl_loss_tmo of %s: got %q, want that of config.json", extra.NQN, got)
	}
}
