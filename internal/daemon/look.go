// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
)

// lookInterval is how often the states of all controllers are looked at: the kernel sends no uevent when a connection breaks
// and it begins to reconnect. It is how long people may see as connected what is not, and what a look costs is paid once in it.
const lookInterval = 2 * time.Second

// lookPatience is how long a look waits for the state of one controller, whose read takes microseconds.
const lookPatience = time.Second

// watchStates looks at the states of the controllers until ctx ends.
func (d *Daemon) watchStates(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.look(ctx)
		}
	}
}

// look reads the state of each controller that the loop knows, and has those read whole that have another one.
func (d *Daemon) look(ctx context.Context) {
	s, err := d.api.State(ctx)
	if err != nil { // ctx has ended
		return
	}
	for _, t := range s.Targets {
		d.lookAt(ctx, t.Device, t.DeviceState)
	}
	for _, c := range s.Unwanted {
		d.lookAt(ctx, c.Name, c.State)
	}
}

// lookAt does so for one controller, "" for none.
func (d *Daemon) lookAt(ctx context.Context, name, known string) {
	if name == "" {
		return
	}
	if state := d.reader.stateOf(ctx, name); state != "" && state != known {
		d.controllerEvent(ctx, name, noticed)
	}
}

// stateOf returns the state of a controller, "" of one that is gone or cannot be read: a removal has its uevent, and a controller that
// is stuck in the kernel is told of by the regular comparison.
func (r *reader) stateOf(ctx context.Context, name string) string {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	c, err := r.attempt(ctx, name, func(name string) (sysfs.Controller, error) {
		state, err := r.sysfs.State(name)
		return sysfs.Controller{State: state}, err
	})
	if err != nil {
		return ""
	}
	return c.State
}
