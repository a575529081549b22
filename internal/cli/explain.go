// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// explanation is everything about one connection, for people and programs.
type explanation struct {
	Controller client.Controller `json:"controller"`
	Reasons    []reason          `json:"reasons"`
	WaitsFor   string            `json:"waitsFor,omitempty"`
	Exclusions []exclusionEntry  `json:"exclusions"`
	Unit       *unitState        `json:"unit,omitempty"`
	Device     *deviceState      `json:"device,omitempty"`
	Secrets    []secretState     `json:"secrets,omitempty"`
	History    []pastState       `json:"history"`
	Journal    []journalLine     `json:"journal"`
	Try        []string          `json:"try"`
	Unknown    []string          `json:"unknown"` // what could not be found out, and why
}

// reason is a source of the wish for a connection.
type reason struct {
	Source client.Source    `json:"source"`
	Number *int             `json:"number,omitempty"` // of the entry in that page
	Entry  *client.LogEntry `json:"entry,omitempty"`

	parent client.Controller
	read   string // when the page was read
}

// unitState is what systemd says of a unit.
type unitState struct {
	Name        string `json:"name"`
	LoadState   string `json:"loadState"`
	ActiveState string `json:"activeState"`
	SubState    string `json:"subState"`
	Result      string `json:"result"`
	Since       string `json:"since,omitempty"`
}

// deviceState is what the kernel and the registry say of a controller.
type deviceState struct {
	Name       string            `json:"name"`
	State      string            `json:"state"`
	Type       string            `json:"type,omitempty"`
	Source     string            `json:"source,omitempty"` // the address of this host that it is reached from
	Interface  string            `json:"interface,omitempty"`
	Owner      string            `json:"owner,omitempty"`
	Use        []string          `json:"use"`
	Attributes map[string]string `json:"attributes"` // of sysfs, as they are there
}

// deviceAttributes are the attributes of a controller in sysfs that explain shows, with what they are called for people.
var deviceAttributes = []struct{ name, words string }{
	{"queue_count", "queues"},
	{"kato", "keep-alive"},
	{"reconnect_delay", "reconnect-delay"},
	{"ctrl_loss_tmo", "ctrl-loss-tmo"},
	{"fast_io_fail_tmo", "fast-io-fail-tmo"},
}

// journalLine is a line of the journal about a connection.
type journalLine struct {
	Time     string `json:"time"`
	Priority int    `json:"priority"`
	Message  string `json:"message"`
}

// explainer finds out about connections what the daemon and the host know.
type explainer struct {
	*app
	all     []client.Controller
	logs    []client.DiscoveryLog
	journal int // lines of it

	controllers func() ([]connect.Owned, error) // of this host, looked at once
	past        func() (past, error)            // of all connections, read once
}

// explain finds out everything about one connection. What cannot be found out is told in the explanation.
func (e *explainer) explain(ctx context.Context, c client.Controller) explanation {
	x := explanation{
		Controller: c, Exclusions: []exclusionEntry{}, History: []pastState{}, Journal: []journalLine{}, Try: []string{}, Unknown: []string{},
	}
	x.Reasons = e.reasons(c)
	cannot := func(err error) {
		if err != nil {
			x.Unknown = append(x.Unknown, err.Error())
		}
	}
	var err error
	x.Exclusions, err = e.exclusions(c)
	cannot(err)
	if c.Unit != nil {
		x.Unit, err = e.unit(ctx, *c.Unit)
		cannot(err)
		x.Journal, err = e.lines(ctx, *c.Unit)
		cannot(err)
	}
	if c.Device != nil {
		x.Device, err = e.device(*c.Device)
		cannot(err)
		if c.Unit != nil {
			x.Secrets, err = e.secrets(*c.Unit, *c.Device)
			cannot(err)
		}
	}
	x.WaitsFor = e.waitsFor(c, x.Device)
	recorded, err := e.past()
	cannot(err)
	x.History = append(x.History, recorded.states[c.Tid]...)
	x.Try = e.advice(x)
	return x
}

// reasons tells of each source of a connection where it stands.
func (e *explainer) reasons(c client.Controller) []reason {
	var all []reason
	for _, source := range c.Sources {
		r := reason{Source: source}
		if source.Parent != nil {
			e.findEntry(&r, c)
		}
		all = append(all, r)
	}
	return all
}

// findEntry finds the entry of a log page by which its discovery controller names c.
func (e *explainer) findEntry(r *reason, c client.Controller) {
	if i := slices.IndexFunc(e.all, func(p client.Controller) bool { return p.Tid == *r.Source.Parent }); i >= 0 {
		r.parent = e.all[i]
	}
	for _, log := range e.logs {
		if log.Tid != *r.Source.Parent {
			continue
		}
		r.read = log.Read
		for n, entry := range log.Entries {
			address := strings.Split(c.Traddr, "%")[0] // a zone is this host's
			discovery := entry.Subtype != "nvm"
			if discovery != (c.Kind == "discovery") || value(entry.Transport) != c.Transport || value(entry.Traddr) != address && value(entry.Traddr) != c.Traddr ||
				value(entry.Trsvcid) != value(c.Trsvcid) || !tid.SameNQN(entry.Nqn, c.Nqn) {
				continue
			}
			r.Number, r.Entry = &n, &entry
			return
		}
	}
}

// waitsFor is what a connection waits for, "" for nothing. d is its controller, nil for none.
func (e *explainer) waitsFor(c client.Controller, d *deviceState) string {
	switch value(c.Phase) {
	case "starting":
		return "the first look of the service at what is connected"
	case "blocked":
		return "another connection that the same controller may serve, which is being made"
	case "inspecting":
		return "what systemd says of its unit"
	case "probing":
		return "the target's answer to a probe of " + place(c)
	case "queued":
		return "its turn: as many connects run as max-parallel-connects allows"
	case "clearing":
		return "the end of its unit, which has other parameters than are wanted now"
	case "job":
		return "its unit, which connects it now"
	case "associating":
		return "the association with the target: the kernel has the controller already"
	case "unknown":
		return "the next comparison with systemd and the kernel, at most a minute away"
	case "parking":
		return "the end of its connection: it is polled from then on"
	case "ending":
		return "the end of its unit, which was asked for"
	case "resolving":
		if c.NextRetry != nil {
			return "an address of the host name " + c.Traddr + ", looked up next in " + e.until(*c.NextRetry)
		}
		return "an address of the host name " + c.Traddr
	}
	switch {
	case c.State == "reconnecting" && c.ReconnectUntil != nil:
		return "the kernel, which reconnects it and gives it up in " + e.until(*c.ReconnectUntil)
	case c.State == "reconnecting":
		tries := ""
		if d != nil {
			tries = d.Attributes["ctrl_loss_tmo"]
		}
		switch tries {
		case "":
			return "the kernel, which reconnects it; when it gives up is not known"
		case "off", "-1":
			return "the kernel, which reconnects it and does not give up"
		}
		return "the kernel, which reconnects it and gives it up " + tries + "s after the connection broke"
	case c.State == "parked" && c.NextRetry != nil:
		return "its next poll, in " + e.until(*c.NextRetry)
	case c.State == "waiting" && c.NextRetry != nil:
		return "its next attempt, in " + e.until(*c.NextRetry)
	}
	return ""
}

// exclusions are the entries that match a connection.
func (e *explainer) exclusions(c client.Controller) ([]exclusionEntry, error) {
	entries := []exclusionEntry{}
	id, err := e.parseTID(c.Tid)
	if err != nil { // its host name has no address yet
		return entries, nil
	}
	list, errs := exclusion.Load(e.root)
	for _, m := range list.Matches(id) {
		entries = append(entries, exclusionEntry{m.File, m.Line, m.Text})
	}
	return entries, errors.Join(errs...)
}

// unit asks systemd about a unit.
func (e *explainer) unit(ctx context.Context, name string) (*unitState, error) {
	out, err := e.capture(ctx, e.root.Systemctl(), "show", "--timestamp=unix", "--property=LoadState,ActiveState,SubState,Result,StateChangeTimestamp", "--", name)
	if err != nil {
		return nil, fmt.Errorf("cannot ask systemd about %s: %w", name, err)
	}
	properties := map[string]string{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		properties[key] = value
	}
	u := &unitState{
		Name: name, LoadState: properties["LoadState"], ActiveState: properties["ActiveState"],
		SubState: properties["SubState"], Result: properties["Result"],
	}
	if seconds, err := strconv.ParseInt(strings.TrimPrefix(properties["StateChangeTimestamp"], "@"), 10, 64); err == nil && seconds > 0 {
		u.Since = time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	}
	return u, nil
}

// device asks the kernel and the registry about a controller. One that has just gone is nil.
func (e *explainer) device(name string) (*deviceState, error) {
	controllers, err := e.controllers()
	if err != nil {
		return nil, fmt.Errorf("cannot look at %s: %w", name, err)
	}
	for _, c := range controllers {
		if c.Name != name {
			continue
		}
		d := &deviceState{
			Name: name, State: c.State, Type: c.Type, Source: c.SrcAddr, Interface: c.SrcIface, Owner: c.Owner,
			Use: append([]string{}, c.Use.By...), Attributes: map[string]string{},
		}
		for _, attribute := range deviceAttributes {
			if text, err := os.ReadFile(filepath.Join(e.root.SysClassNVMe(), name, attribute.name)); err == nil {
				d.Attributes[attribute.name] = strings.TrimSpace(string(text))
			}
		}
		return d, nil
	}
	return nil, nil
}

// lines returns the last lines of the journal about a connection: the daemon's, systemd's about the unit, and those of the unit's
// command. Only root's count: anybody may write a line that claims to be about a unit.
func (e *explainer) lines(ctx context.Context, unit string) ([]journalLine, error) {
	out, err := e.capture(ctx, e.root.Journalctl(), "--no-pager", "--quiet", "--output=json", "--lines="+strconv.Itoa(e.journal),
		"_UID=0", "NVME_UNIT="+unit, "+", "_UID=0", "UNIT="+unit, "+", "_UID=0", "_SYSTEMD_UNIT="+unit)
	if err != nil {
		return []journalLine{}, fmt.Errorf("cannot read the journal: %w", err)
	}
	lines := parseJournal(out)
	if len(lines) == 0 && os.Geteuid() != 0 {
		return lines, errors.New("cannot read the journal: only root and members of the group systemd-journal may")
	}
	return lines, nil
}

// parseJournal reads what journalctl --output=json prints. What it does not understand it leaves out.
func parseJournal(out []byte) []journalLine {
	lines := []journalLine{}
	for text := range strings.Lines(string(out)) {
		var record struct {
			Time     string          `json:"__REALTIME_TIMESTAMP"`
			Priority string          `json:"PRIORITY"`
			Message  json.RawMessage `json:"MESSAGE"`
		}
		if json.Unmarshal([]byte(text), &record) != nil {
			continue
		}
		line := journalLine{Priority: 6}
		if json.Unmarshal(record.Message, &line.Message) != nil {
			var octets []uint8 // of a message that is no UTF-8: numbers
			var numbers []int
			if json.Unmarshal(record.Message, &numbers) != nil {
				continue
			}
			for _, n := range numbers {
				octets = append(octets, uint8(n))
			}
			line.Message = strings.ToValidUTF8(string(octets), "?")
		}
		if micros, err := strconv.ParseInt(record.Time, 10, 64); err == nil {
			line.Time = time.UnixMicro(micros).UTC().Format(time.RFC3339)
		}
		if priority, err := strconv.Atoi(record.Priority); err == nil {
			line.Priority = priority
		}
		lines = append(lines, line)
	}
	return lines
}
