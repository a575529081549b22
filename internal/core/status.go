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
	retrying := 0
	for _, t := range m.targets {
		count[t.state]++
		if t.state == Waiting && t.attempts > 0 {
			retrying++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d controllers connected", count[Connected], len(m.targets))
	for _, part := range []struct {
		n    int
		what string
	}{
		{count[Connecting] + count[Waiting] - retrying, "connecting"},
		{retrying, "retrying"},
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
	if !m.bus {
		b.WriteString("; cannot talk to systemd")
	}
	return b.String()
}
