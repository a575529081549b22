// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

func (a *app) exclusionCommand() *cobra.Command {
	return group("exclusion", "Show and change what nobody is to connect",
		`An exclusion stops the next connect of what it matches; what is connected stays
connected. An ENTRY is key=value;key=value…, and matches a connection of which all
its keys match. Keys: transport, traddr, trsvcid, nqn, host-traddr, host-iface,
hostnqn, hostid. Addresses compare as addresses; a host name cannot be excluded.

The lists are the files /etc/nvme/exclusions.conf.d/LIST.conf where the host has that
directory or /etc/nvme/exclusions.conf, so that nvme-cli 3 and nvme-stas read what is
written here, else /etc/nvme/exclusions/LIST.conf. All of them are obeyed and listed;
exclusions.conf itself is never changed.

An entry that excludes a connected controller of the boot firmware (owner nbft)
asks first; without a terminal to ask on it is refused unless --yes is given.`,
		a.exclusionListCommand(), a.exclusionCreateCommand(), a.exclusionDeleteCommand(), a.exclusionAddCommand(),
		a.exclusionRemoveCommand(), a.exclusionEditCommand(), a.exclusionTestCommand())
}

// nameFlag adds --name, the list that a command is about.
func nameFlag(flags *pflag.FlagSet, name *string) {
	flags.StringVarP(name, "name", "N", exclusion.User, "exclusion list")
}

func entryFlag(flags *pflag.FlagSet, entry *string) {
	flags.StringVarP(entry, "entry", "e", "", "what is excluded, key=value;key=value…")
}

// usable tells of a bad list name before a command does anything.
func usable(name *string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := takes(0, 0)(cmd, args); err != nil {
			return err
		}
		return exclusion.CheckName(*name)
	}
}

func (a *app) exclusionCreateCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an empty exclusion list",
		Args:  usable(&name),
		RunE: func(*cobra.Command, []string) error {
			file, err := exclusion.Create(a.root, name)
			if err != nil {
				return failed(err)
			}
			fmt.Fprintf(a.Stdout, "created exclusion list %s: %s\n", name, file)
			return nil
		},
	}
	nameFlag(cmd.Flags(), &name)
	return cmd
}

func (a *app) exclusionDeleteCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "delete",
		Short: "Delete an exclusion list with all its entries",
		Args:  usable(&name),
		RunE: func(*cobra.Command, []string) error {
			files, err := exclusion.Delete(a.root, name)
			for _, file := range files {
				fmt.Fprintf(a.Stdout, "deleted exclusion list %s: %s\n", name, file)
			}
			return failed(err)
		},
	}
	nameFlag(cmd.Flags(), &name)
	return cmd
}

func (a *app) exclusionAddCommand() *cobra.Command {
	var name, entry string
	var yes bool
	cmd := &cobra.Command{
		Use:   "add --entry ENTRY",
		Short: "Add an entry to an exclusion list",
		Long: `Add an entry to an exclusion list, which is made if it is missing. An entry that
the list has already, however it is spelled there, is no error.

An NQN that is not in the form of one is refused, since it would exclude nothing,
unless a connected controller has it. exclusion edit takes it with a warning.`,
		Args: usable(&name),
		RunE: func(*cobra.Command, []string) error {
			if entry == "" {
				return errors.New("cannot exclude without knowing what: give --entry key=value;key=value…")
			}
			list, err := exclusion.Parse(entry)
			if err == nil {
				err = list.CheckForm(a.hasNQN)
			}
			if err != nil {
				return err
			}
			return failed(a.exclude(yes, name, entry))
		},
	}
	nameFlag(cmd.Flags(), &name)
	entryFlag(cmd.Flags(), &entry)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// hasNQN tells whether a connected controller has nqn, as that of its subsystem or of this host.
func (a *app) hasNQN(nqn string) bool {
	controllers, _ := a.connector().Controllers() // that they cannot be listed is told before the entry is added
	return slices.ContainsFunc(controllers, func(c connect.Owned) bool { return c.NQN == nqn || c.HostNQN == nqn })
}

// exclude adds good entries to the list called name and says what it did.
func (a *app) exclude(yes bool, name string, entries ...string) error {
	for _, entry := range entries {
		list, err := exclusion.Parse(entry)
		if err != nil {
			return err
		}
		if err := a.confirmExclusion(yes, list, "exclude "+entry); err != nil {
			return err
		}
	}
	added, err := exclusion.Add(a.root, name, entries...)
	if err != nil {
		return err
	}
	for _, e := range added {
		fmt.Fprintf(a.Stdout, "excluded %s: %s:%d\n", e.Text, e.File, e.Line)
	}
	if len(added) == 0 {
		fmt.Fprintf(a.Stdout, "exclusion list %s has it already\n", name)
	}
	a.warnOfProblems(name)
	return nil
}

// warnOfProblems tells the bad lines of a list that was changed.
func (a *app) warnOfProblems(name string) {
	sources, err := exclusion.Read(a.root, name)
	if err != nil {
		return // it was read a moment ago
	}
	for _, source := range sources {
		for _, p := range slices.Concat(source.Problems, source.Doubts) {
			fmt.Fprintln(a.Stderr, "warning:", p.Message)
		}
	}
}

// confirmExclusion asks before list, which is new, excludes a controller that the firmware booted from.
func (a *app) confirmExclusion(yes bool, list exclusion.List, what string) error {
	controllers, err := a.connector().Controllers()
	if err != nil {
		fmt.Fprintln(a.Stderr, "warning: cannot tell whether this excludes a controller of the boot firmware:", err)
		return nil
	}
	for _, c := range controllers {
		if c.Owner != string(wish.OwnerNBFT) || len(matches(list, connect.TIDs(c.Controller))) == 0 {
			continue
		}
		because := fmt.Sprintf("%s %s is of the boot firmware and would not be connected again", c.Name, connect.TIDs(c.Controller)[0])
		return a.confirm(yes, what, because)
	}
	return nil
}

func (a *app) exclusionRemoveCommand() *cobra.Command {
	var name, entry string
	cmd := &cobra.Command{
		Use:   "remove [--entry ENTRY]",
		Short: "Remove an entry from an exclusion list",
		Long: `Remove an entry from an exclusion list, however it is spelled there. A line that
cannot be used is removed by its text. Without --entry the list is shown and the
number of the entry is asked for, on a terminal only.`,
		Args: usable(&name),
		RunE: func(*cobra.Command, []string) error {
			if entry == "" {
				if !a.onTerminal() {
					return errors.New("cannot remove an exclusion without knowing which: give --entry key=value;key=value…")
				}
				var err error
				if entry, err = a.chooseEntry(name); err != nil {
					return failed(err)
				}
			}
			removed, err := exclusion.Remove(a.root, name, entry)
			for _, e := range removed {
				fmt.Fprintf(a.Stdout, "removed %s: was %s:%d\n", e.Text, e.File, e.Line)
			}
			return failed(err)
		},
	}
	nameFlag(cmd.Flags(), &name)
	entryFlag(cmd.Flags(), &entry)
	return cmd
}

// chooseEntry shows a list and asks for an entry. The choice is the entry, not the number: the list may change meanwhile.
func (a *app) chooseEntry(name string) (string, error) {
	sources, err := exclusion.Read(a.root, name)
	if err != nil {
		return "", err
	}
	var entries []exclusion.Entry
	for _, source := range sources {
		entries = append(entries, source.Entries...)
	}
	if len(entries) == 0 {
		return "", fmt.Errorf("cannot remove from exclusion list %s: it has no entries", name)
	}
	for i, e := range entries {
		fmt.Fprintf(a.Stderr, "%5d  %s\n", i+1, e.Text)
	}
	answer, err := a.ask("Number of the entry to remove (empty for none): ")
	if err != nil {
		return "", err
	}
	if answer == "" {
		return "", errDeclined
	}
	number, err := strconv.Atoi(answer)
	if err != nil || number < 1 || number > len(entries) {
		return "", fmt.Errorf("cannot remove entry %s: give a number from 1 to %d", printable(answer), len(entries))
	}
	return entries[number-1].Text, nil
}
