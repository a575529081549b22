// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"strings"
)

// counts are what the status line tells.
type counts struct {
	Counts
	valid       bool
	shutdown    bool
	configured  bool
	audited     bool
	bus         bool
	configFault int
	mdnsFault   bool // nobody browses although that is wanted
}

// report keeps the one line of state up to date.
func (m *Machine) report() {
	now := m.counts()
	if now == m.told {
		return
	}
	m.told = now
	if text := now.String(); text != m.status {
		m.status = text
		m.emit(Status{Text: text})
	}
}

func (m *Machine) counts() counts {
	return counts{
		Counts: m.counted(),
		valid:  true, shutdown: m.shutdown, configured: m.configured, audited: m.audited, bus: m.bus, configFault: len(m.cfg.Errors),
		mdnsFault: m.cfg.Settings.Zeroconf && m.mdns.problem != "",
	}
}

func (c counts) String() string {
	switch {
	case c.shutdown:
		return "the system is shutting down"
	case !c.configured:
		return "reading the configuration"
	case !c.audited:
		return "looking at what is connected"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d controllers connected", c.Connected, c.Wanted)
	for _, part := range []struct {
		n    int
		what string
	}{
		{c.Reconnecting, "reconnecting"},
		{c.Connecting + c.Waiting, "connecting"},
		{c.Retrying, "retrying"},
		{c.Unresolved, "without an address"},
		{c.Collision, "with the unit name of another"},
		{c.Excluded, "excluded"},
		{c.Foreign, "of other owners"},
		{c.Stopped, "stopped"},
		{c.Parked, "parked"},
		{c.Retained, "retained"},
	} {
		if part.n > 0 {
			fmt.Fprintf(&b, ", %d %s", part.n, part.what)
		}
	}
	if c.configFault > 0 {
		b.WriteString("; " + errorsIn(c.configFault) + ", see nvme-discoverctl config check")
	}
	if c.mdnsFault {
		b.WriteString("; cannot hear mDNS, see nvme-discoverctl status")
	}
	if !c.bus {
		b.WriteString("; cannot talk to systemd")
	}
	return b.String()
}

// Size returns how many things the machine remembers, of whatever kind: for tests that hold it to a bound, since a daemon
// that runs for years must not remember more than there is.
func (m *Machine) Size() int {
	ts, ds := &m.targets, &m.devices
	n := len(ts.list) + len(ts.byTID) + len(ts.byUnit) + len(ts.named) + len(ts.byNQN) + len(ts.groups) + len(ts.ofPair) +
		len(ds.byName) + len(ds.removed) + len(ds.at) + len(ds.ofUnit) + len(ds.ofPair) + len(m.units.byName) + len(m.units.changed) +
		len(m.timers.heap) + len(m.stopped) + len(m.probes) + len(m.orphans) + len(m.stopping) + len(m.since) + len(m.fc.ports) + len(m.mdns.there) + len(m.desired.claims) +
		len(m.queue.urgent) + len(m.queue.others) + m.kept
	m.all(func(t *target) { n += len(t.sources) + len(t.ended) })
	for _, p := range m.probes {
		n += len(p.waiting)
	}
	return n
}
