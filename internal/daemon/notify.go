// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"log/slog"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells the service manager how the daemon does (sd_notify(3)). The socket can block, so a goroutine of its own
// writes to it and the loop only leaves what is to be said: nothing that matters is dropped when the socket is slow, and
// nothing that is outdated is sent.
type notifier struct {
	send func(string) error
	log  *slog.Logger
	wake chan struct{} // holds one when there may be something to say

	mu      sync.Mutex
	isReady bool     // told READY=1 once
	states  []string // READY and RELOADING, in their order
	alive   bool     // the watchdog is to be fed
	text    string   // the latest STATUS, "" when it was said
}

func newNotifier(log *slog.Logger) *notifier {
	send := func(msg string) error {
		_, err := sd.SdNotify(false, msg)
		return err
	}
	return &notifier{send: send, log: log, wake: make(chan struct{}, 1)}
}

// statusPace is the time between two lines of status at least. While connections come up the line changes with each, and each
// line costs the service manager and the message bus a change of our unit's properties.
const statusPace = 250 * time.Millisecond

func (n *notifier) run(ctx context.Context) error {
	var pause <-chan time.Time // the next status waits for it
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
		case <-pause:
			pause = nil
		}
		for {
			msg, isStatus := n.next(pause == nil)
			if msg == "" {
				break
			}
			n.tell(msg)
			if isStatus {
				pause = time.After(statusPace)
			}
		}
	}
}

func (n *notifier) tell(msg string) {
	if err := n.send(msg); err != nil {
		n.log.Warn("cannot notify the service manager: " + err.Error())
	}
}

// next takes the most urgent of what is to be said, "" when all is said or waits.
func (n *notifier) next(statusToo bool) (msg string, isStatus bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.alive:
		n.alive, msg = false, sd.SdNotifyWatchdog
	case len(n.states) > 0:
		msg, n.states = n.states[0], n.states[1:]
	case n.text != "" && statusToo:
		msg, n.text, isStatus = "STATUS="+n.text, "", true
	}
	return msg, isStatus
}

// leave changes what is to be said and has it said.
func (n *notifier) leave(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// enter adds a state. Those that wait behind a socket that blocks are kept to the last few, in pairs, so that each
// RELOADING keeps the READY after it.
func (n *notifier) enter(state string) {
	if len(n.states) == 4 {
		n.states = n.states[2:]
	}
	n.states = append(n.states, state)
}

func (n *notifier) status(text string) { n.leave(func() { n.text = text }) }
func (n *notifier) feed()              { n.leave(func() { n.alive = true }) }

// ready tells once that start-up is over.
func (n *notifier) ready() {
	n.leave(func() {
		n.isReady = true
		n.enter(sd.SdNotifyReady)
	})
}

// reloading must carry the time: a notify-reload service that leaves it out is never seen as reloaded (FACTS). It is sent
// before the configuration is read.
func (n *notifier) reloading() {
	msg := sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec()
	n.leave(func() { n.enter(msg) })
}

// reloaded ends a reload, whatever came of it.
func (n *notifier) reloaded() {
	n.leave(func() {
		if n.isReady {
			n.enter(sd.SdNotifyReady)
		}
	})
}

// stopGrace is how long the daemon's end waits for a service manager that does not read.
const stopGrace = time.Second

// stopping is the last thing that is said, after run has ended.
func (n *notifier) stopping() {
	told := make(chan struct{})
	go func() {
		n.tell(sd.SdNotifyStopping)
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(stopGrace):
	}
}

// watchdog ticks as often as the service manager wants to hear that the loop runs: twice as often, to be safe. Without a
// watchdog it never ticks.
func (n *notifier) watchdog() <-chan time.Time {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return nil
	}
	return time.Tick(interval / 2)
}
