// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// noticeTimeout is how soon the service says that the kernel reconnects a controller (docs/architecture.md: a look every two seconds),
// with what the machine takes to say so.
const noticeTimeout = 10 * time.Second

// seenAs waits until everything that people and programs look at has so many controllers connected and the others reconnecting.
func seenAs(f *guest.Fixture, timeout time.Duration, connected, reconnecting int) {
	f.Helper()
	guest.Eventually(f, timeout, fmt.Sprintf("%d connected, %d reconnecting", connected, reconnecting), func() (bool, string) {
		all := connected + reconnecting
		line := fmt.Sprintf("%d of %d controllers connected", connected, all)
		if reconnecting > 0 {
			line += fmt.Sprintf(", %d reconnecting", reconnecting)
		}
		if status := guest.Property(f, guest.Service, "StatusText"); status != line {
			return false, "the status line says: " + status
		}
		var status struct {
			Status string
			Counts struct{ Wanted, Connected, Reconnecting int }
		}
		varlinkctl(f, "GetStatus", "{}", &status)
		if n := status.Counts; n.Wanted != all || n.Connected != connected || n.Reconnecting != reconnecting || status.Status != line {
			return false, fmt.Sprintf("varlink says: %+v", status)
		}
		var list struct{ Controllers []listed }
		if err := json.Unmarshal([]byte(guest.Ctl(f, "list", "--json")), &list); err != nil {
			f.Fatalf("list --json: %v", err)
		}
		states := map[string]int{}
		for _, c := range list.Controllers {
			states[c.State]++
			if (c.State == "connected") != (c.DeviceState == "live") || (c.State == "reconnecting") != !c.ReconnectUntil.IsZero() {
				return false, fmt.Sprintf("list says: %+v", c)
			}
		}
		if states["connected"] != connected || states["reconnecting"] != reconnecting {
			return false, fmt.Sprint("list says: ", states)
		}
		metrics := guest.Ctl(f, "metrics")
		for _, want := range []string{
			fmt.Sprintf(`nvme_discoverd_controllers{kind="io",state="reconnecting"} %d`, max(reconnecting-1, 0)),
			fmt.Sprintf(`nvme_discoverd_controllers{kind="io",state="connected"} %d`, max(connected-1, 0)),
			fmt.Sprintf(`nvme_discoverd_wanted_controllers{kind="io"} %d`, all-1),
		} {
			if !strings.Contains(metrics, want+"\n") {
				return false, "metrics lack " + want
			}
		}
		return true, ""
	})
}

// A port of the array goes down. No uevent tells, and within seconds nothing calls its controllers connected any more: the list, the
// status, its line, the counts, the metrics; they say since when and until when the kernel reconnects them. The port is back, and so is
// all of it.
func TestReconnectingIsSeen(t *testing.T) {
	const giveUp = 300
	f, _ := scene(t, 2, giveUp, 1, connectTimeout)
	seenAs(f, connectTimeout, 3, 0)
	begun := time.Now()
	mark := f.Mark()
	f.Port.Unlink(f.Subsystems...)
	waitStates(t, connectTimeout, "connecting", "resetting")
	broken := time.Now()
	seenAs(f, noticeTimeout, 0, 3)
	t.Logf("all of it was seen %v after the last connection broke, looked at every way", time.Since(broken).Round(10*time.Millisecond))
	got, found := findListed(f, f.Port.TID(guest.DiscoveryNQN))
	if end := got.ReconnectUntil.Sub(got.Since); !found || got.Since.Before(begun.Add(-time.Second)) || end < (giveUp-2)*time.Second || end > (giveUp+2)*time.Second {
		t.Errorf("the discovery controller: got %+v, want it reconnecting since just now for %d s", got, giveUp)
	}
	nqn := f.Subsystems[0].NQN
	for command, wanted := range map[string][]string{
		"status": {"0 of 3 controllers connected, 3 reconnecting", "3 connection broken, the kernel reconnects it", ", the kernel gives up in 4min"},
		"list":   {"RECONNECTING", "for ", ", the kernel gives up in 4min"}, "status --check": {"reconnecting for ", ", the kernel gives up in 4min"},
		"explain " + nqn: {"reconnecting for ", "which reconnects it and gives it up in 4min", "  history  ", " connected nvme", " reconnecting nvme"},
	} {
		out := guest.TryCtl(t, strings.Fields(command)...)
		for _, want := range wanted {
			if !strings.Contains(out.Stdout, want) {
				t.Errorf("%s: want %q, got\n%s%s", command, want, out.Stdout, out.Stderr)
			}
		}
	}
	if out := asNobody(t, "/usr/bin/nvme-discoverctl", "explain", nqn); out.Status != 0 || !strings.Contains(out.Stdout, "cannot show the history: only root may\n") {
		t.Errorf("explain as nobody: got status %d, %s%s", out.Status, out.Stdout, out.Stderr)
	}
	f.Port.Link(f.Subsystems...)
	seenAs(f, connectTimeout, 3, 0)
	for _, want := range []string{"the connection is broken, the kernel reconnects it for up to 5min", "the kernel has reconnected it"} {
		if n := strings.Count(f.Journal(mark), want); n != 3 {
			t.Errorf("journal: got %d times %q, want it of each of the 3:\n%s", n, want, f.Journal(mark))
		}
	}
	if n := f.Starts(mark); n != 0 {
		t.Errorf("starts of units: got %d, want none", n)
	}
}
