// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
)

func (a *app) disconnectAllCommand() *cobra.Command {
	var owner string
	var force, yes bool
	cmd := &cobra.Command{
		Use:   "disconnect-all [--owner=OWNER | --force]",
		Short: "Disconnect all controllers that nobody owns",
		Long: `Disconnect all fabrics controllers that nobody owns and wait until they are gone.
Local (PCIe) controllers are never disconnected, and without --force none with what
the running system needs on it: the root file system, /usr or swap. One in use, with
a mounted file system for example, is disconnected with a warning.

With --owner, disconnect those of that owner instead; with --force, all of them,
whoever owns them and whatever is on them. Both ask for a typed yes; without a terminal to ask on they are
refused unless --yes is given. nvme-discoverd connects again what it wants.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			match := func(c connect.Owned) bool { return c.Owner == owner }
			byOwner := cmd.Flags().Changed("owner")
			switch {
			case byOwner && force:
				return errors.New("cannot disconnect by --owner and with --force at once: give one of them")
			case byOwner && owner == "":
				return errors.New("cannot disconnect for an owner without a name: leave --owner out for what nobody owns")
			case force:
				match = func(connect.Owned) bool { return true }
			}
			wanted, err := a.wanted(match)
			if err != nil {
				return failed(err)
			}
			if len(wanted) == 0 {
				fmt.Fprintln(a.Stderr, "nothing to disconnect")
				return nil
			}
			if byOwner || force {
				because := fmt.Sprintf("%s would be taken from their owners", strings.Join(wanted, ", "))
				if err := a.confirmTyped(yes, "disconnect "+counted(len(wanted)), because); err != nil {
					return failed(err)
				}
			}
			outcomes, err := a.connector().DisconnectAll(match, force)
			for _, outcome := range outcomes {
				fmt.Fprintln(a.Stdout, outcome)
			}
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&owner, "owner", "", "disconnect the controllers of this owner")
	cmd.Flags().BoolVar(&force, "force", false, "disconnect all fabrics controllers, whoever owns them")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// wanted names the controllers that match, with their owners and what makes them worth keeping, for the person who is asked.
func (a *app) wanted(match func(connect.Owned) bool) ([]string, error) {
	controllers, err := a.connector().Controllers()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range controllers {
		if !match(c) {
			continue
		}
		var about []string
		if c.Owner != "" {
			about = append(about, printable(c.Owner))
		}
		if len(c.Use.Needed) > 0 {
			about = append(about, "with "+strings.Join(c.Use.Needed, " and ")+" of the running system")
		}
		name := c.Name
		if len(about) > 0 {
			name += " (" + strings.Join(about, ", ") + ")"
		}
		names = append(names, name)
	}
	return names, nil
}

func counted(n int) string {
	if n == 1 {
		return "1 controller"
	}
	return fmt.Sprintf("%d controllers", n)
}
