// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// pristine keeps /etc/nvme as it was when the first scenario began.
const pristine = "/run/e2e/etc-nvme"

// overrides are where scenarios change the service's unit.
const overrides = "/run/systemd/system/" + Service + ".d"

// wanted is the link that enables the service.
const wanted = "/etc/systemd/system/multi-user.target.wants/" + Service

// reset brings the machine into the state in which every scenario begins: the service stopped and disabled, no unit of a
// connection, no controller over fabrics, no target, no state files, the configuration as installed.
func reset(t T) {
	t.Helper()
	kept = nil
	if !exists(pristine) {
		Run(t, "cp", "-a", "/etc/nvme", pristine)
	}
	if exists(wanted) {
		Run(t, "systemctl", "disable", "--quiet", Service)
	}
	if ActiveState(t, Service) != "inactive" {
		Try(t, "systemctl", "stop", Service)
	}
	deleteControllers(t)
	// One whose command has just failed may be gone before it is stopped.
	eventually(t, follow.Units, commandTimeout, "no unit of a connection", func() (bool, string) {
		units := Units(t)
		if len(units) > 0 {
			Try(t, "systemctl", append([]string{"stop", "--quiet"}, units...)...)
		}
		return len(units) == 0, strings.Join(units, " ")
	})
	if failed := listUnits(t, "ListUnitsByPatterns", []string{"failed"}, []string{"nvme-discoverd*.service"}); len(failed) > 0 {
		Try(t, "systemctl", "reset-failed", "nvme-discoverd*.service")
	}
	deleteControllers(t)
	removeTarget(t)
	if exists(overrides) {
		if err := os.RemoveAll(overrides); err != nil {
			t.Fatalf("cannot clean up: %v", err)
		}
		Run(t, "systemctl", "daemon-reload")
	}
	for _, dir := range []string{"/etc/nvme", "/run/nvme"} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatalf("cannot clean up: %v", err)
		}
	}
	Run(t, "cp", "-a", pristine, "/etc/nvme")
	identify(t)
}

// identify gives the host the identity that it has in every scenario.
func identify(t T) {
	t.Helper()
	put(t, "/etc/nvme/hostnqn", HostNQN+"\n")
	put(t, "/etc/nvme/hostid", HostID+"\n")
}

// deleteControllers disconnects every controller over fabrics, those too that a connect under way brings meanwhile, and waits
// until the last one is gone. A connect under way may hang for as long as the kernel waits for an answer.
func deleteControllers(t T) {
	t.Helper()
	deleted := map[string]bool{}
	eventually(t, follow.Kernel, 3*time.Minute, "no controllers left", func() (bool, string) {
		left := Controllers()
		detail := ""
		for _, c := range left {
			detail += c.String() + "\n"
			if c.State != "live" && deleted[c.Name] {
				continue
			}
			err := remove(c.Name)
			if err != nil && !errors.Is(err, syscall.EBUSY) {
				t.Fatalf("cannot delete controller: %v", err)
			}
			deleted[c.Name] = err == nil
		}
		return len(left) == 0, detail
	})
}
