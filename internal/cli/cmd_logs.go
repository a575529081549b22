// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

func (a *app) logsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "logs [DC]",
		Short: "Show the log pages of discovery controllers as they were last read",
		Long: `Show the log page of a discovery controller as it was last read, or those of all.
DC is a unit, nvmeN, an NQN or a transport ID. "rescan" reads them again.
Entries that are not connected although they name a connection follow with the reason.

--json prints {"logs": […]}, objects of type DiscoveryLog of the varlink interface
org.nvmexpress.discoverd.`,
		Args:              takes(0, 1),
		ValidArgsFunction: a.completeDC,
		RunE: func(cmd *cobra.Command, args []string) error {
			target := ""
			if len(args) == 1 {
				target = args[0]
			}
			return a.withDaemon(cmd.Context(), func(c *client.Client) error {
				logs, err := c.DiscoveryLogs(cmd.Context(), target)
				switch {
				case err != nil:
					return err
				case asJSON:
					return a.printJSON(struct {
						Logs []client.DiscoveryLog `json:"logs"`
					}{logs})
				case len(logs) == 0 && target == "":
					fmt.Fprintln(a.Stderr, "no log page was read yet")
				case len(logs) == 0:
					return a.whyNoLog(cmd.Context(), c, target)
				}
				for i, l := range logs {
					if i > 0 {
						fmt.Fprintln(a.Stdout)
					}
					a.printLog(l)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, jsonFlag)
	return cmd
}

// whyNoLog is the error for a target that has no log page to show.
func (a *app) whyNoLog(ctx context.Context, c *client.Client, target string) error {
	controllers, err := c.Controllers(ctx, target)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(controllers, func(c client.Controller) bool { return c.Kind == "discovery" }) {
		return fmt.Errorf("cannot show the log page of %s: it is no discovery controller, and only those have one", target)
	}
	return fmt.Errorf("cannot show the log page of %s: it was not read yet; see nvme-discoverctl status %s", target, target)
}

func (a *app) printLog(l client.DiscoveryLog) {
	var skipped []string
	for _, e := range l.Entries {
		if e.Skipped != nil {
			skipped = append(skipped, fmt.Sprintf("the entry for %s is skipped: %s", e.Nqn, *e.Skipped))
		}
	}
	a.printFolded("", value(l.Device)+prefixed(" ", l.Tid, l.Device != nil), plain)
	fmt.Fprintf(a.Stdout, "  %s%s, read %s ago\n", plural(len(l.Entries), "entry", "entries"), prefixed(", ", fmt.Sprintf("%d skipped", len(skipped)), skipped != nil), a.ago(l.Read))
	rows := [][]string{{"SUBTYPE", "TRANSPORT", "ADDRESS", "PORT", "CNTLID", "FLAGS", "NQN"}}
	for _, e := range l.Entries {
		flags := ""
		for _, f := range []struct {
			set  bool
			name string
		}{
			{e.SecureChannel, "tls"},
			{e.Security != nil && !e.SecureChannel, "offers " + value(e.Security)},
			{e.DuplicateInformation, "dupretinfo"},
			{e.Epcsd, "epcsd"},
			{e.Skipped != nil, "skipped"},
		} {
			if f.set {
				flags = joined(",", flags, f.name)
			}
		}
		rows = append(rows, []string{
			e.Subtype, value(e.Transport), hostPort(value(e.Traddr), value(e.Trsvcid)), fmt.Sprint(e.PortId), controllerID(e.Cntlid), flags, e.Nqn,
		})
	}
	if len(l.Entries) > 0 {
		a.printTable(table{rows: rows, heading: true})
	}
	for _, line := range slices.Concat(skipped, l.Flaws) {
		a.printFolded("  ", line, plain)
	}
}

func prefixed(prefix, text string, yes bool) string {
	if yes {
		return prefix + text
	}
	return text
}

// controllerID is the controller ID of a log page entry (NVMe Base Specification 2.1, figure 295, CNTLID).
func controllerID(id int64) string {
	switch id {
	case 0xffff:
		return "dynamic"
	case 0xfffe:
		return "static"
	}
	return fmt.Sprint(id)
}
