// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/nvme-discoverd/nvme-discoverd/internal/systembus"
)

// stafName is the name of nvme-stas' stafd on the bus.
const stafName = "org.nvmexpress.staf"

// peers are the services on the bus that matter here, each by its unique name, "" while it does not run.
type peers struct {
	avahi, staf string
	err         error // why it is not known
}

// maxNameSignal is the length in bytes of the longest NameOwnerChanged that is heard: three names of 255 bytes at most, and a header.
const maxNameSignal = 2 << 10

// nameOwnerChanged is the signal by which the bus tells of names.
const nameOwnerChanged = "NameOwnerChanged"

const (
	minRedial = time.Second
	maxRedial = 30 * time.Second
)

// watchNames calls tell with the peers, whenever they change, until ctx ends. Without a bus it tries again and again.
func watchNames(ctx context.Context, socket string, log *slog.Logger, tell func(peers)) {
	pause := minRedial
	for ctx.Err() == nil {
		began := time.Now()
		err := watchNamesOnce(ctx, socket, log, tell)
		tell(peers{err: err})
		if pause = min(2*pause, maxRedial); time.Since(began) > maxRedial {
			pause = minRedial
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// watchNamesOnce is watchNames for one connection. It returns why that ended.
func watchNamesOnce(ctx context.Context, socket string, log *slog.Logger, tell func(peers)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bus, err := systembus.Dial(ctx, socket, maxNameSignal, log)
	if err != nil {
		return err
	}
	type owner struct{ name, unique string }
	owners := make(chan owner)
	failed := make(chan error, 1)
	go func() { // signals have to be taken meanwhile
		for _, name := range []string{avahiName, stafName} {
			match := "type='signal',sender='" + systembus.Name + "',interface='" + systembus.Name + "',member='" + nameOwnerChanged + "',arg0='" + name + "'"
			if _, err := bus.Call(ctx, systembus.Name, systembus.Path, systembus.Name+".AddMatch", match); err != nil {
				failed <- err
				return
			}
			// After the match for its changes, so that none is missed.
			unique := ""
			body, err := bus.Call(ctx, systembus.Name, systembus.Path, systembus.Name+".GetNameOwner", name)
			if err == nil {
				err = dbus.Store(body, &unique)
			}
			var absent dbus.Error
			if err != nil && !errors.As(err, &absent) {
				failed <- err
				return
			}
			select {
			case owners <- owner{name, unique}:
			case <-ctx.Done():
			}
		}
		failed <- nil
	}()
	now, changed, known := peers{}, map[string]bool{}, false
	set := func(name, unique string) {
		if name == avahiName {
			now.avahi = unique
		} else {
			now.staf = unique
		}
		if known {
			tell(now)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-bus.Done():
			return errors.New("the connection to the system bus was lost")
		case err := <-failed:
			if err != nil {
				return err
			}
			known = true
			tell(now)
		case o := <-owners:
			if !changed[o.name] { // a change that was heard is newer
				set(o.name, o.unique)
			}
		case sig := <-bus.Signals():
			var name, before, unique string
			if sig.Sender == systembus.Name && sig.Name == systembus.Name+"."+nameOwnerChanged &&
				dbus.Store(sig.Body, &name, &before, &unique) == nil && (name == avahiName || name == stafName) {
				changed[name] = true
				set(name, unique)
			}
		}
	}
}
