// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"strconv"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// A network whose announcements are others each second brings one controller a second; what was there before comes back at once.
func TestInflux(t *testing.T) {
	named := func(port int) Announcement {
		return Announcement{TID: tid.TID{Transport: tid.TCP, Traddr: "192.0.2.1", Trsvcid: strconv.Itoa(port), NQN: tid.DiscoveryNQN}}
	}
	var p influx
	now, port := time.Unix(1000, 0), 10
	in, waiting := p.admit([]Announcement{named(1), named(2)}, now)
	if len(in) != 2 || waiting != 0 {
		t.Errorf("the first: got %d, %d wait", len(in), waiting)
	}
	came := 0
	for range 3600 {
		var flood []Announcement
		for range MaxAnnouncements - 2 {
			port++
			flood = append(flood, named(port))
		}
		in, waiting = p.admit(flood, now)
		came += len(in)
		if len(in)+waiting != len(flood) {
			t.Fatalf("got %d, %d wait, of %d", len(in), waiting, len(flood))
		}
		now = now.Add(influxEvery)
	}
	if most := MaxAnnouncements + 3600; came > most {
		t.Errorf("%d came in an hour, want at most %d", came, most)
	}
	if len(p.known) > maxKnown+MaxAnnouncements {
		t.Errorf("%d are remembered", len(p.known))
	}
	p = influx{}
	p.admit([]Announcement{named(1), named(2)}, now)
	for range MaxAnnouncements {
		port++
		p.admit([]Announcement{named(port)}, now)
	}
	if in, waiting = p.admit([]Announcement{named(1), named(2), named(port + 1)}, now); len(in) != 2 || waiting != 1 {
		t.Errorf("after a flood: got %d, %d wait, want those that were there", len(in), waiting)
	}
}
