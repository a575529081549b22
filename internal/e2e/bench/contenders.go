// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package main

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// discoverd is the service under test.
type discoverd struct{}

func (discoverd) prepare(guest.T) {}

func (discoverd) connect(t guest.T, _ *guest.Fixture) func() {
	t.Helper()
	return guest.Background(t, "systemctl", "start", guest.Service)
}

func (discoverd) cpu(t guest.T) time.Duration {
	t.Helper()
	ns, err := strconv.ParseInt(guest.Property(t, guest.Service, "CPUUsageNSec"), 10, 64)
	if err != nil {
		return 0 // not accounted for
	}
	return time.Duration(ns)
}

func (discoverd) rss(t guest.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + guest.Property(t, guest.Service, "MainPID") + "/status")
	if err != nil {
		t.Fatalf("cannot read memory use: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kib
		}
	}
	return 0
}

// connectAll is nvme-cli as Debian ships it: one process that connects everything once, and a udev rule with a unit that
// reacts to changes afterwards. The machine masks those; here they are what is measured.
type connectAll struct{}

// autoconnect are the masks that stand in the way of nvme-cli's own reconnecting.
var autoconnect = []string{
	"/etc/udev/rules.d/70-nvmf-autoconnect.rules", "/etc/systemd/system/nvmf-connect@.service", "/etc/systemd/system/nvmf-connect.target",
}

func (connectAll) connect(t guest.T, f *guest.Fixture) func() {
	t.Helper()
	return guest.Background(t, "nvme", "connect-all", "--persistent", "-t", "tcp", "-a", f.Port.Traddr, "-s", f.Port.Trsvcid,
		"--hostnqn="+guest.HostNQN, "--hostid="+guest.HostID)
}

// prepare unmasks what reconnects.
func (connectAll) prepare(t guest.T) {
	t.Helper()
	for _, mask := range autoconnect {
		_ = os.Remove(mask)
	}
	reload := func() {
		guest.Run(t, "systemctl", "daemon-reload")
		guest.Run(t, "udevadm", "control", "--reload")
	}
	reload()
	t.Cleanup(func() {
		for _, mask := range autoconnect {
			if err := os.Symlink("/dev/null", mask); err != nil {
				t.Errorf("cannot mask again: %v", err)
			}
		}
		reload()
	})
}

func (connectAll) cpu(guest.T) time.Duration { return 0 }

func (connectAll) rss(guest.T) int { return 0 }
