// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// influx bounds how fast discovery controllers that were never heard of come. Whoever announces others each second would have the daemon
// try them all, and dead ones take seconds each: what is configured would wait behind them. The zero value is ready for use.
type influx struct {
	known  map[tid.TID]bool
	room   int       // how many unknown ones may come now
	filled time.Time // when room was last filled up
}

const (
	influxEvery = time.Second // one unknown controller may come in such a time, and MaxAnnouncements at once after a quiet time
	maxKnown    = 4 * MaxAnnouncements
)

// admit returns those of found that may come at the time now, and how many have to wait. Those that came before may come again.
func (p *influx) admit(found []Announcement, now time.Time) (in []Announcement, waiting int) {
	if p.known == nil {
		p.known, p.room, p.filled = map[tid.TID]bool{}, MaxAnnouncements, now
	}
	if n := int(now.Sub(p.filled) / influxEvery); n > 0 {
		p.room, p.filled = min(MaxAnnouncements, p.room+n), p.filled.Add(time.Duration(n)*influxEvery)
	}
	for _, a := range found {
		switch {
		case p.known[a.TID]:
		case p.room == 0:
			waiting++
			continue
		default:
			p.room--
			p.known[a.TID] = true
		}
		in = append(in, a)
	}
	if len(p.known) > maxKnown { // what is there stays known
		clear(p.known)
		for _, a := range in {
			p.known[a.TID] = true
		}
	}
	return in, waiting
}
