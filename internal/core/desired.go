// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// maxWanted is how many connections may be wished for before log pages add no more: far more than a host can hold, and few
// enough for the memory of the service. A DC may name tens of thousands, and refer to others that do.
const maxWanted = 16384

// desired is the desired set: what is configured or announced, and what the log pages say of the DCs that can be reached
// from there. refresh makes all of it; a log page that names other subsystems than before has only those reconsidered.
//
// The first source of a TID wins, so configured parameters come before discovered ones. Of two pages that name one
// connection, TLS wins: what either requires is never connected with less.
type desired struct {
	static  map[tid.TID]*wanted // by what is configured, announced, or in the boot firmware's tables
	secured map[group]wish.Wish // the security that static wishes ask for, by group
	dcs     map[tid.TID]*reachable
	claims  map[tid.TID][]*target // the DCs whose pages name a connection
	n       int                   // targets that are desired
	full    bool                  // log pages name more than may be wished for

	leaving   []*target        // nothing wants them any more, or something of ours has ended for such a one
	recalled  []Retained       // by an earlier daemon, until the first desired set
	retained  map[*target]bool // whose retention timer is set
	unkept    bool             // what KeepRetained said last is not true any more
	refreshed uint64           // step in which the set was last made anew
}

// wanted is a connection of the desired set.
type wanted struct {
	wish      wish.Wish
	sources   []string
	sourced   bool              // by something that is there now, not only by a retained DC
	static    bool              // configured, or the boot firmware's
	announced bool              // by mDNS, and by nothing else
	found     config.Discovered // parameters and secrets of what its log page names

	persistence config.Persistence // of a discovery controller, what its section says; "" is the global default
}

// reachable is a discovery controller that the desired set has: its page counts.
type reachable struct {
	order   int // pages count in this order
	sourced bool
	found   config.Discovered
}

func newDesired() desired {
	return desired{static: map[tid.TID]*wanted{}, dcs: map[tid.TID]*reachable{}, claims: map[tid.TID][]*target{}, retained: map[*target]bool{}}
}

func (d *desired) claim(id tid.TID, dc *target) {
	if !slices.Contains(d.claims[id], dc) {
		d.claims[id] = append(d.claims[id], dc)
	}
}

func (d *desired) unclaim(id tid.TID, dc *target) {
	rest := slices.DeleteFunc(d.claims[id], func(o *target) bool { return o == dc })
	if len(rest) == 0 {
		delete(d.claims, id)
		return
	}
	d.claims[id] = rest
}

// claimants are the reached DCs whose pages name a connection, in the order in which they count.
func (d *desired) claimants(id tid.TID) []*target {
	var dcs []*target
	for _, t := range d.claims[id] {
		if d.dcs[t.wish.TID] != nil {
			dcs = append(dcs, t)
		}
	}
	slices.SortFunc(dcs, func(a, b *target) int { return d.dcs[a.wish.TID].order - d.dcs[b.wish.TID].order })
	return dcs
}

// outdated reports whether a log page that names a target is being judged anew.
func (d *desired) outdated(t *target) bool {
	return slices.ContainsFunc(d.claims[t.wish.TID], func(dc *target) bool { return dc.judging != Origin{} })
}

// refresh makes the desired set anew when something changed that it is made of, and the targets agree with it.
func (m *Machine) refresh() {
	for m.audited && m.stale { // the pages of DCs that go are gone with them
		m.stale, m.desired.refreshed = false, m.step
		m.syncNames()
		list := m.follow(m.wantStatic())
		in := make(map[tid.TID]bool, len(list))
		for _, id := range list {
			in[id] = true
		}
		m.all(func(t *target) { // first: they make room for what is new
			if !in[t.wish.TID] {
				m.unwant(t)
			}
		})
		for _, id := range list {
			m.reconsider(id)
		}
		m.recall()
		m.boundAnnounced()
		m.dropUnwanted()
	}
}

// wantStatic collects what is configured, announced, or in the boot firmware's tables, and returns it in its order.
func (m *Machine) wantStatic() []tid.TID {
	m.desired.static = map[tid.TID]*wanted{}
	var list []*wanted
	want := func(source string, w wanted) {
		if have := m.desired.static[w.wish.TID]; have != nil {
			have.sources = append(have.sources, source)
			have.announced = have.announced && w.announced
			if w.static { // the address of a host name, and configured itself
				have.wish = asSecureAs(have.wish, w.wish)
			}
			return
		}
		w.sources, w.sourced = []string{source}, true
		m.desired.static[w.wish.TID] = &w
		list = append(list, &w)
	}
	for _, c := range m.boot.connections {
		if w, ok := m.addressed(c.Host, c.Wish); ok && m.permitted(c, w) {
			found := m.cfg.Discovered
			found.Secrets = w.Secrets
			want(BootSource+c.From, wanted{wish: w, static: true, found: found})
		}
	}
	boots := len(list)
	for _, c := range m.cfg.Connections {
		m.work++
		w, ok := m.addressed(c.Host, c.Wish)
		if !ok {
			continue
		}
		from := c.From
		if c.Host != "" {
			from += " (" + c.Host + ")"
		}
		if m.covers(w) {
			m.tellRedundant(w, from)
			for _, booted := range list[:boots] { // what the file asks for to be safe holds for the boot firmware's connection
				if includes(w, booted.wish) {
					booted.wish = asSecureAs(booted.wish, w)
				}
			}
			continue
		}
		want(from, wanted{wish: w, static: true, found: c.Discovered, persistence: c.Persistence})
	}
	if m.cfg.HostNQN != "" {
		for _, p := range m.fc.ports {
			want(FCSource, wanted{wish: m.fcWish(p.Announcement), found: m.cfg.Discovered})
		}
	}
	m.wantAnnounced(want)
	m.desired.secured = map[group]wish.Wish{}
	ids := make([]tid.TID, len(list))
	for i, w := range list {
		ids[i] = w.wish.TID
		if asked := securityOf(w.wish); w.static && asked != (wish.Wish{}) {
			g := groupOf(w.wish)
			m.desired.secured[g] = asSecureAs(m.desired.secured[g], asked)
		}
	}
	return ids
}

// follow finds the DCs that can be reached, from what is static first and then from those that are retained, and returns
// list with all that their pages name. Pages that refer in circles reach each DC once.
func (m *Machine) follow(list []tid.TID) []tid.TID {
	in := make(map[tid.TID]bool, len(list))
	for _, id := range list {
		in[id] = true
	}
	m.desired.dcs = map[tid.TID]*reachable{}
	reach := func(id tid.TID, sourced bool, found config.Discovered) {
		m.desired.dcs[id] = &reachable{len(m.desired.dcs), sourced, found}
	}
	for _, id := range list {
		if w := m.desired.static[id]; w.wish.Kind == tid.Discovery {
			reach(id, true, w.found)
		}
	}
	at, full := 0, false
	walk := func() {
		for ; at < len(list); at++ {
			dc, t := m.desired.dcs[list[at]], m.targets.byTID[list[at]]
			if dc == nil || t == nil {
				continue
			}
			t.found = dc.found
			if t.page == nil {
				continue
			}
			m.judgeAnew(t)
			for _, c := range t.page.children {
				m.work++
				switch {
				case in[c.tid] || m.covers(t.page.wish(c)):
					continue
				case len(list) >= maxWanted:
					full = true
					continue
				}
				in[c.tid] = true
				if list = append(list, c.tid); c.kind == tid.Discovery {
					reach(c.tid, dc.sourced, dc.found)
				}
			}
		}
	}
	walk()
	m.all(func(t *target) {
		if !in[t.wish.TID] && m.isRetained(t) {
			in[t.wish.TID] = true
			list = append(list, t.wish.TID)
			reach(t.wish.TID, false, t.found)
		}
	})
	for _, r := range m.desired.recalled {
		if !in[r.TID] && m.recallable(r) {
			in[r.TID] = true
			list = append(list, r.TID)
			reach(r.TID, false, m.cfg.Discovered)
		}
	}
	walk()
	if full && !m.desired.full {
		m.tellFull()
	}
	m.desired.full = full
	return list
}

func (m *Machine) tellFull() {
	m.log(slog.LevelError, KindLogPageFlawed, nil, fmt.Sprintf("log pages name connections beyond %d, which are left out: take the discovery controllers that name them out of the configuration", maxWanted))
}

// wanted returns what the desired set has of a TID now, nil if nothing wants it.
func (m *Machine) wanted(id tid.TID) *wanted {
	var w *wanted
	if static := m.desired.static[id]; static != nil {
		have := *static
		w = &have
		w.sources = slices.Clip(w.sources)
	}
	for _, dc := range m.desired.claimants(id) {
		m.work++
		at, ok := dc.page.byTID[id]
		if !ok {
			continue
		}
		x := dc.page.wish(dc.page.children[at])
		if m.covers(x) {
			continue
		}
		source := LogPageSource + dc.wish.TID.String()
		parent := m.desired.dcs[dc.wish.TID]
		if w == nil {
			w = &wanted{wish: x, sourced: parent.sourced, found: parent.found}
		} else if _, tls := x.Params.Get(param.TLS); tls && !w.static {
			w.wish.Params = requireTLS(w.wish.Params)
		}
		w.sources, w.announced = append(w.sources, source), false
	}
	if dc := m.desired.dcs[id]; w == nil && dc != nil {
		w = &wanted{wish: m.retainedWish(id), sources: []string{"retained"}, found: dc.found}
	}
	if w == nil {
		return nil
	}
	// What is discovered, or configured without a path, has the security of a static wish for the same target by another
	// path: one connection may serve both, whichever is made first.
	pinned := w.wish.TID.HostTraddr != "" || w.wish.TID.HostIface != ""
	if asked, ok := m.desired.secured[groupOf(w.wish)]; ok && !(w.static && pinned) {
		w.wish = asSecureAs(w.wish, asked)
	}
	return w
}

// reconsider makes the target of a TID agree with the desired set.
func (m *Machine) reconsider(id tid.TID) {
	w, t := m.wanted(id), m.targets.byTID[id]
	switch {
	case w == nil:
		if t != nil {
			m.unwant(t)
		}
		return
	case t == nil && m.desired.n >= maxWanted && !w.static:
		if !m.desired.full {
			m.tellFull()
		}
		m.desired.full = true
		return
	case t == nil:
		t = m.newTarget(w.wish)
		t.found = w.found
	}
	if !t.desired {
		t.desired = true
		m.desired.n++
		m.change(t)
	}
	m.retain(t, w.sourced)
	m.setWish(t, w.wish)
	if !slices.Equal(t.sources, w.sources) {
		t.sources = w.sources
		m.change(t)
	}
	t.static = w.static
	if w.sourced && t.announced != w.announced {
		t.announced, m.desired.unkept = w.announced, true
	}
	m.setPersistence(t, w.persistence)
}

// unwant takes a target out of the desired set. It is dropped when nothing of ours runs for it any more.
func (m *Machine) unwant(t *target) {
	if t.desired {
		t.desired = false
		m.desired.n--
	}
	m.mayDrop(t)
}

// mayDrop has a target looked at by dropUnwanted.
func (m *Machine) mayDrop(t *target) {
	if !t.desired && !t.dropped {
		m.desired.leaving = append(m.desired.leaving, t)
	}
}

// dropUnwanted drops the targets that nothing wants any more and nothing of ours runs for.
func (m *Machine) dropUnwanted() {
	leaving := m.desired.leaving
	m.desired.leaving = nil
	slices.SortStableFunc(leaving, byOrder)
	var gone []*target
	for _, t := range leaving {
		if !t.desired && !t.dropped && !t.busy() {
			m.log(slog.LevelInfo, KindUnwanted, t, "no longer wanted")
			t.dropped = true
			gone = append(gone, t)
			m.stale = m.stale || t.wish.Kind == tid.Discovery
		}
	}
	for _, t := range gone {
		m.drop(t)
	}
}

// isRetained reports whether a DC whose source is gone is to be kept all the same.
func (m *Machine) isRetained(t *target) bool {
	if t.wish.Kind != tid.Discovery || m.forgotten(t) {
		return false
	}
	if t.sourced { // its source went just now; a configured one is simply no longer wanted
		return !t.static && m.cfg.Settings.DiscoveryRetention > 0
	}
	return t.retention.when != never
}

// forever is how long an infinite retention lasts: a time that can be computed with.
const forever = 100 * 365 * 24 * time.Hour

// retain starts, stops or leaves alone the timer after which a DC that nothing names any more is forgotten.
func (m *Machine) retain(t *target, sourced bool) {
	switch {
	case sourced || t.wish.Kind != tid.Discovery:
		m.setRetention(t, never)
	case t.sourced && m.cfg.Settings.DiscoveryRetention == config.Infinity:
		m.setRetention(t, m.now.Add(forever))
	case t.sourced:
		m.setRetention(t, m.now.Add(m.cfg.Settings.DiscoveryRetention))
	}
	t.sourced = sourced
}

func (m *Machine) setRetention(t *target, until time.Time) {
	if t.retention.when == until {
		return
	}
	m.at(&t.retention, until)
	m.change(t)
	m.desired.unkept = true
	if m.desired.retained[t] = true; until == never {
		delete(m.desired.retained, t)
	}
}

// Retained is a discovery controller that nothing names any more, and when it is forgotten.
type Retained struct {
	TID   tid.TID
	Until time.Time
	// Announced: only mDNS named it. With a zero Until it still did when the daemon ended.
	Announced bool `json:",omitzero"`
}

// retainedWish is what a DC that nothing names any more is wanted as: one that an earlier daemon retained is connected as
// what is discovered now.
func (m *Machine) retainedWish(id tid.TID) wish.Wish {
	if t := m.targets.byTID[id]; t != nil {
		return t.wish
	}
	return wish.Wish{Kind: tid.Discovery, Owner: wish.OwnerDiscoverd, TID: id, Params: m.cfg.Discovered.Discovery, Secrets: m.cfg.Discovered.Secrets}
}

// recall retains what an earlier daemon retained for as long as that would have.
func (m *Machine) recall() {
	for _, r := range m.desired.recalled {
		if t := m.targets.byTID[r.TID]; t != nil && t.desired && !t.sourced && t.retention.when == never {
			m.setRetention(t, m.until(r))
			t.announced = r.Announced
		}
	}
	m.desired.unkept = m.desired.unkept || len(m.desired.recalled) > 0 // of what is over, the record is to go
	m.desired.recalled = nil
}

// keepRetained has the retained discovery controllers remembered when they have changed.
func (m *Machine) keepRetained() {
	if !m.desired.unkept || !m.audited {
		return
	}
	m.desired.unkept = false
	var list []Retained
	for _, t := range m.inOrder(m.desired.retained) {
		list = append(list, Retained{t.wish.TID, t.retention.when, t.announced})
	}
	m.emit(KeepRetained{m.keepAnnounced(list)})
}

// retention owns the timer after which a target is not retained any more.
type retention struct{ *target }

func (r retention) rank() (int, time.Time, uint64) { return rankRetention, never, r.order }

func (r retention) due(m *Machine) {
	m.change(r.target)
	delete(m.desired.retained, r.target)
	m.desired.unkept, m.stale = true, true
}
