// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/registry"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
)

func (a *app) registryCommand() *cobra.Command {
	return group("registry", "Show and change who owns which controller",
		`The ownership registry says which program connected a controller and looks after
it: discoverd, nbft (by discoverd, from the boot firmware), stas, …; a controller
without an owner is nobody's. nvme-discoverd never touches what belongs to
another owner.

What takes a controller away from its owner asks first; without a terminal to ask
on it is refused unless --yes is given.`,
		a.registryListCommand(), a.registryGetCommand(), a.registrySetCommand(), a.registryDeleteCommand(), a.registryPruneCommand())
}

// registryEntry is one controller of the registry, for people and programs.
type registryEntry struct {
	Device     string            `json:"device"`
	Attributes map[string]string `json:"attributes"`
}

func (a *app) registryListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the controllers in the registry",
		Long: `List the controllers in the registry and what it has of each.

--json prints an object:
  entries   array, in the order of the devices' numbers:
    device      nvmeN
    attributes  object of strings: owner; seqnum, the number of the kernel's last
                event when the controller was connected; others' own`,
		Args: takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			entries, err := a.registryEntries()
			switch {
			case asJSON:
				err = errors.Join(err, a.printJSON(map[string]any{"entries": entries}))
			case len(entries) == 0 && err == nil:
				fmt.Fprintln(a.Stderr, "no controller is in the registry")
			default:
				for _, e := range entries {
					key, rest := fmt.Sprintf("%-8s ", e.Device), e.line()
					a.printFolded(key, strings.TrimPrefix(rest, key), plain)
				}
			}
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// registryEntries reads what can be read; the error is about the rest.
func (a *app) registryEntries() ([]registryEntry, error) {
	reg := registry.New(a.root)
	entries := []registryEntry{}
	devices, err := reg.List()
	if err != nil {
		return entries, err
	}
	if strays, err := reg.Strays(); err == nil && len(strays) > 0 {
		const most = 5
		names := strings.Join(quoted(strays[:min(most, len(strays))]), ", ")
		if len(strays) > most {
			names += ", …"
		}
		fmt.Fprintf(a.Stderr, "warning: %s has %d that are no controllers and are left alone: %s\n", a.root.Registry(), len(strays), names)
	}
	var errs []error
	for _, device := range devices {
		attrs, err := reg.Entry(device)
		errs = append(errs, err)
		if attrs != nil {
			entries = append(entries, registryEntry{device, attrs})
		}
	}
	return entries, errors.Join(errs...)
}

func quoted(names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, strconv.Quote(name))
	}
	return all
}

// deviceNamed returns the nvmeN that a person names, as /dev/nvmeN too.
func deviceNamed(word string) (string, error) {
	device := strings.TrimPrefix(word, "/dev/")
	return device, paths.CheckDevice(device)
}

// line is e for people: the device and its attributes.
func (e registryEntry) line() string {
	line := fmt.Sprintf("%-8s", e.Device)
	for _, attr := range slices.Sorted(maps.Keys(e.Attributes)) {
		line += " " + attr + "=" + printable(e.Attributes[attr])
	}
	return strings.TrimRight(line, " ")
}

func (a *app) registryGetCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "get nvmeN [ATTRIBUTE]",
		Short: "Print what the registry has of a controller",
		Long: `Print the entry of a controller, or the value of one attribute alone. One that is
not there is a failure: exit status 1.

--json prints an object like those in the array of "registry list --json"; with
ATTRIBUTE, that attribute alone is in it.`,
		Args: takes(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			device, err := deviceNamed(args[0])
			if err != nil {
				return err
			}
			entry := registryEntry{device, map[string]string{}}
			if len(args) == 1 {
				entry.Attributes, err = registry.New(a.root).Entry(device)
			} else {
				entry.Attributes[args[1]], err = registry.New(a.root).Get(device, args[1])
			}
			switch {
			case err != nil:
				return failed(err)
			case len(args) == 2 && entry.Attributes[args[1]] == "":
				return failed(fmt.Errorf("cannot get %s of %s: the registry has none", args[1], device))
			case len(entry.Attributes) == 0:
				return failed(fmt.Errorf("cannot get %s: it is not in the registry, so nobody owns it", device))
			case asJSON:
				return failed(a.printJSON(entry))
			case len(args) == 2:
				fmt.Fprintln(a.Stdout, printable(entry.Attributes[args[1]]))
			default:
				fmt.Fprintln(a.Stdout, entry.line())
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) registrySetCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "set nvmeN ATTRIBUTE VALUE",
		Short: "Set an attribute of a controller",
		Long: `Set an attribute of a connected fabrics controller, such as its owner.

A change of owner takes the controller away from the program that looks after it,
so it asks first; without a terminal to ask on it needs --yes. A controller that
nobody owns is given an owner without a question.`,
		Args: takes(3, 3),
		RunE: func(_ *cobra.Command, args []string) error {
			attr, value := args[1], args[2]
			device, err := deviceNamed(args[0])
			if err != nil {
				return err
			}
			if _, err := sysfs.NewReader(a.root).Read(device); errors.Is(err, fs.ErrNotExist) {
				return failed(fmt.Errorf("cannot set %s of %s: no such fabrics controller is connected", attr, device))
			} else if err != nil {
				return failed(err)
			}
			if attr == registry.Owner {
				if err := a.confirmOwner(yes, device, value, "change the owner of "+device+" to "+printable(value)); err != nil {
					return failed(err)
				}
			}
			if err := registry.New(a.root).Set(device, attr, value); err != nil {
				return failed(err)
			}
			fmt.Fprintf(a.Stdout, "%s of %s is %s\n", attr, device, printable(value))
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirmOwner asks before device changes hands, which it does if it has an owner and that is not next.
func (a *app) confirmOwner(yes bool, device, next, what string) error {
	owner, err := registry.New(a.root).Owner(device)
	if err != nil || owner == "" || owner == next {
		return err
	}
	return a.confirm(yes, what, device+" belongs to "+printable(owner))
}

func (a *app) registryDeleteCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete nvmeN [ATTRIBUTE]",
		Short: "Delete the entry of a controller, or one attribute of it",
		Long: `Delete the entry of a controller, or one attribute of it. One that is not there is
a failure: exit status 1. The controller stays connected. nvme-discoverd writes the
owner of one that it has connected again within a minute: to hand it over, set
another owner.

Deleting the owner takes the controller away from the program that looks after
it, so it asks first; without a terminal to ask on it needs --yes.`,
		Args: takes(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			device, err := deviceNamed(args[0])
			if err != nil {
				return err
			}
			reg := registry.New(a.root)
			remove, what := func() (bool, error) { return reg.Remove(device) }, "the entry of "+device
			if len(args) == 2 {
				remove, what = func() (bool, error) { return reg.Unset(device, args[1]) }, args[1]+" of "+device
			}
			if len(args) == 1 || args[1] == registry.Owner {
				if err := a.confirmOwner(yes, device, "", "delete "+what); err != nil {
					return failed(err)
				}
			}
			switch removed, err := remove(); {
			case err != nil:
				return failed(err)
			case !removed:
				return failed(fmt.Errorf("cannot delete %s: it is not in the registry", what))
			}
			fmt.Fprintln(a.Stdout, "deleted "+what)
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// registryPruneCommand is what the udev rule runs when a controller was removed.
func (a *app) registryPruneCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "prune NAME",
		Short:  "Remove the entry of a controller that is gone; SEQNUM is the number of its remove event",
		Hidden: true,
		Args:   takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			seqnum, err := strconv.ParseUint(a.Getenv("SEQNUM"), 10, 64)
			if err != nil {
				return errors.New("cannot prune without the number of the remove event: udev has it in SEQNUM")
			}
			removed, err := registry.New(a.root).Prune(args[0], seqnum)
			if err != nil {
				return failed(err)
			}
			if removed {
				fmt.Fprintf(a.Stdout, "removed the registry entry of %s\n", args[0])
			}
			return nil
		},
	}
}
