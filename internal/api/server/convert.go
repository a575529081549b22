// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	wire "github.com/nvme-discoverd/nvme-discoverd/internal/api/orgnvmexpressdiscoverd"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// optional is a value that may not be there: "" and 0 are left out.
func optional[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}

// when is a time as the interface has it.
func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// whenever is a time that may not be there.
func whenever(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return optional(when(t))
}

// upcoming is a time to come that may not be there, to the next full second: it is not past before it comes.
func upcoming(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return whenever(t.Add(time.Second - time.Nanosecond))
}

// persona is what a log form leaves out: children have their discovery controller's.
type persona struct{ log, hostnqn, hostid string }

func personaOf(t tid.TID) persona { return persona{t.String(), t.HostNQN, t.HostID} }

// names finds the discovery controller that a source speaks of.
type names map[persona]tid.TID

func newNames(targets []*core.TargetView) names {
	n := names{}
	n.add(targets)
	return n
}

func (n names) add(targets []*core.TargetView) {
	for _, t := range targets {
		if t.Wish.Kind == tid.Discovery {
			n[personaOf(t.Wish.TID)] = t.Wish.TID
		}
	}
}

// remove forgets targets and returns their canonical forms.
func (n names) remove(removed []tid.TID) []string {
	canonical := []string{}
	for _, t := range removed {
		delete(n, personaOf(t))
		canonical = append(canonical, t.Canonical())
	}
	return canonical
}

// parents are the discovery controllers whose log pages name t.
func (n names) parents(t *core.TargetView) []string {
	parents := []string{}
	for _, source := range t.Sources {
		log, ok := strings.CutPrefix(source, core.LogPageSource)
		if !ok {
			continue
		}
		if dc, ok := n[persona{log, t.Wish.TID.HostNQN, t.Wish.TID.HostID}]; ok {
			parents = append(parents, dc.Canonical())
		}
	}
	return parents
}

func (n names) controllers(targets []*core.TargetView) []wire.Controller {
	all := make([]wire.Controller, len(targets))
	for i, t := range targets {
		all[i] = n.controller(t)
	}
	return all
}

func (n names) controller(t *core.TargetView) wire.Controller {
	id := t.Wish.TID
	c := wire.Controller{
		Tid: id.Canonical(), Kind: kindOf(t),
		Transport: id.Transport, Traddr: id.Traddr, Trsvcid: optional(id.Trsvcid), Nqn: id.NQN,
		HostTraddr: optional(id.HostTraddr), HostIface: optional(id.HostIface),
		Hostnqn: optional(id.HostNQN), Hostid: optional(id.HostID),
		State: t.State.String(), Phase: phase(t.Phase), Since: when(t.Since), ReconnectUntil: upcoming(t.ReconnectUntil),
		Device: optional(t.Device), DeviceState: optional(t.DeviceState), Unit: optional(t.Unit), Owner: optional(t.Owner),
		Sources: n.sources(t), Parents: n.parents(t),
		Attempts: int64(t.Attempts), NextRetry: upcoming(t.Next), RetainUntil: upcoming(t.RetainUntil),
	}
	if t.LastError != "" {
		c.LastError, c.ErrorSince, c.ErrorCount = &t.LastError, whenever(t.ErrorSince), optional(int64(t.ErrorCount))
	}
	if c.Kind == "discovery" {
		if c.LogRead = whenever(t.PageRead); c.LogRead != nil {
			entries := int64(len(entriesOf(t)))
			c.LogEntries = &entries
		}
	}
	return c
}

func kindOf(t *core.TargetView) string {
	if t.Wish.Kind == tid.Discovery {
		return "discovery"
	}
	return "io"
}

// sources are who asks for t, as data where the words of the core allow it.
func (n names) sources(t *core.TargetView) []wire.Source {
	sources := make([]wire.Source, len(t.Sources))
	for i, text := range t.Sources {
		s := wire.Source{Kind: "other", Text: text}
		if log, ok := strings.CutPrefix(text, core.LogPageSource); ok {
			s.Kind = "log"
			if dc, ok := n[persona{log, t.Wish.TID.HostNQN, t.Wish.TID.HostID}]; ok {
				s.Parent = optional(dc.Canonical())
			}
		} else if strings.HasPrefix(text, core.BootSource) {
			s.Kind = "nbft"
		} else if text == core.FCSource {
			s.Kind = "fc"
		} else if named, ok := strings.CutPrefix(text, core.MDNSSource); ok {
			s.Kind = "mdns"
			if at := strings.LastIndex(named, " on "); at >= 0 {
				s.Instance, s.Iface = optional(named[:at]), optional(named[at+len(" on "):])
			}
		} else if place := configured.FindStringSubmatch(text); place != nil {
			line, _ := strconv.ParseInt(place[2], 10, 64) // digits
			s.Kind, s.File, s.Line = "configuration", &place[1], optional(line)
		}
		sources[i] = s
	}
	return sources
}

// configured is a source that is a place in a file, with the host name there if it has one.
var configured = regexp.MustCompile(`^(/[^:]*):([0-9]+)(?::[0-9]+)?(?: |$)`)

// phase leaves out the one that says nothing.
func phase(p string) *string {
	if p == "idle" {
		return nil
	}
	return optional(p)
}

// selectors are the parameters by which a call selects targets; nil selects all.
type selectors struct{ target, tid, unit, device, nqn, kind, state *string }

// none tells whether a call selects nothing in particular.
func (s selectors) none() bool { return s == selectors{} }

// of returns the targets that are selected, in their order.
func (s selectors) of(targets []*core.TargetView) []*core.TargetView {
	if s.none() {
		return targets
	}
	var found []*core.TargetView
	for _, t := range targets {
		if s.selects(t) {
			found = append(found, t)
		}
	}
	return found
}

func (s selectors) selects(t *core.TargetView) bool {
	is := func(wanted *string, value string) bool { return wanted == nil || *wanted == value && value != "" }
	return (s.target == nil || called(t, *s.target)) &&
		is(s.tid, t.Wish.TID.Canonical()) && is(s.unit, t.Unit) && is(s.device, t.Device) && is(s.kind, kindOf(t)) && is(s.state, t.State.String()) &&
		(s.nqn == nil || tid.SameNQN(*s.nqn, t.Wish.TID.NQN))
}

// called tells whether a word names a target.
func called(t *core.TargetView, word string) bool {
	id := t.Wish.TID
	words := []string{t.Unit, strings.TrimSuffix(t.Unit, ".service"), t.Device, id.Canonical()}
	return word != "" && (slices.Contains(words, word) || tid.SameNQN(id.NQN, word))
}

// browsing is how browsing mDNS does; nil: it is switched off.
func browsing(b *core.Browsing) *wire.Browsing {
	if b == nil {
		return nil
	}
	return &wire.Browsing{
		Service: optional(b.Service), Problem: optional(b.Problem), Announced: int64(b.Announced), Ignored: int64(b.Ignored), Example: optional(b.Example),
		Beside: b.Beside,
	}
}

func counts(c core.Counts) wire.Counts {
	return wire.Counts{
		Wanted: int64(c.Wanted), Connected: int64(c.Connected), Reconnecting: int64(c.Reconnecting), Connecting: int64(c.Connecting),
		Waiting: int64(c.Waiting), Retrying: int64(c.Retrying), Unresolved: int64(c.Unresolved), Collision: int64(c.Collision),
		Excluded: int64(c.Excluded), Foreign: int64(c.Foreign), Stopped: int64(c.Stopped), Parked: int64(c.Parked),
		Retained: int64(c.Retained), Unread: int64(c.Unread),
	}
}

// security names how the port of a log page entry secures connections, "" if it does not.
func security(secType uint8) string {
	switch secType {
	case discoverylog.SecNone:
		return ""
	case discoverylog.SecTLS12:
		return "tls1.2"
	case discoverylog.SecTLS13:
		return "tls1.3"
	}
	return fmt.Sprintf("type %d", secType)
}

// entriesOf returns the entries of a discovery controller's log page.
func entriesOf(t *core.TargetView) []core.PageEntry {
	if t.Page == nil {
		return nil
	}
	return t.Page.Entries
}

func logOf(t *core.TargetView) wire.DiscoveryLog {
	page := wire.DiscoveryLog{
		Tid: t.Wish.TID.Canonical(), Nqn: t.Wish.TID.NQN, Device: optional(t.Device), Read: when(t.PageRead),
		Entries: make([]wire.LogEntry, len(entriesOf(t))), Flaws: []string{},
	}
	if t.Page != nil {
		page.Flaws = append(page.Flaws, t.Page.Flaws...)
	}
	for i, e := range entriesOf(t) {
		page.Entries[i] = wire.LogEntry{
			Subtype: e.Subtype.String(), Transport: optional(e.Transport), Adrfam: optional(e.Adrfam),
			Traddr: optional(e.Traddr), Trsvcid: optional(e.Trsvcid), Nqn: e.NQN,
			PortId: int64(e.PortID), Cntlid: int64(e.CntlID),
			SecureChannel: e.SecureChannel, Security: optional(security(e.SecType)), DuplicateInformation: e.DupRetInfo, Epcsd: e.EPCSD,
			Skipped: optional(e.Skipped),
		}
	}
	return page
}
