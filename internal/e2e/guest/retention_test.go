// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// retainedFile is where it is remembered over restarts what is retained.
const retainedFile = "/run/nvme/discoverd/retained.json"

// A discovery controller refers to another one and does so no longer, and the other one goes down: it is tried for
// discovery-retention-time, which a restart of the daemon and a kill of it neither stop nor begin anew. Back within that time, it
// is connected, with what is behind it. When the time is over it is forgotten and stays connected; what is behind it is not
// connected again. A retention that ends while there is no daemon is over for the next one.
//
//e2e:patient
func TestRetentionOverRestart(t *testing.T) {
	const retention = time.Minute
	f, first := fakeScene(t, 2)
	guest.Configure(f, fmt.Sprintf("[global]\ndiscovery-retention-time = %q\nreconnect-max-delay = \"2s\"\n", retention)+discoveryConfig(first.Port()))
	referral := guest.LogEntry{Subtype: 1, Traddr: f.Port.Traddr, Trsvcid: f.Port.Trsvcid, NQN: guest.DiscoveryNQN}
	generation := uint64(0)
	show := func(entries ...guest.LogEntry) {
		generation++
		first.Show(guest.LogPage{Generation: generation, Entries: entries})
	}
	show(referral)
	guest.Start(f)
	wanted := append(f.Wanted(), first.Port().TID(guest.DiscoveryNQN))
	guest.WaitConsistent(f, connectTimeout, wanted)
	referred := f.Port.TID(guest.DiscoveryNQN)
	retained := func() string {
		t.Helper()
		until := ""
		guest.Eventually(f, connectTimeout, "it is retained", func() (bool, string) {
			got, _ := findListed(f, referred)
			until = got.RetainUntil
			return until != "", fmt.Sprintf("%+v", got)
		})
		return until
	}

	show()
	until := retained()
	end, err := time.Parse(time.RFC3339, until)
	if err != nil {
		t.Fatal(err)
	}
	f.Port.Unlink(f.Subsystems...)
	guest.Eventually(f, connectTimeout, "its controllers are deleted", func() (bool, string) {
		left := ""
		for _, c := range guest.Controllers() {
			if c.Trsvcid == f.Port.Trsvcid {
				guest.TryDelete(c.Name)
				left += c.String() + "\n"
			}
		}
		return left == "", left
	})
	for i, again := range []func(){
		func() { guest.Run(f, "systemctl", "restart", guest.Service) },
		func() {
			restarts := guest.Restarts(f)
			guest.Signal(f, "KILL")
			guest.WaitRestart(f, connectTimeout, restarts)
		},
	} {
		mark := f.Mark()
		again()
		if got := retained(); got != until {
			t.Errorf("daemon %d: retained until %s, want %s as before", i+2, got, until)
		}
		waitJournal(f, mark, "(tcp, 127.0.0.1, 8009, "+guest.DiscoveryNQN+"): cannot connect: ")
		// Nothing names it: that it is down is not wrong.
		guest.WaitStatus(f, "1 of 1 controllers connected, 1 retained")
		guest.Ctl(f, "status", "--check")
		guest.Ctl(f, "wait", "--timeout=1min")
		if metrics := guest.Ctl(f, "metrics"); !strings.Contains(metrics, `nvme_discoverd_wanted_controllers{kind="discovery"} 1`+"\n") {
			t.Errorf("metrics: want one discovery controller that is wanted, got\n%s", metrics)
		}
	}
	if text, err := os.ReadFile(retainedFile); err != nil || !strings.Contains(string(text), referred.Trsvcid) {
		t.Errorf("%s: got %q, %v", retainedFile, text, err)
	}
	f.Port.Link(f.Subsystems...)
	guest.WaitConsistent(f, connectTimeout, wanted)
	devices := guest.Devices()
	if left := time.Until(end); left < 0 {
		t.Fatalf("the retention ended %v ago: this proves nothing", -left)
	}
	forgotten := func() {
		t.Helper()
		guest.Eventually(f, 2*retention, "it is forgotten", func() (bool, string) {
			got, found := findListed(f, referred)
			_, err := os.Stat(retainedFile)
			return !found && errors.Is(err, fs.ErrNotExist), fmt.Sprintf("%+v, %s: %v", got, retainedFile, err)
		})
		if got := guest.At(f.Port, guest.DiscoveryNQN); got == "" {
			t.Error("what is forgotten is disconnected")
		}
	}
	forgotten()
	if early := time.Until(end); early > time.Second { // what is shown is rounded up
		t.Errorf("it is forgotten %v too early", early)
	}
	lost := f.Subsystems[0].NQN
	guest.Delete(f, devices[lost])
	f.WaitUnit(f.Unit(lost), "inactive")
	guest.Always(f, quietSpan, "what only it named stays away", func() (bool, string) { return len(guest.Live(lost)) == 0, "" })

	show(referral)
	guest.WaitConsistent(f, connectTimeout, wanted)
	show()
	retained()
	guest.Stop(f)
	guest.ShiftClock(f, 2*retention)
	guest.Start(f)
	forgotten()
}
