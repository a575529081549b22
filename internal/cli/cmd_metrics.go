package cli

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

func (a *app) metricsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "metrics",
		Short: "Print the metrics of the daemon for Prometheus",
		Long: `Print the metrics of the daemon in OpenMetrics text, such as for the textfile
collector of node_exporter: write to a temporary file beside the .prom file, and
rename it.

--json prints {"metrics": […]}, objects of type Metric of the varlink interface
org.nvmexpress.discoverd.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDaemon(cmd.Context(), func(c *client.Client) error {
				metrics, err := c.Metrics(cmd.Context())
				switch {
				case err != nil:
					return err
				case asJSON:
					return a.printJSON(struct {
						Metrics []client.Metric `json:"metrics"`
					}{metrics})
				}
				return writeOpenMetrics(a.Stdout, metrics)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, jsonFlag)
	return cmd
}

// writeOpenMetrics writes metrics in the text format of OpenMetrics 1.0.
func writeOpenMetrics(to io.Writer, metrics []client.Metric) error {
	w := bufio.NewWriter(to)
	help := strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	label := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	for _, m := range metrics {
		fmt.Fprintf(w, "# TYPE %s %s\n", m.Name, m.Type)
		if m.Unit != nil {
			fmt.Fprintf(w, "# UNIT %s %s\n", m.Name, *m.Unit)
		}
		fmt.Fprintf(w, "# HELP %s %s\n", m.Name, help.Replace(m.Help))
		for _, s := range m.Samples {
			var labels []string
			for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
				labels = append(labels, fmt.Sprintf(`%s="%s"`, name, label.Replace(s.Labels[name])))
			}
			set := ""
			if len(labels) > 0 {
				set = "{" + strings.Join(labels, ",") + "}"
			}
			fmt.Fprintf(w, "%s%s%s %s\n", m.Name, value(s.Suffix), set, strconv.FormatFloat(s.Value, 'f', -1, 64))
		}
	}
	fmt.Fprintln(w, "# EOF")
	return w.Flush()
}
