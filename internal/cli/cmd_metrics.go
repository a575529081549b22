// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/api/exposition"
)

func (a *app) metricsCommand() *cobra.Command {
	var asJSON, asOpenMetrics bool
	cmd := &cobra.Command{
		Use:   "metrics",
		Short: "Print the metrics of the daemon for Prometheus",
		Long: `Print the metrics of the daemon in Prometheus' text format, such as for the
textfile collector of node_exporter: write to a temporary file beside the .prom
file, and rename it. --openmetrics prints them in OpenMetrics text instead.

--json prints {"metrics": […]}, objects of type Metric of the varlink interface
org.nvmexpress.discoverd.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON && asOpenMetrics {
				return errors.New("cannot print --json and --openmetrics at once: give one of them")
			}
			return a.withDaemon(cmd.Context(), func(c *client.Client) error {
				metrics, err := c.Metrics(cmd.Context())
				switch {
				case err != nil:
					return err
				case asJSON:
					return a.printJSON(struct {
						Metrics []client.Metric `json:"metrics"`
					}{metrics})
				case asOpenMetrics:
					return exposition.OpenMetrics(a.Stdout, metrics)
				}
				return exposition.Text(a.Stdout, metrics)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, jsonFlag)
	cmd.Flags().BoolVar(&asOpenMetrics, "openmetrics", false, "print OpenMetrics text")
	return cmd
}
