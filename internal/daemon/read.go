package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/registry"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
)

// reader puts together what sysfs, the registry and the state files say of controllers.
type reader struct {
	root     paths.Root
	sysfs    sysfs.Reader
	registry registry.Registry
	state    state.Dir
	patience time.Duration // with one controller's attributes

	mu     sync.Mutex
	wedged map[string]bool // controllers whose attributes are being read for longer than that
}

// readPatience is far more than sysfs takes on a busy host, and little enough for an audit to wait for once.
const readPatience = 5 * time.Second

// errWedged is wrapped by the error for a controller whose attributes cannot be read in time. It may be there or not.
var errWedged = errors.New("sysfs does not answer")

func newReader(root paths.Root) *reader {
	return &reader{
		root: root, sysfs: sysfs.NewReader(root), registry: registry.New(root), state: state.New(root),
		patience: readPatience, wedged: map[string]bool{},
	}
}

// attempt calls read, and gives it up for lost when it does not come back: a controller that is stuck in the kernel must not
// take everything that wants to read it along. There is never more than one such read for a controller.
func (r *reader) attempt(name string, read func(string) (sysfs.Controller, error)) (sysfs.Controller, error) {
	stuck := fmt.Errorf("cannot read the attributes of %s: %w", name, errWedged)
	r.mu.Lock()
	wedged := r.wedged[name]
	r.mu.Unlock()
	if wedged {
		return sysfs.Controller{}, stuck
	}
	type answer struct {
		c   sysfs.Controller
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		c, err := read(name)
		answered <- answer{c, err}
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.wedged, name)
	}()
	patience := time.NewTimer(r.patience)
	defer patience.Stop()
	select {
	case a := <-answered:
		return a.c, a.err
	case <-patience.C:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case a := <-answered: // just now
		return a.c, a.err
	default:
		r.wedged[name] = true
		return sysfs.Controller{}, stuck
	}
}

// seqnum is the number of the kernel's last uevent. It is read before a device: see core.Device.
func (r *reader) seqnum() (uint64, error) {
	text, err := os.ReadFile(r.root.UeventSeqnum())
	if err != nil {
		return 0, fmt.Errorf("cannot read the number of the last uevent: %w", err)
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// device reads one controller; the error wraps fs.ErrNotExist when it is gone.
func (r *reader) device(name string) (core.Device, error) {
	seq, err := r.seqnum()
	if err != nil {
		return core.Device{}, err
	}
	return r.complete(name, seq, r.sysfs.Read)
}

func (r *reader) complete(name string, seq uint64, read func(string) (sysfs.Controller, error)) (core.Device, error) {
	c, err := r.attempt(name, read)
	if err != nil {
		return core.Device{}, err
	}
	owner, err := r.registry.Owner(c.Name)
	if err != nil {
		return core.Device{}, err
	}
	unit, err := r.state.UnitOf(c.Name)
	if err != nil {
		return core.Device{}, err
	}
	return core.Device{Controller: c, Owner: owner, Unit: unit, Seq: seq}, nil
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

// snapshot reads everything that the core compares itself with. What cannot be read is told and said to be unknown: it must
// not keep the rest from being looked at.
func (r *reader) snapshot(ctx context.Context, token uint64, units *unit.Manager) (core.Snapshot, []error, error) {
	var bad []error
	note := func(err error) {
		if err != nil {
			bad = append(bad, err)
		}
	}
	seq, err := r.seqnum()
	if err != nil {
		return core.Snapshot{}, nil, err
	}
	names, err := r.sysfs.Names()
	if err != nil {
		return core.Snapshot{}, nil, err
	}
	snap := core.Snapshot{Token: token}
	read := r.sysfs.Bulk()
	for _, name := range names {
		device, err := r.complete(name, seq, read)
		switch {
		case err == nil:
			snap.Devices = append(snap.Devices, device)
		case !errors.Is(err, fs.ErrNotExist):
			note(err)
			snap.Unreadable = append(snap.Unreadable, name)
		}
	}
	snap.Devids, err = r.state.Devids()
	note(err)
	snap.Stopped, err = r.state.Stopped()
	note(err)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	list, err := units.List(ctx)
	if err == nil {
		snap.UnitsKnown = true
		for _, info := range list {
			snap.Units = append(snap.Units, infoOf(info))
		}
	}
	return snap, bad, nil
}

func infoOf(info unit.Info) core.UnitInfo {
	return core.UnitInfo{Name: info.Name, Active: info.ActiveState, Job: info.JobType, Argv: info.ExecStart}
}
