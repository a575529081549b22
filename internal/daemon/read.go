// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/blockuse"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/legacy"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/registry"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// reader puts together what sysfs, the registry and the state files say of controllers.
type reader struct {
	sysfs    sysfs.Reader
	registry registry.Registry
	state    state.Dir
	patience time.Duration // with the attributes of one controller, and of all in a snapshot

	mu      sync.Mutex
	reading map[string]*reading // by controller
}

// reading is the one read of a controller's attributes that is under way.
type reading struct {
	ended chan struct{} // closed when it came back
	stuck chan struct{} // closed when the reader who began it gave it up
}

const (
	// readPatience is far more than sysfs takes on a busy host, and little enough for an audit to wait for once.
	readPatience = 5 * time.Second
	// snapshotReads is how many controllers a snapshot reads at one time.
	snapshotReads = 16
	// listPatience is how long systemd may take to describe all units, as long as it answers each question in time. The
	// first list after a start asks for each of them.
	listPatience = time.Minute
)

func newReader(root paths.Root) *reader {
	return &reader{
		sysfs: sysfs.NewReader(root), registry: registry.New(root), state: state.New(root),
		patience: readPatience, reading: map[string]*reading{},
	}
}

// attempt calls read, and gives it up for lost when it does not come back before ctx ends: a controller that is stuck in the
// kernel must not take everything that wants to read it along. There is never more than one such read for a controller: the
// next reader waits for its end and then reads for itself, since its own answer must not be older than its question; once
// it was given up, nobody waits for it.
func (r *reader) attempt(ctx context.Context, name string, read func(string) (sysfs.Controller, error)) (sysfs.Controller, error) {
	stuck := sysfs.Wedged(name)
	var mine *reading
	for mine == nil {
		var other *reading
		if mine, other = r.begin(name); mine != nil {
			break
		}
		select {
		case <-other.ended:
		case <-other.stuck:
			return sysfs.Controller{}, stuck
		case <-ctx.Done():
			return sysfs.Controller{}, stuck
		}
	}
	var c sysfs.Controller
	var err error
	go func() {
		c, err = read(name)
		r.end(name, mine)
	}()
	select {
	case <-mine.ended:
		return c, err
	case <-ctx.Done():
	}
	select {
	case <-mine.ended: // just now
		return c, err
	default:
		close(mine.stuck)
		return sysfs.Controller{}, stuck
	}
}

// begin takes the place of the one who reads the controller, or returns who has it.
func (r *reader) begin(name string) (mine, other *reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other = r.reading[name]; other != nil {
		return nil, other
	}
	mine = &reading{make(chan struct{}), make(chan struct{})}
	r.reading[name] = mine
	return mine, nil
}

func (r *reader) end(name string, mine *reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.reading, name)
	close(mine.ended)
}

// device reads one controller; the error wraps fs.ErrNotExist when it is gone.
func (r *reader) device(name string) (core.Device, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	return r.deviceBy(ctx, name, r.sysfs.Read)
}

func (r *reader) deviceBy(ctx context.Context, name string, read func(string) (sysfs.Controller, error)) (core.Device, error) {
	var seq uint64
	var instance string
	c, err := r.attempt(ctx, name, func(name string) (c sysfs.Controller, err error) {
		if seq, err = r.sysfs.UeventSeqnum(); err != nil { // before the controller: see core.Device
			return c, err
		}
		if instance, err = r.state.Instance(name); err != nil { // so that no record of a later controller of its name is taken for its
			return c, err
		}
		return read(name)
	})
	if err != nil {
		return core.Device{}, err
	}
	owner, err := r.registry.Owner(c.Name)
	if err != nil {
		return core.Device{}, err
	}
	unit, err := r.state.UnitOfInstance(c.Name, instance)
	if err != nil {
		return core.Device{}, err
	}
	return core.Device{Controller: c, Owner: owner, Unit: unit, Seq: seq}, nil
}

// devices reads the controllers, many at a time and all within the reader's patience, and tells of those that could not be
// read. Those that went away are in neither list.
func (r *reader) devices(ctx context.Context, names []string, read func(string) (sysfs.Controller, error)) (devices []core.Device, unreadable []string, bad []error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	found, errs := make([]core.Device, len(names)), make([]error, len(names))
	places := make(chan struct{}, snapshotReads)
	var reads sync.WaitGroup
	for i, name := range names {
		places <- struct{}{}
		leave := sync.OnceFunc(func() { <-places })
		// One that is slow goes on without a place: those that are stuck must not use up the patience with the others.
		slow := time.AfterFunc(r.patience/10, leave)
		reads.Go(func() {
			defer leave()
			defer slow.Stop()
			found[i], errs[i] = r.deviceBy(ctx, name, read)
		})
	}
	reads.Wait()
	for i, name := range names {
		switch {
		case errs[i] == nil:
			devices = append(devices, found[i])
		case !errors.Is(errs[i], fs.ErrNotExist):
			unreadable, bad = append(unreadable, name), append(bad, errs[i])
		}
	}
	return devices, unreadable, bad
}

// deviceOf reads the controller that a unit says it has; nil if it has none or the controller is another unit's by now.
func (r *reader) deviceOf(unit string) (*core.Device, error) {
	name, err := r.state.Devid(unit)
	if err != nil || name == "" {
		return nil, err
	}
	device, err := r.device(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case device.Unit != unit:
		return nil, nil
	}
	return &device, nil
}

// bindDevid records that the controller that the unit's devid file names belongs to the unit, unless it belongs to one
// already: nvme-cli writes the devid file and nothing else, and ExecStop= deletes only what both files agree on.
func (r *reader) bindDevid(unit string) error {
	name, err := r.state.Devid(unit)
	if err != nil || name == "" {
		return err
	}
	device, err := r.device(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && device.Unit != "" {
		return nil
	}
	if err != nil {
		return err
	}
	return r.state.Bind(name, unit)
}

// restoreDevid writes again the file that names the controller of a unit, provided that the controller's own file names the
// unit, sysfs still shows what the unit connects, and the unit has no controller.
func (r *reader) restoreDevid(e core.RestoreDevid) error {
	name, err := r.state.Devid(e.Unit)
	if err != nil || name != "" {
		return err
	}
	device, err := r.device(e.Device)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil || device.Unit != e.Unit || !device.Serves(e.TID):
		return err
	}
	return r.state.WriteDevid(e.Unit, e.Device)
}

// restoreOwner writes the owner of a controller into the registry again, provided that by the files and sysfs it is still the
// unit's and nobody has become its owner.
func (r *reader) restoreOwner(e core.RestoreOwner) error {
	device, err := r.deviceOf(e.Unit)
	if err != nil || device == nil || device.Name != e.Device || !device.Serves(e.TID) {
		return err
	}
	if device.Owner != "" && wish.Owner(device.Owner) != wish.OwnerAutoconnect {
		return nil
	}
	restored, err := r.registry.Restore(e.Device, string(e.Owner), device.Owner, device.Seq)
	if err != nil || !restored {
		return err
	}
	// Had it gone before the entry was there, the udev rule found nothing to prune. The number is read before the look: whoever
	// connects a controller of that name after the look has a later one.
	seqnum, err := r.sysfs.UeventSeqnum()
	if err != nil || r.sysfs.IsFabrics(e.Device) {
		return err
	}
	_, err = r.registry.Prune(e.Device, seqnum)
	return err
}

// holdsRoot tells whether t is connected already, by an initial RAM disk for example, and / or /usr is on it.
func (r *reader) holdsRoot(t tid.TID) (bool, error) {
	names, err := blockuse.RootControllers(r.sysfs.Root)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		device, err := r.device(name)
		if errors.Is(err, fs.ErrNotExist) { // gone, or a local disk
			continue
		}
		if err != nil {
			return false, err
		}
		if device.Controller.Serves(t) {
			return true, nil
		}
	}
	return false, nil
}

// systemd is what a snapshot asks of it: a *unit.Manager, or a stand-in in tests.
type systemd interface {
	List(context.Context) ([]unit.Info, error)
	ShuttingDown(context.Context) (bool, error)
	Running(ctx context.Context, patterns ...string) ([]string, error)
}

// snapshot reads everything that the core compares itself with, the units first: one that is active then had its controller
// on record before the controllers are read. What cannot be read is told, beside a snapshot that says that it is unknown: it
// must not keep the rest from being looked at. Where the snapshot cannot say so, there is none.
func (r *reader) snapshot(ctx context.Context, token uint64, units systemd) (core.Snapshot, []error, error) {
	// Without a sysfs there would seem to be no controllers.
	if _, err := r.sysfs.UeventSeqnum(); err != nil {
		return core.Snapshot{}, nil, err
	}
	snap := core.Snapshot{Token: token}
	if list, down, autoconnects, err := ask(ctx, units); err != nil {
		snap.UnitsErr = err.Error()
	} else {
		snap.UnitsKnown, snap.ShuttingDown = true, down
		snap.Autoconnect = autoconnects || len(legacy.Active(r.sysfs.Root)) > 0
		for _, info := range list {
			snap.Units = append(snap.Units, infoOf(info))
		}
	}
	var bad []error
	var err error
	snap.Devids, err = r.state.Devids()
	if snap.Devids == nil {
		return core.Snapshot{}, bad, err
	}
	if err != nil {
		bad = append(bad, err)
	}
	snap.Stopped, err = r.state.Stopped()
	if err != nil {
		snap.NoStopped, bad = true, append(bad, err)
	}
	names, err := r.sysfs.Names()
	if err != nil {
		return core.Snapshot{}, bad, err
	}
	var unread []error
	snap.Devices, snap.Unreadable, unread = r.devices(ctx, names, r.sysfs.Bulk())
	return snap, append(bad, unread...), nil
}

// ask asks systemd for the units, whether the system goes down, and whether a unit of nvme-cli's automatic connects runs.
func ask(ctx context.Context, units systemd) (list []unit.Info, down, autoconnects bool, err error) {
	long, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	list, err = units.List(long)
	ctx, cancel = context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err == nil {
		down, err = units.ShuttingDown(ctx)
	}
	var running []string
	if err == nil {
		running, err = units.Running(ctx, legacy.Services()...)
	}
	return list, down, len(running) > 0, err
}

func infoOf(info unit.Info) core.UnitInfo {
	return core.UnitInfo{Name: info.Name, Active: info.ActiveState, Job: info.JobType, Argv: info.ExecStart}
}
