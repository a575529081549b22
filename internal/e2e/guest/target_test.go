// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// The machine itself works: its kernel's target shows a subsystem on loopback TCP, Debian's nvme-cli connects to it by hand,
// and the controller is live. When this fails, nothing else that failed means anything.
func TestMachine(t *testing.T) {
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	port, subsystem := target.Port(8009), target.Subsystem("nqn.2024-01.com.example:vol1")
	subsystem.Namespace(16 << 20)
	port.Link(subsystem)
	guest.Run(m, "modprobe", "nvme-tcp")
	guest.Run(m, "nvme", "connect", "-t", "tcp", "-a", port.Traddr, "-s", port.Trsvcid, "-n", subsystem.NQN)
	guest.WaitLive(m, 10*time.Second, subsystem.NQN)
}
