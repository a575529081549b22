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
should be connected, or if a log page that may name more was not read yet; what is
excluded, stopped, polled or belongs to another program is not down, nor is a discovery
controller that nothing names any more. With TARGET too, that one alone is judged: the
exit status is 1 if it, or any of those that it names, is not connected for whatever
reason.

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
					case check:
						p := statusPrinter{app: a, screen: a.screen()}
						p.printChecked(found)
					default:
						a.printDetails(found)
					}
					if check && err == nil {
						err = checkedTarget(found, args[0])
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
				return checked(controllers)
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

// checked is an error if any of the controllers that should be connected is not, or if a log page that may name more was not read yet.
func checked(controllers []client.Controller) error {
	all, down, pages := 0, 0, 0
	for _, c := range controllers {
		switch {
		case unread(c):
			pages++
			all++
		case wanted(c):
			all++
			if !healthy(c) {
				down++
			}
		}
	}
	text := ""
	if down > 0 {
		text = fmt.Sprintf("not connected: %d of %s that should be", down, plural(all, "controller", "controllers"))
	}
	if pages > 0 {
		text = joined("; ", text, fmt.Sprintf("not read yet: %s, which may name more", plural(pages, "log page", "log pages")))
	}
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// checkedTarget is an error if any of the controllers that target names is down, for whatever reason. Nothing else counts.
func checkedTarget(controllers []client.Controller, target string) error {
	down := 0
	for _, c := range controllers {
		if !present(c) {
			down++
		}
	}
	switch {
	case down == 0:
		return nil
	case len(controllers) == 1:
		return fmt.Errorf("not connected: %s", printable(target))
	}
	return fmt.Errorf("not connected: %d of %s that %s names", down, plural(len(controllers), "controller", "controllers"), printable(target))
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
		p.line("state", a.stateSince(c), colorOf(c))
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
// administrator wanted, and what is on its way without a failure, is not wrong, nor is what is not wanted any more.
func wrong(c client.Controller) bool {
	if !wanted(c) {
		return false
	}
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
			return broken(c)
		}
		return "reconnecting " + a.reconnecting(c)
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

// stateSince is the state in words, and since when it is so.
func (a *app) stateSince(c client.Controller) string {
	state := c.State
	switch {
	case c.State == "reconnecting" && a.stateOf(c) != broken(c):
		return a.stateOf(c)
	case c.State == "reconnecting" || c.State == "foreign":
		state = a.stateOf(c)
	}
	return state + " for " + a.ago(c.Since)
}

// broken says what is wrong with a controller that is reconnecting, in the same words whenever it broke.
func broken(c client.Controller) string {
	if state := value(c.DeviceState); state != "connecting" && state != "resetting" {
		return "connection broken, " + state
	}
	return "connection broken, the kernel reconnects it"
}

// reconnecting says for how long a controller has been reconnecting, and when the kernel gives it up if that is known.
func (a *app) reconnecting(c client.Controller) string {
	text := "for " + a.ago(c.Since)
	if c.ReconnectUntil != nil {
		text += ", the kernel gives up in " + a.until(*c.ReconnectUntil)
	}
	return text
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
