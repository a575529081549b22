// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// An old discovery controller, twice over. It answers every read of its log page with the page's beginning, as the kernel's
// own target did before 5.1: one record and then eight are connected all the same, each once. And it ends its connection
// again and again: the kernel reconnects it each time, so that no controller is ever removed, and after the third time it is
// parked, while everything that it named stays connected. Asked for it, it is connected again.
func TestOldDiscoveryController(t *testing.T) {
	f := guest.Scene(t, 8)
	dc := guest.NewFakeDC(f, 8011)
	id := guest.TID{
		Transport: "tcp", Traddr: dc.Traddr, Trsvcid: dc.Trsvcid, NQN: guest.DiscoveryNQN, HostNQN: guest.HostNQN, HostID: guest.HostID,
	}
	guest.Configure(f, fmt.Sprintf("[[discovery-controller]]\nreconnect-delay = 1\ncontroller = [{ transport = \"tcp\", traddr = %q, trsvcid = %s }]\n",
		dc.Traddr, dc.Trsvcid))
	dc.Show(guest.LogPage{Generation: 1, FromStart: true, Entries: entries(f, f.Subsystems[0])})
	guest.Start(t)
	guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, f.Subsystems[0].NQN)
	dc.Show(guest.LogPage{Generation: 2, FromStart: true, Entries: entries(f, f.Subsystems...)})
	devices := guest.WaitLive(t, connectTimeout, f.NQNs()...)
	if got := len(guest.Units(t)); got != 9 {
		t.Errorf("units: got %v, want nine", guest.Units(t))
	}
	if text := f.Journal(); strings.Contains(text, "is skipped") || !strings.Contains(text, "log page read: 8 of 8 entries are connections") {
		t.Errorf("the log page was not read as it is:\n%s", text)
	}

	mark := f.Mark()
	for i := range 3 {
		reads := dc.Reads()
		dc.HangUp()
		dc.WaitRead(connectTimeout, reads) // the kernel has reconnected it
		if i == 2 {
			break
		}
		guest.Always(t, quietSpan, fmt.Sprintf("it is kept after %d ends", i+1), func() (bool, string) {
			found, _ := findListed(t, id)
			return found.State == "connected", found.State
		})
		if ok, seen := unchanged(devices)(); !ok {
			t.Fatalf("another controller than before:%s", seen)
		}
	}
	guest.Eventually(t, connectTimeout, "parked", func() (bool, string) {
		found, _ := findListed(t, id)
		return found.State == "parked" && len(guest.Live(guest.DiscoveryNQN)) == 0, found.State
	})
	f.WaitUnit(id.Unit(), "inactive")
	if text := f.Journal(mark); !strings.Contains(text, "parked: it is asked again in 15m0s") {
		t.Errorf("the journal does not say that it is parked:\n%s", text)
	}
	delete(devices, guest.DiscoveryNQN)
	guest.Always(t, quietSpan, "what it named stays connected", unchanged(devices))

	guest.Ctl(t, "retry", id.Unit())
	guest.WaitLive(t, connectTimeout, f.NQNs()...)
}
