package core

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// name is a connection whose controller is named instead of addressed, a configured one (SPEC section 10) or one of the boot
// firmware's. Its addresses are tried in order; when all of them have failed, the name is resolved anew for the next attempt.
type name struct {
	key    nameKey
	from   string      // its place, for people
	since  time.Time   // when it was first wished for
	answer Resolved    // the last one with addresses
	wishes []wish.Wish // one for each usable address; empty before the first answer
	at     int         // which of them is wished for
	asking bool        // a Resolve is under way
	next   time.Time   // when to ask
	failed int         // lookups that failed in a row
	err    string      // why the last one did …
	errAt  time.Time   // … since when …
	errs   int         // … and how many in a row for that reason
	round  []string    // why the addresses tried since the last lookup failed
}

// nameKey tells connections with names apart; their TIDs lack the address.
type nameKey struct {
	host string
	wish wish.Wish
}

// syncNames makes the names those of the boot firmware and the configuration. One that is new, or wished for in another way,
// begins with what is known of its host: a reload while nobody resolves names costs no connection.
func (m *Machine) syncNames() {
	before, kept := m.nameOrder, map[nameKey]*name{}
	keep := func(host string, w wish.Wish, from string) {
		key := nameKey{host, w}
		if host == "" || kept[key] != nil {
			return
		}
		n := m.names[key]
		if n == nil {
			n = &name{key: key, since: m.now, next: m.now}
			if i := slices.IndexFunc(before, func(old *name) bool { return old.key.host == host && old.wishes != nil }); i >= 0 {
				m.take(n, before[i].answer)
			}
		}
		n.from = from
		kept[key] = n
		m.nameOrder = append(m.nameOrder, n)
	}
	m.nameOrder = nil
	for _, c := range m.boot.connections {
		keep(c.Host, c.Wish, "NBFT: "+c.From)
	}
	for _, c := range m.cfg.Connections {
		keep(c.Host, c.Wish, c.From)
	}
	m.names = kept
}

// addressed returns a wish as it is, or where a host name stands for its address, that for the address that is tried now;
// false while there is none.
func (m *Machine) addressed(host string, w wish.Wish) (wish.Wish, bool) {
	if host == "" {
		return m.fromHere(w), true
	}
	n := m.names[nameKey{host, w}]
	if n == nil || len(n.wishes) == 0 {
		return wish.Wish{}, false
	}
	return m.wishOf(n), true
}

// wishOf is the wish for the address that a name stands for now.
func (m *Machine) wishOf(n *name) wish.Wish { return m.fromHere(n.wishes[n.at]) }

// eachName calls f for every name, those of the boot firmware first.
func (m *Machine) eachName(f func(*name)) {
	for _, n := range m.nameOrder {
		f(n)
	}
}

// askNames resolves what is due, each host once.
func (m *Machine) askNames() {
	asked := map[string]bool{}
	m.eachName(func(n *name) {
		if n.asking {
			asked[n.key.host] = true
		}
	})
	m.eachName(func(n *name) {
		if n.asking || n.next == never || n.next.After(m.now) {
			return
		}
		n.asking, n.next = true, never
		if !asked[n.key.host] {
			asked[n.key.host] = true
			m.emit(Resolve{Host: n.key.host})
		}
	})
}

func (m *Machine) resolved(ev Resolved) {
	m.eachName(func(n *name) {
		if n.key.host == ev.Host && n.asking {
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
	before := m.targetOf(n)
	if err := m.take(n, ev); err != nil {
		n.failed++
		delay := m.backoff(n.failed, m.cfg.Settings.ReconnectMaxDelay)
		n.errs++
		if n.err != err.Error() {
			n.err, n.errAt, n.errs = err.Error(), m.now, 1
			m.log(slog.LevelWarn, KindUnresolved, nil, fmt.Sprintf("%s: %v; next attempt in %v", n.from, err, delay.Round(100*time.Millisecond)))
		}
		if len(n.wishes) == 0 {
			n.next = m.now.Add(delay)
			return
		}
		_ = m.take(n, n.answer) // which was good
	} else {
		n.failed, n.err, n.errs = 0, "", 0
	}
	m.viewDirty = true
	if before != nil {
		m.moveTo(before, m.wishOf(n))
		before.next = m.now
	}
}

// take makes a name stand for the addresses of an answer: for the one that is connected, after a restart of the daemon, or
// else the first. An answer without any that is of use is an error and changes nothing.
func (m *Machine) take(n *name, answer Resolved) error {
	wishes, err := usable(n.key, answer)
	if err != nil {
		return err
	}
	n.answer, n.wishes, n.at, n.round = answer, wishes, 0, nil
	if i := slices.IndexFunc(wishes, func(w wish.Wish) bool { return m.serving(w.TID) != nil }); i >= 0 {
		n.at = i
	}
	return nil
}

// usable returns the wishes for those addresses of an answer that the connection can use.
func usable(key nameKey, ev Resolved) ([]wish.Wish, error) {
	if ev.Err != "" {
		return nil, errors.New(ev.Err)
	}
	var wishes []wish.Wish
	err := fmt.Errorf("cannot resolve %s: it has no address", key.host)
	for _, addr := range ev.Addrs {
		w, bad := key.wish.At(key.host, addr)
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
func (m *Machine) kickNames(transport string, k kicked) int {
	kicked := 0
	m.eachName(func(n *name) {
		if n.key.wish.TID.Transport == transport && len(n.wishes) == 0 && !n.asking && k.helps(n.tid()) {
			m.askAgain(n)
			kicked++
		}
	})
	return kicked
}

// askAgain asks for the addresses of a name now, unless that is under way.
func (m *Machine) askAgain(n *name) {
	if !n.asking {
		n.failed, n.next = 0, m.now
	}
}

// tid is the TID that a name stands for, the name in the place of the address that is not known yet.
func (n *name) tid() tid.TID {
	t := n.key.wish.TID
	t.Traddr = n.key.host
	return t
}

// namesCalled returns the names without an address that a word of a request means, every one for "".
func (m *Machine) namesCalled(word string) []*name {
	var called []*name
	m.eachName(func(n *name) {
		if len(n.wishes) == 0 && (word == "" || tid.SameNQN(n.key.wish.TID.NQN, word) || word == n.tid().Canonical()) {
			called = append(called, n)
		}
	})
	return called
}

// requestForName carries a request out for a name without an address and returns why it cannot, "" if it did.
func (m *Machine) requestForName(n *name, op RequestOp) string {
	without := fmt.Sprintf("its host name %q has no address yet", n.key.host)
	switch op {
	case RequestStart, RequestRetry:
		m.askAgain(n)
		return ""
	case RequestStop: // a stop is remembered of a unit, and it has none
		var ways []string
		if n.key.wish.Owner != wish.OwnerNBFT {
			ways = append(ways, "take it out of the configuration")
		}
		if n.key.wish.TID.NQN != tid.DiscoveryNQN { // excluding that would exclude many others
			ways = append(ways, "exclude its NQN")
		}
		if ways == nil {
			return without + ": try again when it has one"
		}
		return without + ": " + strings.Join(ways, " or ")
	default:
		return without
	}
}

// targetOf returns the target of the address that a name stands for now.
func (m *Machine) targetOf(n *name) *target {
	if len(n.wishes) == 0 {
		return nil
	}
	return m.byTID[m.wishOf(n).TID]
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
	m.moveTo(t, m.wishOf(n))
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
