// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fc"
	"github.com/nvme-discoverd/nvme-discoverd/internal/netwatch"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/uevent"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
)

// watchDevices turns uevents into events.
func (d *Daemon) watchDevices(ctx context.Context, source *uevent.Source) error {
	for {
		ev, err := source.Receive()
		switch {
		case errors.Is(err, uevent.ErrLost):
			d.losses.lost(err.Error())
			continue
		case err != nil:
			return err
		}
		d.uevent(ctx, ev)
	}
}

// uevent turns one uevent into an event, sooner or later. It returns at once, except where Fibre Channel announces a port while the
// loop's queue is full.
func (d *Daemon) uevent(ctx context.Context, ev uevent.Event) {
	if ev.Subsystem == "infiniband" && ev.Action == "add" {
		d.kick(ctx, core.Kick{Transport: tid.RDMA, Why: "an RDMA device appeared"})
		return
	}
	if ev.Subsystem == "fc" {
		d.announced(ctx, ev)
		return
	}
	if name, ok := uevent.DeviceName(ev); ok {
		d.controllerEvent(ctx, name, ev)
	}
}

func (d *Daemon) announced(ctx context.Context, ev uevent.Event) {
	announcement, ok, err := fc.Parse(ev.Vars)
	if err != nil {
		d.effects.warnings.warn(err.Error())
	}
	if ok {
		d.post(ctx, core.FCDiscovered{Announcement: announcement})
	}
}

// watchLinks turns addresses and links that appear into kicks.
func (d *Daemon) watchLinks(ctx context.Context, source *netwatch.Source) error {
	for {
		ev, err := source.Receive()
		switch {
		case errors.Is(err, netwatch.ErrLost):
			d.networkLost(ctx)
		case err != nil:
			return err
		default:
			d.networkEvent(ctx, ev)
		}
	}
}

// watchExclusions loads the exclusion lists whenever they change on disk.
func (d *Daemon) watchExclusions(ctx context.Context, w *exclusionWatch) {
	for w.next(ctx) {
		d.loadExclusions(ctx)
	}
}

// loadExclusions hands the loop the exclusion lists. It is called on several goroutines; the list that was read last is posted last.
func (d *Daemon) loadExclusions(ctx context.Context) {
	d.exclusions.Lock()
	defer d.exclusions.Unlock()
	list, errs := exclusion.Load(d.Root)
	for _, err := range errs {
		d.Log.Error(err.Error())
	}
	d.post(ctx, core.ExclusionsLoaded{List: list})
}

func (d *Daemon) unitEvent(ctx context.Context) func(unit.Event) {
	return func(ev unit.Event) {
		switch ev := ev.(type) {
		case unit.BusUp:
			d.post(ctx, core.BusUp{})
		case unit.BusDown:
			d.post(ctx, core.BusDown{Err: ev.Err.Error()})
		case unit.ForeignJob:
			d.post(ctx, core.ForeignJob{Unit: ev.Unit, Type: ev.Type, Removed: ev.Removed})
		}
	}
}

// sleepWatch notices that the system was suspended: the clock that counts suspended time went ahead of the one that does not.
type sleepWatch struct {
	clock     func() int64 // suspendedTime, or a stand-in in tests
	suspended int64
}

func newSleepWatch(clock func() int64) *sleepWatch { return &sleepWatch{clock, clock()} }

// slept tells whether the system was suspended, for more than a second, since it was asked last.
func (s *sleepWatch) slept() bool {
	before := s.suspended
	s.suspended = s.clock()
	return s.suspended-before > 1e9
}

// suspendedTime is how long the system has been suspended since it booted, in nanoseconds; 0 where it cannot be told.
func suspendedTime() int64 {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
		return 0
	}
	return boot.Nano() - mono.Nano()
}
