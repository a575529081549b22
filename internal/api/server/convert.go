package server

import (
	"fmt"
	"slices"
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

func (n names) controllers(targets []*core.TargetView, deviceState func(string) string) []wire.Controller {
	all := make([]wire.Controller, len(targets))
	for i, t := range targets {
		id := t.Wish.TID
		all[i] = wire.Controller{
			Tid: id.Canonical(), Kind: "io",
			Transport: id.Transport, Traddr: id.Traddr, Trsvcid: optional(id.Trsvcid), Nqn: id.NQN,
			Host_traddr: optional(id.HostTraddr), Host_iface: optional(id.HostIface),
			Hostnqn: optional(id.HostNQN), Hostid: optional(id.HostID),
			State: t.State.String(), Phase: phase(t.Phase), Since: when(t.Since),
			Device: optional(t.Device), Unit: optional(t.Unit), Owner: optional(t.Owner),
			Sources: append([]string{}, t.Sources...), Parents: n.parents(t),
			Attempts: int64(t.Attempts), Next_retry: upcoming(t.Next), Retain_until: upcoming(t.RetainUntil),
		}
		c := &all[i]
		if t.Device != "" {
			c.Device_state = optional(deviceState(t.Device))
		}
		if t.LastError != "" {
			c.Last_error, c.Error_since, c.Error_count = &t.LastError, whenever(t.ErrorSince), optional(int64(t.ErrorCount))
		}
		if t.Wish.Kind == tid.Discovery {
			c.Kind = "discovery"
			if c.Log_read = whenever(t.PageRead); c.Log_read != nil {
				entries := int64(len(entriesOf(t)))
				c.Log_entries = &entries
			}
		}
	}
	return all
}

// phase leaves out the one that says nothing.
func phase(p string) *string {
	if p == "idle" {
		return nil
	}
	return optional(p)
}

// named returns the targets that a word names.
func named(targets []*core.TargetView, word string) []*core.TargetView {
	var found []*core.TargetView
	for _, t := range targets {
		id := t.Wish.TID
		words := []string{t.Unit, strings.TrimSuffix(t.Unit, ".service"), t.Device, id.NQN, id.Canonical()}
		if word != "" && slices.Contains(words, word) {
			found = append(found, t)
		}
	}
	return found
}

// counts has every state, those with nobody in them too.
func counts(targets []*core.TargetView) map[string]int64 {
	n := map[string]int64{}
	for s := core.Waiting; s <= core.Collision; s++ {
		n[s.String()] = 0
	}
	for _, t := range targets {
		n[t.State.String()]++
	}
	return n
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

func logs(targets []*core.TargetView) []wire.DiscoveryLog {
	all := []wire.DiscoveryLog{}
	for _, t := range targets {
		if t.PageRead.IsZero() {
			continue
		}
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
				Port_id: int64(e.PortID), Cntlid: int64(e.CntlID),
				Secure_channel: e.SecureChannel, Security: optional(security(e.SecType)), Duplicate_information: e.DupRetInfo, Epcsd: e.EPCSD,
				Skipped: optional(e.Skipped),
			}
		}
		all = append(all, page)
	}
	return all
}
