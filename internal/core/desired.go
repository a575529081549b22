package core

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// maxWanted is how many connections may be wished for before log pages add no more: far more than a host can hold, and few
// enough for the memory of the service. A DC may name tens of thousands, and refer to others that do.
const maxWanted = 16384

// wanted is one line of the view.
type wanted struct {
	wish    wish.Wish
	sources []string
	sourced bool              // by something that is there now, not only by a retained DC
	static  bool              // configured, or the boot firmware's
	found   config.Discovered // parameters and secrets of what its log page names

	persistence config.Persistence // of a discovery controller, what its section says; "" is the global default
}

// view computes the desired set: what is configured or announced, and whatever the log pages say of the DCs reachable from there.
// Pages that refer in circles reach each DC once. The first source of a TID wins, so configured parameters go before
// discovered ones. Of two pages that name one connection, TLS wins: what either requires is never connected with less.
func (m *Machine) view() []*wanted {
	var list []*wanted
	byTID := map[tid.TID]*wanted{}
	want := func(w wish.Wish, source string, sourced, static bool, found config.Discovered, persistence config.Persistence) {
		if have := byTID[w.TID]; have != nil {
			have.sources = append(have.sources, source)
			_, tls := w.Params.Get(param.TLS)
			switch {
			case static: // the address of a host name, and configured itself
				have.wish = asSecureAs(have.wish, w)
			case tls && !have.static:
				have.wish.Params = requireTLS(have.wish.Params)
			}
			return
		}
		byTID[w.TID] = &wanted{w, []string{source}, sourced, static, found, persistence}
		list = append(list, byTID[w.TID])
	}
	followed, full := 0, false
	follow := func(sourced bool) {
		for ; followed < len(list); followed++ {
			parent := list[followed]
			t := m.byTID[parent.wish.TID]
			if t == nil {
				continue
			}
			t.found = parent.found
			if len(t.page) > 0 && t.judgedBy != m.originOf(t) {
				m.judgePage(t)
			}
			for _, child := range t.children {
				switch {
				case m.covers(child):
				case len(list) >= maxWanted && byTID[child.TID] == nil:
					full = true
				default:
					want(child, LogPageSource+t.wish.TID.String(), sourced, false, parent.found, "")
				}
			}
		}
	}
	for _, c := range m.boot.connections {
		if w, ok := m.addressed(c.Host, c.Wish); ok && m.permitted(c, w) {
			found := m.cfg.Discovered
			found.Secrets = w.Secrets
			want(w, "NBFT: "+c.From, true, true, found, "")
		}
	}
	boots := len(list)
	for _, c := range m.cfg.Connections {
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
		want(w, from, true, true, c.Discovered, c.Persistence)
	}
	if m.cfg.HostNQN != "" {
		for _, p := range m.fc.ports {
			want(m.fcWish(p), FCSource, true, false, m.cfg.Discovered, "")
		}
	}
	follow(true)
	for _, t := range m.targets {
		if byTID[t.wish.TID] == nil && m.retained(t) {
			want(t.wish, "retained", false, false, t.found, "")
		}
	}
	follow(false)
	if full && !m.full {
		m.log(slog.LevelError, KindLogPageFlawed, nil, fmt.Sprintf("log pages name connections beyond %d, which are left out: take the discovery controllers that name them out of the configuration", maxWanted))
	}
	m.full = full
	secureAsStatic(list)
	return list
}

// secureAsStatic gives what is discovered, or configured without a path, the security of a static wish for the same target by
// another path: one connection may serve both, whichever is made first.
func secureAsStatic(list []*wanted) {
	static := map[group]wish.Wish{}
	for _, w := range list {
		if w.static && securityOf(w.wish) != (wish.Wish{}) {
			g := groupOf(w.wish)
			static[g] = asSecureAs(static[g], securityOf(w.wish))
		}
	}
	if len(static) == 0 {
		return
	}
	for _, w := range list {
		pinned := w.wish.TID.HostTraddr != "" || w.wish.TID.HostIface != ""
		if asked, ok := static[groupOf(w.wish)]; ok && !(w.static && pinned) {
			w.wish = asSecureAs(w.wish, asked)
		}
	}
}

// retained tells whether a DC whose source is gone is to be kept all the same.
func (m *Machine) retained(t *target) bool {
	if t.wish.Kind != tid.Discovery {
		return false
	}
	if t.sourced { // its source went just now; a configured one is simply no longer wanted
		return !t.static && m.cfg.Settings.DiscoveryRetention > 0
	}
	return t.retainUntil != never
}

// refreshView makes the targets agree with the view when anything that it is made of changed.
func (m *Machine) refreshView() {
	for _, t := range m.targets {
		if t.retainUntil != never && !t.retainUntil.After(m.now) {
			t.retainUntil, m.viewDirty = never, true
		}
	}
	if !m.viewDirty || !m.audited {
		return
	}
	m.viewDirty = false
	m.syncNames()
	for _, t := range m.targets {
		t.desired = false
	}
	for _, w := range m.view() {
		t := m.byTID[w.wish.TID]
		if t == nil {
			t = &target{unit: w.wish.TID.UnitName(), since: m.now, next: m.now, touched: m.step}
			t.found = w.found
			m.byTID[w.wish.TID] = t
			m.targets = append(m.targets, t)
		}
		m.retain(t, w.sourced)
		t.wish, t.sources, t.static, t.desired = w.wish, w.sources, w.static, true
		m.setPersistence(t, w.persistence)
	}
	var dropped []*target
	for _, t := range m.targets {
		if !t.desired && t.droppable() {
			m.log(slog.LevelInfo, KindUnwanted, t, "no longer wanted")
			dropped = append(dropped, t)
			m.viewDirty = m.viewDirty || t.wish.Kind == tid.Discovery
		}
	}
	m.drop(dropped...)
	if m.viewDirty { // the pages of DCs that went are gone with them
		m.refreshView()
	}
}

// retain starts, stops or leaves alone the timer after which a DC that nothing names any more is forgotten.
func (m *Machine) retain(t *target, sourced bool) {
	switch {
	case sourced || t.wish.Kind != tid.Discovery:
		t.retainUntil = never
	case t.sourced:
		t.retainUntil = m.now.Add(m.cfg.Settings.DiscoveryRetention)
		if m.cfg.Settings.DiscoveryRetention == config.Infinity {
			t.retainUntil = m.now.Add(100 * 365 * 24 * time.Hour)
		}
	}
	t.sourced = sourced
}

// droppable tells whether nothing of ours runs for a target.
func (t *target) droppable() bool {
	return t.phase != job && t.phase != clearing && t.phase != unknown && t.phase != looking && t.phase != settling
}
