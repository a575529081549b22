// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// Undisturbed, if set before the first scenario, keeps this program from following what happens: measuring would be disturbed. Waits
// poll then, and marks and messages of the journal are empty.
var Undisturbed bool

// happenings are all that this program follows of what happens on the machine, so that waits look when there is something to see.
type happenings struct {
	*follow.Events
	tick    time.Duration   // see follow.Tick
	journal *follow.Journal // nil: nothing is followed
	files   *follow.Files
	err     error
}

// happen begins to follow at the first call: the program is one boot, or a part of it, and there is one machine. What scenarios bring
// about themselves (FakeDC, Wedge, Writer) they tell it.
var happen = sync.OnceValue(func() *happenings {
	h := &happenings{Events: follow.NewEvents(), tick: follow.Tick}
	if Undisturbed {
		h.tick = follow.Rest
		return h
	}
	if h.err = follow.FollowUevents(h.Events); h.err == nil {
		h.files, h.err = follow.FollowFiles(h.Events, "/run/nvme", "/etc/nvme")
	}
	if h.err == nil {
		h.journal, h.err = follow.FollowJournal(h.Events)
	}
	follow.FollowUnits(h.Events)
	return h
})

// following is what happens; a scenario cannot run without it.
func following(t T) *happenings {
	t.Helper()
	h := happen()
	if h.err != nil {
		t.Fatalf("cannot follow what happens: %v", h.err)
	}
	return h
}

// mounted notes that a file system was mounted in a directory that is followed, or taken away.
func mounted(t T) {
	t.Helper()
	if h := following(t); h.files != nil {
		h.files.Again()
	}
}
