// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/firmware"
	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// spoiledTable is what is to be said of the second table.
const spoiledTable = "/sys/firmware/acpi/tables/NBFT2: cannot use the NBFT: " + firmware.Why

// behindNQN is a subsystem that the firmware does not know, on the discovery controller that it names.
const behindNQN = "nqn.2024-01.com.example:behind"

// otherBootPort is that of a subsystem of the far host that the firmware does not know, nor its discovery controller.
const otherBootPort = 4480

// vlanLink is the interface of the firmware's VLAN.
const vlanLink = guest.FarLink + ".5"

// bootIDs are the connections that the machine's first NBFT asks for and that are there.
func bootIDs() map[string]guest.TID {
	at := func(traddr string, port int, nqn, hostTraddr, hostIface string) guest.TID {
		return guest.TID{
			Transport: "tcp", Traddr: traddr, Trsvcid: strconv.Itoa(port), NQN: nqn, HostTraddr: hostTraddr, HostIface: hostIface,
			HostNQN: firmware.HostNQN, HostID: firmware.HostID,
		}
	}
	return map[string]guest.TID{
		guest.DiscoveryNQN: at(firmware.Target, firmware.Port, guest.DiscoveryNQN, firmware.Address, guest.FarLink),
		firmware.BootNQN:   at(firmware.Target, firmware.Port, firmware.BootNQN, firmware.Address, guest.FarLink),
		firmware.PathsNQN:  at(firmware.Target, firmware.Port, firmware.PathsNQN, firmware.Address, guest.FarLink),
		firmware.LeaseNQN:  at(firmware.Target, firmware.LeasePort, firmware.LeaseNQN, "", ""),
		firmware.VLANNQN:   at(firmware.FarOnVLAN, firmware.VLANPort, firmware.VLANNQN, firmware.OnVLAN, vlanLink),
	}
}

// nowhereUnit is the unit of the path that leads nowhere.
func nowhereUnit() string {
	id := bootIDs()[firmware.BootNQN]
	id.Traddr = firmware.Nowhere
	return id.Unit()
}

// bootScene is a host whose firmware has booted over a cable to another host: its interfaces have the addresses that the
// NBFT says, and the target behind the cable lets in only the identity that the NBFT says.
func bootScene(t *testing.T) *guest.Machine {
	t.Helper()
	m, _, _ := bootSceneWithTarget(t)
	return m
}

// bootSceneWithTarget also returns the target, and a subsystem there at otherBootPort.
func bootSceneWithTarget(t *testing.T) (*guest.Machine, *guest.Target, *guest.Subsystem) {
	t.Helper()
	far := guest.NewFar(t)
	for _, words := range []string{
		"link set " + guest.FarLink + " address " + firmware.MAC,
		fmt.Sprintf("link add link %s name %s type vlan id %d", guest.FarLink, vlanLink, firmware.VLAN),
		"address add " + firmware.OnVLAN + "/24 dev " + vlanLink,
		"link set " + vlanLink + " up",
		fmt.Sprintf("-n far link add link port name port.5 type vlan id %d", firmware.VLAN),
		"-n far address add " + firmware.FarOnVLAN + "/24 dev port.5",
		"-n far link set port.5 up",
	} {
		guest.Run(t, "ip", strings.Fields(words)...)
	}
	m := guest.Begin(t)
	guest.ShowBootTables(m)
	target := guest.NewTarget(m)
	port := target.PortAt(firmware.Target, firmware.Port)
	lease := target.PortAt(firmware.Target, firmware.LeasePort)
	vlan := target.PortAt(firmware.FarOnVLAN, firmware.VLANPort)
	subsystem := func(nqn string) *guest.Subsystem {
		s := target.Subsystem(nqn)
		s.AllowOnly(firmware.HostNQN)
		return s
	}
	boot, behind := subsystem(firmware.BootNQN), subsystem(behindNQN)
	paths, leased, tagged := subsystem(firmware.PathsNQN), subsystem(firmware.LeaseNQN), subsystem(firmware.VLANNQN)
	guarded, other := subsystem(firmware.GuardedNQN), subsystem("nqn.2024-01.com.example:other")
	otherPort := target.PortAt(firmware.Target, otherBootPort)
	far.There(func() {
		port.Link(boot, behind, paths, guarded)
		otherPort.Link(other)
		lease.Link(leased)
		vlan.Link(tagged)
	})
	guest.Configure(m, "")
	return m, target, other
}

// bootNQNs are the names of what the first NBFT asks for, but for the second path.
func bootNQNs() []string { return slices.Collect(maps.Keys(bootIDs())) }

// waitBoot waits until what the firmware names, and what is behind it, is connected; it returns the devices by NQN.
func waitBoot(t *testing.T) map[string]string {
	t.Helper()
	return guest.WaitLive(t, connectTimeout, append(bootNQNs(), behindNQN)...)
}

// checkBoot checks that a controller is as the firmware's table wants it: its unit, its owner, and the identity of the
// host that the target has seen.
func checkBoot(m *guest.Machine, nqn string) {
	m.Helper()
	id := bootIDs()[nqn]
	m.WaitUnit(id.Unit(), "active")
	device := guest.Devices()[nqn]
	if got := guest.RegistryAttribute(device, "owner"); got != "nbft" {
		m.Errorf("owner of %s (%s): got %q, want nbft", device, nqn, got)
	}
	if got := guest.ControllerAttribute(device, "hostnqn"); got != firmware.HostNQN {
		m.Errorf("host NQN of %s (%s): got %q, want the firmware's", device, nqn, got)
	}
	if got := guest.ControllerAttribute(device, "hostid"); got != firmware.HostID {
		m.Errorf("host ID of %s (%s): got %q, want the firmware's", device, nqn, got)
	}
	argv := guest.Argv(m, id.Unit(), "ExecStart")
	for option, want := range map[string]string{"owner": "nbft", "host-traddr": id.HostTraddr, "host-iface": id.HostIface} {
		if got, _ := guest.Option(argv, option); got != want {
			m.Errorf("ExecStart of %s: --%s: got %q, want %q", nqn, option, got, want)
		}
	}
}

// A host booted from firmware that left two NBFTs. What the first one names is connected with its identity, from its
// addresses, over the interfaces with its MAC addresses and its VLAN; the registry says that it is the firmware's. An address
// that came by DHCP and is gone is done without. A subsystem that only the discovery controller knows is ours. A path that
// leads nowhere is retried and holds up nothing, and the spoiled second table is told of and costs nothing else. All strings of
// the tables count their NULs, and the host NQN is in capitals there. What demands authentication is not connected without.
func TestBootTables(t *testing.T) {
	m := bootScene(t)
	guest.Start(t)
	waitBoot(t)
	for nqn := range bootIDs() {
		checkBoot(m, nqn)
	}
	behind := guest.Devices()[behindNQN]
	if got := guest.RegistryAttribute(behind, "owner"); got != "discoverd" {
		t.Errorf("owner of %s, which the firmware does not name: got %q, want discoverd", behind, got)
	}
	journal := m.Journal()
	for _, want := range []string{
		spoiledTable,
		"SSNS 3: firmware says that it is unavailable; it is connected all the same",
		"that the firmware got by DHCP is not this host's",
		"SSNS 7 over HFI 1: it is not connected: it requires authentication",
	} {
		if n := strings.Count(journal, want); n != 1 {
			t.Errorf("journal: got %d times %q, want it once:\n%s", n, want, journal)
		}
	}
	// The path that leads nowhere never reached the kernel, which would have let the others wait.
	if strings.Contains(journal, "Starting "+nowhereUnit()) {
		t.Errorf("journal: the unit of %s was started:\n%s", firmware.Nowhere, journal)
	}
	guest.WaitStatus(t, "6 of 9 controllers connected")
}

// The firmware names one subsystem over two of its interfaces, and the address of the second one comes to this host only
// later. Each interface has a path of its own then, from its own address, with the firmware's identity, under its own unit.
func TestBootTwoPaths(t *testing.T) {
	m := bootScene(t)
	guest.Start(t)
	devices := waitBoot(t)
	guest.Run(t, "ip", "address", "add", firmware.Second+"/24", "dev", guest.FarLink)
	second := bootIDs()[firmware.PathsNQN]
	second.HostTraddr = firmware.Second
	m.WaitUnit(second.Unit(), "active")
	live := guest.Live(firmware.PathsNQN)
	if len(live) != 2 || !slices.Contains(live, devices[firmware.PathsNQN]) {
		t.Fatalf("paths to %s: got %v, want two, %s among them", firmware.PathsNQN, live, devices[firmware.PathsNQN])
	}
	var from []string
	for _, device := range live {
		_, source, _ := strings.Cut(guest.ControllerAttribute(device, "address"), "src_addr=")
		from = append(from, source)
		owner, host := guest.RegistryAttribute(device, "owner"), guest.ControllerAttribute(device, "hostnqn")
		if owner != "nbft" || host != firmware.HostNQN {
			t.Errorf("%s: got owner %q and host NQN %q, want nbft and the firmware's", device, owner, host)
		}
	}
	if got := sorted(from); !slices.Equal(got, []string{firmware.Address, firmware.Second}) {
		t.Errorf("source addresses: got %v, want those of the two interfaces", got)
	}
}

// The firmware names one discovery controller by its host. While nobody knows that name everything else is connected; when
// it has addresses they are tried in their order, over the interface that the firmware names, and the controller is the
// firmware's.
func TestBootControllerByHostName(t *testing.T) {
	m := bootScene(t)
	hosts(t)
	guest.Start(t)
	devices := waitBoot(t)
	m.WaitLogged(connectTimeout, "the journal tells that the name does not resolve", func(journal string) bool {
		return strings.Contains(journal, "NBFT1, discovery 2 over HFI 3: cannot resolve "+firmware.Host)
	})
	hosts(t, "192.0.3.9 "+firmware.Host, firmware.FarOnVLAN+" "+firmware.Host)
	id := bootIDs()[firmware.VLANNQN]
	id.NQN = guest.DiscoveryNQN
	m.WaitUnit(id.Unit(), "active")
	found := ""
	for _, c := range guest.Controllers() {
		if c.NQN == id.NQN && c.Traddr == id.Traddr {
			found = c.Name
		} else if devices[c.NQN] != c.Name {
			t.Errorf("%s: want nothing but what was there before, %v", c, devices)
		}
	}
	if got := guest.RegistryAttribute(found, "owner"); found == "" || got != "nbft" {
		t.Errorf("owner of %q at %s: got %q, want nbft", found, id.Traddr, got)
	}
	argv := guest.Argv(m, id.Unit(), "ExecStart")
	for option, want := range map[string]string{"owner": "nbft", "host-traddr": id.HostTraddr, "host-iface": id.HostIface, "hostnqn": firmware.HostNQN} {
		if got, _ := guest.Option(argv, option); got != want {
			t.Errorf("ExecStart of %s: --%s: got %q, want %q", id.Unit(), option, got, want)
		}
	}
}

// Controllers that the firmware named are lost, the discovery controller among them. They come back as they were: the
// firmware's, with its identity, under the same units. So it is when they are lost while the daemon is not running.
func TestBootControllersComeBack(t *testing.T) {
	m := bootScene(t)
	guest.Start(t)
	devices := waitBoot(t)
	lost := []string{guest.DiscoveryNQN, firmware.BootNQN, firmware.VLANNQN}
	lose := func() {
		for _, nqn := range lost {
			guest.Delete(t, devices[nqn])
		}
	}
	back := func() {
		guest.Eventually(t, connectTimeout, "all are back, as the firmware's", func() (bool, string) {
			for nqn := range bootIDs() {
				live := guest.Live(nqn)
				if len(live) != 1 || guest.RegistryAttribute(live[0], "owner") != "nbft" {
					return false, nqn
				}
			}
			return true, ""
		})
		devices = waitBoot(t)
		for nqn := range bootIDs() {
			checkBoot(m, nqn)
		}
	}
	lose()
	back()
	guest.Stop(t)
	lose()
	guest.Start(t)
	back()
}

// The configuration names a controller that the firmware names too, and a second time the same in other words. It is
// connected once, as the firmware says, and the journal tells once that the entry is redundant, reloads or not.
func TestBootControllerConfiguredToo(t *testing.T) {
	m := bootScene(t)
	guest.Configure(t, fmt.Sprintf("[[subsystem]]\nnqn = %q\ncontroller = [{ transport = \"tcp\", traddr = %q, trsvcid = %d }]\n",
		firmware.BootNQN, firmware.Target, firmware.Port))
	guest.Start(t)
	devices := waitBoot(t)
	checkBoot(m, firmware.BootNQN)
	guest.Reload(t)
	guest.Always(t, quietSpan, "nothing changes", unchanged(devices))
	const redundant = "discoverd.conf:3 is redundant: the NBFT names this controller, and it is connected as the NBFT says"
	if journal := m.Journal(); strings.Count(journal, redundant) != 1 {
		t.Errorf("journal: want %q once, got:\n%s", redundant, journal)
	}
}

// An administrator excluded a controller that the firmware names. The exclusion holds, and the journal warns of it; all else is
// connected. Once the exclusion is removed, the controller is connected as the firmware's. To exclude it while it is
// connected needs a yes.
func TestBootControllerExcluded(t *testing.T) {
	m := bootScene(t)
	entry := "transport=tcp;traddr=" + firmware.Target + ";nqn=" + firmware.BootNQN
	guest.Exclude(t, "e2e", entry)
	mark := m.Mark()
	guest.Start(t)
	rest := append(slices.DeleteFunc(bootNQNs(), func(nqn string) bool { return nqn == firmware.BootNQN }), behindNQN)
	guest.WaitLive(t, connectTimeout, rest...)
	guest.Always(t, quietSpan, "it is not connected", func() (bool, string) { return len(guest.Devices()) == len(rest), "" })
	if got := m.Complaints(mark, guest.Service); strings.Count(got, "excluded by /etc/nvme/exclusions/e2e.conf:1") != 1 {
		t.Errorf("warnings: want one that it is excluded by /etc/nvme/exclusions/e2e.conf:1, got:\n%s", got)
	}
	guest.Unexclude(t, "e2e")
	devices := waitBoot(t)
	checkBoot(m, firmware.BootNQN)

	refused := guest.TryCtl(t, "exclusion", "add", "--entry", entry)
	if refused.Status != 1 || !strings.Contains(refused.Stderr, "is of the boot firmware and would not be connected again") {
		t.Errorf("exclusion add without a yes: got status %d and %q, want a refusal", refused.Status, refused.Stderr)
	}
	guest.Ctl(t, "exclusion", "add", "--yes", "--entry", entry)
	guest.Always(t, quietSpan, "what is connected stays", unchanged(devices))
}

// With nbft = false nothing of the firmware's is connected. The setting takes effect on reload, in both directions: what is
// connected stays.
func TestBootTablesUnwanted(t *testing.T) {
	m := bootScene(t)
	guest.Configure(t, "[global]\nnbft = false\n")
	guest.Start(t)
	guest.Always(t, quietSpan, "nothing is connected", func() (bool, string) { return len(guest.Controllers()) == 0, "" })
	guest.Configure(t, "[global]\nnbft = true\n")
	guest.Reload(t)
	devices := waitBoot(t)
	checkBoot(m, firmware.BootNQN)
	if journal := m.Journal(); strings.Count(journal, spoiledTable) != 1 {
		t.Errorf("journal: want %q once, got:\n%s", spoiledTable, journal)
	}
	guest.Configure(t, "[global]\nnbft = false\n")
	guest.Reload(t)
	guest.Always(t, quietSpan, "what is connected stays", unchanged(devices))
	guest.Delete(t, devices[firmware.BootNQN])
	delete(devices, firmware.BootNQN)
	guest.Always(t, quietSpan, "what is lost is not wanted any more", unchanged(devices))
}

// `nvme-discoverctl nbft show` tells what the firmware left, for people and as JSON: the good table, with the names that its
// interfaces have on this host, and on standard error what is wrong with the spoiled one; exit status 1 because of that.
func TestBootTablesShown(t *testing.T) {
	bootScene(t)
	out := guest.TryCtl(t, "nbft", "show")
	if out.Status != 1 || !strings.Contains(out.Stderr, spoiledTable) {
		t.Errorf("nbft show: got status %d and %q, want 1 and %q", out.Status, out.Stderr, spoiledTable)
	}
	lines := strings.Split(out.Stdout, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	for _, want := range []string{
		fmt.Sprintf("/sys/firmware/acpi/tables/NBFT1, %d bytes", len(firmware.Tables()[0])),
		"host NQN " + firmware.TableNQN,
		"1 tcp fabric 02:00:00:00:00:77 - 192.0.2.2/24 0000:00:00.0",
		"2 tcp - 02:00:00:00:00:78 - 192.0.2.222/24 0000:00:00.0",
		"3 tcp fabric.5 02:00:00:00:00:77 5 192.0.3.2/24 0000:00:00.0",
		"1 1 nvme+tcp://192.0.2.1:4477/",
		"2 3 nvme+tcp://" + firmware.Host + ":4479/",
		"warning: SSNS 3: firmware says that it is unavailable; it is connected all the same",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("nbft show: want the line %q, got:\n%s", want, out.Stdout)
		}
	}

	out = guest.TryCtl(t, "nbft", "show", "--json")
	var tables []struct {
		File string
		Size int
		Host struct{ NQN, ID string }
		HFIs []struct {
			Index          int
			MAC, Interface string
			VLAN           int
		}
		Subsystems []struct {
			Index       int
			NQN         string
			Traddr      string
			Unavailable bool
		}
	}
	if err := json.Unmarshal([]byte(out.Stdout), &tables); err != nil || out.Status != 1 {
		t.Fatalf("nbft show --json: got status %d and %v, want 1 and JSON:\n%s", out.Status, err, out.Stdout)
	}
	if len(tables) != 1 {
		t.Fatalf("nbft show --json: got %d tables, want 1", len(tables))
	}
	table := tables[0]
	if table.Host.NQN != firmware.TableNQN || table.Host.ID != firmware.HostID || table.Size != len(firmware.Tables()[0]) {
		t.Errorf("nbft show --json: got host %+v, size %d", table.Host, table.Size)
	}
	if len(table.HFIs) != 4 || table.HFIs[2].VLAN != firmware.VLAN || table.HFIs[2].Interface != vlanLink || table.HFIs[0].MAC != firmware.MAC {
		t.Errorf("nbft show --json: got interfaces %+v", table.HFIs)
	}
	if len(table.Subsystems) != 7 || !table.Subsystems[2].Unavailable || table.Subsystems[2].Traddr != firmware.Nowhere {
		t.Errorf("nbft show --json: got subsystems %+v", table.Subsystems)
	}
}

// The files in /etc/nvme have the host NQN of the firmware, in capitals, with another host ID. All connections of that NQN use
// the firmware's ID, and one warning names both and the file; the name of a unit has the ID of the wish. Once the secret is
// configured that the firmware's table demands for one controller and does not hold, that one is connected with it.
func TestBootIdentity(t *testing.T) {
	m, target, other := bootSceneWithTarget(t)
	guest.Replace(t, "/etc/nvme/hostnqn", firmware.TableNQN+"\n")
	guest.Replace(t, "/etc/nvme/hostid", firmware.SwappedID+"\n")
	config := fmt.Sprintf("[[subsystem]]\nnqn = %q\ncontroller = [{ transport = \"tcp\", traddr = %q, trsvcid = %d }]\n", other.NQN, firmware.Target, otherBootPort)
	guest.Configure(t, config)
	guest.Start(t)
	all := append(bootNQNs(), behindNQN, other.NQN)
	devices := guest.WaitLive(t, connectTimeout, all...)
	for nqn, device := range devices {
		if host, id := guest.ControllerAttribute(device, "hostnqn"), guest.ControllerAttribute(device, "hostid"); host != firmware.HostNQN || id != firmware.HostID {
			t.Errorf("%s (%s): got host %s with ID %s, want %s with %s", device, nqn, host, id, firmware.HostNQN, firmware.HostID)
		}
	}
	id := guest.TID{
		Transport: "tcp", Traddr: firmware.Target, Trsvcid: strconv.Itoa(otherBootPort), NQN: other.NQN,
		HostNQN: firmware.HostNQN, HostID: firmware.SwappedID,
	}
	m.WaitUnit(id.Unit(), "active")
	warning := fmt.Sprintf("connecting with hostid %s instead of %s (/etc/nvme/hostid)", firmware.HostID, firmware.SwappedID)
	if journal := m.Journal(); strings.Count(journal, warning) != 1 {
		t.Errorf("journal: want %q once, got:\n%s", warning, journal)
	}

	secret := guest.DHChapSecret('a')
	target.Authenticate(firmware.HostNQN, secret, "")
	guest.PutSecret(t, hostSecret, secret+"\n")
	guest.Configure(t, fmt.Sprintf("[host]\ndhchap-secret-file = %q\n", hostSecret)+config)
	guest.Reload(t)
	now := guest.WaitLive(t, connectTimeout, append(all, firmware.GuardedNQN)...)
	waitSecret(t, firmware.GuardedNQN, "dhchap_secret", secret)
	if got := guest.RegistryAttribute(now[firmware.GuardedNQN], "owner"); got != "nbft" {
		t.Errorf("owner of %s: got %q, want nbft", firmware.GuardedNQN, got)
	}
	for nqn, device := range devices {
		if now[nqn] != device {
			t.Errorf("device of %s: got %s, want the same as before, %s", nqn, now[nqn], device)
		}
	}
}
