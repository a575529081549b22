// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/legible"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func (a *app) disconnectCommand() *cobra.Command {
	var flags tidFlags
	var unit, device string
	var exclude, force, yes, all bool
	cmd := &cobra.Command{
		Use:   "disconnect TARGET… | --device=nvmeN | --nqn=… | --transport=… --traddr=… --nqn=… | --unit=… --transport=…",
		Short: "Disconnect controllers",
		Long: `Disconnect controllers and wait until they are gone. A TARGET is the name of a
controller (nvme3 or /dev/nvme3), the NQN of a subsystem, of which all
controllers are meant, a TID "key=value;key=value…" or a unit of nvme-discoverd.
The options mean the same as with nvme disconnect: the controller called
--device, all of the subsystem --nqn, or those of them that the other options
fit. With --transport and an address the options name the one connection that
connect with the same options would make. Where several controllers are connected
so, pinned to different interfaces or addresses of this host, disconnect names them
and does nothing: say which with --host-iface, --host-traddr or by name, or give --all.

Controllers that another program owns, and local ones, are never disconnected.
One in use, with a mounted file system for example, is with a warning; one with
what the running system needs on it, the root file system, /usr or swap, only with
--force, which asks for a typed yes first.

The service connects again what it wants: stop TARGET keeps it from that until it
is started again, --exclude for good.

With --exclude, what is disconnected is put into the exclusion list "user" first,
so that nothing connects it again: a controller by its addresses and NQN, else
what was given. It is excluded also if nothing of it is connected now; but
nothing is excluded or disconnected if the running system needs any of it. A
controller of the boot firmware asks first; without a terminal to ask on it needs
--yes.

With --unit, disconnect what that unit has connected, provided that it still is
what the other options say, that the running system does not need it, and that it
is not in use while the system shuts down; else say why not, and succeed.`,
		ValidArgsFunction: a.completeControllers,
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case unit != "" && (device != "" || len(args) > 0):
				return errors.New("cannot disconnect by --unit and what else is given at once: give one of them")
			case unit != "" && force:
				return errors.New("cannot force what a unit does: give --device or the options of connect with --force")
			case unit != "" && exclude:
				return errors.New("cannot exclude what a unit has connected: give --device or the options of connect with --exclude")
			case unit != "":
				t, err := flags.read()
				if err != nil {
					return without("disconnect what a unit has connected", err)
				}
				outcome, err := a.connector().DisconnectUnit(unit, t)
				if err != nil {
					return failed(err)
				}
				fmt.Fprintln(a.Stdout, outcome)
				return nil
			}
			selections, err := a.selections(&flags, device, args)
			if err != nil {
				return err
			}
			if !all {
				if err := a.checkOne(selections); err != nil {
					return failed(err)
				}
			}
			return failed(a.disconnect(selections, exclude, force, yes))
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().StringVarP(&device, "device", "d", "", "name of the controller, nvmeN, or several with commas between")
	cmd.Flags().StringVar(&unit, "unit", "", "unit of nvme-discoverd that has connected the controller")
	cmd.Flags().BoolVarP(&exclude, "exclude", "x", false, "exclude it from being connected again")
	cmd.Flags().BoolVar(&force, "force", false, "disconnect also what the running system needs")
	cmd.Flags().BoolVar(&all, "all", false, "disconnect all controllers that an address means")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	a.completeTIDFlags(cmd)
	_ = cmd.RegisterFlagCompletionFunc("device", a.completeControllers) // the flag is there
	return cmd
}

// disconnect disconnects what is selected, having excluded all of it first.
func (a *app) disconnect(selections []selection, exclude, force, yes bool) error {
	ours := func(o connect.Owned) bool {
		return !o.Foreign() && slices.ContainsFunc(selections, func(s selection) bool { return s.match(o.Controller) })
	}
	if force {
		if err := a.confirmNeeded(yes, ours); err != nil {
			return err
		}
	}
	if exclude {
		var entries []string
		for _, s := range selections {
			more, err := a.entriesFor(s.given, s.match)
			if err != nil {
				return err
			}
			entries = append(entries, more...)
		}
		if !force {
			if err := a.checkExcludable(entries, ours); err != nil {
				return err
			}
		}
		if len(entries) > 0 { // none: not connected or another program's, the disconnect says which
			if err := a.exclude(yes, exclusion.User, entries...); err != nil {
				return err
			}
		}
	}
	var errs []error
	for _, s := range selections {
		outcomes, err := a.connector().Disconnect(s.what, s.match, force)
		for _, outcome := range outcomes {
			fmt.Fprintln(a.Stdout, outcome)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
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

// selection is a group of controllers that a person means.
type selection struct {
	what  string  // to call it
	given tid.TID // what was given of its connections, normalised; zero for a controller by its name
	match func(sysfs.Controller) bool
	one   bool // a single connection is meant
}

// checkOne returns an error that names the controllers for a selection that means a single connection and has several.
func (a *app) checkOne(selections []selection) error {
	controllers, err := a.connector().Controllers()
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range selections {
		var names []string
		for _, c := range controllers {
			if s.one && !c.Foreign() && s.match(c.Controller) {
				names = append(names, joined(" from ", c.Name, legible.Text(joined(" through ", c.HostTraddr, c.HostIface))))
			}
		}
		if len(names) > 1 {
			errs = append(errs, fmt.Errorf("cannot disconnect %s: %d controllers are connected so: %s: give one of these names, --host-iface or --host-traddr, or --all for all of them",
				s.what, len(names), strings.Join(names, ", ")))
		}
	}
	return errors.Join(errs...)
}

// selections returns what a person means by a device, the options of a connection or arguments, which go together with neither.
func (a *app) selections(flags *tidFlags, device string, args []string) ([]selection, error) {
	given := flags.tid
	switch {
	case device != "" && given != (tid.TID{}):
		return nil, errors.New("cannot disconnect by --device and other options at once: give one or the others")
	case len(args) > 0 && (device != "" || given != (tid.TID{})):
		return nil, fmt.Errorf("cannot disconnect %s and by options at once: give one or the others", printable(args[0]))
	case device != "":
		var all []selection
		for name := range strings.SplitSeq(device, ",") {
			s, err := deviceSelection(name)
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
		return all, nil
	case given != (tid.TID{}):
		s, err := a.flagSelection(flags)
		return []selection{s}, err
	case len(args) == 0:
		return nil, errors.New("cannot disconnect without knowing what: give a controller such as nvme3, --nqn, or the options of connect")
	}
	var all []selection
	for _, arg := range args {
		s, err := a.argSelection(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// deviceSelection is the controller called name, "nvme3" or "/dev/nvme3".
func deviceSelection(name string) (selection, error) {
	name = strings.TrimPrefix(name, "/dev/")
	if err := paths.CheckDevice(name); err != nil {
		if namespace.MatchString(name) {
			return selection{}, fmt.Errorf("cannot disconnect %s: it is a namespace: give one of the controllers that nvme-discoverctl list shows for its subsystem", name)
		}
		return selection{}, err
	}
	return selection{what: name, match: func(c sysfs.Controller) bool { return c.Name == name }}, nil
}

// namespace is the name of a namespace's block or character device, or of a partition of it.
var namespace = regexp.MustCompile(`^(nvme|ng)\d+(c\d+)?n\d+(p\d+)?$`)

// argSelection returns what a person means by one argument.
func (a *app) argSelection(arg string) (selection, error) {
	switch {
	case strings.HasPrefix(arg, "nvme-discoverd-"), strings.HasSuffix(arg, ".service"):
		arg = strings.TrimSuffix(arg, ".service") + ".service"
		device, err := a.deviceOf("disconnect", arg)
		if err != nil {
			return selection{}, failed(err)
		}
		return deviceSelection(device)
	case strings.Contains(arg, "="):
		var flags tidFlags
		if err := flags.parse(arg); err != nil {
			return selection{}, err
		}
		return a.flagSelection(&flags)
	case strings.HasPrefix(arg, "/dev/"), paths.CheckDevice(arg) == nil, namespace.MatchString(arg):
		return deviceSelection(arg)
	case strings.HasPrefix(arg, "nqn."), a.hasNQN(arg):
		return a.flagSelection(&tidFlags{tid: tid.TID{NQN: arg}})
	}
	return selection{}, fmt.Errorf("cannot disconnect %s: give a controller such as nvme3, an NQN, a TID such as \"transport=tcp;traddr=192.0.2.1;nqn=…\" or a unit of nvme-discoverd", printable(arg))
}

// flagSelection returns what the options of a connection mean: the one that they name, or without a transport all
// controllers of the subsystem that the rest fits.
func (a *app) flagSelection(flags *tidFlags) (selection, error) {
	given := flags.tid
	if given == (tid.TID{NQN: given.NQN}) {
		if err := tid.CheckNQN(given.NQN); err != nil {
			return selection{}, err
		}
		return selection{what: given.NQN, given: given, match: func(c sysfs.Controller) bool { return tid.SameNQN(c.NQN, given.NQN) }}, nil
	}
	t, err := flags.readWithHost(a)
	if field := (*tid.FieldError)(nil); errors.As(err, &field) && field.Lacks != "" && given.NQN != "" {
		return partSelection(given)
	}
	if err != nil {
		return selection{}, without("disconnect", err)
	}
	if known, err := config.HostIdentity(a.root); given.HostNQN == "" && err == nil && !known.NQNGiven && !known.IDGiven {
		t.HostNQN, t.HostID = "", "" // other programs connect as somebody else where no file says who this host is
	}
	given = flags.asGiven(given)
	return selection{what: t.String(), given: given, match: func(c sysfs.Controller) bool { return c.Serves(t) }, one: true}, nil
}

// partSelection returns the controllers that some of the fields of a TID name, as an exclusion of these fields would match them.
func partSelection(given tid.TID) (selection, error) {
	for key, address := range map[string]string{"traddr": given.Traddr, "host-traddr": given.HostTraddr} {
		_, notIP := netip.ParseAddr(address)
		_, notFC := tid.FCAddr(address)
		if address != "" && given.Transport != tid.Loop && notIP != nil && notFC != nil {
			return selection{}, fmt.Errorf("cannot use %s %q: give an IP address, or nn-0x…:pn-0x… for fc", key, address)
		}
	}
	list, err := exclusion.Parse(given.Canonical())
	if err != nil {
		return selection{}, fmt.Errorf("cannot disconnect by these options: %w", errors.Unwrap(err))
	}
	return selection{what: given.String(), given: given, match: func(c sysfs.Controller) bool {
		return slices.ContainsFunc(connect.TIDs(c), func(t tid.TID) bool {
			_, matches := list.Match(t)
			return matches
		})
	}}, nil
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
