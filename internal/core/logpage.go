package core

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

const (
	endsMax    = 3                // SPEC 7.6: so many ends of the connection …
	endsWithin = 10 * time.Minute // … in such a time, and the DC is polled instead

	maxTold = 16 // skipped entries of one read that the journal names; the others are counted

	endedItself = "the discovery controller does not keep its connection"
)

// reading is how far the log page of a device is read. It may serve several targets and is read once for all of them.
type reading struct {
	token  uint64    // of the read under way, 0 is none
	dirty  bool      // something happened during the read: read again
	failed int       // reads that failed in a row
	next   time.Time // when to read again after a failure
}

// readLog reads the log page of a connected DC, one read of its device at a time. A reason to read that comes during a read
// marks it dirty: nothing that happened is dropped.
func (m *Machine) readLog(t *target) {
	d := m.devices[t.device]
	if d == nil {
		return
	}
	d.reading.next = never
	switch d.reading.token {
	case 0:
		d.reading.token = m.step
		m.emit(ReadLog{Device: d.Name, Token: m.step})
	case m.step: // asked for just now, for another target
	default:
		d.reading.dirty = true
	}
}

// logChanged reads the log page that a DC says has changed.
func (m *Machine) logChanged(ev LogChanged) {
	for _, t := range m.readers(ev.Device) {
		m.readLog(t)
	}
}

// nextRead is when to read the log page of t's device again after a failure.
func (m *Machine) nextRead(t *target) time.Time {
	if d := m.devices[t.device]; d != nil && t.state == Connected && t.wish.Kind == tid.Discovery {
		return d.reading.next
	}
	return never
}

// readers are the targets that a device's log page is for.
func (m *Machine) readers(device string) []*target {
	var readers []*target
	for _, t := range m.targets {
		if t.state == Connected && t.device == device && t.wish.Kind == tid.Discovery {
			readers = append(readers, t)
		}
	}
	return readers
}

// leaveRead lets go of the read of a device that t was connected by, unless it is for another target too; its answer will be
// out of date.
func (m *Machine) leaveRead(t *target) {
	d := m.devices[t.device]
	if d != nil && d.reading != (reading{}) && len(m.readers(d.Name)) == 0 {
		d.reading = reading{}
	}
}

// endRead notes that a read has ended and returns its device and what it was; nil for one whose answer does not count any more.
func (m *Machine) endRead(device string, token uint64) (d *device, was reading) {
	d = m.devices[device]
	if d == nil || token == 0 || d.reading.token != token {
		return nil, reading{}
	}
	was, d.reading = d.reading, reading{}
	return d, was
}

func (m *Machine) logRead(ev LogRead) {
	d, was := m.endRead(ev.Device, ev.Token)
	if d == nil {
		return
	}
	for i, t := range m.readers(d.Name) {
		if i == 0 {
			for _, w := range ev.Page.Warnings {
				m.log(slog.LevelWarn, KindLogPageFlawed, t, "log page: "+w)
			}
		}
		t.flaws = ev.Page.Warnings
		m.takePage(t, ev.Page.Entries, was.dirty)
	}
}

// takePage makes t's wishes those of the page that was read. A page that is about to be read again decides nothing else. An
// entry that is skipped is told when it is new; so are those that are connected without the secure channel that they offer.
func (m *Machine) takePage(t *target, page []discoverylog.Entry, again bool) {
	told := map[discoverylog.Entry]bool{}
	for _, e := range t.page {
		told[e] = true
	}
	t.page, t.pageRead, t.readErr = page, m.now, ""
	if !t.settled {
		t.settled = true
		m.viewDirty = true
	}
	skipped, fresh, plain := 0, 0, 0
	for i, v := range m.judgePage(t) {
		e := t.page[i]
		if v.plain && !told[e] {
			plain++
		}
		if v.skipped == "" {
			continue
		}
		if skipped++; told[e] {
			continue
		}
		if fresh++; fresh <= maxTold {
			m.log(slog.LevelWarn, KindLogPageFlawed, t, fmt.Sprintf("log page: skipping the entry for %q: %s", e.NQN, v.skipped))
		}
	}
	if fresh > maxTold {
		m.log(slog.LevelWarn, KindLogPageFlawed, t, fmt.Sprintf("log page: skipping %d more entries, which nvme-discoverctl logs lists", fresh-maxTold))
	}
	if plain > 0 {
		why := "this host has no dhchap-secret to make a key from"
		if m.noConcat {
			why = "this kernel cannot make a key from the authentication (concat)"
		}
		m.log(slog.LevelInfo, KindNone, t, fmt.Sprintf("log page: entries that offer TLS without requiring it are connected without (%d): %s, and tls = true is not configured", plain, why))
	}
	text := fmt.Sprintf("log page read: %d of %d entries are connections", len(t.children), len(t.page))
	if skipped > 0 {
		text += fmt.Sprintf(", %d skipped", skipped)
	}
	m.log(slog.LevelInfo, KindLogPageRead, t, text)
	m.viewDirty = true
	if again {
		m.readLog(t)
		return
	}
	t.epcsd = m.keepsConnections(t)
	m.endUnkept(t)
}

// endUnkept ends the connection of a DC that has been read and is not to be kept, to poll it later. A connection that is not
// t's own to end yet, because the job that made it still runs or systemd has not been asked for its units, is looked at again
// then.
func (m *Machine) endUnkept(t *target) {
	why := m.unkept(t)
	if t.unended = why != "" && !m.mayStop(t); why == "" || t.unended {
		return
	}
	t.parking = true
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

// judgePage makes the wishes of t's page anew and returns the verdict on each entry.
func (m *Machine) judgePage(t *target) []verdict {
	t.judgedBy, t.children, t.skipped = m.originOf(t), nil, make([]string, len(t.page))
	verdicts := make([]verdict, len(t.page))
	for i, e := range t.page {
		v := judge(t.judgedBy, e)
		verdicts[i], t.skipped[i] = v, v.skipped
		if v.wish != (wish.Wish{}) {
			t.children = append(t.children, v.wish)
		}
	}
	return verdicts
}

// logFailed keeps the last page and tries again.
func (m *Machine) logFailed(ev LogFailed) {
	d, was := m.endRead(ev.Device, ev.Token)
	readers := m.readers(ev.Device)
	if d == nil || len(readers) == 0 {
		return
	}
	d.reading.failed = was.failed + 1
	delay := m.backoff(d.reading.failed, logRetryMax)
	d.reading.next = m.now.Add(delay)
	for _, t := range readers {
		t.settled = true
		if m.endsItself(t) { // it may end the connection before its page can be read, each time
			m.endUnkept(t)
		}
	}
	t := readers[0]
	if ev.Err == t.readErr && m.now.Sub(t.readErrLogged) < remindEvery {
		return
	}
	t.readErr, t.readErrLogged = ev.Err, m.now
	m.log(slog.LevelWarn, KindLogPageUnreadable, t, fmt.Sprintf("cannot read the log page of %s, the last one stays: %s; next attempt in %v", ev.Device, ev.Err, delay.Round(100*time.Millisecond)))
}

// keepsConnections is what a DC says of itself (EPCSD in the entry of the port that was asked) or, where it has none, what
// the referral that led to it says.
func (m *Machine) keepsConnections(t *target) bool {
	if own, ok := ownEntry(t.wish.TID, t.page); ok {
		return own.EPCSD
	}
	for _, parent := range m.targets {
		for _, e := range parent.page {
			if e.Subtype != discoverylog.Referral || !samePort(t.wish.TID, e.Traddr) { // to judge each would take long
				continue
			}
			if judge(parent.judgedBy, e).wish.TID == t.wish.TID {
				return e.EPCSD
			}
		}
	}
	return false
}

// readable tells whether t is connected to a controller that has a log page. Kernels before 5.18 do not tell the type.
func (m *Machine) readable(t *target) bool {
	d := m.devices[t.device]
	return t.state == Connected && t.wish.Kind == tid.Discovery && d != nil && (d.Type == "discovery" || d.Type == "")
}

// mayStop tells whether t's connection is t's own to end, as far as systemd has told.
func (m *Machine) mayStop(t *target) bool {
	d := m.devices[t.device]
	u := m.units[t.unit]
	return t.state == Connected && m.unitsKnown && d != nil && d.Unit == t.unit && u != nil && u.active && u.op == OpNone
}

// countEnd notes that a DC without EPCSD lost its connection. One whose page was never read may well have it. Each end is
// counted when it is over, and so once: by the removal of the controller, or by the event that the kernel has reconnected it,
// which the kernel sends once each time. That a comparison finds the kernel reconnecting counts nothing.
func (m *Machine) countEnd(t *target) {
	if t.wish.Kind != tid.Discovery || t.pageRead.IsZero() || t.epcsd || t.parking {
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
		t.next = m.now
	case m.readable(t) && (p == config.PersistenceNever || p == config.PersistenceEPCSD):
		m.readLog(t)
	}
}

// park waits with a DC until it is polled next.
func (m *Machine) park(t *target) {
	t.parking = false
	t.ended = nil
	t.attempts = 0 // it was us who ended a connection that did not live long
	m.log(slog.LevelInfo, KindParked, t, "parked: it is asked again in "+m.cfg.Settings.EPCSDPollInterval.String())
	m.transition(t, Parked)
	t.next = m.now.Add(m.cfg.Settings.EPCSDPollInterval)
}

// decideOrphans ends the units whose controller was lost while the daemon was away and that nothing wants: when every DC
// has been read or has failed once, and Fibre Channel was asked, so that all wishes are known (SPEC 7.8).
func (m *Machine) decideOrphans() {
	if len(m.orphans) == 0 || !m.unitsKnown || !m.bus || m.viewDirty || !m.fc.settled {
		return
	}
	for _, t := range m.targets {
		if t.wish.Kind == tid.Discovery && !t.settled && t.state != Stopped && t.state != Foreign && t.state != Collision {
			return
		}
	}
	for _, unit := range sortedKeys(m.orphans) {
		device := m.orphans[unit]
		delete(m.orphans, unit)
		if m.needs(unit) { // it was wanted and connected meanwhile
			continue
		}
		why := "it has no controller, and nothing is to be connected by it"
		if device != "" {
			m.emit(ForgetState{Unit: unit, Device: device})
			why = "its controller was lost while nobody looked and is no longer wanted"
		}
		m.abandon(unit, device, why)
	}
}
