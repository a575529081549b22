// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

const (
	endsMax    = 3                // docs/design.md, "Persistent discovery controllers": so many ends of the connection …
	endsWithin = 10 * time.Minute // … in such a time, and the DC is polled instead

	maxTold = 16 // skipped entries of one read that the journal names; the others are counted

	judgePause = 200 * time.Millisecond // until a target is tried again whose log page is being judged anew

	endedItself = "the discovery controller does not keep its connection"
)

// dc is what is known of a discovery controller besides its connection.
type dc struct {
	page     *Page // last good log page; setPage alone changes it
	pageRead time.Time
	judging  Origin            // by which a page is being judged anew; the zero Origin if it is not
	judged   *Page             // the page that is, or was last
	found    config.Discovered // parameters of the wishes that it makes
	heard    bool              // read once, or failed once: orphans are not decided before that

	readErr       string // why the last read failed
	readErrLogged time.Time

	persistence config.Persistence // when its connection is kept: what its own section says, else the global default
	missed      bool               // its page was to be read while it was not readable
	epcsd       bool               // the DC says that it supports connections that are kept
	epcsdRead   bool               // it was asked: not yet where a host name has given it another address since
	unended     bool               // Connected: it was to be parked, but its connection was not its own to end yet
	ended       []time.Time        // when it ended its connection itself: the controller was removed, or the kernel reconnected it

	retention timer // set while its source is gone and it is known only dynamically: when to forget it
	sourced   bool  // wanted by a source that is there now, not by retention
	static    bool  // configured
	announced bool  // by mDNS, and by nothing else, when something last named it
}

// reading is how far the log page of a device is read. It may serve several targets and is read once for all of them.
type reading struct {
	token  uint64    // of the read under way, 0 is none
	keep   int       // entries that its page may have, for all readers together
	again  bool      // something happened during the read: read once more
	failed int       // reads that failed in a row
	to     []*target // whom the read under way is for
	timer  timer     // when to read again after a failure
}

func (d *device) rank() (int, time.Time, uint64) { return rankLogPage, never, d.Seq }

// due reads the log page again after a failure.
func (d *device) due(m *Machine) {
	if readers := m.readers(d); len(readers) > 0 {
		m.readLog(readers[0])
	}
}

// hear notes that a DC was read once, or has failed once.
func (m *Machine) hear(t *target) {
	if !t.heard {
		t.heard = true
		m.change(t)
	}
}

// readLog reads the log page of a connected DC, one read of its device at a time. A reason to read that comes during a read
// makes another one follow: nothing that happened is dropped.
func (m *Machine) readLog(t *target) {
	if !m.readable(t) {
		t.missed = true
		return
	}
	d := t.device
	m.at(&d.reading.timer, never)
	switch d.reading.token {
	case 0:
		d.reading.token, d.reading.to = m.step, m.readers(d)
		readers := make([]PageReader, len(d.reading.to))
		keep := m.keep(d.reading.to, m.reserved)
		for i, r := range d.reading.to {
			readers[i] = PageReader{m.originOf(r), r.page}
			r.missed = false
		}
		d.reading.keep = keep * len(readers)
		m.reserved += d.reading.keep
		m.emit(ReadLog{Device: d.Name, Token: m.step, Readers: readers, Keep: keep})
	case m.step: // begun just now, for another target
	default:
		d.reading.again = true
	}
}

// readMissed reads the log page of a device that was to be read when its unit was not known to hold it.
func (m *Machine) readMissed(d *device) {
	for _, t := range m.readers(d) {
		if t.missed && m.readable(t) {
			m.readLog(t)
		}
	}
}

// logChanged reads the log page that a DC says has changed.
func (m *Machine) logChanged(ev LogChanged) {
	d := m.devices.byName[ev.Device]
	if d == nil {
		return
	}
	for _, t := range m.readers(d) {
		m.readLog(t)
	}
}

// readers are the targets that a device's log page is for.
func (m *Machine) readers(d *device) []*target {
	var readers []*target
	for _, t := range d.users {
		if t.state == Connected && t.wish.Kind == tid.Discovery {
			readers = append(readers, t)
		}
	}
	return readers
}

// leaveRead lets go of the read of the device that t is connected by, unless it is for another target too; its answer will
// be out of date. t has left its state already.
func (m *Machine) leaveRead(t *target) {
	if d := t.device; d != nil && !slices.ContainsFunc(m.readers(d), func(o *target) bool { return o != t }) {
		m.endReading(d)
	}
}

// endReading makes a device one whose log page is not being read, and returns what it was.
func (m *Machine) endReading(d *device) reading {
	was := d.reading
	m.reserved -= was.keep
	m.roomier = m.roomier || was.keep > 0
	m.at(&d.reading.timer, never)
	d.reading = reading{timer: d.reading.timer}
	return was
}

// endRead notes that a read has ended and returns its device and what it was; nil for one whose answer does not count any more.
func (m *Machine) endRead(device string, token uint64) (d *device, was reading) {
	d = m.devices.byName[device]
	if d == nil || token == 0 || d.reading.token != token {
		return nil, reading{}
	}
	return d, m.endReading(d)
}

func (m *Machine) logRead(ev LogRead) {
	d, was := m.endRead(ev.Device, ev.Token)
	if d == nil {
		return
	}
	told := false
	for i, t := range was.to {
		if t.dropped || t.state != Connected || t.device != d || i >= len(ev.Pages) {
			continue
		}
		page := ev.Pages[i]
		if !told {
			told = true
			for _, w := range page.Flaws {
				m.log(slog.LevelWarn, KindLogPageFlawed, t, "log page: "+w)
			}
			m.tellDropped(t, page.Page)
		}
		m.takePage(t, page, was.again)
	}
	if readers := m.readers(d); len(readers) > len(was.to) || len(readers) > 0 && !told { // others joined meanwhile
		m.readLog(readers[len(readers)-1])
	}
}

// tellDropped says once that a page is larger than what is kept of it.
func (m *Machine) tellDropped(t *target, page *Page) {
	if page.Dropped == 0 || t.page != nil && t.page.Dropped == page.Dropped || m.keep(m.readers(t.device), 0) >= len(page.Entries)+page.Dropped {
		return // the same as before, or it is read again as soon as the reads of others are over
	}
	m.log(slog.LevelError, KindLogPageFlawed, t, fmt.Sprintf("log page: it has %d entries, and the first %d are kept: too many for one host, see which hosts the discovery controller is to show them to",
		len(page.Entries)+page.Dropped, len(page.Entries)))
}

// takePage makes t's wishes those of the page that was read. A page that is about to be read again decides nothing else. An
// entry that is skipped is told when it is new; so are those that are connected without the secure channel that they offer.
func (m *Machine) takePage(t *target, page JudgedPage, again bool) {
	t.pageRead, t.readErr = m.now, ""
	m.hear(t)
	page = m.setPage(t, page)
	for _, i := range page.fresh {
		e := page.Entries[i]
		m.log(slog.LevelWarn, KindLogPageFlawed, t, fmt.Sprintf("log page: skipping the entry for %q: %s", e.NQN, e.Skipped))
	}
	if page.moreFresh > 0 {
		m.log(slog.LevelWarn, KindLogPageFlawed, t, fmt.Sprintf("log page: skipping %d more entries, which nvme-discoverctl logs lists", page.moreFresh))
	}
	if page.plain > 0 {
		why := "this host has no dhchap-secret to make a key from"
		if m.noConcat {
			why = "this kernel cannot make a key from the authentication (concat)"
		}
		m.log(slog.LevelInfo, KindNone, t, fmt.Sprintf("log page: entries that offer TLS without requiring it are connected without (%d): %s, and tls = true is not configured", page.plain, why))
	}
	text := fmt.Sprintf("log page read: %d of %d entries are connections", page.named, len(page.Entries))
	if page.skipped > 0 {
		text += fmt.Sprintf(", %d skipped", page.skipped)
	}
	m.log(slog.LevelInfo, KindLogPageRead, t, text)
	m.judgeAnew(t)
	if again {
		m.readLog(t)
		return
	}
	t.epcsd, t.epcsdRead = m.keepsConnections(t), true
	m.endUnkept(t)
}

// judgeAnew has the page of t judged again if what it is judged by has changed, as by a reload.
func (m *Machine) judgeAnew(t *target) {
	o := m.originOf(t)
	if t.page == nil || t.page.origin == o || t.judging == o {
		return
	}
	t.judging, t.judged = o, t.page
	m.emit(Judge{TID: t.wish.TID, Page: t.page, Origin: o})
}

func (m *Machine) judged(ev Judged) {
	t := m.targets.byTID[ev.TID]
	if t == nil || t.judging != ev.Page.origin {
		return
	}
	t.judging, t.judged = Origin{}, nil
	if ev.Page.before == t.page {
		m.setPage(t, ev.Page)
	}
	m.judgeAnew(t) // a page that was read meanwhile
}

// endUnkept ends the connection of a DC that has been read and is not to be kept, to poll it later. A connection that is not
// t's own to end yet, because the job that made it still runs or systemd has not been asked for its units, is looked at again
// then.
func (m *Machine) endUnkept(t *target) {
	why := m.unkept(t)
	if t.unended = why != "" && !m.mayStop(t); why == "" || t.unended {
		return
	}
	m.proceed(t, parking)
	m.stop(t.unit, why)
}

// unkept tells why the connection to a DC is not to be kept, "" if it is.
func (m *Machine) unkept(t *target) string {
	switch {
	case t.persistence == config.PersistenceNever:
		return "it is configured to be disconnected after each read (persistent = no)"
	case t.persistence == config.PersistenceEPCSD && !t.epcsd:
		return "the discovery controller does not support connections that are kept"
	case m.endsItself(t):
		return endedItself
	}
	return ""
}

// logFailed keeps the last page and tries again.
func (m *Machine) logFailed(ev LogFailed) {
	d, was := m.endRead(ev.Device, ev.Token)
	if d == nil {
		return
	}
	readers := m.readers(d)
	if len(readers) == 0 {
		return
	}
	d.reading.failed = was.failed + 1
	delay := m.backoff(d.reading.failed, logRetryMax)
	m.in(&d.reading.timer, delay)
	for _, t := range readers {
		m.hear(t)
		if m.endsItself(t) { // it may end the connection before its page can be read, each time
			m.endUnkept(t)
		}
	}
	t := readers[0]
	if ev.Err == t.readErr && m.now.Sub(t.readErrLogged) < remindEvery {
		return
	}
	t.readErr, t.readErrLogged = ev.Err, m.now
	m.change(t)
	m.log(slog.LevelWarn, KindLogPageUnreadable, t, fmt.Sprintf("cannot read the log page of %s, the last one stays: %s; next attempt in %v", ev.Device, ev.Err, delay.Round(100*time.Millisecond)))
}

// keepsConnections is what a DC says of itself (EPCSD in the entry of the port that was asked) or, where it has none, what
// the referral that led to it says.
func (m *Machine) keepsConnections(t *target) bool {
	if t.page.ownKnown {
		return t.page.own.EPCSD
	}
	parents := slices.SortedFunc(slices.Values(m.desired.claims[t.wish.TID]), byOrder)
	if len(parents) == 0 {
		return false
	}
	page := parents[0].page
	return page.Entries[page.children[page.byTID[t.wish.TID]].entry].EPCSD
}

// readable reports whether t is connected to a controller that has a log page and is ours. Kernels before 5.18 do not tell
// the type.
func (m *Machine) readable(t *target) bool {
	d := t.device
	return t.state == Connected && t.wish.Kind == tid.Discovery && (d.Type == "discovery" || d.Type == "") && d.Unit != "" && (m.unitHolds(d.Unit) || !m.unitsKnown)
}

// mayStop tells whether t's connection is t's own to end, as far as systemd has told.
func (m *Machine) mayStop(t *target) bool {
	u := m.units.byName[t.unit]
	return t.state == Connected && m.unitsKnown && t.device.Unit == t.unit && u != nil && u.active && u.op == OpNone
}

// countEnd notes that a DC without EPCSD lost its connection. One whose page was never read may well have it. Each end is
// counted when it is over, and so once: by the removal of the controller, or by the event that the kernel has reconnected it,
// which the kernel sends once each time. That a comparison finds the kernel reconnecting counts nothing.
func (m *Machine) countEnd(t *target) {
	if t.wish.Kind != tid.Discovery || !t.epcsdRead || t.epcsd || t.is(parking) {
		return
	}
	t.ended = append(m.recentEnds(t), m.now)
}

func (m *Machine) recentEnds(t *target) []time.Time {
	return slices.DeleteFunc(t.ended, func(at time.Time) bool { return m.now.Sub(at) >= endsWithin })
}

// endsItself tells whether a DC is to be polled because it does not let its connection live.
func (m *Machine) endsItself(t *target) bool {
	if t.wish.Kind != tid.Discovery || t.persistence != config.PersistenceAuto || t.epcsd {
		return false
	}
	t.ended = m.recentEnds(t)
	return len(t.ended) >= endsMax
}

// setPersistence takes over when the connection to a DC is to be kept. Where that has changed, one that may not be kept any
// more is read once more and then ended, and one that is parked is asked now, for it may be kept from now on.
func (m *Machine) setPersistence(t *target, p config.Persistence) {
	if p == "" {
		p = m.cfg.Settings.DiscoveryPersistence
	}
	if t.persistence == p {
		return
	}
	t.persistence = p
	switch {
	case t.state == Parked && p != config.PersistenceNever:
		m.at(&t.timer, m.now)
	case m.readable(t) && (p == config.PersistenceNever || p == config.PersistenceEPCSD):
		m.readLog(t)
	}
}

// park waits with a DC until it is polled next.
func (m *Machine) park(t *target) {
	t.ended = nil
	t.attempts = 0 // it was us who ended a connection that did not live long
	m.log(slog.LevelInfo, KindParked, t, "parked: it is asked again in "+m.cfg.Settings.EPCSDPollInterval.String())
	m.transition(t, Parked)
	m.in(&t.timer, m.cfg.Settings.EPCSDPollInterval)
}
