// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  takes(0, 0),
		Run: func(*cobra.Command, []string) {
			fmt.Fprintln(a.Stdout, "nvme-discoverctl", a.Version)
		},
	}
}
