package core

import (
	"fmt"
	"strings"
)

// report keeps the one line of state up to date.
func (m *Machine) report() {
	text := m.summary()
	if text != m.status {
		m.status = text
		m.emit(Status{Text: text})
	}
}

func (m *Machine) summary() string {
	switch {
	case m.shutdown:
		return "the system is shutting down"
	case !m.configured:
		return "reading the configuration"
	case !m.audited:
		return "looking at what is connected"
	}
	count := map[State]int{}
	retrying, unresolved := 0, 0
	m.eachName(func(n *name) {
		if len(n.wishes) == 0 {
			unresolved++
		}
	})
	for _, t := range m.targets {
		count[t.state]++
		if t.state == Waiting && t.attempts > 0 {
			retrying++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d controllers connected", count[Connected], len(m.targets)+unresolved)
	for _, part := range []struct {
		n    int
		what string
	}{
		{count[Connecting] + count[Waiting] - retrying, "connecting"},
		{retrying, "retrying"},
		{unresolved, "without an address"},
		{count[Excluded], "excluded"},
		{count[Foreign], "of other owners"},
		{count[Stopped], "stopped"},
		{count[Parked], "parked"},
		{count[Collision], "with the unit name of another"},
	} {
		if part.n > 0 {
			fmt.Fprintf(&b, ", %d %s", part.n, part.what)
		}
	}
	if n := len(m.cfg.Errors); n > 0 {
		b.WriteString("; " + errorsIn(n) + ", see nvme-discoverctl config check")
	}
	if !m.bus {
		b.WriteString("; cannot talk to systemd")
	}
	return b.String()
}

// Size returns how many things the machine remembers, of whatever kind: for tests that hold it to a bound, since a daemon
// that runs for years must not remember more than there is.
func (m *Machine) Size() int {
	n := len(m.targets) + len(m.byTID) + len(m.byUnit) + len(m.groups) + len(m.queue) + len(m.stopped) + len(m.devices) +
		len(m.removed) + len(m.units) + len(m.probes) + len(m.kicks) + len(m.orphans) + len(m.fc.ports)
	for _, t := range m.targets {
		n += len(t.sources) + len(t.page) + len(t.children) + len(t.ended)
	}
	for _, p := range m.probes {
		n += len(p.waiting)
	}
	return n
}
