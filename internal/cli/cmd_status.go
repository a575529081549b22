package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON, asDot, all bool
	cmd := &cobra.Command{
		Use:   "status [TARGET]",
		Short: "Show what should be connected, and what is wrong first",
		Long: `Show what is wrong, and then the tree of what should be connected: where a wish
comes from, the discovery controllers, what their log pages name. Of many that
are alike only the number is shown, unless --all is given.

TARGET is a unit, nvmeN, an NQN or a transport ID: everything about that one.

--json prints {"status": {…}, "controllers": […]}: the reply of GetStatus and the
objects of type Controller of the varlink interface org.nvmexpress.discoverd; with
TARGET the controllers alone. --dot prints the topology for dot(1): host, discovery
controllers, subsystems and the paths to them.`,
		Args:              takes(0, 1),
		ValidArgsFunction: a.completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON && asDot {
				return errors.New("cannot print --json and --dot at once: give one of them")
			}
			return a.withDaemon(cmd.Context(), func(c *client.Client) error {
				if len(args) == 1 {
					found, err := c.Controllers(cmd.Context(), args[0])
					switch {
					case err != nil:
						return err
					case asJSON:
						return a.printJSON(controllersJSON{found})
					case asDot:
						a.printDot(found)
					default:
						a.printDetails(found)
					}
					return nil
				}
				status, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				controllers, err := c.Controllers(cmd.Context(), "")
				switch {
				case err != nil:
					return err
				case asJSON:
					return a.printJSON(struct {
						Status      client.Status       `json:"status"`
						Controllers []client.Controller `json:"controllers"`
					}{status, controllers})
				case asDot:
					a.printDot(controllers)
				default:
					p := statusPrinter{app: a, screen: a.screen(), all: all}
					p.print(status, controllers)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "show every controller, however many there are")
	cmd.Flags().BoolVar(&asJSON, "json", false, jsonFlag)
	cmd.Flags().BoolVar(&asDot, "dot", false, "print the topology for dot(1)")
	return cmd
}

// printDetails prints everything about few controllers.
func (a *app) printDetails(controllers []client.Controller) {
	s := a.screen()
	for i, c := range controllers {
		if i > 0 {
			fmt.Fprintln(a.Stdout)
		}
		fmt.Fprintln(a.Stdout, s.paint(bold, title(c)))
		line := func(key, text string) {
			if text != "" {
				fmt.Fprintf(a.Stdout, "%14s  %s\n", key, text)
			}
		}
		state := c.State
		if c.State == "reconnecting" || c.State == "foreign" {
			state = a.stateOf(c)
		}
		line("state", s.paint(colorOf(c), state)+" for "+a.ago(c.Since))
		if c.Attempts > 0 {
			line("attempts", fmt.Sprintf("%d failed", c.Attempts))
		}
		if c.NextRetry != nil {
			line("next", "in "+a.until(*c.NextRetry))
		}
		line("device", joined(" ", value(c.Device), value(c.DeviceState)))
		line("unit", value(c.Unit))
		line("owner", printable(value(c.Owner)))
		if c.LastError != nil {
			line("last error", s.paint(bad, *c.LastError))
			if c.ErrorSince != nil && c.ErrorCount != nil {
				line("", fmt.Sprintf("%s, first %s ago", plural(int(*c.ErrorCount), "time", "times"), a.ago(*c.ErrorSince)))
			}
		}
		for _, source := range c.Sources {
			line("wished for by", source.Text)
		}
		if c.RetainUntil != nil {
			line("forgotten in", a.until(*c.RetainUntil))
		}
		if c.LogRead != nil && c.LogEntries != nil {
			line("log page", fmt.Sprintf("%s, read %s ago", plural(int(*c.LogEntries), "entry", "entries"), a.ago(*c.LogRead)))
		}
		line("transport", c.Transport)
		line("address", hostPort(c.Traddr, value(c.Trsvcid)))
		line("host address", value(c.HostTraddr))
		line("interface", value(c.HostIface))
		line("host NQN", value(c.Hostnqn))
		line("host ID", value(c.Hostid))
		line("transport ID", c.Tid)
	}
}

// title names a controller.
func title(c client.Controller) string {
	if c.Kind == "discovery" {
		return "discovery controller " + place(c)
	}
	return c.Nqn + " @ " + place(c)
}

// healthy tells whether nothing is wrong with a controller.
func healthy(c client.Controller) bool {
	return c.State == "connected"
}

// wrong tells whether somebody should look at a controller: it does not come up or has a name that is taken. What an
// administrator wanted, and what is on its way without a failure, is not wrong.
func wrong(c client.Controller) bool {
	switch c.State {
	case "collision", "reconnecting":
		return true
	case "waiting", "connecting":
		return c.Attempts > 0 || c.LastError != nil
	}
	return false
}

func colorOf(c client.Controller) string {
	switch {
	case wrong(c):
		return bad
	case healthy(c):
		return good
	case c.State == "waiting" || c.State == "connecting":
		return moving
	}
	return faint
}

// stateOf is the state in words, with what matters in it.
func (a *app) stateOf(c client.Controller) string {
	switch c.State {
	case "reconnecting":
		if state := value(c.DeviceState); state != "connecting" && state != "resetting" {
			return "connection broken, " + state
		}
		return "connection broken, the kernel reconnects it"
	case "waiting", "connecting", "parked":
		text := c.State
		if c.Attempts > 0 {
			text += fmt.Sprintf(", %s failed", plural(int(c.Attempts), "attempt", "attempts"))
		}
		if c.NextRetry != nil {
			text += ", next in " + a.until(*c.NextRetry)
		}
		return text
	case "foreign":
		if owner := value(c.Owner); owner != "" {
			return "of another owner, " + printable(owner)
		}
	}
	return c.State
}

// joined joins the texts that are not empty.
func joined(separator string, texts ...string) string {
	all := ""
	for _, t := range texts {
		if all != "" && t != "" {
			all += separator
		}
		all += t
	}
	return all
}
