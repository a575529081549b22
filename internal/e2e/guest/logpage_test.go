// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// fakeScene is a discovery controller that can lie, before subsystems of the kernel's target, which are real.
func fakeScene(t *testing.T, n int) (*guest.Fixture, *guest.FakeDC) {
	t.Helper()
	f := guest.Scene(t, n)
	dc := guest.NewFakeDC(f, 8011)
	guest.Configure(f, fmt.Sprintf("[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = %q, trsvcid = %s }]\n",
		dc.Traddr, dc.Trsvcid))
	return f, dc
}

// entries are true log page entries of the scene's subsystems.
func entries(f *guest.Fixture, subsystems ...*guest.Subsystem) []guest.LogEntry {
	var all []guest.LogEntry
	for _, s := range subsystems {
		all = append(all, guest.LogEntry{Traddr: f.Port.Traddr, Trsvcid: f.Port.Trsvcid, NQN: s.NQN})
	}
	return all
}

// A discovery controller shows log pages that are broken in every way that a broken or hostile one can: each is told of in
// the journal, the last good one stays in force, nothing is disconnected and nothing connected that should not be. When it
// tells the truth again, that is followed.
func TestLyingLogPage(t *testing.T) {
	f, dc := fakeScene(t, 2)
	first, second := f.Subsystems[0], f.Subsystems[1]
	dc.Show(guest.LogPage{Generation: 1, Torn: true, Entries: entries(f, first)})
	guest.Start(t)
	checkUnread(t)
	good := guest.LogPage{Generation: 1, Entries: entries(f, first)}
	dc.Show(good)
	guest.Ctl(t, "wait", "--timeout=1min")
	devices := guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, first.NQN)

	both := entries(f, first, second)
	lies := []struct {
		name string
		page guest.LogPage
	}{
		{"more records than memory", guest.LogPage{Generation: 2, Records: 1 << 60, Entries: both}},
		{"an unknown record format", guest.LogPage{Generation: 3, Format: 7, Entries: both}},
		{"never the same generation twice", guest.LogPage{Generation: 100, Restless: true, Entries: both}},
		{"records that cannot be read", guest.LogPage{Generation: 5, Torn: true, Entries: both}},
	}
	for _, lie := range lies {
		t.Run(lie.name, func(t *testing.T) {
			mark, reads := f.Mark(), dc.Reads()
			dc.Show(lie.page)
			dc.WaitRead(connectTimeout, reads)
			f.WaitLogged(connectTimeout, "a word about it in the journal", func(text string) bool {
				return strings.Contains(text, "log page") && strings.Contains(text, "cannot")
			}, mark)
			guest.Always(t, quietSpan, "the last good page stays in force", unchanged(devices))
			if got := dc.Reads() - reads; got > 100 {
				t.Errorf("the broken page was read %d times in a few seconds", got)
			}
		})
	}
	dc.Show(guest.LogPage{Generation: 200, Entries: both})
	guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, first.NQN, second.NQN)
}

// checkUnread tests what is said while the first log page of the only discovery controller cannot be read: it is connected, and still not
// all that is wanted may be, with the reason.
func checkUnread(t *testing.T) {
	t.Helper()
	const why = "its log page is not read yet: cannot read its log page: "
	guest.Eventually(t, connectTimeout, "status --check that says why the log page is not read", func() (bool, string) {
		out := guest.TryCtl(t, "status", "--check")
		return out.Status == 1 && strings.Contains(out.Stdout, why) && strings.Contains(out.Stderr, "not read yet: 1 log page, which may name more"), out.Stdout + out.Stderr
	})
	if late := guest.TryCtl(t, "wait", "--timeout=1s"); late.Status != 1 || !strings.Contains(late.Stderr, why) {
		t.Errorf("wait: got status %d, %q and %q", late.Status, late.Stdout, late.Stderr)
	}
	var status struct {
		Counts struct{ Wanted, Connected, Unread int }
	}
	varlinkctl(t, "GetStatus", "{}", &status)
	if n := status.Counts; n.Wanted != 1 || n.Connected != 1 || n.Unread != 1 {
		t.Errorf("counts: got %+v, want one that is wanted and connected, and its log page unread", n)
	}
	if metrics := guest.Ctl(t, "metrics"); !strings.Contains(metrics, "nvme_discoverd_unread_log_pages 1\n") {
		t.Errorf("metrics: got\n%s", metrics)
	}
	for _, client := range [][]string{{"sh", clientsDir + "wait-connected.sh"}, {"python3", clientsDir + "discoverd.py"}} {
		if out := asNobody(t, "timeout", append([]string{"3"}, client...)...); out.Status != 124 {
			t.Errorf("%s does not wait: status %d, %q and %q", client[1], out.Status, out.Stdout, out.Stderr)
		}
	}
}

// Single entries of a log page are bad: an NQN that would smuggle options into the kernel, control characters, an address that
// is none, texts without an end. They are left out and told of; the good one beside them is connected, and no connection
// has a parameter that the administrator did not choose.
func TestLyingEntries(t *testing.T) {
	f, dc := fakeScene(t, 1)
	good := entries(f, f.Subsystems...)
	bad := []guest.LogEntry{
		{Traddr: f.Port.Traddr, Trsvcid: f.Port.Trsvcid, NQN: "nqn.2024-01.com.example:x,hostnqn=nqn.2024-01.com.example:evil"},
		{Traddr: f.Port.Traddr, Trsvcid: f.Port.Trsvcid, NQN: "nqn.2024-01.com.example:\x1b[31mred\n"},
		{Traddr: "127.0.0.1,trsvcid=1", Trsvcid: f.Port.Trsvcid, NQN: "nqn.2024-01.com.example:y"},
		{Traddr: "not an address", Trsvcid: f.Port.Trsvcid, NQN: "nqn.2024-01.com.example:z"},
		{Traddr: f.Port.Traddr, Trsvcid: "99999999", NQN: "nqn.2024-01.com.example:port"},
		{Traddr: f.Port.Traddr, Trsvcid: f.Port.Trsvcid, NQN: "nqn.2024-01.com.example:" + strings.Repeat("long", 100)},
		{Traddr: f.Port.Traddr, Trsvcid: f.Port.Trsvcid, NQN: ""},
	}
	dc.Show(guest.LogPage{Generation: 1, Entries: append(bad, good...)})
	guest.Start(t)
	devices := guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, f.Subsystems[0].NQN)
	guest.Always(t, quietSpan, "only the good one is connected", unchanged(devices))
	if got := len(guest.Units(t)); got != 2 {
		t.Errorf("units: got %v, want two", guest.Units(t))
	}
	for _, c := range guest.Controllers() {
		if c.HostNQN != guest.HostNQN {
			t.Errorf("host NQN of %s: got %q, want %q", c.Name, c.HostNQN, guest.HostNQN)
		}
	}
	if text := f.Journal(); strings.Contains(text, "\x1b") {
		t.Errorf("the journal passes on control characters:\n%q", text)
	}
}

// A discovery controller that is reached by the well-known NQN shows one of its own: it is the connection that was wanted, and
// stays so over a restart of the daemon and events.
func TestUniqueDiscoveryNQN(t *testing.T) {
	const unique = "nqn.2024-01.com.example:discovery"
	f, dc := fakeScene(t, 2)
	dc.Rename(unique)
	dc.Show(guest.LogPage{Generation: 1, Entries: entries(f, f.Subsystems[0])})
	guest.Start(t)
	devices := guest.WaitLive(t, connectTimeout, unique, f.Subsystems[0].NQN)
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Always(t, quietSpan, "adopted", unchanged(devices))
	dc.Show(guest.LogPage{Generation: 2, Entries: entries(f, f.Subsystems...)})
	guest.WaitLive(t, connectTimeout, unique, f.Subsystems[0].NQN, f.Subsystems[1].NQN)
}

// A log page becomes empty: that is a good page too. Nothing is disconnected; what is lost after that is not wanted any more.
func TestEmptyLogPage(t *testing.T) {
	f, dc := fakeScene(t, 2)
	dc.Show(guest.LogPage{Generation: 1, Entries: entries(f, f.Subsystems...)})
	guest.Start(t)
	devices := guest.WaitLive(t, connectTimeout, f.NQNs()...)
	reads := dc.Reads()
	dc.Show(guest.LogPage{Generation: 2})
	dc.WaitRead(connectTimeout, reads)
	guest.Always(t, quietSpan, "nothing is disconnected", unchanged(devices))
	lost := f.Subsystems[0].NQN
	guest.Delete(t, devices[lost])
	delete(devices, lost)
	f.WaitUnit(f.Unit(lost), "inactive")
	guest.Always(t, quietSpan, "what is lost stays away", unchanged(devices))
}

// A discovery controller hangs up whenever its log page is read: its entries stay as they were, and the daemon does not
// connect to it again and again without a pause.
func TestHangup(t *testing.T) {
	f, dc := fakeScene(t, 1)
	dc.Show(guest.LogPage{Generation: 1, Entries: entries(f, f.Subsystems...)})
	guest.Start(t)
	devices := guest.WaitLive(t, connectTimeout, f.NQNs()...)
	volume := f.Subsystems[0].NQN
	reads := dc.Reads()
	dc.Show(guest.LogPage{Generation: 2, Hangup: true, Entries: entries(f, f.Subsystems...)})
	dc.WaitRead(connectTimeout, reads)
	guest.Always(t, 2*quietSpan, "the subsystem stays", func() (bool, string) {
		live := guest.Live(volume)
		return len(live) == 1 && live[0] == devices[volume], fmt.Sprint(live)
	})
	if got := dc.Reads() - reads; got > 100 {
		t.Errorf("the log page was read %d times in a few seconds", got)
	}
	dc.Show(guest.LogPage{Generation: 3, Entries: entries(f, f.Subsystems...)})
	guest.WaitLive(t, connectTimeout, f.NQNs()...)
}

// logEntry is an entry of `nvme-discoverctl logs --json`.
type logEntry struct {
	Transport, Traddr, NQN, Skipped string
}

// logEntries are the entries of all log pages that the service has read.
func logEntries(t guest.T) []logEntry {
	t.Helper()
	var logs struct {
		Logs []struct{ Entries []logEntry }
	}
	out := guest.Ctl(t, "logs", "--json")
	if err := json.Unmarshal([]byte(out), &logs); err != nil {
		t.Fatalf("logs --json: %v\n%s", err, out)
	}
	var all []logEntry
	for _, l := range logs.Logs {
		all = append(all, l.Entries...)
	}
	return all
}

// A discovery controller on tcp names what it cannot lead to: this host's own target by loop, and a port on Fibre Channel. Both
// are skipped and shown with the reason. It names a subsystem that requires TLS, for which this host has no key: that is not
// connected, least of all without; one that only offers TLS is. Its referral is followed although it says that it
// leads to nothing new, and of its own entries the one for the port that was asked says whether it stays.
func TestOtherEntries(t *testing.T) {
	f, dc := fakeScene(t, 3)
	plain, required, offered := f.Subsystems[0], f.Subsystems[1], f.Subsystems[2]
	private, behind := f.Target.Subsystem("nqn.2024-01.com.example:private"), f.Target.Subsystem("nqn.2024-01.com.example:behind")
	f.Target.LoopPort().Link(private)
	second := f.Target.Port(8010)
	second.Link(behind)
	guest.Configure(f, fmt.Sprintf("[global]\ndiscovery-persistence = \"epcsd\"\n\n[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = %q, trsvcid = %s }]\n",
		dc.Traddr, dc.Trsvcid))
	page := entries(f, plain, required, offered)
	page[1].TREQ, page[1].SecType = 1, 2
	page[2].TREQ, page[2].SecType = 2, 2
	dc.Show(guest.LogPage{Generation: 1, Entries: append(
		page,
		guest.LogEntry{Subtype: 3, Traddr: "192.0.2.77", Trsvcid: "8009", NQN: guest.DiscoveryNQN},
		guest.LogEntry{Subtype: 3, Traddr: dc.Traddr, Trsvcid: dc.Trsvcid, NQN: guest.DiscoveryNQN, Flags: 2},
		guest.LogEntry{Transport: "loop", NQN: private.NQN},
		guest.LogEntry{Transport: "fc", Traddr: "nn-0x20000090fae0b5f5,pn-0x10000090fae0b5f5", Trsvcid: "none", NQN: "nqn.2024-01.com.example:fc"},
		guest.LogEntry{Transport: "loop", Subtype: 1, NQN: guest.DiscoveryNQN},
		guest.LogEntry{Subtype: 1, Traddr: second.Traddr, Trsvcid: second.Trsvcid, NQN: guest.DiscoveryNQN, Flags: 1},
	)})
	guest.Start(f)
	right := func() (bool, string) {
		for nqn, want := range map[string]int{plain.NQN: 1, offered.NQN: 1, behind.NQN: 1, required.NQN: 0, private.NQN: 0} {
			if found := guest.Live(nqn); len(found) != want {
				return false, fmt.Sprintf("%s: %v", nqn, found)
			}
		}
		return true, ""
	}
	guest.Eventually(f, connectTimeout, "what can be connected is, the referral's too", right)
	guest.Eventually(f, connectTimeout, "the connect with TLS has failed for want of a key", func() (bool, string) {
		got, _ := findListed(f, f.Port.TID(required.NQN))
		return strings.Contains(got.LastError, "there is no TLS key"), fmt.Sprintf("%+v", got)
	})
	guest.Always(f, quietSpan, "nothing else is connected", right)
	if found := guest.Devices()[private.NQN]; found != "" {
		t.Errorf("this host's own target is connected by loop as %s", found)
	}
	reasons := map[string]string{
		private.NQN:                  "transport loop is the target of this host itself, which a discovery controller on tcp cannot name",
		"nqn.2024-01.com.example:fc": "transport fc needs the host-traddr of a port of this host, which a discovery controller on tcp does not tell",
	}
	journal := f.Journal()
	for nqn, reason := range reasons {
		if n := strings.Count(journal, fmt.Sprintf("log page: skipping the entry for %q: %s", nqn, reason)); n != 1 {
			t.Errorf("the journal tells %d times why %s is skipped:\n%s", n, nqn, journal)
		}
	}
	for _, want := range []string{"4 of 9 entries are connections, 3 skipped", "entries that offer TLS without requiring it are connected without (1)"} {
		if !strings.Contains(journal, want) {
			t.Errorf("the journal has no %q", want)
		}
	}
	skipped := 0
	for _, e := range logEntries(f) {
		if e.Skipped != "" {
			skipped++
		}
		if want, known := reasons[e.NQN]; known && e.Skipped != want {
			t.Errorf("logs --json: why %s is skipped: got %q, want %q", e.NQN, e.Skipped, want)
		}
	}
	if text := guest.Ctl(f, "logs", "nvme1"); skipped != 3 || !strings.Contains(text, "9 entries, 3 skipped") || !strings.Contains(text, reasons[private.NQN]) {
		t.Errorf("skipped: got %d, want 3\n%s", skipped, text)
	}

	// The kernel's own discovery controller, which says that it does not stay, is parked after the first read, though the event by
	// which it is read may come before the end of its unit's job. The other one says in the entry for its port that it stays.
	guest.Eventually(f, connectTimeout, "the one that does not stay is parked", func() (bool, string) {
		got, _ := findListed(f, second.TID(guest.DiscoveryNQN))
		return got.State == "parked", fmt.Sprintf("%+v", got)
	})
	fake := f.Port.TID(guest.DiscoveryNQN)
	fake.Trsvcid = dc.Trsvcid
	guest.Always(f, quietSpan, "the one that stays is kept", func() (bool, string) {
		got, _ := findListed(f, fake)
		ok, why := right()
		return ok && got.State == "connected", fmt.Sprintf("%+v %s", got, why)
	})
}

// A discovery controller at a link-local address names a subsystem and a referral at link-local addresses without a zone, as it
// must: the zone is this host's name for its interface. They are connected in the zone of the discovery controller.
func TestLinkLocalEntries(t *testing.T) {
	const link = "local"
	traddr := guest.NewLinkLocal(t, link)
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	port, other := target.PortAt(traddr, 8009), target.PortAt(traddr, 8010)
	volume, behind := target.Subsystem("nqn.2024-01.com.example:vol1"), target.Subsystem("nqn.2024-01.com.example:vol2")
	port.Link(volume)
	other.Link(behind)
	dc := guest.NewFakeDCAt(m, traddr, 8011)
	bare, _, _ := strings.Cut(traddr, "%")
	dc.Show(guest.LogPage{Generation: 1, Entries: []guest.LogEntry{
		{Traddr: bare, Trsvcid: port.Trsvcid, NQN: volume.NQN},
		{Subtype: 1, Traddr: bare, Trsvcid: other.Trsvcid, NQN: guest.DiscoveryNQN},
	}})
	guest.Configure(m, fmt.Sprintf("[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = %q, trsvcid = %s }]\n", traddr, dc.Trsvcid))
	guest.Start(m)
	first := guest.TID{
		Transport: "tcp", Traddr: traddr, Trsvcid: dc.Trsvcid, NQN: guest.DiscoveryNQN, HostNQN: guest.HostNQN, HostID: guest.HostID,
	}
	wanted := []guest.TID{first, port.TID(volume.NQN), other.TID(guest.DiscoveryNQN), other.TID(behind.NQN)}
	guest.WaitConsistent(m, connectTimeout, wanted)
	guest.Run(m, "systemctl", "restart", guest.Service)
	guest.WaitConsistent(m, connectTimeout, wanted)
}
