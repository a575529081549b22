// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON, asDot, asSVG, all, check bool
	cmd := &cobra.Command{
		Use:   "status [TARGET]",
		Short: "Show what should be connected, and what is wrong first",
		Long: `Show what is wrong, and then the tree of what should be connected: where a wish
comes from, the discovery controllers, what their log pages name. Of many that
are alike only the number is shown, unless --all is given.

TARGET is a unit, nvmeN, an NQN or a transport ID: everything about that one. Why it
is as it is, and what to do, tells "explain".

With --check only what is down is shown, and the exit status is 1 if anything is that
should be connected, or TARGET; what is excluded, stopped, polled or belongs to
another program is not down.

--json prints {"status": {…}, "controllers": […]}: the reply of GetStatus and the
objects of type Controller of the varlink interface org.nvmexpress.discoverd; with
TARGET the controllers alone. --svg draws the topology as an SVG picture: the ports of
the host and of the targets, discovery controllers, subsystems and the paths to them;
--dot prints it for dot(1).`,
		Args:              takes(0, 1),
		ValidArgsFunction: a.completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			formats := []string{}
			for _, f := range []struct {
				given bool
				name  string
			}{{asJSON, "--json"}, {asDot, "--dot"}, {asSVG, "--svg"}} {
				if f.given {
					formats = append(formats, f.name)
				}
			}
			if len(formats) > 1 {
				return fmt.Errorf("cannot print %s at once: give one of them", strings.Join(formats, " and "))
			}
			return a.withDaemon(cmd.Context(), func(c *client.Client) error {
				if len(args) == 1 {
					found, err := c.Controllers(cmd.Context(), args[0])
					switch {
					case err != nil:
						return err
					case asJSON:
						err = a.printJSON(controllersJSON{found})
					case asDot:
						a.printDot(found)
					case asSVG:
						a.printSVG(found)
					default:
						a.printDetails(found)
					}
					if check && err == nil {
						err = checked(found, func(client.Controller) bool { return true })
					}
					return err
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
					err = a.printJSON(struct {
						Status      client.Status       `json:"status"`
						Controllers []client.Controller `json:"controllers"`
					}{status, controllers})
				case asDot:
					a.printDot(controllers)
				case asSVG:
					a.printSVG(controllers)
				default:
					p := statusPrinter{app: a, screen: a.screen(), all: all, check: check}
					p.print(status, controllers)
				}
				switch {
				case !check || err != nil:
					return err
				case !status.Ready:
					return errors.New("nvme-discoverd has not compared its configuration with the controllers yet: see nvme-discoverctl wait")
				}
				return checked(controllers, wanted)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "show every controller, however many there are")
	cmd.Flags().BoolVar(&check, "check", false, "fail if anything is down that should be connected")
	cmd.Flags().BoolVar(&asJSON, "json", false, jsonFlag)
	cmd.Flags().BoolVar(&asSVG, "svg", false, "draw the topology: host, ports, discovery controllers, subsystems")
	cmd.Flags().BoolVar(&asDot, "dot", false, "print the topology for dot(1)")
	return cmd
}

// checked is an error if any of the controllers that match is not there.
func checked(controllers []client.Controller, match func(client.Controller) bool) error {
	all, down := 0, 0
	for _, c := range controllers {
		if !match(c) {
			continue
		}
		all++
		if !present(c) {
			down++
		}
	}
	if down == 0 {
		return nil
	}
	return fmt.Errorf("not connected: %d of %s that should be", down, plural(all, "controller", "controllers"))
}

// printDetails prints everything about few controllers.
func (a *app) printDetails(controllers []client.Controller) {
	p := pairs{app: a, screen: a.screen(), width: 14}
	for i, c := range controllers {
		if i > 0 {
			fmt.Fprintln(a.Stdout)
		}
		p.title(title(c))
		line := func(key, text string) { p.line(key, text, plain) }
		state := c.State
		if c.State == "reconnecting" || c.State == "foreign" {
			state = a.stateOf(c)
		}
		p.line("state", state+" for "+a.ago(c.Since), colorOf(c))
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
			p.line("last error", *c.LastError, bad)
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
