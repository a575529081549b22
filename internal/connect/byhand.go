// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/blockuse"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Owned is a fabrics controller and who owns it.
type Owned struct {
	sysfs.Controller
	Owner string       // as the registry has it, "" for nobody
	Use   blockuse.Use // of its namespaces

	OutOfForce bool // Owner is that of nvme-cli's automatic connects, which are not in force and have no say
}

// Foreign tells whether another program owns the controller.
func (o Owned) Foreign() bool { return wish.Owner(o.Owner).Foreign(!o.OutOfForce) }

// Controllers returns all fabrics controllers of the host in the order of their numbers.
func (c *Connector) Controllers() ([]Owned, error) {
	controllers, err := c.sysfs.Scan()
	if err != nil {
		return nil, err
	}
	host, err := blockuse.Read(c.root)
	if err != nil {
		return nil, err
	}
	var all []Owned
	for _, found := range controllers {
		owner, err := c.registry.Owner(found.Name)
		if err != nil {
			return nil, err
		}
		all = append(all, c.owned(found, owner, host))
	}
	return all, nil
}

func (c *Connector) owned(controller sysfs.Controller, owner string, host blockuse.Host) Owned {
	return Owned{controller, owner, host.Of(controller.Name), wish.Owner(owner) == wish.OwnerAutoconnect && !c.foreign(owner)}
}

// Disconnect disconnects every fabrics controller that match wants and nobody else owns, for a person. It returns one line
// for each that it disconnected. what names the wanted ones in the error for none at all; a controller that another
// program owns or, without force, the running system needs is an error too, after the others are done. Local PCIe
// controllers are never seen.
func (c *Connector) Disconnect(what string, match func(sysfs.Controller) bool, force bool) (outcomes []string, err error) {
	outcomes, err = c.disconnectAll(
		func(o Owned) bool { return match(o.Controller) },
		func(o Owned) error {
			if o.Foreign() {
				return fmt.Errorf("cannot disconnect %s: it is owned by %s: let that disconnect it", o.Name, o.Owner)
			}
			return spare(o, force)
		},
	)
	if len(outcomes) == 0 && err == nil {
		err = fmt.Errorf("cannot disconnect %s: no such fabrics controller is connected", what)
	}
	return outcomes, err
}

// DisconnectAll disconnects every fabrics controller that match wants, whoever owns it, for a person. It returns one line for
// each. Without force, one that the running system needs is an error, after the others are done. Local PCIe controllers
// are never seen.
func (c *Connector) DisconnectAll(match func(Owned) bool, force bool) (outcomes []string, err error) {
	return c.disconnectAll(match, func(o Owned) error { return spare(o, force) })
}

// CheckNeeded returns an error for a controller that the running system needs: without force, no person disconnects it.
func (o Owned) CheckNeeded() error {
	if len(o.Use.Needed) == 0 {
		return nil
	}
	return fmt.Errorf("cannot disconnect %s: %s: --force disconnects it all the same", o.Name, needed(o.Use))
}

func spare(o Owned, force bool) error {
	if force {
		return nil
	}
	return o.CheckNeeded()
}

func (c *Connector) disconnectAll(match func(Owned) bool, allowed func(Owned) error) (outcomes []string, err error) {
	controllers, err := c.Controllers()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, found := range controllers {
		if !match(found) {
			continue
		}
		outcome, err := c.disconnectForPerson(found.Name, match, allowed)
		switch {
		case err != nil:
			errs = append(errs, err)
		case outcome != "":
			outcomes = append(outcomes, outcome)
		}
	}
	return outcomes, errors.Join(errs...)
}

// disconnectForPerson returns "" for a controller that is gone, or another one by now.
func (c *Connector) disconnectForPerson(device string, match func(Owned) bool, allowed func(Owned) error) (outcome string, err error) {
	handle, controller, err := c.open(device)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer handle.Close()
	owner, err := c.registry.Owner(device)
	if err != nil {
		return "", err
	}
	host, err := blockuse.Read(c.root)
	if err != nil {
		return "", err
	}
	now := c.owned(controller, owner, host)
	if !match(now) {
		return "", nil
	}
	if err := allowed(now); err != nil {
		return "", err
	}
	if now.Use.Any() {
		c.warn(inUse(now))
	}
	unit, err := c.state.UnitOf(device)
	if err != nil {
		c.warn(err)
	}
	if err := remove(handle, controller); err != nil {
		return "", err
	}
	outcome = fmt.Sprintf("disconnected %s: %s", device, shown(controller))
	if unit != "" && !c.excluded(controller) {
		outcome += "; nvme-discoverd connects it again if it is still wanted, systemctl stop " + unit + " keeps it away"
	}
	return outcome, nil
}

// inUse says what the disconnect of o means to those who use it.
func inUse(o Owned) error {
	if len(o.Use.Others) > 0 {
		return fmt.Errorf("%s is in use: %s; %s still leads there", o.Name, o.Use, strings.Join(o.Use.Others, " and "))
	}
	return fmt.Errorf("%s is in use: %s; no other live path leads there, so that reads and writes fail", o.Name, o.Use)
}
