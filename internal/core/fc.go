// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/fc"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

const (
	kickstartDelay    = time.Second     // after a loss: many come at once, and the kernel knows a dead port a moment longer than its controllers
	kickstartGrace    = 5 * time.Second // for announcements that are on their way when a kickstart has been carried out
	kickstartPatience = time.Minute     // with a kickstart that does not come back
	kickstartRetry    = time.Minute     // after one that failed
	recheckEvery      = time.Minute     // between kickstarts because a port cannot be connected
)

// FCSource is the source of TargetView of what Fibre Channel announces.
const FCSource = "Fibre Channel"

// fibreChannel is what Fibre Channel has announced (docs/design.md, "Fibre Channel"). The kernel tells of a remote port when it appears and,
// of all there are, on a kickstart; it never tells that one went away. So a port counts as there until a round, which is a
// kickstart with the announcements that answer it, passes without it.
type fibreChannel struct {
	ports    []*fcPort // in the order in which they were first announced
	byName   map[fc.Announcement]*fcPort
	timer    timer     // when the round ends, or the next one is to begin
	round    uint64    // step of the kickstart whose round runs, 0 is none
	closes   time.Time // when it ends
	carried  bool      // its kickstart was carried out
	lost     bool      // announcements may have been lost: what was not heard may have been said
	settled  bool      // a round has ended: what is there is known
	asked    time.Time // when the last one began
	wantedAt time.Time // when the next one is to begin, whatever the interval says
	news     uint64    // step of the last announcement that told of something
}

// fcPort is a remote port with a discovery controller, as one port of this host sees it.
type fcPort struct {
	fc.Announcement
	heard uint64 // step of its last announcement
}

// fcDiscovered takes an announcement in. It is a reason to try what waits on Fibre Channel (docs/design.md, "Kicks"), unless it only says
// what was known in answer to our own question: that would have a target that flaps never back off.
func (m *Machine) fcDiscovered(ev FCDiscovered) {
	p := m.fc.byName[ev.Announcement]
	if p == nil {
		p = &fcPort{Announcement: ev.Announcement}
		m.fc.ports = append(m.fc.ports, p)
		m.fc.byName[ev.Announcement] = p
		m.stale = true
		if m.configured && m.cfg.HostNQN == "" {
			m.log(slog.LevelError, KindNone, nil, fmt.Sprintf("cannot connect the discovery controller at %s that Fibre Channel announces: this host has no NQN: put one into /etc/nvme/hostnqn", ev.Traddr))
		}
	} else if m.fc.round != 0 {
		p.heard = m.step
		return
	}
	p.heard, m.fc.news = m.step, m.step
	if t := m.targets.byTID[m.fcWish(ev.Announcement).TID]; t != nil && t.state == Parked {
		m.at(&t.timer, m.now)
	}
	m.kick(Kick{Transport: tid.FC, Why: "Fibre Channel announced " + ev.Traddr})
}

// predatesAnnouncement reports whether the attempt of t that fails now was begun before the last news of Fibre Channel.
func (m *Machine) predatesAnnouncement(t *target) bool {
	return t.wish.TID.Transport == tid.FC && m.fc.news > t.begun
}

// fcWish is the wish for the discovery controller of an announced port.
func (m *Machine) fcWish(p fc.Announcement) wish.Wish {
	return wish.Wish{
		Kind: tid.Discovery, Owner: wish.OwnerDiscoverd, Params: m.cfg.Discovered.Discovery, Secrets: m.cfg.Discovered.Secrets,
		TID: tid.TID{
			Transport: tid.FC, Traddr: p.Traddr, NQN: tid.DiscoveryNQN, HostTraddr: p.HostTraddr,
			HostNQN: m.cfg.HostNQN, HostID: m.cfg.HostID,
		},
	}
}

// kickstartIn asks for a round after a delay, or when the one that runs has ended.
func (m *Machine) kickstartIn(delay time.Duration) {
	if at := m.now.Add(delay); m.fc.wantedAt == never || at.Before(m.fc.wantedAt) {
		m.fc.wantedAt = at
		m.armKickstart()
	}
}

// recheckPort asks for a round because an announced DC could not be connected: its port may have gone unseen.
func (m *Machine) recheckPort(t *target) {
	id := t.wish.TID
	if t.wish.Kind != tid.Discovery || id.Transport != tid.FC {
		return
	}
	if p := m.fc.byName[fc.Announcement{Traddr: id.Traddr, HostTraddr: id.HostTraddr}]; p != nil && m.fcWish(p.Announcement).TID == id {
		m.kickstartIn(max(kickstartDelay, m.fc.asked.Add(recheckEvery).Sub(m.now)))
	}
}

// armKickstart sets the timer to the end of the round that runs, or to the beginning of the next one.
func (m *Machine) armKickstart() {
	f := &m.fc
	next := f.wantedAt
	switch interval := m.cfg.Settings.FCKickstartInterval; {
	case f.round != 0:
		next = f.closes
	case f.asked == never:
		next = m.now
	case interval > 0 && (next == never || f.asked.Add(interval).Before(next)):
		next = f.asked.Add(interval)
	}
	m.at(&f.timer, next)
}

func (*fibreChannel) rank() (int, time.Time, uint64) { return rankFC, never, 0 }

// due ends the round that runs, or begins the next one.
func (f *fibreChannel) due(m *Machine) {
	if f.round != 0 {
		m.closeRound()
	} else {
		f.round, f.carried, f.lost = m.step, false, false
		f.asked, f.wantedAt, f.closes = m.now, never, m.now.Add(kickstartPatience)
		m.emit(Kickstart{Token: m.step})
	}
	m.armKickstart()
}

// kickstarted goes on with a round whose kickstart was carried out, or could not be. Where there is no Fibre Channel there
// is nothing to wait for.
func (m *Machine) kickstarted(ev Kickstarted) {
	if ev.Token != m.fc.round {
		return
	}
	m.fc.carried, m.fc.closes = !ev.Failed, m.now
	switch {
	case ev.Failed:
		m.kickstartIn(kickstartRetry)
	case !ev.NoFC:
		m.fc.closes = m.now.Add(kickstartGrace)
	}
	m.armKickstart()
}

// closeRound ends a round. The ports that it passed without are no source any more: from now on retention decides.
func (m *Machine) closeRound() {
	f := &m.fc
	begun := f.round
	f.round, f.closes, f.settled = 0, never, true
	if !f.carried || f.lost {
		return
	}
	f.ports = slices.DeleteFunc(f.ports, func(p *fcPort) bool {
		if p.heard >= begun {
			return false
		}
		if t := m.targets.byTID[m.fcWish(p.Announcement).TID]; t != nil {
			m.log(slog.LevelInfo, KindNone, t, "Fibre Channel announces it no more")
		}
		delete(f.byName, p.Announcement)
		m.stale = true
		return true
	})
}
