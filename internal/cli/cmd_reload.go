// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

func (a *app) reloadCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Read the configuration again",
		Long: `Read the configuration again, as systemctl reload nvme-discoverd does, and say what
is wrong with it: then the last good one stays in force and the exit status is 1.
What is new is connected, what was removed stays connected until it drops, and
what an administrator stopped is connected again.

--json prints {} when it is in force.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDaemon(cmd.Context(), func(c *client.Client) error {
				err := c.Reload(cmd.Context())
				switch {
				case err != nil:
					return err
				case asJSON:
					return a.printJSON(struct{}{})
				}
				fmt.Fprintln(a.Stdout, "the configuration is in force")
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, jsonFlag)
	return cmd
}
