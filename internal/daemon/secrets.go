// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Secrets reach the command of a unit by a file of root's alone (state.Dir, SecretsFile). The core knows their names; what
// those stand for is looked up here, in the configuration of the moment, and written right before each connect: so a key
// that was changed is used at the next one, whether the daemon or an administrator restarts the unit.

// provide returns what gives a unit the secrets of its wish, or takes away those it has.
func (x *executor) provide(unit string, w wish.Wish) func() error {
	if w.Secrets == "" {
		return func() error { return x.reader.state.RemoveSecrets(unit) }
	}
	set, ok := x.secrets[w.Secrets]
	why, unusable := x.unusable[w.Secrets]
	return func() error {
		if unusable { // the core wishes for it, so that it is not connected in another way
			return fmt.Errorf("its configuration has an error: %s", why)
		}
		if !ok {
			return fmt.Errorf("cannot connect %s: its secrets, those of %s, are no longer configured", w.TID, w.Secrets)
		}
		return x.reader.state.WriteSecrets(unit, set)
	}
}

// renewSecrets brings the secrets of units up to date after a step: those of all with a configuration that was loaded, and those of
// the targets that changed with a log page, whose names may have other secrets since the last reload.
func (d *Daemon) renewSecrets(ev core.Event) {
	switch ev.(type) {
	case core.ConfigLoaded:
		d.effects.renew(d.machine.View().Targets.All())
	case core.Judged, core.LogRead:
		changed, _ := d.machine.Changed()
		d.effects.renew(slices.Values(changed))
	}
}

// renew brings the files of the units that have one up to date with a new configuration.
func (x *executor) renew(targets iter.Seq[*core.TargetView]) {
	for t := range targets {
		if _, unusable := x.unusable[t.Wish.Secrets]; unusable || t.Wish.Secrets == "" || t.Unit == "" {
			continue
		}
		provide := x.provide(t.Unit, t.Wish)
		x.queue.run(t.Unit, func() {
			if x.reader.state.HasSecrets(t.Unit) {
				x.note(t.Unit, provide())
			}
		})
	}
}

// sweep removes the secrets of units that systemd does not hold: whoever stopped them, nobody can start them as they were.
func (x *executor) sweep(ctx context.Context, snap core.Snapshot) {
	if !snap.UnitsKnown {
		return
	}
	units, err := x.reader.state.WithSecrets()
	x.note("", err)
	held := map[string]bool{}
	for _, u := range snap.Units {
		held[u.Name] = true
	}
	for _, name := range units {
		if !held[name] {
			x.queue.run(name, func() { x.drop(ctx, name) })
		}
	}
}

// drop removes the secrets of a unit, unless it is there. It runs in the unit's queue, where no start of ours is under way.
func (x *executor) drop(ctx context.Context, name string) {
	if !x.reader.state.HasSecrets(name) {
		return
	}
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := x.units.Get(limited, name)
	switch {
	case err != nil: // the next sweep asks again
	case info.JobType == "" && (info.ActiveState == "inactive" || info.ActiveState == "failed"):
		x.note(name, x.reader.state.RemoveSecrets(name))
	}
}
