// Package shutdown keeps a controller whose target is gone from holding up the end of the system: what waits for it in the
// kernel (an unmount, swapoff, a sync) waits until the kernel gives the controller up, and no signal ends that.
//
// A Watcher runs from the first connection on, with all it needs in memory, since at the shutdown the program itself may lie on
// a disk that does not answer. It asks nothing of the daemon.
package shutdown

import (
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

// watch decides which controllers are given up. A controller has the whole patience from when it was first seen lost, not before
// the shutdown: one that is lost late is not given up at once.
type watch struct {
	patience time.Duration
	lost     map[string]time.Time // when it was first seen lost, and since then without a break
	told     map[string]bool      // foreign ones that would have been given up
}

func newWatch(patience time.Duration) *watch {
	return &watch{patience: patience, lost: map[string]time.Time{}, told: map[string]bool{}}
}

// look takes what is there now. It returns what is to be given up, at every look until it is gone or live; and, once, those that
// another orchestrator owns, which stay.
func (w *watch) look(now time.Time, seen []Controller) (due, foreign []Controller) {
	lost := map[string]time.Time{}
	for _, c := range seen {
		if !c.lost() {
			continue
		}
		since, before := w.lost[c.Name]
		if !before {
			since = now
		}
		lost[c.Name] = since
		switch {
		case now.Sub(since) < w.patience:
		case c.Owner == "":
			due = append(due, c)
		case !w.told[c.Name]:
			w.told[c.Name] = true
			foreign = append(foreign, c)
		}
	}
	w.lost = lost
	return due, foreign
}
