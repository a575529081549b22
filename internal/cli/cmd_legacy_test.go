// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLegacy(t *testing.T) {
	d := newDesk(t)
	d.expect([]string{"legacy", "disable"}, "! nothing to mask: nvme-cli's automatic connects are not installed, or masked already\n")
	d.expect([]string{"legacy", "enable"}, "! nothing to undo: no mask of nvme-cli's automatic connects is there\n")
	if d.programs != nil {
		t.Errorf("ran %q for nothing", d.programs)
	}

	d.write("lib/udev/rules.d/70-nvmf-autoconnect.rules", "# rule\n")
	d.expect([]string{"legacy", "status"}, `in-force  70-nvmf-autoconnect.rules        connects upon events of discovery controllers and of Fibre Channel
absent    nvmf-connect@.service            does so for the udev rule
absent    nvmf-connect.target              groups what the udev rule starts
absent    nvmf-autoconnect.service         connects what /etc/nvme/discovery.conf and config.json name, at boot
absent    nvmefc-boot-connections.service  asks Fibre Channel for discovery controllers, at boot
absent    nvmf-connect-nbft.service        connects what the firmware names, when NetworkManager brings an interface up

What is in force races with nvme-discoverd: nvme-discoverctl legacy disable masks it.
`)
	d.expect([]string{"legacy", "disable"}, "masked /etc/udev/rules.d/70-nvmf-autoconnect.rules\n")
	d.expect([]string{"legacy", "enable"}, "removed /etc/udev/rules.d/70-nvmf-autoconnect.rules\n")
	if d.programs != nil {
		t.Errorf("ran %q where neither systemd nor udev runs", d.programs)
	}

	d.write("run/systemd/system/x", "")
	d.write("run/udev/control", "")
	d.expect([]string{"legacy", "disable"}, `masked /etc/udev/rules.d/70-nvmf-autoconnect.rules
! warning: cannot run ["/usr/bin/systemctl" "daemon-reload"], so the change holds from the next boot on: exit status 1
warning: cannot run ["/usr/bin/udevadm" "control" "--reload"], so the change holds from the next boot on: exit status 1
warning: cannot run ["/usr/bin/systemctl" "stop" "nvmf-connect@*[.]service" "nvmf-autoconnect[.]service" "nvmefc-boot-connections[.]service" "nvmf-connect-nbft[.]service"], so what runs of them goes on: exit status 1
`)
	d.program = func([]string) error { return nil }
	d.expect([]string{"legacy", "enable"}, "removed /etc/udev/rules.d/70-nvmf-autoconnect.rules\n")
	want := []string{
		"/usr/bin/systemctl daemon-reload", "/usr/bin/udevadm control --reload",
		"/usr/bin/systemctl stop nvmf-connect@*[.]service nvmf-autoconnect[.]service nvmefc-boot-connections[.]service nvmf-connect-nbft[.]service",
		"/usr/bin/systemctl daemon-reload", "/usr/bin/udevadm control --reload",
	}
	if diff := cmp.Diff(want, d.programs); diff != "" {
		t.Errorf("programs (-want +got):\n%s", diff)
	}
}

func TestLegacyJSON(t *testing.T) {
	d := newDesk(t)
	d.write("usr/lib/systemd/system/nvmf-autoconnect.service", "[Unit]\n")
	d.expect([]string{"legacy", "status", "--json"}, `{
  "pieces": [
    {
      "name": "70-nvmf-autoconnect.rules",
      "what": "connects upon events of discovery controllers and of Fibre Channel",
      "state": "absent"
    },
    {
      "name": "nvmf-connect@.service",
      "what": "does so for the udev rule",
      "state": "absent"
    },
    {
      "name": "nvmf-connect.target",
      "what": "groups what the udev rule starts",
      "state": "absent"
    },
    {
      "name": "nvmf-autoconnect.service",
      "what": "connects what /etc/nvme/discovery.conf and config.json name, at boot",
      "state": "idle",
      "path": "/usr/lib/systemd/system/nvmf-autoconnect.service"
    },
    {
      "name": "nvmefc-boot-connections.service",
      "what": "asks Fibre Channel for discovery controllers, at boot",
      "state": "absent"
    },
    {
      "name": "nvmf-connect-nbft.service",
      "what": "connects what the firmware names, when NetworkManager brings an interface up",
      "state": "absent"
    }
  ]
}
`)
}

// TestLegacyPartly: what can be masked is, and what not is said.
func TestLegacyPartly(t *testing.T) {
	d := newDesk(t)
	d.write("etc/udev/rules.d/70-nvmf-autoconnect.rules", "# own\n")
	d.write("lib/systemd/system/nvmf-autoconnect.service", "[Unit]\n")
	d.program = func([]string) error { return errors.New("never") }
	d.expect([]string{"legacy", "disable"}, `masked /etc/systemd/system/nvmf-autoconnect.service
! cannot mask 70-nvmf-autoconnect.rules: /etc/udev/rules.d/70-nvmf-autoconnect.rules is a file of this host's administrator: move it away
status 1
`)
}
