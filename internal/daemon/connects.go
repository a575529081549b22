// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// coverPatience is how long a uevent waits for the end of a job that may be its cause. The command of a unit ends soon after the
// kernel has connected.
const coverPatience = 300 * time.Millisecond

// connects knows the connects of our own that are under way. The kernel announces a controller some moments before the job that
// connects it is done. With the end of the job the controller is read anyway, and its owner and unit too, which are not on
// record before. So the uevent waits for that reading and needs none of its own. The zero value is ready for use.
type connects struct {
	mu      sync.Mutex
	running [tid.Discovery + 1]int
	waiting map[string]*waiter // by controller
	known   map[string]bool    // controllers that were read since nothing was running: no job brings them again
	step    uint64             // counts the waiters and the readings
}

// waiter is the goroutine of a controller that waits for a reading.
type waiter struct {
	since   uint64
	covered chan bool // has room for the one answer
}

// begin notes that a job begins that connects a controller of a kind. end notes that it is over and that the loop knows.
func (c *connects) begin(kind tid.Kind) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[kind]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running[kind]--
		if c.running != [tid.Discovery + 1]int{} {
			return
		}
		for _, w := range c.waiting {
			w.covered <- false
		}
		clear(c.waiting)
		clear(c.known)
	}
}

// read has a controller read that a job has connected, for the loop, and answers the goroutine that has waited for it since
// before.
func (c *connects) read(read func() (*core.Device, error)) (*core.Device, error) {
	begun := c.tick()
	device, err := read()
	if err != nil || device == nil {
		return device, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]bool{}
	}
	c.known[device.Name] = true
	if w := c.waiting[device.Name]; w != nil && w.since < begun {
		w.covered <- true
		delete(c.waiting, device.Name)
	}
	return device, nil
}

func (c *connects) tick() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.step++
	return c.step
}

// cover waits for the end of the connect that may have brought a controller, and reports whether the loop gets a reading of it by
// that. It does not wait while a discovery controller is being connected, since its log page is wanted at once. Only one
// goroutine may call it for a controller.
func (c *connects) cover(ctx context.Context, name string) bool {
	w := c.wait(name)
	if w == nil {
		return false
	}
	patience := time.NewTimer(coverPatience)
	defer patience.Stop()
	select {
	case covered := <-w.covered:
		return covered
	case <-patience.C:
	case <-ctx.Done():
	}
	return c.leave(name, w)
}

// wait returns nil where there is nothing to wait for.
func (c *connects) wait(name string) *waiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[tid.IO] == 0 || c.running[tid.Discovery] > 0 || c.known[name] {
		return nil
	}
	if c.waiting == nil {
		c.waiting = map[string]*waiter{}
	}
	c.step++
	w := &waiter{c.step, make(chan bool, 1)}
	c.waiting[name] = w
	return w
}

// leave ends the wait, and reports whether it was over by then.
func (c *connects) leave(name string, w *waiter) (covered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[name] == w {
		delete(c.waiting, name)
	}
	select {
	case covered = <-w.covered:
	default:
	}
	return covered
}
