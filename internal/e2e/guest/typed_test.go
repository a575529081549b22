// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// A person types what nvme-cli's commands take: a controller is disconnected by its name, by its device node, by its NQN and
// address, and connected by nvme connect's short options, a span of time among them. What can mean nothing is refused. The
// service, which was not running meanwhile, takes over what is there and connects the rest.
func TestTypedConnections(t *testing.T) {
	f, devices := guest.Connected(t, 2)
	first, second := f.Subsystems[0].NQN, f.Subsystems[1].NQN
	guest.Stop(t)
	gone := func(nqn string, args ...string) {
		t.Helper()
		device := guest.Devices()[nqn]
		out := guest.Ctl(t, append([]string{"disconnect"}, args...)...)
		if !strings.HasPrefix(out, "disconnected "+device+": ") || strings.Count(out, "\n") != 1 || guest.Devices()[nqn] != "" {
			t.Errorf("disconnect %v: got %q, and %v are there, want %s (%s) gone alone", args, out, guest.Devices(), device, nqn)
		}
	}
	connect := func(more ...string) {
		t.Helper()
		guest.Ctl(t, append([]string{"connect", "-t", "tcp", "-a", f.Port.Traddr, "-s", f.Port.Trsvcid, "-n", first}, more...)...)
	}
	gone(first, devices[first])
	connect("-l", "10min", "-k", "15")
	device := guest.Devices()[first]
	for name, want := range map[string]string{"ctrl_loss_tmo": "600", "kato": "15", "hostnqn": guest.HostNQN, "hostid": guest.HostID} {
		if got := guest.ControllerAttribute(device, name); got != want {
			t.Errorf("%s of %s: got %s, want %s", name, device, got, want)
		}
	}
	gone(first, "/dev/"+device)
	connect()
	gone(first, "-n", first, "-a", f.Port.Traddr)
	gone(second, "-d", devices[second])

	for want, args := range map[string][]string{
		`nqn "foo" is not an NQN`:                          {"exclusion", "add", "-e", "nqn=foo"},
		`hostid "xyz" must be a UUID`:                      {"exclusion", "add", "-e", "hostid=xyz"},
		"cannot test traddr=192.0.2.1 without a transport": {"exclusion", "test", "traddr=192.0.2.1"},
		`cannot use hostid "xyz": it must be a UUID`:       {"connect", "-t", "tcp", "-a", f.Port.Traddr, "-n", first, "-I", "xyz"},
		"cannot disconnect nvme1n1: it is a namespace":     {"disconnect", "nvme1n1"},
		"cannot take a secret from the command line":       {"connect", "-t", "tcp", "-a", f.Port.Traddr, "-n", first, "-S", "DHHC-1:00:x"},
	} {
		if out := guest.TryCtl(t, args...); out.Status != 2 || !strings.Contains(out.Stderr, want) {
			t.Errorf("%v: got status %d and %q, want 2 and %q", args, out.Status, out.Stderr, want)
		}
	}
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}

// A machine has no hostnqn: the service uses the identity that is derived from the machine ID, and warns of nothing. `hostnqn
// --write` writes it down, so that nvme-cli has the same; it replaces nothing, but for a person who says --force and y.
func TestWriteIdentity(t *testing.T) {
	m := guest.Begin(t)
	const hostnqn, hostid = "/etc/nvme/hostnqn", "/etc/nvme/hostid"
	guest.Remove(t, hostnqn)
	guest.Remove(t, hostid)
	guest.Configure(t, "[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = \"127.0.0.1\" }]\n")
	mark := m.Mark()
	guest.Start(t)
	if got := m.Complaints(mark, guest.Service); strings.Contains(got, "hostnqn") {
		t.Errorf("complaints: got\n%s", got)
	}
	fields := func(line string) []string { return strings.Fields(line + " - - -") }
	shown := guest.Ctl(t, "hostnqn")
	nqn := fields(shown)[1]
	if !strings.Contains(shown, "derived from the machine ID") || !strings.HasPrefix(nqn, "nqn.2014-08.org.nvmexpress:uuid:") {
		t.Errorf("hostnqn: got\n%s", shown)
	}
	for range 2 {
		written := guest.Ctl(t, "hostnqn", "--write")
		if got := fields(written)[1]; got != nqn || strings.Contains(written, "derived") {
			t.Errorf("hostnqn --write: got\n%swant %s from files", written, nqn)
		}
	}
	if got := strings.TrimSpace(guest.Run(t, "nvme", "show-hostnqn")); got != nqn {
		t.Errorf("nvme show-hostnqn: got %s, want %s", got, nqn)
	}
	if info, err := os.Stat(hostid); err != nil || info.Mode() != 0o644 {
		t.Errorf("%s: %v, %v", hostid, info, err)
	}

	guest.Replace(t, hostnqn, guest.HostNQN+"\n")
	guest.Replace(t, hostid, guest.HostID+"\n")
	atTerminal(t, "n\n", 1, "nothing was changed", "hostnqn", "--write", "--force")
	if got := fields(guest.Ctl(t, "hostnqn", "--write"))[1]; got != guest.HostNQN {
		t.Errorf("an identity that was there: got %s, want %s still", got, guest.HostNQN)
	}
	atTerminal(t, "y\n", 0, nqn, "hostnqn", "--write", "--force")
	if got, err := os.ReadFile(hostnqn); err != nil || string(got) != nqn+"\n" {
		t.Errorf("%s: got %q, %v, want %s", hostnqn, got, err, nqn)
	}
}
