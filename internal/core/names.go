// SPDX-License-Identifier: GPL-3.0-or-later

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

// name is a connection whose controller is named instead of addressed, a configured one (docs/design.md, "Configuration") or one of the boot
// firmware's. Its addresses are tried in order; when all of them have failed, the name is resolved anew for the next attempt.
type name struct {
	order  uint64
	key    nameKey
	from   string      // its place, for people
	since  time.Time   // when it was first wished for
	answer Resolved    // the last one with addresses
	wishes []wish.Wish // one for each usable address; empty before the first answer
	at     int         // which of them is wished for; names.set alone changes it
	listed tid.TID     // of that, in names.byTID
	asking bool        // a Resolve is under way
	timer  timer       // when to resolve it
	failed int         // lookups that failed in a row
	err    string      // why the last one did …
	errAt  time.Time   // … since when …
	errs   int         // … and how many in a row for that reason
	round  []string    // why the addresses tried since the last lookup failed

	changedAt uint64 // step in which Machine.Changed looks at it
}

// nameKey tells connections with names apart; their TIDs lack the address.
type nameKey struct {
	host string
	wish wish.Wish
}

// names are all names, those of the boot firmware first, and their indexes.
type names struct {
	list       []*name
	byKey      map[nameKey]*name
	ofHost     map[string][]*name
	byTID      map[tid.TID][]*name // by the TID of the address that a name stands for now
	unresolved int                 // names that stand for no address

	changed []*name // in this step
}

// syncNames makes the names those of the boot firmware and the configuration. One that is new, or wished for in another way,
// begins with what is known of its host: a reload while nobody resolves names costs no connection.
func (m *Machine) syncNames() {
	before := m.names
	m.names = names{byKey: map[nameKey]*name{}, ofHost: map[string][]*name{}, byTID: map[tid.TID][]*name{}, changed: before.changed}
	keep := func(host string, w wish.Wish, from string) {
		key := nameKey{host, w}
		if host == "" || m.names.byKey[key] != nil {
			return
		}
		m.work++
		n := before.byKey[key]
		if n == nil {
			n = &name{key: key, since: m.now}
			n.timer.owner = n
			m.at(&n.timer, m.now)
			if i := slices.IndexFunc(before.ofHost[host], func(old *name) bool { return old.wishes != nil }); i >= 0 {
				m.take(n, before.ofHost[host][i].answer)
			}
		}
		n.from, n.order = from, uint64(len(m.names.list))
		m.names.byKey[key] = n
		m.names.ofHost[host] = append(m.names.ofHost[host], n)
		m.names.list = append(m.names.list, n)
	}
	for _, c := range m.boot.connections {
		keep(c.Host, c.Wish, "NBFT: "+c.From)
	}
	for _, c := range m.cfg.Connections {
		keep(c.Host, c.Wish, c.From)
	}
	for _, n := range m.names.list {
		n.listed = tid.TID{}
		m.listName(n)
		if len(n.wishes) == 0 {
			m.names.unresolved++
		}
	}
	for _, n := range before.list {
		if m.names.byKey[n.key] == n {
			continue
		}
		m.at(&n.timer, never)
		if len(n.wishes) == 0 {
			m.targets.unlisted = append(m.targets.unlisted, n.tid())
		}
		// Somebody else may want its target, which then waits no more for the name to be resolved.
		if t := m.targets.byTID[n.listed]; t != nil && t.state == Waiting && t.is(idle) && t.timer.when == never && len(m.names.byTID[n.listed]) == 0 {
			m.at(&t.timer, m.now)
		}
	}
	m.views.names = true
}

// listName keeps a name in the index of what it stands for now.
func (m *Machine) listName(n *name) {
	var now tid.TID
	if len(n.wishes) > 0 {
		now = m.wishOf(n).TID
	}
	if n.listed == now {
		return
	}
	if n.listed != (tid.TID{}) {
		m.names.byTID[n.listed] = slices.DeleteFunc(m.names.byTID[n.listed], func(o *name) bool { return o == n })
		if len(m.names.byTID[n.listed]) == 0 {
			delete(m.names.byTID, n.listed)
		}
	}
	if n.listed = now; now != (tid.TID{}) {
		m.names.byTID[now] = append(m.names.byTID[now], n)
	}
}

// nameChanged notes that views have to look at a name again.
func (m *Machine) nameChanged(n *name) {
	m.views.names = true
	if n.changedAt != m.step {
		n.changedAt = m.step
		m.names.changed = append(m.names.changed, n)
	}
}

// addressed returns a wish as it is, or where a host name stands for its address, that for the address that is tried now;
// false while there is none.
func (m *Machine) addressed(host string, w wish.Wish) (wish.Wish, bool) {
	if host == "" {
		return m.withoutStaleSource(w), true
	}
	n := m.names.byKey[nameKey{host, w}]
	if n == nil || len(n.wishes) == 0 {
		return wish.Wish{}, false
	}
	return m.wishOf(n), true
}

// wishOf is the wish for the address that a name stands for now.
func (m *Machine) wishOf(n *name) wish.Wish { return m.withoutStaleSource(n.wishes[n.at]) }

func (n *name) rank() (int, time.Time, uint64) { return rankName, never, n.order }

// due resolves a name, each host once for all that name it. While it is being resolved already, its answer decides.
func (n *name) due(m *Machine) {
	if n.asking {
		return
	}
	n.asking = true
	m.nameChanged(n)
	for _, other := range m.names.ofHost[n.key.host] {
		if other != n && other.asking {
			return
		}
	}
	m.emit(Resolve{Host: n.key.host})
}

func (m *Machine) resolved(ev Resolved) {
	for _, n := range slices.Clone(m.names.ofHost[ev.Host]) {
		m.work++
		if n.asking {
			n.asking = false
			m.answered(n, ev)
		}
	}
}

// answered takes the addresses of a name in, unless what it stands for is connected or being tried meanwhile. A lookup
// that failed leaves the addresses known so far to be tried again.
func (m *Machine) answered(n *name, ev Resolved) {
	m.nameChanged(n)
	before := m.targetOf(n)
	if before != nil && (before.state != Waiting || !before.is(idle)) {
		return
	}
	unresolved := len(n.wishes) == 0
	if err := m.take(n, ev); err != nil {
		n.failed++
		delay := m.backoff(n.failed, m.cfg.Settings.ReconnectMaxDelay)
		n.errs++
		if n.err != err.Error() {
			n.err, n.errAt, n.errs = err.Error(), m.now, 1
			m.log(slog.LevelWarn, KindUnresolved, nil, fmt.Sprintf("%s: %v; next attempt in %v", n.from, err, delay.Round(100*time.Millisecond)))
		}
		if unresolved {
			m.in(&n.timer, delay)
			return
		}
		_ = m.take(n, n.answer) // which was good
	} else {
		n.failed, n.err, n.errs = 0, "", 0
	}
	if unresolved {
		m.names.unresolved--
		m.targets.unlisted = append(m.targets.unlisted, n.tid())
	}
	m.nameMoved(n)
	if before != nil {
		m.moveTo(before, m.wishOf(n))
		m.at(&before.timer, m.now)
	}
}

// nameMoved notes that a name stands for another address.
func (m *Machine) nameMoved(n *name) {
	m.listName(n)
	m.stale = true
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

// kickNames resolves now the names on a transport that stand for nothing yet, and returns how many there are.
func (m *Machine) kickNames(transport string, k *kicked) int {
	if m.names.unresolved == 0 {
		return 0
	}
	kicked := 0
	for _, n := range m.names.list {
		m.work++
		if n.key.wish.TID.Transport == transport && len(n.wishes) == 0 && !n.asking && k.helps(n.tid()) {
			m.resolveNow(n)
			kicked++
		}
	}
	return kicked
}

// resolveNow resolves a name now, unless that is under way.
func (m *Machine) resolveNow(n *name) {
	if !n.asking {
		n.failed = 0
		m.at(&n.timer, m.now)
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
	if m.names.unresolved == 0 {
		return nil
	}
	for _, n := range m.names.list {
		m.work++
		if len(n.wishes) == 0 && (word == "" || tid.SameNQN(n.key.wish.TID.NQN, word) || word == n.tid().Canonical()) {
			called = append(called, n)
		}
	}
	return called
}

// requestForName carries a request out for a name without an address and returns why it cannot, "" if it did.
func (m *Machine) requestForName(n *name, op RequestOp) string {
	without := fmt.Sprintf("its host name %q has no address yet", n.key.host)
	switch op {
	case RequestStart, RequestRetry:
		m.resolveNow(n)
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
	return m.targets.byTID[m.wishOf(n).TID]
}

// nextAddress goes on to the name's next address after a failure and reports whether there was one.
func (m *Machine) nextAddress(t *target, n *name, err string) bool {
	n.round = append(n.round, err)
	if n.at+1 >= len(n.wishes) {
		return false
	}
	n.at++
	m.nameMoved(n)
	m.transition(t, Waiting)
	m.moveTo(t, m.wishOf(n))
	m.at(&t.timer, m.now)
	return true
}

// moveTo makes a target that waits stand for another address. Where that has a target already, the desired set lets go of
// this one.
func (m *Machine) moveTo(t *target, w wish.Wish) {
	m.stale = true
	if m.targets.byTID[w.TID] != nil {
		return
	}
	if m.freeUnit(t) {
		m.abandon(t.unit, leaving{Why: "another address is tried"})
	}
	m.setUnit(t, w.TID.UnitName())
	m.setWish(t, w)
}
