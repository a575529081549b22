package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

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
}

func newReader(root paths.Root) *reader {
	return &reader{root, sysfs.NewReader(root), registry.New(root), state.New(root)}
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
	c, err := r.sysfs.Read(name)
	if err != nil {
		return core.Device{}, err
	}
	return r.complete(c, seq)
}

func (r *reader) complete(c sysfs.Controller, seq uint64) (core.Device, error) {
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

// snapshot reads everything that the core compares itself with. Bad state files are told and left out: one of them must
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
	controllers, err := r.sysfs.Scan()
	if err != nil {
		return core.Snapshot{}, nil, err
	}
	snap := core.Snapshot{Token: token}
	for _, c := range controllers {
		device, err := r.complete(c, seq)
		if err != nil {
			note(err)
			device = core.Device{Controller: c, Seq: seq}
		}
		snap.Devices = append(snap.Devices, device)
	}
	snap.Devids, err = r.state.Devids()
	note(err)
	snap.Stopped, err = r.state.Stopped()
	note(err)
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
