// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// pathConfig names a subsystem with a path for each line, the rest of its table.
func pathConfig(nqn string, paths ...string) string {
	return fmt.Sprintf("[[subsystem]]\nnqn = %q\ncontroller = [\n  { transport = \"tcp\", %s },\n]\n",
		nqn, strings.Join(paths, " },\n  { transport = \"tcp\", "))
}

// waitAttempts waits until some target has failed so often.
func waitAttempts(t guest.T, n int) {
	t.Helper()
	guest.Eventually(t, 2*time.Minute, fmt.Sprintf("%d attempts of a target", n), func() (bool, string) {
		var list struct {
			Controllers []struct{ Attempts int }
		}
		answer := guest.Ctl(t, "list", "--json")
		if err := json.Unmarshal([]byte(answer), &list); err != nil {
			t.Fatalf("list --json: %v\n%s", err, answer)
		}
		for _, c := range list.Controllers {
			if c.Attempts >= n {
				return true, ""
			}
		}
		return false, answer
	})
}

// Two paths of a subsystem are pinned to an interface each, and both are connected. A third one is pinned to an interface from
// which its address cannot be reached: it is tried again and again without a unit, told once with its binding, and shown in
// the status.
func TestTwoPathsPinned(t *testing.T) {
	far := guest.NewFar(t)
	far.Cable("fabric-b", "198.51.100.2/24", "198.51.100.1/24")
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	subsystem := target.Subsystem("nqn.2024-01.com.example:vol1")
	a, b := target.PortAt(guest.FarAddress, 8009), target.PortAt("198.51.100.1", 8010)
	far.There(func() {
		a.Link(subsystem)
		b.Link(subsystem)
	})
	path := func(p *guest.Port, iface string) string {
		return fmt.Sprintf("traddr = %q, trsvcid = %s, host-iface = %q", p.Traddr, p.Trsvcid, iface)
	}
	guest.Configure(t, pathConfig(subsystem.NQN, path(a, guest.FarLink), path(b, "fabric-b"), path(a, "fabric-b")))
	guest.Start(t)
	first, second := a.TID(subsystem.NQN), b.TID(subsystem.NQN)
	first.HostIface, second.HostIface = guest.FarLink, "fabric-b"
	wanted := []guest.TID{first, second}
	guest.WaitConsistent(t, connectTimeout, wanted)
	for _, c := range guest.Controllers() {
		want := map[string]string{a.Traddr: guest.FarLink, b.Traddr: "fabric-b"}[c.Traddr]
		got, err := os.ReadFile(filepath.Join("/sys/class/nvme", c.Name, "address"))
		if err != nil || !strings.Contains(string(got), "host_iface="+want) {
			t.Errorf("address of %s: got %q, %v, want host_iface=%s", c, got, err, want)
		}
	}
	waitAttempts(t, 4)
	status := guest.Ctl(t, "status")
	if !strings.Contains(status, "fabric-b") || !strings.Contains(status, "next") {
		t.Errorf("status: want the path that cannot be connected and its next attempt, got:\n%s", status)
	}
	guest.Always(t, quietSpan, "nothing comes or goes meanwhile", func() (bool, string) { return guest.Consistent(t, wanted) })
	journal := m.Journal()
	// The kernel gives up asking for the peer's address when the probe ends: either may be first.
	causes := map[string]int{}
	for line := range strings.Lines(journal) {
		if _, cause, ok := strings.Cut(line, "cannot connect fabric-b → "+a.Traddr); ok {
			cause, _, _ = strings.Cut(cause, "; next attempt")
			causes[cause]++
		}
	}
	for cause, n := range causes {
		if n != 1 {
			t.Errorf("%q is told %d times, want once:\n%s", cause, n, journal)
		}
	}
	if len(causes) < 1 || len(causes) > 2 {
		t.Errorf("causes why the path cannot be connected: got %v, want one or two with its binding:\n%s", causes, journal)
	}
}

// A connection that somebody made without a binding goes out by the address that a wish pins: it serves the wish, and nothing
// is connected a second time. It serves no wish of another address.
func TestSourceAddressServes(t *testing.T) {
	far := guest.NewFar(t)
	guest.Run(t, "ip", "address", "add", "192.0.2.3/24", "dev", guest.FarLink)
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	port, subsystem := target.PortAt(guest.FarAddress, 8009), target.Subsystem("nqn.2024-01.com.example:vol1")
	far.There(func() { port.Link(subsystem) })
	guest.Run(t, "modprobe", "nvme-tcp") // what nvme-cli connects with before the service has run
	guest.Run(t, "nvme", "connect", "-t", "tcp", "-a", port.Traddr, "-s", port.Trsvcid, "-n", subsystem.NQN)
	device := guest.WaitLive(t, connectTimeout, subsystem.NQN)[subsystem.NQN]
	path := func(addr string) string {
		return fmt.Sprintf("traddr = %q, trsvcid = %s, host-traddr = %q", port.Traddr, port.Trsvcid, addr)
	}
	guest.Configure(t, pathConfig(subsystem.NQN, path("192.0.2.2")))
	guest.Start(t)
	pinned := port.TID(subsystem.NQN)
	pinned.HostTraddr = "192.0.2.2"
	guest.WaitConsistent(t, connectTimeout, []guest.TID{pinned})
	if live := guest.Live(subsystem.NQN); len(live) != 1 || live[0] != device {
		t.Errorf("controllers: got %v, want %s alone", live, device)
	}
	guest.Configure(t, pathConfig(subsystem.NQN, path("192.0.2.2"), path("192.0.2.3")))
	guest.Reload(t)
	guest.Eventually(t, connectTimeout, "a connection of its own for the other address", func() (bool, string) {
		live := guest.Live(subsystem.NQN)
		return len(live) == 2, fmt.Sprint(live)
	})

	// To disconnect, the target's address means both: they are named and stay, until one is told from the other.
	live := guest.Live(subsystem.NQN)
	options := []string{"disconnect", "-t", "tcp", "-a", port.Traddr, "-s", port.Trsvcid, "-n", subsystem.NQN}
	out := guest.TryCtl(t, options...)
	if out.Status != 1 || !strings.Contains(out.Stderr, "2 controllers are connected so: ") || !strings.Contains(out.Stderr, live[0]) || !strings.Contains(out.Stderr, live[1]) {
		t.Errorf("disconnect by the target's address: got status %d, %q and %q", out.Status, out.Stdout, out.Stderr)
	}
	if now := guest.Live(subsystem.NQN); !slices.Equal(now, live) {
		t.Errorf("after disconnect by the target's address: got %v, want %v still", now, live)
	}
	if got := guest.Ctl(t, append(options, "--host-traddr=192.0.2.3")...); strings.Count(got, "disconnected nvme") != 1 || strings.Contains(got, "disconnected "+device+":") {
		t.Errorf("disconnect by both addresses: got %q, want the one from 192.0.2.3", got)
	}
}

// An address that comes up is a kick: what waits for it is tried at once, though its next attempt was far away.
func TestAddressAppears(t *testing.T) {
	far := guest.NewFar(t)
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	port, subsystem := target.PortAt(guest.FarAddress, 8009), target.Subsystem("nqn.2024-01.com.example:vol1")
	far.There(func() { port.Link(subsystem) })
	guest.Configure(t, "[global]\nreconnect-max-delay = \"1h\"\n"+
		pathConfig(subsystem.NQN, fmt.Sprintf("traddr = %q, trsvcid = %s, host-traddr = \"192.0.2.77\"", port.Traddr, port.Trsvcid)))
	guest.Start(t)
	waitAttempts(t, 5) // the next one is 14 seconds away at least
	mark := m.Mark()
	begin := time.Now()
	guest.Run(t, "ip", "address", "add", "192.0.2.77/24", "dev", guest.FarLink)
	pinned := port.TID(subsystem.NQN)
	pinned.HostTraddr = "192.0.2.77"
	guest.WaitConsistent(t, connectTimeout, []guest.TID{pinned})
	t.Logf("connected %v after the address came", time.Since(begin).Round(time.Millisecond))
	if journal := m.Journal(mark); !strings.Contains(journal, "an address appeared on "+guest.FarLink) {
		t.Errorf("journal: want the reason of the attempt, got:\n%s", journal)
	}
}

// Ten thousand times an address comes or goes or a link changes: the daemon's work is bounded, and what is connected stays. When
// a link comes up, what is pinned to it is tried, and nothing that it cannot serve.
//
//e2e:crowded
func TestLinkStorm(t *testing.T) {
	f, devices := guest.Connected(t, 2)
	dead := f.Target.Port(8010)
	pinned := fmt.Sprintf("traddr = %q, trsvcid = %s, host-iface = \"storm\"", dead.Traddr, dead.Trsvcid)
	guest.Configure(t, discoveryConfig(f.Port)+subsystemConfig(dead, "nqn.2024-01.com.example:dead", "")+
		pathConfig("nqn.2024-01.com.example:pinned", pinned))
	guest.Reload(t)
	guest.Run(t, "ip", "link", "add", "storm", "type", "dummy")
	t.Cleanup(func() { guest.Run(t, "ip", "link", "delete", "storm") })
	var batch strings.Builder
	for i := range 200 {
		fmt.Fprintf(&batch, "link set storm up\naddress add 198.51.100.%d/32 dev storm\n", i+1)
		batch.WriteString(strings.Repeat("link set storm mtu 1400\nlink set storm mtu 1500\n", 23))
		fmt.Fprintf(&batch, "address delete 198.51.100.%d/32 dev storm\nlink set storm down\n", i+1)
	}
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	used := func() time.Duration {
		ns, _ := strconv.ParseInt(guest.Property(t, guest.Service, "CPUUsageNSec"), 10, 64)
		return time.Duration(ns)
	}
	mark, before, begin := f.Mark(), used(), time.Now()
	guest.Run(t, "ip", "-batch", file)
	span := time.Since(begin)
	guest.Eventually(t, connectTimeout, "the daemon answers", func() (bool, string) {
		out := guest.TryCtl(t, "status")
		return out.Status == 0, out.Stderr
	})
	t.Logf("10000 changes in %v took the daemon %v of processor time", span.Round(time.Millisecond), (used() - before).Round(time.Millisecond))
	guest.Always(t, quietSpan, "what is connected stays", unchanged(devices))
	journal := f.Journal(mark)
	// What waits is tried once a second at most, and the journal says so every ten seconds.
	if n, most := strings.Count(journal, "trying what waits"), 2+int((span+connectTimeout)/(10*time.Second)); n > most {
		t.Errorf("lines about kicks: got %d, want %d at most", n, most)
	}
	guest.Eventually(t, connectTimeout, "what waits for the link is tried when it comes up", func() (bool, string) {
		guest.Run(t, "ip", "link", "set", "storm", "down")
		guest.Run(t, "ip", "link", "set", "storm", "up")
		journal := f.Journal(mark)
		return strings.Contains(journal, "link storm is up: trying what waits on tcp now (1)"), journal
	})
	if n := strings.Count(journal, "cannot connect: "); n > 5 { // without a binding
		t.Errorf("lines about the dead port: got %d, want a few:\n%s", n, journal)
	}
}
