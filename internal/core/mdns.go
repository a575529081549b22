// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/mdns"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// MDNSSource begins the source of TargetView of what mDNS announces: the name of an instance and its interface follow.
const MDNSSource = "mDNS: "

const (
	mdnsGrace = 2 * time.Minute  // for a service that browses to come back, before what it heard counts as gone
	mdnsRetry = 10 * time.Second // that a target has waited before its announcement is a reason to try it
	// maxAnnounced is how many discovery controllers are retained that only mDNS named. Names and addresses cost who makes them up
	// nothing.
	maxAnnounced = 256
	maxInstances = 8  // names that are shown of one discovery controller
	mdnsLines    = 20 // of the journal within mdnsQuiet
	mdnsQuiet    = time.Minute
)

// multicast is what mDNS announces (docs/design.md, "mDNS").
type multicast struct {
	service  string // that browses; "" is none
	problem  string
	ignored  int
	example  string
	beside   bool                // nvme-stas browses too
	complete bool                // all that is announced is known
	there    []mdns.Announcement // those that count, in the order of mdns.Compare
	timer    timer               // when they count as gone, since nobody browses
	logged   time.Time           // when the lines that are counted began
	lines    int
}

// mdnsReported takes in what browsing has found out.
func (m *Machine) mdnsReported(ev MDNSReported) {
	c := &m.mdns
	m.tellBrowsing(ev.Report)
	c.service, c.problem, c.ignored, c.example, c.beside = ev.Service, ev.Problem, ev.Ignored, ev.Example, ev.Beside
	c.complete = ev.Complete && ev.Service != ""
	m.work += len(ev.Found) + len(c.there)
	switch {
	case ev.Service == "" && len(c.there) > 0:
		if c.timer.when == never {
			m.at(&c.timer, m.now.Add(mdnsGrace))
		}
	case ev.Service != "":
		m.at(&c.timer, never)
	}
	there := slices.Clone(ev.Found)
	if !c.complete { // what it does not tell of may only not have been heard yet
		there = slices.Clone(c.there)
		for _, a := range ev.Found {
			if _, in := slices.BinarySearchFunc(c.there, a, mdns.Compare); !in {
				there = append(there, a)
			}
		}
	}
	there = there[:min(len(there), mdns.MaxAnnouncements)] // those that came first stay
	slices.SortFunc(there, mdns.Compare)
	m.announced(slices.Compact(there))
}

// tellBrowsing logs what is new about browsing itself.
func (m *Machine) tellBrowsing(r mdns.Report) {
	c := &m.mdns
	if r.Service != c.service && r.Service != "" {
		m.log(slog.LevelInfo, KindNone, nil, r.Service+" browses mDNS for discovery controllers")
	}
	if r.Service != c.service && r.Service != "" && m.configured && m.cfg.HostNQN == "" {
		m.log(slog.LevelError, KindNone, nil, "cannot connect what mDNS announces: this host has no NQN: put one into /etc/nvme/hostnqn")
	}
	if r.Problem != c.problem && r.Problem != "" && m.mdnsLine() {
		m.log(slog.LevelWarn, KindNone, nil, "cannot hear of discovery controllers by mDNS: "+r.Problem)
	}
	if r.Ignored > 0 && r.Example != c.example && m.mdnsLine() {
		m.log(slog.LevelWarn, KindNone, nil, fmt.Sprintf("mDNS announces what is not connected (%d): %s", r.Ignored, r.Example))
	}
	if r.Beside && !c.beside {
		m.log(slog.LevelError, KindNone, nil, "nvme-stas browses mDNS too, so both connect what is announced: put zeroconf = disabled into [Service Discovery] of /etc/stas/stafd.conf, or zeroconf = false into discoverd.conf")
	}
}

// mdnsLine reports whether there may be one more line about what anybody on the network can cause.
func (m *Machine) mdnsLine() bool {
	c := &m.mdns
	if c.logged == never || m.now.Sub(c.logged) >= mdnsQuiet {
		c.logged, c.lines = m.now, 0
	}
	c.lines++
	if c.lines == mdnsLines {
		m.log(slog.LevelWarn, KindNone, nil, "announcements by mDNS change so fast that a minute's further ones are not logged")
	}
	return c.lines < mdnsLines
}

// announced makes a list the one that counts.
func (m *Machine) announced(there []mdns.Announcement) {
	c := &m.mdns
	if slices.Equal(there, c.there) {
		return
	}
	before := c.there
	c.there = there
	m.stale, m.desired.unkept = true, true
	if !m.cfg.Settings.Zeroconf {
		return
	}
	for _, a := range there {
		if _, was := slices.BinarySearchFunc(before, a, mdns.Compare); was {
			continue
		}
		t := m.targets.byTID[m.mdnsWish(a).TID]
		if (t == nil || !t.sourced) && m.mdnsLine() {
			m.log(slog.LevelInfo, KindNone, t, fmt.Sprintf("mDNS announces %s at %s on %s", a.Instance, a.TID.Traddr, a.Iface))
		}
		if t != nil && t.state == Waiting && t.is(idle) && t.timer.when != never && m.now.Sub(t.since) >= mdnsRetry && !m.now.Before(t.notBefore) {
			m.at(&t.timer, m.now)
		}
	}
	for _, a := range before {
		if _, is := slices.BinarySearchFunc(there, a, mdns.Compare); !is && m.mdnsLine() {
			m.log(slog.LevelInfo, KindNone, m.targets.byTID[m.mdnsWish(a).TID], fmt.Sprintf("mDNS announces %s at %s on %s no more", a.Instance, a.TID.Traddr, a.Iface))
		}
	}
}

func (*multicast) rank() (int, time.Time, uint64) { return rankMDNS, never, 0 }

// due gives up what was heard before browsing ended: from now on retention decides.
func (c *multicast) due(m *Machine) { m.announced(nil) }

// mdnsWish is the wish for a discovery controller that announces itself.
func (m *Machine) mdnsWish(a mdns.Announcement) wish.Wish {
	id := a.TID
	id.HostNQN, id.HostID = m.cfg.HostNQN, m.cfg.HostID
	return wish.Wish{Kind: tid.Discovery, Owner: wish.OwnerDiscoverd, TID: id, Params: m.cfg.Discovered.Discovery, Secrets: m.cfg.Discovered.Secrets}
}

// wantAnnounced calls want with each discovery controller that mDNS announces and that is to be connected.
func (m *Machine) wantAnnounced(want func(source string, w wanted)) {
	if !m.cfg.Settings.Zeroconf || m.cfg.HostNQN == "" {
		return
	}
	shown := map[tid.TID]int{}
	for _, a := range m.mdns.there {
		m.work++
		w := m.mdnsWish(a)
		if m.covers(w) {
			continue
		}
		if shown[w.TID]++; shown[w.TID] <= maxInstances {
			want(MDNSSource+a.Instance+" on "+a.Iface, wanted{wish: w, announced: true, found: m.cfg.Discovered})
		}
	}
}

// forgotten reports whether a discovery controller without a source is one of mDNS, which is switched off.
func (m *Machine) forgotten(t *target) bool { return t.announced && !m.cfg.Settings.Zeroconf }

// boundAnnounced forgets of the discovery controllers that only mDNS named and that are gone those that are too many: first those without
// a connection, and of these those that have been gone longest.
func (m *Machine) boundAnnounced() {
	if len(m.desired.retained) <= maxAnnounced {
		return
	}
	var list []*target
	for _, t := range m.inOrder(m.desired.retained) {
		m.work++
		if t.announced {
			list = append(list, t)
		}
	}
	if len(list) <= maxAnnounced {
		return
	}
	slices.SortStableFunc(list, func(a, b *target) int {
		return cmp.Or(falseFirst(a.device != nil, b.device != nil), a.retention.when.Compare(b.retention.when))
	})
	for _, t := range list[:len(list)-maxAnnounced] {
		m.setRetention(t, never)
	}
	m.stale = true
}

// until is when an earlier daemon's discovery controller is forgotten. What was announced when that ended is retained from now on.
func (m *Machine) until(r Retained) time.Time {
	switch {
	case !r.Announced || !r.Until.IsZero():
		return r.Until
	case m.cfg.Settings.DiscoveryRetention == config.Infinity:
		return m.now.Add(forever)
	}
	return m.now.Add(m.cfg.Settings.DiscoveryRetention)
}

// recallable reports whether an earlier daemon's discovery controller is to be kept.
func (m *Machine) recallable(r Retained) bool {
	return m.until(r).After(m.now) && m.cfg.Settings.DiscoveryRetention > 0 && (!r.Announced || m.cfg.Settings.Zeroconf)
}

// keepAnnounced adds to what a restarted daemon is to retain what only mDNS names now.
func (m *Machine) keepAnnounced(list []Retained) []Retained {
	in := map[tid.TID]bool{}
	for _, a := range m.mdns.there {
		if t := m.targets.byTID[m.mdnsWish(a).TID]; t != nil && t.announced && t.sourced && !in[t.wish.TID] {
			in[t.wish.TID] = true
			list = append(list, Retained{TID: t.wish.TID, Announced: true})
		}
	}
	return list
}

// Browsing is how the search by mDNS does, for people.
type Browsing struct {
	Service   string // that browses; "" is none
	Problem   string // what keeps announcements from being heard
	Announced int    // announcements that count
	Ignored   int    // announcements that are not connected …
	Example   string // … and what is wrong with one of them
	Beside    bool   // nvme-stas browses too
}

// Browses reports whether mDNS is browsed at present.
func (m *Machine) Browses() bool { return m.cfg.Settings.Zeroconf && m.mdns.service != "" }

// browsing returns nil when mDNS is switched off.
func (m *Machine) browsing() *Browsing {
	if !m.cfg.Settings.Zeroconf {
		return nil
	}
	c := &m.mdns
	return &Browsing{c.service, c.problem, len(c.there), c.ignored, c.example, c.beside}
}
