// SPDX-License-Identifier: GPL-3.0-or-later

package recording

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

// Timeline is a recording for people, replayed.
type Timeline struct {
	Lines []Line
	Steps int // events that were replayed
}

// Line is one record of a timeline. It encodes as the JSON of nvme-discoverctl replay.
type Line struct {
	Time    time.Time       `json:"time"`
	What    string          `json:"what"`            // the event in words
	Event   string          `json:"event,omitempty"` // its type
	Fields  json.RawMessage `json:"fields,omitempty"`
	Start   *Start          `json:"start,omitempty"`
	State   *core.Saved     `json:"state,omitempty"`
	Effects []string        `json:"effects,omitempty"` // in words

	Difference *Difference `json:"difference,omitempty"`
}

// Mentions tells whether the word is in what the line says; "" is in all.
func (l Line) Mentions(word string) bool {
	in := func(text string) bool { return strings.Contains(text, word) }
	return word == "" || in(l.What) || slices.ContainsFunc(l.Effects, in) || len(l.Fields) > 0 && in(string(l.Fields))
}

// NewTimeline replays a recording, which may come from anywhere. With an error the Timeline is what there is up to it, nil if nothing is.
// Play does not hold all of it at once.
func NewTimeline(file []byte) (*Timeline, error) {
	t := &Timeline{}
	var replay Replay
	err := each(file, maxHeld, func(r Record) error {
		t.add(replay.line(r))
		return nil
	})
	if len(t.Lines) == 0 {
		return nil, err
	}
	return t, err
}

func (t *Timeline) add(line Line) {
	t.Lines = append(t.Lines, line)
	if line.Event != "" {
		t.Steps++
	}
}

// Play replays a recording, which may come from anywhere, and calls f with each line of its timeline, up to the first error.
func Play(file []byte, f func(Line) error) error {
	var replay Replay
	return Each(file, func(r Record) error { return f(replay.line(r)) })
}

// End returns the time of the last record of a recording that can be read, the zero time if there is none.
func End(file []byte) (end time.Time) {
	_ = Each(file, func(r Record) error {
		end = r.Time()
		return nil
	})
	return end
}

// line replays a record and returns its line.
func (p *Replay) line(r Record) Line {
	line := Line{Time: r.Time(), Difference: p.Next(r)}
	switch {
	case r.Start != nil:
		line.Start = r.Start
		line.What = fmt.Sprintf("recorded by nvme-discoverd %s, process %d, since %s", r.Start.Version, r.Start.PID, r.Start.Started.UTC().Format("2006-01-02T15:04:05.000Z"))
		if r.Start.Gap {
			line.What += "; what came before this is missing"
		}
	case r.State != nil:
		line.State = r.State
		line.What = fmt.Sprintf("the state of the core after step %d: %s, %s, %s", r.State.Step,
			count(len(r.State.Targets), "target"), count(len(r.State.Devices), "controller"), count(len(r.State.Units), "unit"))
	case r.Event != nil:
		line.Event = r.Event.Type
		line.What = line.Event
		if ev, err := DecodeEvent(*r.Event); err == nil {
			line.What = Describe(ev)
		}
		line.Fields = fieldsOf(*r.Event)
		for _, e := range r.Effects {
			line.Effects = append(line.Effects, Words(e))
		}
		if r.Unended {
			line.What += " [the recording ends here: the daemon had not come to an end with this]"
		}
	default:
		line.What = "a record of another version"
	}
	return line
}

// fieldsOf returns the fields of an event as JSON, nil if it has none that can be read.
func fieldsOf(item Item) json.RawMessage {
	k, ok := events.byName[item.Type]
	if !ok {
		return nil
	}
	wire, err := k.read(item.Data)
	if err != nil {
		return nil
	}
	text, err := json.Marshal(wire)
	if err != nil {
		return nil
	}
	return text
}

// Words returns the difference in lines for people.
func (d *Difference) Words() []string {
	var lines []string
	switch {
	case d.Unreadable != "":
		return []string{"! " + d.Unreadable + ": nothing more is replayed before the next state"}
	case d.Panic != "":
		return []string{"! this version ends with a panic: " + d.Panic}
	case d.State != "":
		return []string{"! the state is another by now: " + d.State}
	case len(d.Recorded)+len(d.Now) == 0:
		return []string{"! this version decides the same in another order"}
	}
	for _, text := range d.Recorded {
		lines = append(lines, "!- "+text)
	}
	for _, text := range d.Now {
		lines = append(lines, "!+ "+text)
	}
	return lines
}

// Describe returns an event in words.
func Describe(ev core.Event) string {
	device := func(d *core.Device) string {
		if d == nil {
			return "no controller"
		}
		text := fmt.Sprintf("%s (%s, %s %s, %s", d.Name, d.NQN, d.Transport, address(d.Traddr, d.Trsvcid), d.State)
		if d.Owner != "" {
			text += ", owner " + d.Owner
		}
		if d.Unit != "" {
			text += ", " + d.Unit
		}
		return text + ")"
	}
	switch ev := ev.(type) {
	case core.ConfigLoaded:
		return fmt.Sprintf("configuration loaded: %s, %s", count(len(ev.Config.Connections), "connection"), count(len(ev.Config.Errors), "error"))
	case core.NBFTLoaded:
		return "boot firmware's tables: " + count(len(ev.Connections), "connection")
	case core.RetainedLoaded:
		return "retained by an earlier daemon: " + count(len(ev.List), "discovery controller")
	case core.Resolved:
		if ev.Err != "" {
			return fmt.Sprintf("host name %s: %s", ev.Host, ev.Err)
		}
		return fmt.Sprintf("host name %s: %v", ev.Host, ev.Addrs)
	case core.ExclusionsLoaded:
		return fmt.Sprintf("exclusion lists: %d excluded", len(ev.List.Entries()))
	case core.Snapshot:
		text := "comparison with the outside: " + count(len(ev.Devices), "controller")
		switch {
		case ev.UnitsKnown:
			return text + ", " + count(len(ev.Units), "unit")
		case ev.UnitsErr != "":
			return text + ", units unknown: " + ev.UnitsErr
		}
		return text + ", units unknown"
	case core.SnapshotFailed:
		return "comparison with the outside failed: " + ev.Err
	case core.DeviceSeen:
		return ev.Why + ": " + device(&ev.Device)
	case core.DeviceRemoved:
		return ev.Name + " was removed"
	case core.EventsLost:
		return "events may have been lost: " + ev.Why
	case core.ProbeDone:
		if ev.Err != "" {
			return fmt.Sprintf("probe of %s: %s", ev.Target, ev.Err)
		}
		return fmt.Sprintf("probe of %s: it answers", ev.Target)
	case core.JobDone:
		text := fmt.Sprintf("%s of %s: %s", opName(ev.Op), ev.Unit, ev.Outcome)
		for _, why := range []string{ev.Err, meaning(ev)} {
			if why != "" {
				text += ", " + why
			}
		}
		if ev.Device != nil {
			text += ", " + device(ev.Device)
		}
		return text
	case core.ForeignJob:
		if ev.Removed {
			return fmt.Sprintf("somebody else's %s of %s has ended", ev.Type, ev.Unit)
		}
		return fmt.Sprintf("somebody else's %s of %s begins", ev.Type, ev.Unit)
	case core.UnitState:
		switch {
		case ev.ShuttingDown:
			return "the system is shutting down"
		case !ev.Known:
			return ev.Unit + ": systemd cannot be asked"
		}
		text := ev.Unit + ": " + ev.Info.Active
		if ev.Info.Job != "" {
			text += ", job " + ev.Info.Job
		}
		return text + ", " + device(ev.Device)
	case core.LogRead:
		n := 0
		if len(ev.Pages) > 0 {
			n = len(ev.Pages[0].Entries)
		}
		return fmt.Sprintf("log page of %s was read, entries: %d", ev.Device, n)
	case core.Judged:
		return "log page of " + ev.TID.String() + " was judged anew"
	case core.LogFailed:
		return fmt.Sprintf("log page of %s cannot be read: %s", ev.Device, ev.Err)
	case core.FCDiscovered:
		return fmt.Sprintf("Fibre Channel announces %s through %s", ev.Traddr, ev.HostTraddr)
	case core.MDNSReported:
		switch {
		case ev.Service == "" && ev.Problem == "":
			return "mDNS is not browsed"
		case ev.Service == "":
			return "mDNS cannot be browsed: " + ev.Problem
		}
		return ev.Service + " hears by mDNS: " + count(len(ev.Found), "announcement")
	case core.Kickstarted:
		switch {
		case ev.NoFC:
			return "this host has no Fibre Channel"
		case ev.Failed:
			return "Fibre Channel cannot be asked"
		}
		return "Fibre Channel was asked"
	case core.LogChanged:
		return "log page of " + ev.Device + " has changed"
	case core.Kick:
		text := ev.Why
		if ev.Iface != "" {
			text += fmt.Sprintf(" (%s %s)", ev.Iface, joinAddrs(ev.Addrs))
		}
		return text
	case core.BusUp:
		return "systemd can be talked to"
	case core.BusDown:
		return "systemd cannot be talked to: " + ev.Err
	case core.Tick:
		return "time passes"
	case core.Request:
		return strings.TrimSpace(fmt.Sprintf("request: %s %s", ev.Op, ev.Target))
	}
	return fmt.Sprintf("%T", ev)
}

// count counts things in words.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func address(traddr, trsvcid string) string {
	if trsvcid == "" {
		return traddr
	}
	return traddr + " port " + trsvcid
}

func opName(op core.Op) string {
	switch op {
	case core.OpStart:
		return "start"
	case core.OpRestart:
		return "restart"
	case core.OpStop:
		return "stop"
	case core.OpNone:
	}
	return "job"
}

func meaning(ev core.JobDone) string {
	if ev.Failure == nil {
		return ""
	}
	return ev.Failure.Meaning
}

func joinAddrs(addrs []netip.Addr) string {
	var texts []string
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}
