package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

func (a *app) listCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the controllers that this host should be connected to",
		Long: `List the controllers that this host should be connected to, one in each line, for
grep and awk: state, device, what the kernel says of it, transport, address,
NQN and unit; "-" is none.

--json prints {"controllers": […]}, objects of type Controller of the varlink
interface org.nvmexpress.discoverd.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDaemon(cmd.Context(), func(c *client.Client) error {
				controllers, err := c.Controllers(cmd.Context(), "")
				switch {
				case err != nil:
					return err
				case asJSON:
					return a.printJSON(controllersJSON{controllers})
				case len(controllers) == 0:
					fmt.Fprintln(a.Stderr, "no controller is configured or discovered")
					return nil
				}
				rows := [][]string{{"STATE", "DEVICE", "KERNEL", "TRANSPORT", "ADDRESS", "NQN", "UNIT"}}
				for _, c := range controllers {
					rows = append(rows, []string{c.State, value(c.Device), value(c.DeviceState), c.Transport, place(c), c.Nqn, value(c.Unit)})
				}
				a.printTable(rows)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, jsonFlag)
	return cmd
}

// controllersJSON is what --json prints of controllers.
type controllersJSON struct {
	Controllers []client.Controller `json:"controllers"`
}

// place is where a controller is, and from where it is reached if that is pinned.
func place(c client.Controller) string {
	where := hostPort(c.Traddr, value(c.Trsvcid))
	switch from := value(c.HostIface); {
	case from != "":
		return where + "%" + from
	case value(c.HostTraddr) != "" && c.Transport != "fc":
		return where + "%" + value(c.HostTraddr)
	}
	return where
}

func hostPort(host, port string) string {
	if strings.Contains(host, ":") && port != "" {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	return host
}

// printTable prints rows in columns, a heading first; an empty cell is "-". Nothing is cut: this is for programs too.
func (a *app) printTable(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 1)
		}
	}
	for n, row := range rows {
		line := ""
		for i, cell := range row {
			if cell == "" {
				cell = "-"
			}
			line += pad(cell, widths[i]+2)
		}
		line = strings.TrimRight(line, " ")
		if n == 0 {
			line = a.screen().paint(bold, line)
		}
		fmt.Fprintln(a.Stdout, line)
	}
}
