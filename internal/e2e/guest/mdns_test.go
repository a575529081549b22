// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

const zeroconf = "[global]\nzeroconf = true\nzeroconf-ip-family = \"ipv4\"\nreconnect-max-delay = \"2s\"\n"

// waitStatus waits until the status says a text.
func waitStatus(t guest.T, text string) {
	t.Helper()
	guest.Eventually(t, connectTimeout, "the status says "+text, func() (bool, string) {
		status := strings.Join(strings.Fields(guest.Ctl(t, "status")), " ")
		return strings.Contains(status, text), status
	})
}

// waitRetained waits until a target is retained, or is not.
func waitRetained(t guest.T, id guest.TID, retained bool) {
	t.Helper()
	guest.Eventually(t, connectTimeout, "the withdrawal or announcement was heard", func() (bool, string) {
		got, ok := findListed(t, id)
		return ok && (got.RetainUntil != "") == retained, got.RetainUntil
	})
}

// announcedScene is an array with a discovery controller and a subsystem on two networks, which it announces on both, and this host with
// Avahi. The service has started. It returns what is wanted: on each network the discovery controller and the subsystem.
func announcedScene(t *testing.T) (m *guest.Machine, far *guest.Far, array *guest.Announcer, wanted []guest.TID) {
	t.Helper()
	far = guest.NewFar(t)
	far.Cable("fabric-b", "198.51.100.2/24", "198.51.100.1/24")
	m = guest.Begin(t)
	target := guest.NewTarget(m)
	subsystem, port := target.Subsystem("nqn.2024-01.com.example:vol1"), target.PortAt("0.0.0.0", 8009)
	far.There(func() { port.Link(subsystem) })
	array = far.NewAnnouncer()
	array.Announce("Array 1", 8009, "p=tcp", "nqn="+guest.DiscoveryNQN)
	array.Start()
	guest.StartAvahi(t)
	guest.Configure(t, zeroconf)
	guest.Start(t)
	for _, path := range []struct{ addr, link string }{{guest.FarAddress, guest.FarLink}, {"198.51.100.1", "fabric-b"}} {
		for _, nqn := range []string{guest.DiscoveryNQN, subsystem.NQN} {
			id := port.TID(nqn)
			id.Traddr, id.HostIface = path.addr, path.link
			wanted = append(wanted, id)
		}
	}
	guest.WaitConsistent(t, connectTimeout, wanted)
	return m, far, array, wanted
}

// An array announces itself on two networks: it is connected over both, with what is behind it. A withdrawal and an Avahi that is killed
// take nothing away; what is lost meanwhile is connected again. A change of address is followed.
func TestMDNS(t *testing.T) {
	_, _, array, wanted := announcedScene(t)
	waitStatus(t, "mDNS: Avahi browses, 2 announcements")
	status := guest.Ctl(t, "status")
	for _, source := range []string{"mDNS: Array 1 on fabric\n", "mDNS: Array 1 on fabric-b\n"} {
		if !strings.Contains(status, source) {
			t.Errorf("status: want %q in\n%s", source, status)
		}
	}
	if got := guest.Ctl(t, "status", "--json"); !strings.Contains(got, `"zeroconf": true`) || !strings.Contains(got, `"instance": "Array 1"`) || !strings.Contains(got, `"iface": "fabric-b"`) {
		t.Errorf("status --json: %s", got)
	}

	array.Withdraw("Array 1")
	for _, id := range []guest.TID{wanted[0], wanted[2]} {
		waitRetained(t, id, true)
	}
	guest.WaitConsistent(t, connectTimeout, wanted)
	array.Announce("Array 1", 8009, "P=TCP")
	waitRetained(t, wanted[0], false)
	array.Restart()

	guest.Run(t, "systemctl", "kill", "--signal=KILL", guest.Avahi)
	guest.Run(t, "systemctl", "stop", guest.Avahi, "avahi-daemon.socket")
	waitStatus(t, "mDNS is not heard: Avahi does not run (start avahi-daemon.service)")
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.WaitConsistent(t, connectTimeout, wanted)
	for _, c := range guest.Controllers() {
		guest.TryDelete(c.Name)
	}
	guest.WaitConsistent(t, connectTimeout, wanted)
	guest.Run(t, "systemctl", "start", guest.Avahi)
	waitStatus(t, "mDNS: Avahi browses, 2 announcements")

	const next = "192.0.2.9"
	guest.Run(t, "ip", "-n", "far", "address", "delete", guest.FarAddress+"/24", "dev", "port") // with it would go a second one of its network
	guest.Run(t, "ip", "-n", "far", "address", "add", next+"/24", "dev", "port")
	moved := wanted[0]
	moved.Traddr = next
	guest.Eventually(t, connectTimeout, "it is connected at its new address", func() (bool, string) {
		got, _ := findListed(t, moved)
		return got.State == "connected", got.State + got.LastError
	})
	waitRetained(t, wanted[0], true)
}

// nvme-stas browses too: one error says so.
func TestMDNSBesideStas(t *testing.T) {
	guest.Replace(t, "/etc/stas/stafd.conf", "[Service Discovery]\nzeroconf = enabled\n")
	m, _, _, wanted := announcedScene(t)
	mark := m.Mark()
	guest.Run(t, "systemctl", "start", guest.Stafd)
	t.Cleanup(func() { guest.StopStas(t) })
	const complaint = "nvme-stas browses mDNS too"
	m.WaitLogged(stasTimeout, complaint, func(journal string) bool { return strings.Contains(journal, complaint) }, mark)
	waitStatus(t, complaint)
	guest.WaitConsistent(t, connectTimeout, wanted)
	if n := strings.Count(m.Journal(mark), complaint); n != 1 {
		t.Errorf("it is told %d times, want once:\n%s", n, m.Journal(mark))
	}
}
