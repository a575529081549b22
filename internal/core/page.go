// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"slices"

	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Bounds of what is kept of log pages, in entries: of all DCs together, and of one DC however much the others have. A page
// may have 65 536 (and a DC of them may refer to others), and a daemon that runs out of memory ends in the same way
// after each restart.
const (
	maxKept = 32768
	minKept = 1024
)

// logPages is what all log pages have in common.
type logPages struct {
	kept     int              // entries of them that are kept …
	reserved int              // … and that those being read may have
	cut      map[*target]bool // whose page has fewer entries than the discovery controller has
	roomier  bool             // kept or reserved has shrunk
	noConcat bool             // the kernel is known to have no concat
}

// Page is a discovery log page and what becomes of each entry, as its DC's wish decides. It never changes, so that
// everybody shares it.
type Page struct {
	Entries []PageEntry
	Flaws   []string // what of the page could not be read, in words for people
	Dropped int      // entries beyond those that may be kept

	origin   Origin
	children []child
	byTID    map[tid.TID]int // place in children
	named    int             // entries that name a connection and get it
	skipped  int             // entries that name a connection and get none
	own      discoverylog.Entry
	ownKnown bool // the page says something of the DC itself: own
}

// PageEntry is an entry of a log page and what became of it.
type PageEntry struct {
	discoverylog.Entry
	Skipped string // why it is not connected although it names a connection; "" otherwise
	plain   bool   // it offers TLS and is connected without
}

// child is a connection that a page names.
type child struct {
	tid    tid.TID
	kind   tid.Kind
	params *param.Set // shared by the children that have the same
	entry  int        // place in Entries
}

func (p *Page) wish(c child) wish.Wish {
	return wish.Wish{Kind: c.kind, Owner: wish.OwnerDiscoverd, TID: c.tid, Params: *c.params, Secrets: p.origin.found.Secrets}
}

// JudgedPage is a page, and how it differs from the one before. The page alone is kept.
type JudgedPage struct {
	*Page
	before *Page // nil: there was none

	added, removed []tid.TID // connections that the page names for the first time or in another way; and not any more
	referrals      bool      // discovery controllers are among them
	fresh          []int     // entries that are skipped and were not there before, the first maxTold of them
	moreFresh      int       // how many more there are
	plain          int       // entries that are connected without the TLS that they offer and were not there before
}

// PageReader is a target that a page is read for: by what the page is judged for it, and the page that it had before.
type PageReader struct {
	Origin Origin
	Before *Page
}

// JudgePages decides what becomes of the entries of a page, for each reader.
func JudgePages(page discoverylog.Page, readers []PageReader) []JudgedPage {
	pages := make([]JudgedPage, len(readers))
	for i, r := range readers {
		judged := judgePage(r.Origin, slices.Values(page.Entries), len(page.Entries))
		judged.Flaws, judged.Dropped = page.Warnings, page.Dropped
		pages[i] = judged.compare(r.Before)
	}
	return pages
}

// JudgeAnew decides about the entries of a page once more, by another origin.
func JudgeAnew(page *Page, o Origin) JudgedPage {
	entries := func(yield func(discoverylog.Entry) bool) {
		for _, e := range page.Entries {
			if !yield(e.Entry) {
				return
			}
		}
	}
	anew := judgePage(o, entries, len(page.Entries))
	anew.Flaws, anew.Dropped = page.Flaws, page.Dropped
	return anew.compare(page)
}

func judgePage(o Origin, entries func(func(discoverylog.Entry) bool), n int) *Page {
	p := &Page{origin: o, Entries: make([]PageEntry, 0, n), byTID: map[tid.TID]int{}}
	sets := map[param.Set]*param.Set{}
	for e := range entries {
		v := judge(o, e)
		p.Entries = append(p.Entries, PageEntry{e, v.skipped, v.plain})
		if v.skipped != "" {
			p.skipped++
		}
		if v.wish == (wish.Wish{}) {
			continue
		}
		p.named++
		at, twice := p.byTID[v.wish.TID]
		if _, tls := v.wish.Params.Get(param.TLS); twice {
			if tls { // of two entries for one connection the more secure one counts
				p.children[at].params = shared(sets, requireTLS(*p.children[at].params))
			}
			continue
		}
		p.byTID[v.wish.TID] = len(p.children)
		p.children = append(p.children, child{v.wish.TID, v.wish.Kind, shared(sets, v.wish.Params), len(p.Entries) - 1})
	}
	p.own, p.ownKnown = ownEntry(o.tid, p.Entries)
	return p
}

func shared(sets map[param.Set]*param.Set, set param.Set) *param.Set {
	if sets[set] == nil {
		sets[set] = &set
	}
	return sets[set]
}

// compare returns how a page differs from the one before, nil for none.
func (p *Page) compare(before *Page) JudgedPage {
	j := JudgedPage{Page: p, before: before}
	known := map[discoverylog.Entry]bool{}
	if before != nil {
		for _, e := range before.Entries {
			known[e.Entry] = true
		}
	} else {
		before = &Page{}
	}
	for i, e := range p.Entries {
		switch {
		case known[e.Entry]:
		case e.plain:
			j.plain++
		case e.Skipped == "":
		case len(j.fresh) < maxTold:
			j.fresh = append(j.fresh, i)
		default:
			j.moreFresh++
		}
	}
	for _, c := range p.children {
		at, had := before.byTID[c.tid]
		if had && before.wish(before.children[at]) == p.wish(c) {
			continue
		}
		j.added = append(j.added, c.tid)
		j.referrals = j.referrals || c.kind == tid.Discovery || had && before.children[at].kind == tid.Discovery
	}
	if !slices.Equal(p.referralsOf(), before.referralsOf()) { // the first that refers to a discovery controller wins
		j.referrals = true
	}
	for _, c := range before.children {
		if _, has := p.byTID[c.tid]; !has {
			j.removed = append(j.removed, c.tid)
			j.referrals = j.referrals || c.kind == tid.Discovery
		}
	}
	return j
}

// referralsOf are the discovery controllers that a page names.
func (p *Page) referralsOf() (ids []tid.TID) {
	for _, c := range p.children {
		if c.kind == tid.Discovery {
			ids = append(ids, c.tid)
		}
	}
	return ids
}

// keep returns how many entries the page of a device may have, for each of its readers. reserved is what the pages that are
// being read may have.
func (m *Machine) keep(readers []*target, reserved int) int {
	others := m.kept + reserved
	for _, t := range readers {
		if t.page != nil {
			others -= len(t.page.Entries)
		}
	}
	return max((maxKept-others)/max(len(readers), 1), minKept)
}

// widenPages reads pages again that were cut for want of room, when others have left enough of it. One that could not be read is
// read again in its time: its own failure leaves room too.
func (m *Machine) widenPages() {
	if !m.roomier {
		return
	}
	m.roomier = false
	for _, t := range m.inOrder(m.cut) {
		if d := t.device; d != nil && d.reading.token == 0 && d.reading.failed == 0 && m.mayWiden(t) {
			m.readLog(t)
		}
	}
}

// mayWiden reports whether the page of t may have all of its entries, or twice as many as it has.
func (m *Machine) mayWiden(t *target) bool {
	return t.page != nil && t.page.Dropped > 0 && t.device != nil &&
		m.keep(m.readers(t.device), m.reserved) >= len(t.page.Entries)+min(t.page.Dropped, len(t.page.Entries))
}

// setPage makes a page the one of t, that of no entries for none, and brings the desired set up to date.
func (m *Machine) setPage(t *target, page JudgedPage) JudgedPage {
	if page.before != t.page { // it was read, or judged anew, meanwhile
		page = page.compare(t.page)
	}
	if t.page != nil {
		m.kept -= len(t.page.Entries)
	}
	m.kept += len(page.Entries)
	if t.page != nil && len(page.Entries) < len(t.page.Entries) {
		m.roomier = true
	}
	t.page = page.Page
	if delete(m.cut, t); page.Dropped > 0 {
		m.cut[t] = true
	}
	m.change(t)
	for _, id := range page.removed {
		m.work++
		m.desired.unclaim(id, t)
	}
	for _, id := range page.added {
		m.work++
		m.desired.claim(id, t)
	}
	if m.desired.full && len(page.removed) > 0 { // there is room for what was left out
		m.stale = true
	}
	if page.referrals || m.stale { // what can be reached may be other discovery controllers
		m.stale = m.stale || m.desired.dcs[t.wish.TID] != nil
		return page
	}
	for _, id := range page.removed {
		m.reconsider(id)
	}
	for _, id := range page.added {
		m.reconsider(id)
	}
	return page
}

// dropPage forgets the page of t.
func (m *Machine) dropPage(t *target) {
	if t.page != nil {
		m.setPage(t, (&Page{}).compare(t.page))
		t.page = nil
	}
}
