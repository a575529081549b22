// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/atomicfile"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
)

func (a *app) recordCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "record",
		Short: "Write what the daemon heard and decided of late to a file",
		Long: `Write what the daemon heard and decided of late to a file that only its owner may
read: nvme-discoverd-TIME.nvmerec in the current directory, or FILE. "replay" shows it.
It has the names and addresses of hosts and targets in it, and no secrets.

Recordings of daemons that have ended, the last three, are in
/run/nvme/discoverd/recordings/. flight-recorder-mib in discoverd.conf(5) says how much
is kept.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDaemon(cmd.Context(), func(c *client.Client) error {
				file, err := c.Recording(cmd.Context())
				if err != nil {
					return err
				}
				if output == "" {
					output = "nvme-discoverd-" + a.now().UTC().Format("20060102T150405Z") + recording.Suffix
				}
				path, err := filepath.Abs(output)
				if err != nil {
					return err
				}
				if err := atomicfile.Write(path, file, 0o600); err != nil {
					return err
				}
				fmt.Fprintf(a.Stdout, "%s: %d KiB, see nvme-discoverctl replay %s\n", output, (len(file)+1023)>>10, output)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&output, "output", "", "write `FILE`")
	return cmd
}
