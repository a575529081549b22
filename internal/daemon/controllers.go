// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"io/fs"
	"sync"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/journal"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/uevent"
)

// logChanged is the asynchronous event by which a DC says that its log page changed: type notice, log 0x70, "discovery
// log page change" (NVMe Base Specification 2.0, figure 151).
const logChanged = "0x70f002"

// controllers holds the uevents of fabrics controllers that the loop does not know of yet. A controller sends them as fast
// as it likes, so they are not queued: each only marks its controller. The zero value is ready for use.
type controllers struct {
	mu     sync.Mutex
	marked map[string]*marks // by name; a controller that is present has a goroutine, which alone removes it
}

// marks is what the uevents of one controller have in common. Its size does not depend on their number. The order of its
// fields is that in which the loop hears of them: a remove ends everything that was marked before it.
type marks struct {
	removed    uint64 // SEQNUM of the latest remove; 0: none
	noticed    bool   // its state is not the one that the loop knows
	look       bool   // there is a reason to read the controller
	reconnects int    // how often the kernel has connected it again; look is true with it
	logChanged bool   // its log page changed
}

// noticed stands for a uevent that the kernel does not send: the state of a controller is not the one that the loop knows.
var noticed = uevent.Event{Action: "notice"}

// add takes a uevent in, and reports whether it matters.
func (m *marks) add(ev uevent.Event) bool {
	switch {
	case ev.Action == noticed.Action:
		m.noticed = true
	case ev.Action == "remove":
		*m = marks{removed: ev.Seq}
	case ev.Vars["NVME_AEN"] == logChanged:
		m.logChanged = true
	case ev.Vars["NVME_EVENT"] == "connected":
		m.look = true
	case ev.Vars["NVME_EVENT"] == "rediscover":
		m.look = true
		m.reconnects++
	default:
		return false
	}
	return true
}

// mark adds a uevent to the marks of a controller. It reports whether somebody has to take them: then the caller starts a
// goroutine that calls take until nothing is left.
func (c *controllers) mark(name string, ev uevent.Event) (unattended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, attended := c.marked[name]
	if !attended {
		m = &marks{}
	}
	if !m.add(ev) || attended {
		return false
	}
	if c.marked == nil {
		c.marked = map[string]*marks{}
	}
	c.marked[name] = m
	return true
}

// take returns the marks of a controller and clears them. Where there are none, the controller is unattended from then on.
func (c *controllers) take(name string) (taken marks, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.marked[name]
	taken, *m = *m, marks{}
	if taken == (marks{}) {
		delete(c.marked, name)
		return marks{}, false
	}
	return taken, true
}

// controllerEvent marks a controller and sees to it that the loop hears of it. A controller that hangs holds up no other.
func (d *Daemon) controllerEvent(ctx context.Context, name string, ev uevent.Event) {
	if !d.controllers.mark(name, ev) {
		return
	}
	go func() {
		for {
			m, more := d.controllers.take(name)
			if !more {
				return
			}
			if ctx.Err() == nil {
				d.postMarks(ctx, name, m)
			}
		}
	}()
}

// postMarks hands the loop what uevents said of a controller. It waits until the loop has dealt with it, so that no more than one
// event of a controller is in the queue: what happens meanwhile marks the controller again. What is read is newer than every
// uevent that is in m.
func (d *Daemon) postMarks(ctx context.Context, name string, m marks) {
	if m.removed != 0 {
		d.postAndWait(ctx, core.DeviceRemoved{Name: name, Seq: m.removed})
	}
	if m.noticed || m.look && (m.reconnects > 0 || !d.effects.connects.cover(ctx, name)) {
		d.postReading(ctx, name, m)
	}
	if m.logChanged {
		d.postAndWait(ctx, core.LogChanged{Device: name})
	}
}

// postReading reads a controller and hands the loop what it read: once for each time that the kernel has reconnected it.
func (d *Daemon) postReading(ctx context.Context, name string, m marks) {
	device, err := d.reader.device(name)
	switch {
	case errors.Is(err, fs.ErrNotExist): // gone: its remove event follows
		return
	case err != nil:
		d.effects.warnings.warn(err.Error(), journal.About("", name, tid.TID{})...)
		if m.look || m.logChanged { // else nothing happened: what was noticed is noticed again in a moment
			d.losses.lost("a controller could not be read")
		}
		return
	case !m.look:
		d.postAndWait(ctx, core.DeviceNoticed{Device: device})
	case m.reconnects == 0:
		d.postAndWait(ctx, core.DeviceSeen{Device: device, Why: "connected"})
	}
	for range m.reconnects {
		d.postAndWait(ctx, core.DeviceSeen{Device: device, Why: "rediscover", Reconnected: true})
	}
}
