// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/uevent"
)

// ofController is a uevent of a fabrics controller. What is "remove", a value of NVME_EVENT, or "aen".
func ofController(name, what string, seq uint64) uevent.Event {
	ev := uevent.Event{Action: "change", Subsystem: "nvme", DevPath: "/devices/virtual/nvme-fabrics/ctl/" + name, Seq: seq, Vars: map[string]string{}}
	switch what {
	case "remove":
		ev.Action = what
	case "aen":
		ev.Vars["NVME_AEN"] = "0x70f002"
	case "notice":
		ev.Action = noticed.Action
	default:
		ev.Vars["NVME_EVENT"] = what
	}
	return ev
}

// told is an event about a controller in one word.
func told(ev core.Event) string {
	switch ev := ev.(type) {
	case core.DeviceRemoved:
		return fmt.Sprintf("removed %d", ev.Seq)
	case core.LogChanged:
		return "log changed"
	case core.DeviceSeen:
		if ev.Reconnected {
			return "reconnected " + ev.Why
		}
		return "seen " + ev.Why
	case core.DeviceNoticed:
		return "noticed"
	}
	return fmt.Sprintf("%T", ev)
}

// blockedReads returns a daemon on a host with the controller nvme3, whose reads wait until release is called.
func blockedReads(t *testing.T) (d *Daemon, release func()) {
	d, _ = idle(t, host(t, "nvme3"))
	d.reader.patience = time.Hour
	mine, _ := d.reader.begin("nvme3")
	return d, func() { d.reader.end("nvme3", mine) }
}

// drain plays the loop until no event is left, and returns what came.
func drain(d *Daemon) (events []string) {
	for {
		synctest.Wait()
		select {
		case a := <-d.events:
			events = append(events, told(a.Event))
			if a.done != nil {
				close(a.done)
			}
		default:
			return events
		}
	}
}

// Whatever number of uevents comes while a controller is read, one more read answers them all.
func TestUeventsCoalesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, release := blockedReads(t)
		d.uevent(t.Context(), ofController("nvme3", "connected", 1))
		synctest.Wait()
		for seq := range uint64(10_000) {
			d.uevent(t.Context(), ofController("nvme3", []string{"connected", "aen"}[seq%2], seq+2))
		}
		release()
		if diff := cmp.Diff([]string{"seen connected", "seen connected", "log changed"}, drain(d)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// What came while a controller was read is told in an order that is as good as that of the uevents.
func TestUeventsInOrder(t *testing.T) {
	for _, test := range []struct {
		name    string
		uevents []string // numbered from 2, while the read for the first one waits
		want    []string // after that read
	}{
		{"nothing more", nil, nil},
		{"each reconnect counts", []string{"rediscover", "connected", "rediscover", "connected", "rediscover"}, []string{"reconnected rediscover", "reconnected rediscover", "reconnected rediscover"}},
		{"the log after the reading", []string{"aen", "connected", "aen"}, []string{"seen connected", "log changed"}},
		{"the log alone", []string{"aen", "aen"}, []string{"log changed"}},
		{"removed", []string{"remove"}, []string{"removed 2"}},
		{"what was before a removal is gone with it", []string{"rediscover", "aen", "connected", "remove"}, []string{"removed 5"}},
		{"a new one of the name", []string{"rediscover", "remove", "connected", "aen"}, []string{"removed 3", "seen connected", "log changed"}},
		{"a new one reconnected", []string{"remove", "connected", "rediscover"}, []string{"removed 2", "reconnected rediscover"}},
		{"the log of a new one", []string{"remove", "aen"}, []string{"removed 2", "log changed"}},
		{"removed twice", []string{"remove", "connected", "remove", "connected"}, []string{"removed 4", "seen connected"}},
		{"another state was noticed", []string{"notice", "notice"}, []string{"noticed"}},
		{"a reading for both", []string{"notice", "connected"}, []string{"seen connected"}},
		{"noticed before a removal", []string{"notice", "remove"}, []string{"removed 3"}},
		{"of no interest", []string{"connecting", ""}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, release := blockedReads(t)
				d.uevent(t.Context(), ofController("nvme3", "connected", 1))
				synctest.Wait()
				for i, what := range test.uevents {
					d.uevent(t.Context(), ofController("nvme3", what, uint64(i+2)))
				}
				release()
				if diff := cmp.Diff(append([]string{"seen connected"}, test.want...), drain(d)); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// An event of a controller waits in the loop's queue alone: what comes meanwhile follows when the loop has dealt with it.
func TestUeventsWhileLoopIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := idle(t, host(t, "nvme3"))
		for _, what := range []string{"aen", "connected"} {
			for seq := range uint64(1000) {
				d.uevent(t.Context(), ofController("nvme3", what, seq+1))
				synctest.Wait()
			}
			if n := len(d.events); n != 1 {
				t.Errorf("%s: %d events wait", what, n)
			}
			if got := drain(d); len(got) != 2 || got[0] != got[1] {
				t.Errorf("%s: events %q, want two alike", what, got)
			}
		}
	})
}

// The changed log page of a controller is told without a look at sysfs.
func TestLogChangedReadsNothing(t *testing.T) {
	d, _ := idle(t, host(t)) // where there is no nvme3
	d.uevent(t.Context(), ofController("nvme3", "aen", 1))
	if got := told((<-d.events).Event); got != "log changed" {
		t.Errorf("event %s", got)
	}
}

// A controller that hangs holds up no other.
func TestUeventsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, release := blockedReads(t)
		defer release()
		d.uevent(t.Context(), ofController("nvme3", "connected", 1))
		d.uevent(t.Context(), ofController("nvme4", "remove", 2))
		if diff := cmp.Diff([]string{"removed 2"}, drain(d)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// What cannot be read is reported as a lost event; a changed log page is told all the same.
func TestUeventOfUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := host(t, "nvme3")
		d, _ := idle(t, root)
		d.losses.report = func(why string) { d.post(t.Context(), core.EventsLost{Why: why}) }
		if err := os.Remove(root.UeventSeqnum()); err != nil {
			t.Fatal(err)
		}
		put(t, root.UeventSeqnum(), "garbage")
		mine, _ := d.reader.begin("nvme3")
		d.uevent(t.Context(), ofController("nvme3", "connected", 1))
		synctest.Wait()
		d.uevent(t.Context(), ofController("nvme3", "aen", 2))
		d.reader.end("nvme3", mine)
		got := drain(d)
		slices.Sort(got) // the loss comes on a goroutine of its own
		if diff := cmp.Diff([]string{"core.EventsLost", "log changed"}, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// The end of the daemon ends the goroutines of controllers, whatever waits.
func TestUeventsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := idle(t, host(t, "nvme3"))
		ctx, cancel := context.WithCancel(t.Context())
		for _, what := range []string{"aen", "connected", "aen", "rediscover"} {
			d.uevent(ctx, ofController("nvme3", what, 1))
			synctest.Wait()
		}
		cancel() // synctest.Test fails where a goroutine stays
		if n := len(drain(d)); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}
