// SPDX-License-Identifier: GPL-3.0-or-later

// Package shutdown keeps a controller whose target is gone from holding up the end of the system: what waits for it in the
// kernel (an unmount, swapoff, a sync) waits until the kernel gives the controller up, and no signal ends that.
//
// A Watcher runs from the first connection on, with all it needs in memory, since at the shutdown the program itself may lie on
// a disk that does not answer. It asks nothing of the daemon.
package shutdown

import (
	"maps"
	"slices"
	"time"
)

// Controller is a fabrics controller as one look saw it.
type Controller struct {
	Name, NQN, State string
	// Owner is another orchestrator that the registry names; "" for our own controllers and those that nobody owns.
	Owner string
	// LivePath is a live controller of the same subsystem, to which native multipath sends what this one cannot carry; "" for
	// none.
	LivePath string
}

// lost reports whether the kernel tries to get back to the target, and what hangs on the controller waits for it. One that is
// being deleted waits for nothing any more.
func (c Controller) lost() bool {
	switch c.State {
	case "new", "connecting", "resetting":
		return c.LivePath == ""
	}
	return false
}

// watch knows since when controllers have been lost, as far as the shutdown goes: one that is lost late is not given up at once.
type watch struct {
	lost map[string]loss
	told map[string]bool // foreign ones that would have been given up
}

// loss is a controller that is lost, and since when without a break.
type loss struct {
	Controller
	since time.Time
}

func newWatch() *watch { return &watch{lost: map[string]loss{}, told: map[string]bool{}} }

// look takes what is there now.
func (w *watch) look(now time.Time, seen []Controller) {
	lost := map[string]loss{}
	for _, c := range seen {
		if !c.lost() {
			continue
		}
		since := now
		if before, is := w.lost[c.Name]; is {
			since = before.since
		}
		lost[c.Name] = loss{c, since}
	}
	w.lost = lost
}

// due returns what is to be given up, until it is gone or live, by name; and, once, those that another orchestrator owns, which stay.
func (w *watch) due(now time.Time, patience time.Duration) (due, foreign []Controller) {
	for _, name := range slices.Sorted(maps.Keys(w.lost)) {
		l := w.lost[name]
		switch {
		case now.Sub(l.since) < patience:
		case l.Owner == "":
			due = append(due, l.Controller)
		case !w.told[name]:
			w.told[name] = true
			foreign = append(foreign, l.Controller)
		}
	}
	return due, foreign
}
