package cli

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/registry"
)

func (a *app) registryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:    "registry",
		Short:  "The ownership registry",
		Hidden: true, // until it has a command for people
	}
	cmd.AddCommand(a.registryPruneCommand())
	return cmd
}

// registryPruneCommand is what the udev rule runs when a controller was removed.
func (a *app) registryPruneCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "prune NAME",
		Short:  "Remove the entry of a controller that is gone; SEQNUM is the number of its remove event",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
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
