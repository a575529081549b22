// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

// control describes a command that asks the daemon to do something about controllers.
type control struct {
	use, short, long string
	method           string // of the varlink interface
	args             cobra.PositionalArgs
	done             string // for so many: "%s stopped"
}

// complete completes the argument.
func (c control) complete(a *app) cobra.CompletionFunc {
	if c.method == "Rescan" {
		return a.completeDC
	}
	return a.completeTarget
}

const controlJSON = `

--json prints {"count": n}, for how many controllers it was done.`

func (a *app) startCommand() *cobra.Command {
	return a.controlCommand(control{
		use: "start TARGET", short: "Connect what was stopped, and keep it connected", method: "Start", args: takes(1, 1),
		done: "%s started",
		long: `Connect what was stopped, by "stop" or by systemctl, is polled, or waits for its
next attempt, and keep it connected. TARGET is a unit, nvmeN, an NQN (all paths to
the subsystem) or a transport ID. The command does not wait for the connection:
"wait" does.` + controlJSON,
	})
}

func (a *app) stopCommand() *cobra.Command {
	return a.controlCommand(control{
		use: "stop TARGET", short: "Disconnect and keep disconnected", method: "Stop", args: takes(1, 1),
		done: "%s stopped",
		long: `Disconnect and keep disconnected until "start", a reload or a reboot, as systemctl
stop of the unit does. TARGET is a unit, nvmeN, an NQN (all paths to the subsystem) or a
transport ID. To keep something away for good, use an exclusion. A controller whose
host name has no address yet cannot be stopped: take it out of the configuration,
or exclude its NQN.` + controlJSON,
	})
}

func (a *app) retryCommand() *cobra.Command {
	return a.controlCommand(control{
		use: "retry [TARGET]", short: "Try now what waits for its next attempt", method: "Retry", args: takes(0, 1),
		done: "retrying %s",
		long: `Try now what waits for its next attempt: TARGET, a unit, nvmeN, an NQN or a
transport ID, or everything. It is never needed; it saves the wait.` + controlJSON,
	})
}

func (a *app) rescanCommand() *cobra.Command {
	return a.controlCommand(control{
		use: "rescan [DC]", short: "Read the log pages of discovery controllers again", method: "Rescan", args: takes(0, 1),
		done: "log pages of %s are read again",
		long: `Read the log page of a discovery controller again, or those of all. DC is a unit,
nvmeN, an NQN or a transport ID. For all, Fibre Channel is asked for discovery
controllers too, and what is known is compared with the kernel, systemd and the
registry, as it is every minute. It is needed only where a discovery controller does
not tell that its log page changed.` + controlJSON,
	})
}

func (a *app) controlCommand(c control) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: c.use, Short: c.short, Long: c.long, Args: c.args, ValidArgsFunction: c.complete(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			target := strings.Join(args, "")
			if len(args) == 1 && target == "" {
				return fmt.Errorf("cannot %s an empty name: give a unit, nvmeN, NQN or TID", cmd.Name())
			}
			return a.withDaemon(cmd.Context(), func(d *client.Client) error {
				count, err := d.Control(cmd.Context(), c.method, target)
				switch {
				case err != nil:
					return err
				case asJSON:
					return a.printJSON(map[string]int64{"count": count})
				}
				fmt.Fprintf(a.Stdout, c.done+"\n", plural(int(count), "controller", "controllers"))
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, jsonFlag)
	return cmd
}
