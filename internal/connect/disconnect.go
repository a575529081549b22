// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/nvme-discoverd/nvme-discoverd/internal/blockuse"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/legible"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// DisconnectUnit disconnects the controller that unit has connected, provided that it is still that controller, and waits
// until the kernel is done. The outcome is one line for the journal, also where nothing was disconnected, which is no
// error: a unit must be able to stop whatever became of its controller. t is what the unit connected.
//
// Names are recycled, so the record alone is not believed:
//  1. the devid file names a device, exactly nvmeN;
//  2. that device's unit file names this unit;
//  3. nobody else owns the device;
//  4. the device in sysfs serves t;
//  5. nothing keeps the device: see keep.
func (c *Connector) DisconnectUnit(unit string, t tid.TID) (outcome string, err error) {
	device, why, err := c.recorded(unit)
	if err != nil {
		return "", err
	}
	if why != "" {
		return "nothing disconnected: " + why, nil
	}
	return c.disconnectRecorded(unit, device, t)
}

// recorded returns the device that the state files give to unit, or why they give none.
func (c *Connector) recorded(unit string) (device, why string, err error) {
	if _, err := c.state.DevidFile(unit); err != nil {
		return "", "", err // no unit of ours
	}
	device, err = c.state.Devid(unit)
	switch {
	case err != nil:
		return "", err.Error(), nil
	case device == "":
		return "", fmt.Sprintf("%s has no controller on record", unit), nil
	}
	holder, err := c.state.UnitOf(device)
	switch {
	case err != nil:
		return "", err.Error(), nil
	case holder == "":
		return "", fmt.Sprintf("%s is not on record as the controller of %s", device, unit), nil
	case holder != unit:
		return "", fmt.Sprintf("%s is the controller of %s now", device, holder), nil
	}
	owner, err := c.registry.Owner(device)
	switch {
	case err != nil:
		return "", err.Error(), nil
	case c.foreign(owner):
		return "", fmt.Sprintf("%s is owned by %s", device, owner), nil
	}
	return device, "", nil
}

func (c *Connector) disconnectRecorded(unit, device string, t tid.TID) (outcome string, err error) {
	handle, controller, err := c.open(device)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("nothing disconnected: %s is gone", device), nil
	}
	if err != nil {
		return "", err
	}
	defer handle.Close()
	if controller.NQN == "" && controller.Transport == tid.FC {
		// A Fibre Channel controller that has not reached its target shows no NQN. It is the unit's by the record and
		// by its addresses, and would go on trying for ever. Of another transport, it is somebody's connect under way.
		controller.NQN = t.NQN
	}
	if !controller.Serves(t) {
		return fmt.Sprintf("nothing disconnected: %s is %s in state %s and does not serve %s", device, shown(controller), controller.State, t), nil
	}
	use, kept := c.keep(device)
	if kept != "" {
		return fmt.Sprintf("nothing disconnected: %s stays connected: %s", device, kept), nil
	}
	// Reading sysfs may have hung for so long that systemd went on without this command, and the device is another's now.
	still, why, err := c.recorded(unit)
	switch {
	case err != nil:
		return "", err
	case why != "":
		return "nothing disconnected: " + why, nil
	case still != device:
		return fmt.Sprintf("nothing disconnected: %s has connected %s meanwhile", unit, still), nil
	}
	if err := remove(handle, controller); err != nil {
		return "", err
	}
	outcome = fmt.Sprintf("disconnected %s: %s", device, shown(controller))
	if use.Any() {
		outcome += ", although " + use.String()
	}
	return outcome, nil
}

// keep tells why the stop of a unit must not disconnect device, "" for no reason, and how it is used: never what the running
// system cannot do without, and while it goes down nothing that is in use (docs/design.md, "Unit of a connection"): what is not unmounted
// by then would lose its last writes. Where it cannot be told, the device stays, which harms least.
func (c *Connector) keep(device string) (use blockuse.Use, why string) {
	host, err := blockuse.Read(c.root)
	if err != nil {
		return use, err.Error()
	}
	use = host.Of(device)
	if len(use.Needed) > 0 {
		return use, needed(use)
	}
	if !use.Any() {
		return use, "" // the rule, and no question to systemd
	}
	down, err := c.goingDown()
	switch {
	case err != nil:
		why = fmt.Sprintf("%s, and %v", use, err)
	case down:
		why = fmt.Sprintf("%s while the system shuts down", use)
	}
	return use, why
}

// needed says that the running system needs what is on the namespaces.
func needed(use blockuse.Use) string {
	return fmt.Sprintf("%s, and the running system needs %s", use, strings.Join(use.Needed, " and "))
}

// excluded tells whether the connect of controller would be refused now.
func (c *Connector) excluded(controller sysfs.Controller) bool {
	list, _ := exclusion.Load(c.root)
	for _, t := range TIDs(controller) {
		if _, excluded := list.Match(t); !excluded {
			return false
		}
	}
	return true
}

// TIDs returns what can have been wished for where controller is what came of it: the connection as sysfs shows it, and for
// a discovery controller with a unique NQN the same with the well-known one, by which it is found as a rule.
func TIDs(controller sysfs.Controller) []tid.TID {
	t := tid.TID{
		Transport: controller.Transport, Traddr: controller.Traddr, Trsvcid: controller.Trsvcid, NQN: controller.NQN,
		HostTraddr: controller.HostTraddr, HostIface: controller.HostIface, HostNQN: controller.HostNQN, HostID: controller.HostID,
	}
	all := []tid.TID{t}
	if controller.Type == "discovery" && t.NQN != tid.DiscoveryNQN {
		t.NQN = tid.DiscoveryNQN
		all = append(all, t)
	}
	return all
}

// open returns the file that deletes device, and the device as sysfs shows it. In this order: the file is that of one
// controller for good, so a write after the name went to another controller does nothing. The error wraps fs.ErrNotExist
// when there is no such fabrics controller.
func (c *Connector) open(device string) (*os.File, sysfs.Controller, error) {
	if err := paths.CheckDevice(device); err != nil {
		return nil, sysfs.Controller{}, err
	}
	handle, err := os.OpenFile(c.root.DeleteController(device), os.O_WRONLY, 0)
	switch {
	case errors.Is(err, syscall.ENODEV): // it went between the look-up and the open
		return nil, sysfs.Controller{}, fs.ErrNotExist
	case errors.Is(err, fs.ErrPermission):
		return nil, sysfs.Controller{}, fmt.Errorf("cannot disconnect %s: only root may: %w", device, err)
	case err != nil:
		return nil, sysfs.Controller{}, fmt.Errorf("cannot disconnect %s: %w", device, err)
	}
	controller, err := c.sysfs.Read(device)
	if err != nil {
		handle.Close()
		return nil, sysfs.Controller{}, err
	}
	return handle, controller, nil
}

// remove has the kernel delete the controller and waits for it, which takes seconds on a large host. One that has gone by
// itself is what was wanted.
func remove(handle *os.File, controller sysfs.Controller) error {
	_, err := handle.WriteString("1")
	if err == nil || errors.Is(err, syscall.ENODEV) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return refusal(controller.Name, err)
}

// refusal says why the kernel did not delete a controller. EBUSY is for one that has never been live (nvme_sysfs_delete in
// drivers/nvme/host/sysfs.c); on Fibre Channel, where the kernel tries on in the background, that may last.
func refusal(device string, err error) error {
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("cannot disconnect %s: it has never reached its target, and the kernel lets nobody delete such a controller: it gives it up by itself after ctrl-loss-tmo: %w", device, err)
	}
	return fmt.Errorf("cannot disconnect %s: %w", device, err)
}

// shown is controller in the log form of a TID. Its names are what the kernel has been told, by whomever.
func shown(controller sysfs.Controller) string { return legible.Text(TIDs(controller)[0].String()) }

// Cleanup removes what is recorded of unit's connection when the unit has stopped or failed: the devid file, the device's
// unit file if it still names this unit and, if the device is gone, its entry in the registry. The .result file is
// for the daemon to read and stays. The outcome is one line for the journal where the device has the root file system on it,
// and "" elsewhere: the unit of such a one has no ExecStop= that would say that it stays connected.
func (c *Connector) Cleanup(unit string) (outcome string, err error) {
	device, err := c.state.Devid(unit)
	if err != nil || device == "" {
		return "", err
	}
	if err := c.state.Forget(device, unit); err != nil {
		return "", err
	}
	// The number is read before the look: whoever connects a controller of that name after the look has a later one.
	seqnum, err := c.sysfs.UeventSeqnum()
	if err != nil {
		return "", fmt.Errorf("cannot clean the registry up after %s: %w", device, err)
	}
	if c.sysfs.IsFabrics(device) { // reads no attribute, which may hang
		return c.rootStays(device), nil
	}
	_, err = c.registry.Prune(device, seqnum)
	return "", err
}

// rootStays says that device stays connected if it has the root file system on it. Where that cannot be told it says nothing:
// nothing hangs on it.
func (c *Connector) rootStays(device string) string {
	host, err := blockuse.Read(c.root)
	if err != nil || !slices.Contains(host.RootControllers(), device) {
		return ""
	}
	return fmt.Sprintf("%s stays connected: %s", device, needed(host.Of(device)))
}
