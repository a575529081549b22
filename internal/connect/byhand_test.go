// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
)

func TestDisconnect(t *testing.T) {
	device := func(name string) func(sysfs.Controller) bool {
		return func(c sysfs.Controller) bool { return c.Name == name }
	}
	subsystem := func(c sysfs.Controller) bool { return c.NQN == nqn }
	second := ioc().TID
	second.Traddr = "192.0.2.2"
	for _, test := range []struct {
		name     string
		host     func(*host)
		what     string
		force    bool
		match    func(sysfs.Controller) bool
		outcomes []string
		err      string
		warnings []string
		deleted  []string
	}{
		{
			name: "device", what: "nvme3", match: device("nvme3"), deleted: []string{"nvme3"},
			outcomes: []string{"disconnected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)"},
		},
		{
			name: "device of a unit", what: "nvme3", match: device("nvme3"), deleted: []string{"nvme3"},
			host:     func(h *host) { h.write("/run/nvme/"+binding, unit+"\n"); h.write("/run/nvme/"+owner, "discoverd\n") },
			outcomes: []string{"disconnected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1); nvme-discoverd connects it again if it is still wanted, systemctl stop nvme-discoverd-0123456789ab.service keeps it away"},
		},
		{
			name: "all of a subsystem", what: nqn, match: subsystem, deleted: []string{"nvme3", "nvme4"},
			outcomes: []string{
				"disconnected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)",
				"disconnected nvme4: (tcp, 192.0.2.2, 4420, nqn.2024-01.com.example:vol1)",
			},
		},
		{
			name: "one is another program's", what: nqn, match: subsystem, deleted: []string{"nvme4"},
			host:     func(h *host) { h.write("/run/nvme/"+owner, "stas\n") },
			outcomes: []string{"disconnected nvme4: (tcp, 192.0.2.2, 4420, nqn.2024-01.com.example:vol1)"},
			err:      "cannot disconnect nvme3: it is owned by stas: let that disconnect it",
		},
		{
			name: "nvme-cli's automatic connects', which are in force", what: "nvme3", match: device("nvme3"),
			host: func(h *host) {
				h.write("/run/nvme/"+owner, "autoconnect\n")
				h.write("/lib/udev/rules.d/70-nvmf-autoconnect.rules", "# rule\n")
			},
			err: "cannot disconnect nvme3: it is owned by autoconnect: let that disconnect it",
		},
		{
			name: "nvme-cli's automatic connects', which are not in force", what: "nvme3", match: device("nvme3"), deleted: []string{"nvme3"},
			host:     func(h *host) { h.write("/run/nvme/"+owner, "autoconnect\n"); h.program(h.root.Systemctl(), "") },
			outcomes: []string{"disconnected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)"},
		},
		{
			name: "mounted", what: "nvme3", match: device("nvme3"), deleted: []string{"nvme3"},
			host:     func(h *host) { h.namespace("nvme3", "/srv") },
			outcomes: []string{"disconnected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)"},
			warnings: []string{"nvme3 is in use: nvme1n1 is mounted on /srv; no other live path leads there, so that reads and writes fail"},
		},
		{
			name: "mounted, with another path", what: "nvme3", match: device("nvme3"), deleted: []string{"nvme3"},
			host:     func(h *host) { h.namespace("nvme3", "/srv"); h.namespace("nvme4", "") },
			outcomes: []string{"disconnected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)"},
			warnings: []string{"nvme3 is in use: nvme1n1 is mounted on /srv; nvme4 still leads there"},
		},
		{
			name: "root file system", what: nqn, match: subsystem, deleted: []string{"nvme4"},
			host:     func(h *host) { h.namespace("nvme3", "/") },
			outcomes: []string{"disconnected nvme4: (tcp, 192.0.2.2, 4420, nqn.2024-01.com.example:vol1)"},
			err:      "cannot disconnect nvme3: nvme1n1 is mounted on /, and the running system needs /: --force disconnects it all the same",
		},
		{
			name: "root file system, forced", what: "nvme3", match: device("nvme3"), force: true, deleted: []string{"nvme3"},
			host:     func(h *host) { h.namespace("nvme3", "/") },
			outcomes: []string{"disconnected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)"},
			warnings: []string{"nvme3 is in use: nvme1n1 is mounted on /; no other live path leads there, so that reads and writes fail"},
		},
		{
			name: "local PCIe", what: "nvme0", match: device("nvme0"),
			err: "cannot disconnect nvme0: no such fabrics controller is connected",
		},
		{
			name: "none", what: "nvme9", match: device("nvme9"),
			err: "cannot disconnect nvme9: no such fabrics controller is connected",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			h.write("/sys/class/nvme/nvme0/transport", "pcie\n")
			h.write("/sys/class/nvme/nvme0/delete_controller", "\n")
			h.controller("nvme3", ioc().TID)
			h.controller("nvme4", second)
			if test.host != nil {
				test.host(h)
			}
			outcomes, err := h.Disconnect(test.what, test.match, test.force)
			if diff := cmp.Diff(test.err, h.message(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.outcomes, outcomes); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.warnings, h.warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			var deleted []string
			for _, name := range []string{"nvme0", "nvme3", "nvme4"} {
				if h.deleted(name) {
					deleted = append(deleted, name)
				}
			}
			if diff := cmp.Diff(test.deleted, deleted); diff != "" {
				t.Errorf("deleted (-want +got):\n%s", diff)
			}
		})
	}
}
