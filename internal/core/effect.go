// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/probe"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Effect is something to do. String is one line for traces.
type Effect interface {
	fmt.Stringer
	effect()
}

type (
	// Probe tries whether a TCP peer is there; Mute asks for an answer of the protocol too, not just of the port. First is
	// set for a peer that has not failed before: it is probed before those that have.
	Probe struct {
		Target probe.Target
		Mute   bool
		First  bool
	}
	// Resolve looks the addresses of a host up.
	Resolve struct{ Host string }
	// StartUnit starts the transient unit of a wish, which has the host ID to connect with: the unit need not be called by its TID.
	StartUnit struct {
		Unit string
		Wish wish.Wish
	}
	// RestartUnit restarts a unit that is active with the parameters wanted.
	RestartUnit struct {
		Unit string
		Wish wish.Wish
	}
	// StopUnit stops a unit.
	StopUnit struct{ Unit, Why string }
	// AskUnit asks systemd about a unit and reads the device that it is said to have.
	AskUnit struct {
		Unit  string
		Token uint64 // for the answer
	}
	// ReadLog reads the discovery log page of a DC and judges it for each reader (JudgePages), of which there is one at least.
	ReadLog struct {
		Device  string
		Token   uint64
		Readers []PageReader
		Keep    int // entries of it that may be kept
	}
	// Judge judges a log page that was read before by another origin (JudgeAnew).
	Judge struct {
		TID    tid.TID // of the DC's wish
		Page   *Page
		Origin Origin
	}
	// Kickstart has the kernel announce the discovery controllers on Fibre Channel.
	Kickstart struct{ Token uint64 }
	// TakeSnapshot reads sysfs, the units and the state files.
	TakeSnapshot struct {
		Token uint64
		Why   string
	}
	// ForgetState removes the state files of a controller that is gone, unless they name another unit or device by now.
	ForgetState struct{ Unit, Device string }
	// RestoreOwner writes the registry's entry of a controller again that the unit holds and that serves TID, unless it has an owner
	// by then.
	RestoreOwner struct {
		Unit, Device string
		TID          tid.TID
		Owner        wish.Owner
	}
	// RestoreDevid writes the file again that names the controller of a unit, unless there is one by then.
	RestoreDevid struct {
		Unit, Device string
		TID          tid.TID
	}
	// KeepRetained remembers over restarts of the daemon which discovery controllers are retained, in place of what was
	// remembered before.
	KeepRetained struct{ List []Retained }
	// MarkStopped remembers over restarts of the daemon that an administrator stopped a unit.
	MarkStopped struct{ Unit string }
	// UnmarkStopped forgets that.
	UnmarkStopped struct{ Unit string }
	// Log is a line of the journal.
	Log struct {
		Level  slog.Level
		Kind   Kind
		Msg    string
		TID    tid.TID // zero: about no target
		Device string
		Unit   string
	}
	// Status is the service's one line state.
	Status struct{ Text string }
	// Ready tells that start-up is over.
	Ready struct{}
)

func (Probe) effect()         {}
func (Resolve) effect()       {}
func (StartUnit) effect()     {}
func (RestartUnit) effect()   {}
func (StopUnit) effect()      {}
func (AskUnit) effect()       {}
func (ReadLog) effect()       {}
func (Judge) effect()         {}
func (Kickstart) effect()     {}
func (TakeSnapshot) effect()  {}
func (ForgetState) effect()   {}
func (RestoreOwner) effect()  {}
func (RestoreDevid) effect()  {}
func (KeepRetained) effect()  {}
func (MarkStopped) effect()   {}
func (UnmarkStopped) effect() {}
func (Log) effect()           {}
func (Status) effect()        {}
func (Ready) effect()         {}

func (e Probe) String() string {
	s := "probe " + e.Target.String()
	if e.Mute {
		s += " for an answer"
	}
	return s
}

func (e StartUnit) String() string {
	return fmt.Sprintf("start %s: %s", e.Unit, strings.Join(e.Wish.Args(), " "))
}
func (e Resolve) String() string      { return "resolve " + e.Host }
func (e RestartUnit) String() string  { return "restart " + e.Unit }
func (e StopUnit) String() string     { return fmt.Sprintf("stop %s: %s", e.Unit, e.Why) }
func (e AskUnit) String() string      { return "ask about " + e.Unit }
func (e ReadLog) String() string      { return "read the log page of " + e.Device }
func (e Judge) String() string        { return "judge the log page of " + e.TID.String() + " anew" }
func (Kickstart) String() string      { return "kickstart Fibre Channel" }
func (e TakeSnapshot) String() string { return "take a snapshot: " + e.Why }
func (e ForgetState) String() string  { return fmt.Sprintf("forget %s of %s", e.Device, e.Unit) }
func (e RestoreOwner) String() string {
	return fmt.Sprintf("restore the owner of %s: %s, by %s", e.Device, e.Owner, e.Unit)
}

func (e RestoreDevid) String() string {
	return fmt.Sprintf("restore the record of %s that it holds %s", e.Unit, e.Device)
}

func (e KeepRetained) String() string {
	s := "remember as retained:"
	for _, r := range e.List {
		s += " " + r.TID.String()
	}
	return s
}
func (e MarkStopped) String() string   { return "remember that an administrator stopped " + e.Unit }
func (e UnmarkStopped) String() string { return "forget that an administrator stopped " + e.Unit }
func (e Status) String() string        { return "status: " + e.Text }
func (Ready) String() string           { return "ready" }

func (e Log) String() string {
	s := fmt.Sprintf("log %s: %s", strings.ToLower(e.Level.String()), e.Msg)
	if e.TID != (tid.TID{}) {
		s += " " + e.TID.String()
	}
	return s
}
