package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func (a *app) disconnectCommand() *cobra.Command {
	var flags tidFlags
	var unit, device string
	var exclude, force, yes bool
	cmd := &cobra.Command{
		Use:   "disconnect --device=nvmeN | --nqn=… | --transport=… --traddr=… --nqn=… | --unit=… --transport=…",
		Short: "Disconnect controllers",
		Long: `Disconnect controllers and wait until they are gone: the one called --device, all
of the subsystem --nqn, or those that connect with the same options would make.
Controllers that another program owns, and local ones, are never disconnected.
One in use, with a mounted file system for example, is with a warning; one with
what the running system needs on it, the root file system, /usr or swap, only with
--force, which asks for a typed yes first.

With --exclude, what is disconnected is put into the exclusion list "user" first,
so that nothing connects it again: for --device by its addresses and NQN, else by
the options given. It is excluded also if nothing of it is connected now; but
nothing is excluded or disconnected if the running system needs any of it. A
controller of the boot firmware asks first; without a terminal to ask on it needs
--yes.

With --unit, disconnect what that unit has connected, provided that it still is
what the other options say, that the running system does not need it, and that it
is not in use while the system shuts down; else say why not, and succeed.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case unit != "" && device != "":
				return errors.New("cannot disconnect by --unit and --device at once: give one of them")
			case unit != "" && force:
				return errors.New("cannot force what a unit does: give --device or the options of connect with --force")
			case unit != "" && exclude:
				return errors.New("cannot exclude what a unit has connected: give --device or the options of connect with --exclude")
			case unit != "":
				t, err := flags.read()
				if err != nil {
					return err
				}
				outcome, err := a.connector().DisconnectUnit(unit, t)
				if err != nil {
					return failed(err)
				}
				fmt.Fprintln(a.Stdout, outcome)
				return nil
			}
			given := flags.tid
			what, match, err := a.selection(&flags, device)
			if err != nil {
				return err
			}
			ours := func(o connect.Owned) bool { return match(o.Controller) && !o.Foreign() }
			if force {
				if err := a.confirmNeeded(yes, ours); err != nil {
					return failed(err)
				}
			}
			if exclude {
				entries, err := a.entriesFor(flags.asGiven(given), match)
				if err == nil && !force {
					err = a.checkExcludable(entries, ours)
				}
				if err == nil && len(entries) > 0 { // none: not connected or another program's, the disconnect says which
					err = a.exclude(yes, exclusion.User, entries...)
				}
				if err != nil {
					return failed(err)
				}
			}
			outcomes, err := a.connector().Disconnect(what, match, force)
			for _, outcome := range outcomes {
				fmt.Fprintln(a.Stdout, outcome)
			}
			return failed(err)
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().StringVarP(&device, "device", "d", "", "name of the controller, nvmeN")
	cmd.Flags().StringVar(&unit, "unit", "", "unit of nvme-discoverd that has connected the controller")
	cmd.Flags().BoolVar(&exclude, "exclude", false, "exclude it from being connected again")
	cmd.Flags().BoolVar(&force, "force", false, "disconnect also what the running system needs")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// checkExcludable returns an error for each controller that the running system needs and that the entries match: an exclusion of what
// stays connected would be in the way of its reconnect. They may match more than what is to be disconnected, such as another
// persona's connection or another owner's, which is told if that is all.
func (a *app) checkExcludable(entries []string, disconnected func(connect.Owned) bool) error {
	controllers, err := a.connector().Controllers()
	if err != nil {
		return err
	}
	var errs, others []error
	for _, c := range controllers {
		if len(c.Use.Needed) > 0 && disconnected(c) {
			errs = append(errs, c.CheckNeeded())
		}
	}
	for _, entry := range entries {
		list, err := exclusion.Parse(entry)
		if err != nil {
			return err
		}
		excluded := func(t tid.TID) bool {
			_, matches := list.Match(t)
			return matches
		}
		for _, c := range controllers {
			if len(c.Use.Needed) > 0 && slices.ContainsFunc(connect.TIDs(c.Controller), excluded) {
				others = append(others, fmt.Errorf("cannot exclude %s: it matches %s: %s, and the running system needs %s", entry, c.Name, c.Use, strings.Join(c.Use.Needed, " and ")))
			}
		}
	}
	return cmp.Or(errors.Join(errs...), errors.Join(others...))
}

// confirmNeeded asks before controllers are disconnected that match and that the running system needs.
func (a *app) confirmNeeded(yes bool, match func(connect.Owned) bool) error {
	controllers, err := a.connector().Controllers()
	if err != nil {
		return err
	}
	var names, uses []string
	for _, c := range controllers {
		if match(c) && len(c.Use.Needed) > 0 {
			names, uses = append(names, c.Name), append(uses, c.Use.String())
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(uses)
	because := "the running system needs " + strings.Join(names, " and ") + ": " + strings.Join(slices.Compact(uses), ", ")
	return a.confirmTyped(yes, "disconnect "+counted(len(names)), because)
}

// selection returns the controllers that a person means, and what to call them.
func (a *app) selection(flags *tidFlags, device string) (what string, match func(sysfs.Controller) bool, err error) {
	given := flags.tid
	switch {
	case device != "" && given != (tid.TID{}):
		return "", nil, errors.New("cannot disconnect by --device and other options at once: give one or the others")
	case device != "":
		if err := paths.CheckDevice(device); err != nil {
			return "", nil, err
		}
		return device, func(c sysfs.Controller) bool { return c.Name == device }, nil
	case given == (tid.TID{}):
		return "", nil, errors.New("cannot disconnect without knowing what: give --device, --nqn, or the options of connect")
	case given == (tid.TID{NQN: given.NQN}):
		if err := tid.CheckNQN(given.NQN); err != nil {
			return "", nil, err
		}
		return given.NQN, func(c sysfs.Controller) bool { return tid.SameNQN(c.NQN, given.NQN) }, nil
	}
	t, err := flags.readWithHost(a)
	if err != nil {
		return "", nil, err
	}
	return t.String(), func(c sysfs.Controller) bool { return c.Serves(t) }, nil
}

// asGiven returns the TID of the options normalised, without the identity of this host unless given has one. An NQN alone is
// what it is.
func (f *tidFlags) asGiven(given tid.TID) tid.TID {
	full, err := f.read()
	if err != nil {
		return given
	}
	full.HostNQN, full.HostID = given.HostNQN, given.HostID
	return full
}

// entriesFor returns the exclusions of what is about to be disconnected: what the options gave, which is nothing for a
// device, and every connected controller that match wants and that does not exclude. So a discovery controller that shows
// a unique NQN is excluded by the well-known one too, and a controller that the kernel happened to connect from the
// address given, without that address.
func (a *app) entriesFor(given tid.TID, match func(sysfs.Controller) bool) ([]string, error) {
	var entries []string
	var list exclusion.List
	if given != (tid.TID{}) {
		entries = append(entries, given.Canonical())
		var err error
		if list, err = exclusion.Parse(entries[0]); err != nil {
			return nil, err
		}
	}
	controllers, err := a.connector().Controllers()
	if err != nil {
		return nil, err
	}
	for _, c := range controllers {
		if !match(c.Controller) || c.Foreign() {
			continue
		}
		for _, t := range connect.TIDs(c.Controller) {
			if _, excluded := list.Match(t); excluded {
				continue
			}
			// The identity is left out: sysfs shows one also where the connect left it to the kernel.
			t.HostNQN, t.HostID = "", ""
			entries = append(entries, t.Canonical())
		}
	}
	return entries, nil
}
