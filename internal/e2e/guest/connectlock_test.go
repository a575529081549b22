// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// A connect is killed while it holds the lock of its address and the kernel waits for the peer: another one, which waits for
// the lock, connects, and the discovery controller is there once. So it is when the killed one is a unit's: the daemon tells of
// it and tries again.
func TestKilledConnect(t *testing.T) {
	f, devices := guest.Shared(t, 2)
	dc := guest.NewFakeDC(f, 8011)
	id := dc.Port().TID(guest.DiscoveryNQN)
	argv := []string{
		"connect", "--transport=tcp", "--traddr=" + dc.Traddr, "--trsvcid=" + dc.Trsvcid, "--nqn=" + id.NQN,
		"--hostnqn=" + id.HostNQN, "--hostid=" + id.HostID, "--idempotent",
	}
	once := func() string {
		t.Helper()
		var device string
		guest.Eventually(f, connectTimeout, "one controller", func() (bool, string) {
			device = guest.At(dc.Port(), id.NQN)
			return device != "", fmt.Sprint(guest.Controllers())
		})
		return device
	}
	before := dc.Silenced()
	dc.Silence(true)
	first := guest.StartCtl(f, argv...)
	dc.WaitSilenced(connectTimeout, before) // the kernel is asked under the lock
	second := guest.StartCtl(f, argv...)
	second.WaitOpen(filepath.Join("/run/nvme/discoverd/locks", "*"))
	if got := dc.Silenced() - before; got != 1 {
		t.Errorf("connections: got %d, want that of the one that has the lock", got)
	}
	dc.Silence(false)
	first.Kill()
	if out := second.Wait(); out.Status != 0 {
		t.Errorf("the second connect: got status %d, %s%s", out.Status, out.Stdout, out.Stderr)
	}
	device := once()
	if out := guest.Ctl(f, argv...); len(out) == 0 {
		t.Error("a third connect says nothing")
	}
	if got := once(); got != device {
		t.Errorf("controller: got %s, want %s as before", got, device)
	}
	guest.Delete(f, device)

	before = dc.Silenced()
	dc.Silence(true)
	guest.Configure(f, discoveryConfig(f.Port)+"\n"+discoveryConfig(dc.Port()))
	mark := f.Mark()
	guest.Reload(f)
	dc.WaitSilenced(connectTimeout, before)
	dc.Silence(false)
	guest.Run(f, "systemctl", "kill", "--signal=KILL", id.Unit())
	waitJournal(f, mark, "(tcp, 127.0.0.1, 8011, "+id.NQN+"): cannot connect: the connect was killed")
	once()
	f.WaitUnit(id.Unit(), "active")
	delete(devices, guest.DiscoveryNQN)
	checkStay(t, devices)

	guest.ConfigureDiscovery(f, f.Port)
	guest.Reload(f)
	guest.Delete(f, guest.At(dc.Port(), id.NQN))
	f.WaitUnit(id.Unit(), "inactive")
}
