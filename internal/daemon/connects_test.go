// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// A uevent waits for the reading at the end of the job that may have caused it, and for nothing else.
func TestCover(t *testing.T) {
	device := func(name string) func() (*core.Device, error) {
		return func() (*core.Device, error) { return &core.Device{Controller: sysfs.Controller{Name: name}}, nil }
	}
	for _, test := range []struct {
		name      string
		running   []tid.Kind
		meanwhile func(c *connects) // a tenth of a second after the uevent
		ends      int               // of the jobs, then
		want      bool
		after     time.Duration
	}{
		{name: "nothing is being connected"},
		{name: "read at the end of a job", running: []tid.Kind{tid.IO}, meanwhile: func(c *connects) { c.read(device("nvme3")) }, ends: 1, want: true, after: 100 * time.Millisecond},
		{name: "read while another job goes on", running: []tid.Kind{tid.IO, tid.IO}, meanwhile: func(c *connects) { c.read(device("nvme3")) }, ends: 1, want: true, after: 100 * time.Millisecond},
		{name: "another controller", running: []tid.Kind{tid.IO}, meanwhile: func(c *connects) { c.read(device("nvme4")) }, ends: 1, after: 100 * time.Millisecond},
		{name: "another controller, and a further job goes on", running: []tid.Kind{tid.IO, tid.IO}, meanwhile: func(c *connects) { c.read(device("nvme4")) }, ends: 1, after: coverPatience},
		{
			name: "a controller that cannot be read", running: []tid.Kind{tid.IO}, ends: 1, after: 100 * time.Millisecond,
			meanwhile: func(c *connects) { c.read(func() (*core.Device, error) { return nil, errors.New("no") }) },
		},
		{name: "a job without a controller", running: []tid.Kind{tid.IO}, ends: 1, after: 100 * time.Millisecond, meanwhile: func(c *connects) { c.read(func() (*core.Device, error) { return nil, nil }) }},
		{name: "a discovery controller is being connected", running: []tid.Kind{tid.IO, tid.Discovery}},
		{name: "a discovery controller alone", running: []tid.Kind{tid.Discovery}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c connects
				var ends []func()
				for _, kind := range test.running {
					ends = append(ends, c.begin(kind))
				}
				go func() {
					time.Sleep(100 * time.Millisecond)
					if test.meanwhile != nil {
						test.meanwhile(&c)
					}
					for _, end := range ends[:test.ends] {
						end()
					}
				}()
				begun := time.Now()
				got := c.cover(t.Context(), "nvme3")
				if took := time.Since(begun); got != test.want || took != test.after {
					t.Errorf("got %t after %v, want %t after %v", got, took, test.want, test.after)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				for _, end := range ends[test.ends:] {
					end()
				}
				if len(c.waiting) > 0 {
					t.Errorf("left: %v", c.waiting)
				}
			})
		})
	}
}

// A controller that a job has brought already is not waited for: over Fibre Channel it is connected after its job.
func TestCoverKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c connects
		end := c.begin(tid.IO)
		device := &core.Device{Controller: sysfs.Controller{Name: "nvme3"}}
		if got, err := c.read(func() (*core.Device, error) { return device, nil }); got != device || err != nil {
			t.Errorf("read: got %v, %v", got, err)
		}
		begun := time.Now()
		if c.cover(t.Context(), "nvme3") || time.Since(begun) > 0 {
			t.Error("it waits for a job that is done")
		}
		end()
		end = c.begin(tid.IO)
		defer end()
		if c.cover(t.Context(), "nvme3") || time.Since(begun) != coverPatience {
			t.Error("it does not wait for the next job")
		}
	})
}

// What was read before the uevent does not count, and the end of the daemon ends the wait.
func TestCoverReadBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c connects
		end := c.begin(tid.IO)
		ctx, cancel := context.WithCancel(t.Context())
		covered := make(chan bool)
		_, _ = c.read(func() (*core.Device, error) {
			go func() { covered <- c.cover(ctx, "nvme3") }()
			synctest.Wait()
			return &core.Device{Controller: sysfs.Controller{Name: "nvme3"}}, nil
		})
		begun := time.Now()
		time.Sleep(10 * time.Millisecond)
		cancel()
		if <-covered || time.Since(begun) != 10*time.Millisecond {
			t.Error("covered by a reading that began before")
		}
		end()
	})
}
