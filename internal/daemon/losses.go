// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"sync"
	"time"
)

// lossPause is the least time between two reports of lost events: each costs a comparison of everything, and a flood loses
// many.
const lossPause = time.Second

// losses reports lost events, the first at once and those of the pause after a report together at its end: what was lost
// last is always followed by a report.
type losses struct {
	report func(why string) // on a goroutine of its own

	mu      sync.Mutex
	pausing bool
	waiting string // why, of the latest loss in the pause; "" is none
}

func (l *losses) lost(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pausing {
		l.waiting = why
		return
	}
	l.begin(why)
}

func (l *losses) begin(why string) {
	l.pausing, l.waiting = true, ""
	go l.report(why)
	time.AfterFunc(lossPause, l.over)
}

func (l *losses) over() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pausing = false
	if l.waiting != "" {
		l.begin(l.waiting)
	}
}
