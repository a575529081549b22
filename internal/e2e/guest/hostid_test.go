// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// Another program has connected a controller with this host's NQN and another host ID than /etc/nvme/hostid has: the kernel takes
// no second ID for an NQN. What we want is connected with the ID in use, under the units that it has anyhow; one warning
// names both IDs, the file and the controller. Who asks for the other ID by hand is told which controller is in the way. When
// the other program's controller goes, nothing changes, and what is lost comes back with the same ID.
//
// Then a controller of yet another NQN has the host ID of a persona of ours. The kernel refuses, the journal and the unit's
// result name that controller, and when it goes the persona is connected. Another controller has the NQN of a persona in
// capitals, and the persona is connected as the kernel has it.
//
// A subsystem whose NQN has a UUID in capitals is asked for as it is spelled: the target knows no other.
func TestHostIDInUse(t *testing.T) {
	const inUse = "22221111-3333-2222-4444-555555555555"
	f := guest.Scene(t, 1)
	capitals := f.Target.Subsystem("nqn.2014-08.org.nvmexpress:uuid:ABCDEF00-1111-4111-8111-ABCDEFABCDEF")
	f.Port.Link(capitals)
	f.Subsystems = append(f.Subsystems, capitals)
	port := f.Target.Port(8010)
	csi, sales := f.Target.Subsystem("nqn.2024-01.com.example:csi"), f.Target.Subsystem("nqn.2024-01.com.example:sales")
	port.Link(csi, sales)
	foreign := func(hostnqn, hostid string) string {
		guest.Run(t, "nvme", "connect", "-t", "tcp", "-a", port.Traddr, "-s", port.Trsvcid, "-n", csi.NQN, "--hostnqn="+hostnqn, "--hostid="+hostid)
		return guest.WaitOneLive(t, csi.NQN, "the other program's controller")
	}
	guest.Run(t, "modprobe", "nvme-tcp")
	theirs := foreign(guest.HostNQN, inUse)
	guest.Start(t)
	devices := guest.WaitLive(t, connectTimeout, append(f.NQNs(), csi.NQN)...)
	for nqn, device := range devices {
		if got := guest.ControllerAttribute(device, "hostid"); got != inUse {
			t.Errorf("%s (%s): got host ID %s, want the one in use", device, nqn, got)
		}
	}
	for _, nqn := range f.NQNs() {
		f.WaitUnit(f.Unit(nqn), "active")
	}
	warning := fmt.Sprintf("connecting with hostid %s instead of %s (/etc/nvme/hostid): %s is connected as hostnqn %s", inUse, guest.HostID, theirs, guest.HostNQN)
	if journal := f.Journal(); strings.Count(journal, "connecting with hostid") != 1 || !strings.Contains(journal, warning) {
		t.Errorf("journal: want %q once, got:\n%s", warning, journal)
	}
	refused := guest.TryCtl(t, "connect", "--transport=tcp", "--traddr="+port.Traddr, "--trsvcid="+port.Trsvcid, "--nqn="+sales.NQN)
	if want := "is connected with hostid " + inUse + " for hostnqn " + guest.HostNQN; refused.Status != 1 || !strings.Contains(refused.Stderr, want) || strings.Contains(refused.Stderr, "dmesg") {
		t.Errorf("connect with the ID of the file: got status %d and %q, want %q", refused.Status, refused.Stderr, want)
	}

	guest.Delete(t, theirs)
	delete(devices, csi.NQN)
	guest.Always(t, quietSpan, "what is connected stays", unchanged(devices))
	guest.Delete(t, devices[capitals.NQN])
	devices = guest.WaitLive(t, connectTimeout, f.NQNs()...)
	if got := guest.ControllerAttribute(devices[capitals.NQN], "hostid"); got != inUse {
		t.Errorf("%s, back again: got host ID %s, want the one in use", capitals.NQN, got)
	}

	theirs = foreign(labNQN, salesID)
	guest.Replace(t, dropIn("sales.conf"), hostConfig(salesNQN, salesID)+subsystemConfig(port, sales.NQN, ""))
	mark := f.Mark()
	guest.Reload(t)
	id := port.TID(sales.NQN)
	id.HostNQN, id.HostID = salesNQN, salesID
	want := theirs + " is connected with hostnqn " + labNQN + " for hostid " + salesID
	result := "/run/nvme/discoverd/units/" + id.Unit() + ".result"
	guest.Eventually(t, connectTimeout, "the unit's result names the controller", func() (bool, string) {
		text, err := os.ReadFile(result)
		return err == nil && strings.Contains(string(text), want), string(text)
	})
	f.WaitLogged(connectTimeout, "the journal names the controller", func(journal string) bool {
		return strings.Contains(journal, "cannot connect: "+want)
	}, mark)
	guest.Delete(t, theirs)
	guest.WaitLive(t, connectTimeout, append(slices.Clone(f.NQNs()), sales.NQN)...)

	const labCapitals = "nqn.2014-08.org.nvmexpress:uuid:BBBBBBBB-2222-4222-8222-BBBBBBBBBBBB"
	foreign(labCapitals, labID)
	lab := f.Target.Subsystem("nqn.2024-01.com.example:lab")
	port.Link(lab)
	guest.Replace(t, dropIn("lab.conf"), hostConfig(labNQN, labID)+subsystemConfig(port, lab.NQN, ""))
	guest.Reload(t)
	device := guest.WaitOneLive(t, lab.NQN, "the persona whose NQN is in use in capitals")
	if got := guest.ControllerAttribute(device, "hostnqn"); got != labCapitals {
		t.Errorf("host NQN of %s: got %s, want it as the kernel has it", device, got)
	}

	small := guest.Try(t, "nvme", "connect", "-t", "tcp", "-a", f.Port.Traddr, "-s", f.Port.Trsvcid, "-n", strings.ToLower(capitals.NQN),
		"--hostnqn="+labCapitals, "--hostid="+labID)
	if small.Status == 0 {
		t.Errorf("the target takes %s for %s: subsystems could be asked for in lower case", strings.ToLower(capitals.NQN), capitals.NQN)
	}
}
