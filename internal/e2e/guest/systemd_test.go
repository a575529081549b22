// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// Whatever version of systemd runs: it understands every line of the units, a reload is over when systemctl returns, and a service
// that ends again and again is started again at a pace that slows down. Its connections notice nothing.
//
//e2e:everywhere
func TestServiceOnThisSystemd(t *testing.T) {
	f, devices := guest.Connected(t, 1)
	t.Logf("%s", strings.SplitN(guest.Run(t, "systemctl", "--version"), "\n", 2)[0])
	verified := guest.Try(t, "systemd-analyze", "verify", "--man=no", "--generators=yes", guest.Service, guest.WaitOnline, "nvme-fabrics-shutdown.service")
	for line := range strings.Lines(verified.Stdout + verified.Stderr) {
		if strings.Contains(line, "nvme-") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
	mark := f.Mark()
	guest.Run(t, "systemctl", "daemon-reload")
	if said := f.Complaints(mark, guest.Service, "nvme-fabrics-shutdown.service", "init.scope"); strings.Contains(said, "nvme-") {
		t.Errorf("reading the units, systemd says:\n%s", said)
	}

	guest.Configure(t, discoveryConfig(f.Port)+"[[subsystem]]\nnqn = \"nqn.2024-01.com.example:new\"\ncontroller = [{ transport = \"tcp\", traddr = \"127.0.0.1\", trsvcid = 4499 }]\n")
	guest.Reload(t)
	if list := guest.Ctl(t, "list"); !strings.Contains(list, "nqn.2024-01.com.example:new") {
		t.Errorf("after the reload the list is\n%s", list)
	}
	guest.WaitActive(t)

	var pauses []time.Duration
	for range 6 {
		pid := guest.MainPID(t)
		killed := monotonic(t)
		guest.Signal(t, "KILL")
		guest.Eventually(t, connectTimeout, "the service is started again", func() (bool, string) {
			now := guest.Properties(t, guest.Service, "MainPID", "ActiveState")
			return now["ActiveState"] == "active" && now["MainPID"] != pid, now["ActiveState"]
		})
		started, err := time.ParseDuration(guest.Property(t, guest.Service, "ExecMainStartTimestampMonotonic") + "us")
		if err != nil {
			t.Fatal(err)
		}
		pauses = append(pauses, started-killed)
	}
	t.Logf("pauses: %v", pauses)
	if first, last := pauses[0], pauses[len(pauses)-1]; last < 4*time.Second || last > 20*time.Second || last < 2*first {
		t.Errorf("pauses between starts: %v, want some that grow to 5 s or more", pauses)
	}
	if ok, seen := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", seen, devices)
	}
}

// monotonic is the kernel's clock that systemd's timestamps are of.
func monotonic(t *testing.T) time.Duration {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}
