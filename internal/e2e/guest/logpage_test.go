//go:build e2e

package guest_test

import (
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
	good := guest.LogPage{Generation: 1, Entries: entries(f, first)}
	dc.Show(good)
	guest.Start(t)
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
			guest.Eventually(t, connectTimeout, "a word about it in the journal", func() (bool, string) {
				text := f.Journal(mark)
				return strings.Contains(text, "log page") && strings.Contains(text, "cannot"), text
			})
			guest.Always(t, quietSpan, "the last good page stays in force", unchanged(devices))
			if got := dc.Reads() - reads; got > 100 {
				t.Errorf("the broken page was read %d times in a few seconds", got)
			}
		})
	}
	dc.Show(guest.LogPage{Generation: 200, Entries: both})
	guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, first.NQN, second.NQN)
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
