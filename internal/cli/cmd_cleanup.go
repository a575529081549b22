// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// cleanupCommand is the ExecStopPost= of the units.
func (a *app) cleanupCommand() *cobra.Command {
	var unit string
	cmd := &cobra.Command{
		Use:    "cleanup --unit=…",
		Short:  "Remove what is recorded of a unit that has stopped",
		Hidden: true,
		Args:   takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if unit == "" {
				return errors.New("cannot clean up without knowing after what: give --unit")
			}
			outcome, err := a.connector().Cleanup(unit)
			if outcome != "" {
				fmt.Fprintln(a.Stdout, outcome)
			}
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&unit, "unit", "", "unit of nvme-discoverd that has stopped")
	return cmd
}
