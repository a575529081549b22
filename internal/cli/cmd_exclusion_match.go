// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/legible"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// exclusionTest is what the lists say of one connection, for people and programs.
type exclusionTest struct {
	TIDs     []string         `json:"tids"`
	Device   string           `json:"device,omitempty"`
	Excluded bool             `json:"excluded"`
	Entries  []exclusionEntry `json:"entries"`
	Problems []string         `json:"problems"`
}

func (a *app) exclusionTestCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "test TID|nvmeN|UNIT",
		Short: "Tell which entries exclude a connection",
		Long: `Tell which entries of which lists exclude a connection:
  TID    key=value;key=value… with the keys of an entry. What is left out is what
         "connect" takes: the port of the transport, and this host's identity.
  nvmeN  a connected controller, with the host address and interface that it was
         pinned to. A discovery controller that shows a unique NQN is looked for by
         that and by the well-known one.
  UNIT   a unit of nvme-discoverd, by the controller that it has connected.

The exit status is 0 whether it is excluded or not.

--json prints an object:
  tids      array of the TIDs that were looked for
  device    nvmeN; left out for a TID
  excluded  boolean
  entries   array, in the order in which they are looked at: file, line, entry
  problems  array of messages about what cannot be used and excludes nothing`,
		Args: takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			result := exclusionTest{Entries: []exclusionEntry{}, Problems: []string{}}
			tids, device, err := a.connection(args[0])
			if err != nil {
				return err
			}
			result.Device = device
			for _, t := range tids {
				result.TIDs = append(result.TIDs, t.Canonical())
			}
			list, errs := exclusion.Load(a.root)
			for _, err := range errs {
				result.Problems = append(result.Problems, err.Error())
			}
			for _, e := range matches(list, tids) {
				result.Entries = append(result.Entries, exclusionEntry{e.File, e.Line, e.Text})
			}
			result.Excluded = len(result.Entries) > 0
			if asJSON {
				return failed(a.printJSON(result))
			}
			a.printExclusionTest(result)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printExclusionTest(result exclusionTest) {
	for _, problem := range result.Problems {
		fmt.Fprintln(a.Stderr, "warning:", legible.Text(problem))
	}
	if !result.Excluded {
		a.printFolded("not excluded: ", legible.Text(result.TIDs[0]), plain)
		return
	}
	a.printFolded("excluded: ", legible.Text(result.TIDs[0]), plain)
	for _, e := range result.Entries {
		a.printFolded("  ", legible.Text(fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Entry)), plain)
	}
}

// matches returns the entries that exclude any of tids, in the order of the lists.
func matches(list exclusion.List, tids []tid.TID) []exclusion.Entry {
	var all []exclusion.Entry
	for _, t := range tids {
		for _, e := range list.Matches(t) {
			if !slices.Contains(all, e) {
				all = append(all, e)
			}
		}
	}
	return all
}

// connection returns what a person means by a TID, a device or a unit, and the device if it is one. A TID that is none is an
// error of the command line.
func (a *app) connection(what string) (tids []tid.TID, device string, err error) {
	if strings.Contains(what, "=") {
		t, err := a.parseTID(what)
		return []tid.TID{t}, "", without("test "+printable(what), err)
	}
	device = what
	switch {
	case strings.HasSuffix(what, ".service"):
		if device, err = a.deviceOf("test", what); err != nil {
			return nil, "", failed(err)
		}
	case paths.CheckDevice(what) != nil:
		return nil, "", fmt.Errorf("cannot test %s: give a TID such as \"transport=tcp;traddr=192.0.2.1;nqn=…\", a device nvmeN or a unit of nvme-discoverd", printable(what))
	}
	controller, err := sysfs.NewReader(a.root).Read(device)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", failed(fmt.Errorf("cannot test %s: no such fabrics controller is connected: give its TID", device))
	case err != nil:
		return nil, "", failed(err)
	}
	return connect.TIDs(controller), device, nil
}

// deviceOf returns the controller on record for unit, provided that both records agree: names are recycled.
func (a *app) deviceOf(verb, unit string) (string, error) {
	dir := state.New(a.root)
	device, err := dir.Devid(unit)
	if err != nil {
		return "", err
	}
	if device != "" {
		holder, err := dir.UnitOf(device)
		if err != nil {
			return "", err
		}
		if holder == unit {
			return device, nil
		}
	}
	return "", fmt.Errorf("cannot %s %s: it has no controller on record: give the TID of its connection", verb, unit)
}

// parseTID reads the canonical form of a TID, in any order, and completes it as connect does.
func (a *app) parseTID(text string) (tid.TID, error) {
	var flags tidFlags
	if err := flags.parse(text); err != nil {
		return tid.TID{}, err
	}
	return flags.readWithHost(a)
}

// parse reads the canonical form of a TID, in any order, in the place of options.
func (f *tidFlags) parse(text string) error {
	for pair := range strings.SplitSeq(text, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if key == "" {
			continue
		}
		if !f.tid.Set(key, value) {
			return fmt.Errorf("cannot use TID %s: unknown key %s, the keys are %s", printable(text), printable(key), strings.Join(tid.Keys(), ", "))
		}
	}
	return nil
}
