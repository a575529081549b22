package core

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// name is a configured connection whose controller is named instead of addressed (SPEC section 10). Its addresses are
// tried in order; when all of them have failed, the name is resolved anew for the next attempt.
type name struct {
	conn   config.Connection
	wishes []wish.Wish // one for each usable address; empty before the first answer
	at     int         // which of them is wished for
	asking bool        // a Resolve is under way
	next   time.Time   // when to ask
	failed int         // lookups that failed in a row
	err    string      // why the last one did
	round  []string    // why the addresses tried since the last lookup failed
}

// nameKey tells connections with names apart; their TIDs lack the address.
type nameKey struct {
	host string
	wish wish.Wish
}

func keyOf(c config.Connection) nameKey { return nameKey{c.Host, c.Wish} }

// syncNames makes the names those of the configuration.
func (m *Machine) syncNames() {
	kept := map[nameKey]*name{}
	for _, c := range m.cfg.Connections {
		if c.Host == "" {
			continue
		}
		n := m.names[keyOf(c)]
		if n == nil {
			n = &name{next: m.now}
		}
		n.conn = c
		kept[keyOf(c)] = n
	}
	m.names = kept
}

// eachName calls f for every name in the order of the configuration.
func (m *Machine) eachName(f func(*name)) {
	for _, c := range m.cfg.Connections {
		if n := m.names[keyOf(c)]; c.Host != "" && n != nil {
			f(n)
		}
	}
}

// askNames resolves what is due, each host once.
func (m *Machine) askNames() {
	asked := map[string]bool{}
	m.eachName(func(n *name) {
		if n.asking {
			asked[n.conn.Host] = true
		}
	})
	m.eachName(func(n *name) {
		if n.asking || n.next == never || n.next.After(m.now) {
			return
		}
		n.asking, n.next = true, never
		if !asked[n.conn.Host] {
			asked[n.conn.Host] = true
			m.emit(Resolve{Host: n.conn.Host})
		}
	})
}

func (m *Machine) resolved(ev Resolved) {
	m.eachName(func(n *name) {
		if n.conn.Host == ev.Host && n.asking {
			n.asking = false
			m.answered(n, ev)
		}
	})
}

// answered takes the addresses of a name in, unless what it stands for is connected or being tried meanwhile. A lookup
// that failed leaves the addresses known so far to be tried again.
func (m *Machine) answered(n *name, ev Resolved) {
	if t := m.targetOf(n); t != nil && (t.state != Waiting || t.phase != idle) {
		return
	}
	wishes, err := usable(n.conn, ev)
	if err != nil {
		n.failed++
		delay := m.backoff(n.failed, m.cfg.Settings.ReconnectMaxDelay)
		if n.err != err.Error() {
			n.err = err.Error()
			m.log(slog.LevelWarn, KindUnresolved, nil, fmt.Sprintf("%s: %v; next attempt in %v", n.conn.From, err, delay.Round(100*time.Millisecond)))
		}
		if len(n.wishes) == 0 {
			n.next = m.now.Add(delay)
			return
		}
		wishes = n.wishes
	} else {
		n.failed, n.err = 0, ""
	}
	before := m.targetOf(n)
	n.wishes, n.at, n.round = wishes, 0, nil
	for i, w := range wishes {
		if m.serving(w.TID) != nil { // after a restart of the daemon: the address that is connected
			n.at = i
			break
		}
	}
	m.viewDirty = true
	if before != nil {
		m.moveTo(before, n.wishes[n.at])
		before.next = m.now
	}
}

// usable returns the wishes for those addresses of an answer that the connection can use.
func usable(c config.Connection, ev Resolved) ([]wish.Wish, error) {
	if ev.Err != "" {
		return nil, errors.New(ev.Err)
	}
	var wishes []wish.Wish
	err := fmt.Errorf("cannot resolve %s: it has no address", c.Host)
	for _, addr := range ev.Addrs {
		w, bad := c.At(addr)
		if bad != nil {
			err = bad
			continue
		}
		wishes = append(wishes, w)
	}
	if len(wishes) == 0 {
		return nil, err
	}
	return wishes, nil
}

// kickNames asks again now for the names on a transport that stand for nothing yet, and returns how many there are.
func (m *Machine) kickNames(transport string) int {
	kicked := 0
	m.eachName(func(n *name) {
		if n.conn.Wish.TID.Transport == transport && len(n.wishes) == 0 && !n.asking {
			n.failed, n.next = 0, m.now
			kicked++
		}
	})
	return kicked
}

// targetOf returns the target of the address that a name stands for now.
func (m *Machine) targetOf(n *name) *target {
	if len(n.wishes) == 0 {
		return nil
	}
	return m.byTID[n.wishes[n.at].TID]
}

// nameOf returns the name that a target stands for, nil for one that is configured by its address.
func (m *Machine) nameOf(t *target) *name {
	var found *name
	m.eachName(func(n *name) {
		if m.targetOf(n) == t {
			found = n
		}
	})
	return found
}

// nextAddress goes on to the name's next address after a failure and reports whether there was one.
func (m *Machine) nextAddress(t *target, n *name, err string) bool {
	n.round = append(n.round, err)
	if n.at+1 >= len(n.wishes) {
		return false
	}
	n.at++
	m.moveTo(t, n.wishes[n.at])
	m.transition(t, Waiting)
	t.next = m.now
	return true
}

// moveTo makes a target that waits stand for another address. Where that has a target already, the view lets go of this one.
func (m *Machine) moveTo(t *target, w wish.Wish) {
	m.viewDirty = true
	if m.byTID[w.TID] != nil {
		return
	}
	m.leaveGroup(t)
	if m.byUnit[t.unit] == t {
		delete(m.byUnit, t.unit)
		m.abandon(t.unit, "", "another address is tried")
	}
	delete(m.byTID, t.wish.TID)
	t.wish, t.unit = w, w.TID.UnitName()
	m.byTID[w.TID] = t
}
