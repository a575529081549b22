// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"

	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// disk is what survives the daemon: registry, state files, the exclusion list.
type disk struct {
	registry   map[string]ownership // by device
	devid      map[string]string    // unit → device
	unitOf     map[string]string    // device → unit
	results    map[string]state.Result
	retained   []core.Retained
	stopped    map[string]bool
	stopping   map[string]bool // by a job of a daemon's own
	exclusions int             // which of the lab's lists

	autoconnect bool          // nvme-cli's automatic connects are in force
	switched    time.Duration // since when
}

type ownership struct {
	owner string
	seq   uint64
}

func (d *disk) init() {
	d.exclusions = 1 << (len(rules) - 1)
	d.registry = map[string]ownership{}
	d.devid, d.unitOf = map[string]string{}, map[string]string{}
	d.results, d.stopped, d.stopping = map[string]state.Result{}, map[string]bool{}, map[string]bool{}
}

// foreign tells whether the registry gives a controller to another orchestrator.
func (w *world) foreign(device string) bool {
	return wish.Owner(w.disk.registry[device].owner).Foreign(w.disk.autoconnect)
}

// prune is what the udev rule does on a remove event: the entry goes if the device has and the event is later.
func (d *disk) prune(w *world, device string, seq uint64) {
	if e, ok := d.registry[device]; ok && w.kernel.find(device) == nil && seq > e.seq {
		delete(d.registry, device)
	}
}

// forget is state.Dir.Forget.
func (d *disk) forget(device, unit string) {
	if d.unitOf[device] == unit {
		delete(d.unitOf, device)
	}
	if d.devid[unit] == device {
		delete(d.devid, unit)
	}
}
