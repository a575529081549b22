// SPDX-License-Identifier: GPL-3.0-or-later

// Package fc speaks with the kernel about discovery controllers on Fibre Channel (docs/design.md, "Fibre Channel"): it asks for what there
// is, and reads the events by which the kernel tells of each. It decides nothing.
//
// The kernel's side is drivers/nvme/host/fc.c: nvme_fc_nvme_discovery_store and nvme_fc_signal_discovery_scan.
package fc

import (
	"fmt"
	"os"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Announcement says that a remote port with a discovery controller can be reached through a port of this host. Both
// addresses are in the normal form of tid.FCAddr, which the kernel takes in a connect.
type Announcement struct {
	Traddr     string // of the remote port, nn-0x…:pn-0x…
	HostTraddr string // of the port of this host
}

// Parse reads the variables of a uevent of the subsystem fc. ok is false for an event that is about something else.
func Parse(vars map[string]string) (a Announcement, ok bool, err error) {
	if vars["FC_EVENT"] != "nvmediscovery" {
		return Announcement{}, false, nil
	}
	for _, v := range []struct {
		name string
		addr *string
	}{{"NVMEFC_TRADDR", &a.Traddr}, {"NVMEFC_HOST_TRADDR", &a.HostTraddr}} {
		if *v.addr, err = tid.FCAddr(vars[v.name]); err != nil {
			return Announcement{}, false, fmt.Errorf("cannot use %s of a Fibre Channel event: %w", v.name, err)
		}
	}
	return a, true, nil
}

// Kickstart asks the kernel to announce all remote ports with a discovery controller. Their uevents have been sent when it
// returns. The error wraps fs.ErrNotExist where the kernel has no NVMe over Fibre Channel.
func Kickstart(root paths.Root) error {
	f, err := os.OpenFile(root.FCDiscovery(), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("add")
		f.Close()
	}
	if err != nil {
		return fmt.Errorf("cannot ask Fibre Channel for discovery controllers: %w", err)
	}
	return nil
}
