package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

// completionTime is how long a person who pressed the tab key waits for the daemon.
const completionTime = 2 * time.Second

// completeTarget completes the name of a controller for the shell (the command completion is cobra's own): devices, NQNs
// and units that the daemon knows, TIDs in the place of units that are not there yet. Without a daemon there is nothing to offer.
func (a *app) completeTarget(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	var names []cobra.Completion
	_ = a.withDaemon(ctx, func(c *client.Client) error {
		controllers, err := c.Controllers(ctx, "")
		for _, c := range controllers {
			if c.Device != nil {
				names = append(names, cobra.CompletionWithDesc(*c.Device, title(c)))
			}
			if c.Kind != "discovery" {
				names = append(names, cobra.CompletionWithDesc(c.Nqn, place(c)))
			}
			name := c.Tid // it has no unit yet
			if c.Unit != nil {
				name = *c.Unit
			}
			names = append(names, cobra.CompletionWithDesc(name, title(c)))
		}
		return err
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}
