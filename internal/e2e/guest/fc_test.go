// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// fcTimeout is for what has to wait until the kernel gives up a port, and for kickstarts.
const fcTimeout = 2 * time.Minute

// fcConfig makes the kernel give up controllers soon, and the journal tell of everything.
func fcConfig(global string) string {
	return "[global]\nlog-level = \"debug\"\n" + global + lossConfig(3, 1, "")
}

// listed is the target of a transport ID as `nvme-discoverctl list` shows it.
type listed struct {
	Tid            string
	State          string
	DeviceState    string
	Since          time.Time
	ReconnectUntil time.Time
	Sources        []struct{ Kind, Text string }
	RetainUntil    string
	LastError      string
	NextRetry      string
}

// findListed looks a target up in `nvme-discoverctl list`.
func findListed(t guest.T, id guest.TID) (listed, bool) {
	t.Helper()
	var list struct{ Controllers []listed }
	out := guest.Ctl(t, "list", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("list --json: %v\n%s", err, out)
	}
	i := slices.IndexFunc(list.Controllers, func(c listed) bool { return c.Tid == id.Canonical() })
	if i < 0 {
		return listed{}, false
	}
	return list.Controllers[i], true
}

// kickstarts counts how often the kernel was asked for discovery controllers since the mark.
func kickstarts(m *guest.Machine, since guest.Mark) int {
	m.Helper()
	return strings.Count(m.Journal(since), "effect: kickstart Fibre Channel")
}

// A host without Fibre Channel: the service asks for it at start, and says nothing about it but to those who debug.
func TestNoFibreChannel(t *testing.T) {
	if _, err := os.Stat("/sys/class/fc"); err == nil {
		t.Fatal("this kernel has Fibre Channel: this proves nothing")
	}
	m := guest.Begin(t)
	mark := m.Mark()
	guest.Configure(m, "[global]\nlog-level = \"debug\"\n")
	guest.Start(m)
	m.WaitLogged(connectTimeout, "the kernel was asked", func(journal string) bool {
		return strings.Contains(journal, "event core.Kickstarted")
	}, mark)
	for line := range strings.Lines(m.Journal(mark)) {
		if strings.Contains(line, "Fibre Channel") && !strings.Contains(line, "effect: ") {
			t.Errorf("journal: %s", line)
		}
	}
	if text := m.Complaints(mark, guest.Service); text != "" {
		t.Errorf("complaints:\n%s", text)
	}
}

// A host on Fibre Channel, without any configuration: the kernel is asked at start which ports there are. The port's
// discovery controller and all behind it are connected, bound to the port of this host that sees it, each by a unit with the
// name and the command that the design prescribes. A port that appears later is connected too; a restart of the daemon
// leaves everything as it is.
//
//e2e:apart
func TestFCDiscovery(t *testing.T) {
	first, second := guest.NewFCPort(t, 2), guest.NewFCPort(t, 1)
	m := guest.Begin(t)
	first.Enter()
	guest.Configure(m, "")
	guest.Start(m)
	guest.WaitConsistent(m, fcTimeout, first.Wanted())
	for _, c := range guest.Controllers() {
		if c.HostTraddr != guest.FCHost || c.Transport != "fc" {
			t.Errorf("%s: got host_traddr %q, want %q", c, c.HostTraddr, guest.FCHost)
		}
	}
	for _, id := range first.Wanted() {
		argv := guest.Argv(m, id.Unit(), "ExecStart")
		for name, want := range map[string]string{
			"transport": "fc", "traddr": id.Traddr, "host-traddr": guest.FCHost, "nqn": id.NQN, "hostnqn": guest.HostNQN, "hostid": guest.HostID,
		} {
			if got, _ := guest.Option(argv, name); got != want {
				t.Errorf("--%s of %s: got %q, want %q", name, id.Unit(), got, want)
			}
		}
		if got, found := guest.Option(argv, "trsvcid"); found {
			t.Errorf("--trsvcid of %s: got %q, want none", id.Unit(), got)
		}
	}
	if got, _ := findListed(m, first.TID(guest.DiscoveryNQN)); len(got.Sources) != 1 || got.Sources[0].Kind != "fc" || got.Sources[0].Text != "Fibre Channel" {
		t.Errorf("sources of the discovery controller: got %q", got.Sources)
	}

	second.Enter()
	all := slices.Concat(first.Wanted(), second.Wanted())
	guest.WaitConsistent(m, fcTimeout, all)

	before := map[string]string{}
	for _, c := range guest.Controllers() {
		before[c.Traddr+" "+c.NQN] = c.Name
	}
	guest.Run(m, "systemctl", "restart", guest.Service)
	guest.WaitConsistent(m, fcTimeout, all)
	// Adopted once its port was announced again, the discovery controller is asked for its log page.
	guest.Eventually(m, connectTimeout, "the daemon knows both discovery controllers", func() (bool, string) {
		a, _ := findListed(m, first.TID(guest.DiscoveryNQN))
		b, _ := findListed(m, second.TID(guest.DiscoveryNQN))
		return a.State == "connected" && b.State == "connected", fmt.Sprint(a, b)
	})
	after := map[string]string{}
	for _, c := range guest.Controllers() {
		after[c.Traddr+" "+c.NQN] = c.Name
	}
	if !maps.Equal(before, after) {
		t.Errorf("controllers after a restart of the daemon: got %v, want %v", after, before)
	}
}

// A port leaves the fabric for so long that the kernel gives up its controllers: their units are stopped, and the kernel is
// asked what ports there are. The port comes back: its announcement has everything connected again, whatever the back-off.
//
//e2e:apart
func TestFCLoss(t *testing.T) {
	port := guest.NewFCPort(t, 2)
	m := guest.Begin(t)
	port.Enter()
	guest.Configure(m, fcConfig("reconnect-max-delay = \"1h\"\n"))
	guest.Start(m)
	guest.WaitConsistent(m, fcTimeout, port.Wanted())

	mark := m.Mark()
	port.Leave()
	waitNone(m, fcTimeout)
	guest.Eventually(m, fcTimeout, "the port is known to be gone", func() (bool, string) {
		got, found := findListed(m, port.TID(guest.DiscoveryNQN))
		return found && got.RetainUntil != "" && got.State == "waiting", fmt.Sprintf("%+v", got)
	})
	if n := kickstarts(m, mark); n == 0 {
		t.Error("the kernel was not asked what ports there are")
	}
	journal := m.Journal(mark)
	for _, id := range port.Wanted() {
		if want := "effect: stop " + id.Unit(); !strings.Contains(journal, want) {
			t.Errorf("the journal has no %q", want)
		}
	}
	// Pauses of 1, 2, 4, 8 and 16 seconds: after the fifth attempt the next one would be 14 seconds away at least.
	guest.Eventually(m, fcTimeout, "five failed attempts each", func() (bool, string) {
		n := m.Starts(mark)
		return n >= 5*len(port.Wanted()), fmt.Sprint(n)
	})
	mark = m.Mark()
	port.Enter()
	took := guest.WaitConsistent(m, fcTimeout, port.Wanted())
	t.Logf("back: everything was connected within %v", took.Round(100*time.Millisecond))
	journal = m.Journal(mark)
	if want := "Fibre Channel announced " + port.Traddr(); !strings.Contains(journal, want) {
		t.Errorf("the journal has no %q:\n%s", want, journal)
	}
}

// The host sees a port that does not answer yet. The kernel's connect returns all the same, with a controller that has no
// name and tries on: the target is connecting, not connected. The kernel deletes no such controller; who tries to is told
// why. When the port answers, everything is connected.
//
//e2e:apart
func TestFCNoAssociation(t *testing.T) {
	port := guest.NewFCPort(t, 1)
	m := guest.Begin(t)
	port.Enter()
	port.Leave()
	guest.Configure(m, "[discovery-controller-defaults]\nctrl-loss-tmo = 600\nreconnect-delay = 2\n")
	guest.Start(m)
	port.Appear()
	id := port.TID(guest.DiscoveryNQN)
	guest.Eventually(m, fcTimeout, "a controller without a name", func() (bool, string) {
		all := guest.Controllers()
		return len(all) == 1 && all[0].State == "connecting" && all[0].NQN == "(efault)" && guest.ActiveState(m, id.Unit()) == "active", fmt.Sprint(all)
	})
	guest.Always(m, quietSpan, "it is neither connected nor tried again", func() (bool, string) {
		got, _ := findListed(m, id)
		return got.State == "connecting" && len(guest.Controllers()) == 1, fmt.Sprint(got)
	})
	if out := guest.TryCtl(m, "disconnect", "--device="+guest.Controllers()[0].Name); out.Status != 1 || !strings.Contains(out.Stderr, "it has never reached its target") {
		t.Errorf("disconnect: got status %d, %q", out.Status, out.Stderr)
	}
	port.Answer()
	guest.WaitConsistent(m, fcTimeout, port.Wanted())
}

// A port that was announced and never connected leaves the fabric. Nothing tells of that but the kickstart of
// fc-kickstart-interval-minutes, which passes without it: it is forgotten after discovery-retention-time. rescan asks too.
//
//e2e:apart
func TestFCKickstartInterval(t *testing.T) {
	port := guest.NewFCPort(t, 1)
	m := guest.Begin(t)
	guest.Ctl(m, "exclusion", "add", "--entry", "transport=fc;traddr="+port.Traddr())
	port.Enter()
	guest.Configure(m, fcConfig("fc-kickstart-interval-minutes = 1\ndiscovery-retention-time = 2\n"))
	guest.Start(m)
	id := port.TID(guest.DiscoveryNQN)
	guest.Eventually(m, connectTimeout, "it is excluded", func() (bool, string) {
		got, _ := findListed(m, id)
		return got.State == "excluded", fmt.Sprint(got)
	})
	mark := m.Mark()
	port.Leave()
	guest.Eventually(m, fcTimeout, "it is forgotten", func() (bool, string) {
		got, found := findListed(m, id)
		return !found, fmt.Sprint(got)
	})
	if n := kickstarts(m, mark); n != 1 {
		t.Errorf("kickstarts: got %d, want 1", n)
	}
	mark = m.Mark()
	guest.Ctl(m, "rescan")
	guest.Eventually(m, connectTimeout, "rescan kickstarts", func() (bool, string) {
		return kickstarts(m, mark) > 0, ""
	})
}

// A piece of equipment is replaced: another port name appears. What is behind it is connected; the old one is kept for
// discovery-retention-time, and then forgotten with all that only its log page named.
//
//e2e:apart
func TestFCReplaced(t *testing.T) {
	before, after := guest.NewFCPort(t, 1), guest.NewFCPort(t, 1)
	m := guest.Begin(t)
	before.Enter()
	guest.Configure(m, fcConfig("discovery-retention-time = 20\n"))
	guest.Start(m)
	guest.WaitConsistent(m, fcTimeout, before.Wanted())

	before.Leave()
	after.Enter()
	guest.WaitConsistent(m, fcTimeout, after.Wanted())
	id := before.TID(guest.DiscoveryNQN)
	guest.Eventually(m, fcTimeout, "the old one is kept", func() (bool, string) {
		got, found := findListed(m, id)
		return found && got.RetainUntil != "", fmt.Sprintf("%+v", got)
	})
	guest.Eventually(m, fcTimeout, "the old one is forgotten", func() (bool, string) {
		for _, id := range before.Wanted() {
			if got, found := findListed(m, id); found {
				return false, fmt.Sprintf("%+v", got)
			}
		}
		return true, ""
	})
	guest.WaitConsistent(m, fcTimeout, after.Wanted())
}

// The target was configured with a comma in its address and writes it so in its log page; an administrator spells it in
// three other ways: in the configuration, in an exclusion, and in a connect by hand, which the kernel shows as it was written.
// All that is one address: everything is connected once, the excluded one is not, and what was connected by hand is taken over.
func TestFCSpellings(t *testing.T) {
	port := guest.NewFCPortWithComma(t, 3)
	m := guest.Begin(t)
	port.Enter()
	comma, bare, bytes := guest.FCSpellings(port.Traddr())
	hostComma, hostBare, _ := guest.FCSpellings(guest.FCHost)
	byHand, excluded, found := port.Subsystems[0].NQN, port.Subsystems[1].NQN, port.Subsystems[2].NQN
	guest.Run(m, "nvme", "connect", "-t", "fc", "-a", bare, "-w", hostBare, "-n", byHand)
	before := guest.WaitLive(m, fcTimeout, byHand)
	if got := guest.Controllers()[0]; got.Traddr != bare || got.HostTraddr != hostBare {
		t.Fatalf("sysfs has another spelling than the connect, which proves nothing: %v", got)
	}
	guest.Ctl(m, "exclusion", "add", "--entry", "transport=fc;traddr="+bytes+";nqn="+excluded)
	guest.Configure(m, fmt.Sprintf("[[discovery-controller]]\ncontroller = [{ transport = \"fc\", traddr = %q, host-traddr = %q }]\n", comma, hostComma))
	mark := m.Mark()
	guest.Start(m)
	devices := guest.WaitLive(m, fcTimeout, guest.DiscoveryNQN, byHand, found)
	for _, nqn := range []string{guest.DiscoveryNQN, byHand, found} {
		m.WaitUnit(port.TID(nqn).Unit(), "active")
	}
	guest.Eventually(m, connectTimeout, "one is excluded", func() (bool, string) {
		got, _ := findListed(m, port.TID(excluded))
		return got.State == "excluded", fmt.Sprint(got)
	})
	guest.Always(m, quietSpan, "each is connected once", unchanged(devices))
	if devices[byHand] != before[byHand] {
		t.Errorf("what was connected by hand as %s is %s now", before[byHand], devices[byHand])
	}
	if got, _ := findListed(m, port.TID(guest.DiscoveryNQN)); len(got.Sources) != 2 {
		t.Errorf("sources of the discovery controller: got %q, want the configuration and Fibre Channel", got.Sources)
	}
	argv := guest.Argv(m, port.TID(found).Unit(), "ExecStart")
	if got, _ := guest.Option(argv, "traddr"); got != port.Traddr() {
		t.Errorf("--traddr of %s: got %q, want %q", found, got, port.Traddr())
	}
	for _, e := range logEntries(m) {
		if e.Traddr != port.Traddr() || e.Skipped != "" {
			t.Errorf("logs --json: %+v, want address %s", e, port.Traddr())
		}
	}
	guest.Ctl(m, "connect", "--transport=fc", "--traddr="+comma, "--host-traddr="+hostComma, "--nqn="+found, "--idempotent")
	if out := guest.TryCtl(m, "connect", "--transport=fc", "--traddr=nn-0x1:pn-0x2", "--host-traddr="+hostComma, "--nqn="+found); out.Status != 2 && out.Status != 1 || !strings.Contains(out.Stderr, `"0x1" is not a World Wide Name of 16 hexadecimal digits`) {
		t.Errorf("connect to a short name: got status %d, %q", out.Status, out.Stderr)
	}
	if text := m.Complaints(mark, guest.Service); text != "" {
		t.Errorf("complaints:\n%s", text)
	}
	guest.Run(m, "systemctl", "restart", guest.Service)
	guest.Always(m, quietSpan, "a restart changes nothing", unchanged(devices))
}
