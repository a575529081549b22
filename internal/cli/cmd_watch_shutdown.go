// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/shutdown"
)

// watchShutdownCommand is what nvme-fabrics-shutdown.service runs.
func (a *app) watchShutdownCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "watch-shutdown",
		Short:  "Wait for a shutdown and give up what it would wait for in vain",
		Hidden: true,
		Args:   takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(shutdown.NewWatcher(a.root, a.Stdout).Run(cmd.Context()))
		},
	}
}
