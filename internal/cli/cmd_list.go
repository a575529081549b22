// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
NQN and unit; "-" is none. While the kernel reconnects any, a last column says for how
long, and when it gives up, if that is known. Only on a terminal that is too narrow for that, NQN and
unit follow below.

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
					return a.explainEmpty(cmd.Context(), c)
				}
				rows := [][]string{{"STATE", "DEVICE", "KERNEL", "TRANSPORT", "ADDRESS", "NQN", "UNIT"}}
				for _, c := range controllers {
					rows = append(rows, []string{c.State, value(c.Device), value(c.DeviceState), c.Transport, place(c), c.Nqn, value(c.Unit)})
				}
				if slices.ContainsFunc(controllers, func(c client.Controller) bool { return c.State == "reconnecting" }) {
					rows[0] = append(rows[0], "RECONNECTING")
					for i, c := range controllers {
						text := ""
						if c.State == "reconnecting" {
							text = a.reconnecting(c)
						}
						rows[i+1] = append(rows[i+1], text)
					}
				}
				a.printTable(table{rows: rows, heading: true})
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, jsonFlag)
	return cmd
}

// explainEmpty says why there is nothing to list.
func (a *app) explainEmpty(ctx context.Context, c *client.Client) error {
	status, err := c.Status(ctx)
	switch {
	case err != nil:
		return err
	case !status.Ready:
		fmt.Fprintln(a.Stderr, "nvme-discoverd has just started and has not compared its configuration with the controllers yet")
	default:
		fmt.Fprintln(a.Stderr, "no controller is configured or discovered")
	}
	return nil
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
