// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nvmet"
)

func (a *app) nvmetCommand() *cobra.Command {
	return group("nvmet", "Mend the kernel's own NVMe target on this host",
		`A host may be a target too, with the kernel's own driver, nvmet. Its ports on RDMA
devices need help after such a device was reset.`,
		a.nvmetHealCommand())
}

// healedPort is one port of the target, for people and programs.
type healedPort struct {
	Port       string      `json:"port"`
	Traddr     string      `json:"traddr"`
	Trsvcid    string      `json:"trsvcid"`
	State      nvmet.State `json:"state"`
	Subsystems []string    `json:"subsystems"`
	Error      string      `json:"error,omitempty"`
}

func (a *app) nvmetHealCommand() *cobra.Command {
	var asJSON, dryRun bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "heal [PORT]",
		Short: "Make RDMA ports of the target listen again after a device was reset",
		Long: `Look at each RDMA port of the kernel's target, or at PORT, its number below
/sys/kernel/config/nvmet/ports, and make those listen again that lost their
listener when their RDMA device was reset: their subsystems are taken off the port
and put back. A port that listens is not touched, and nothing else of any port is:
subsystems, referrals and hosts stay as configured.

A port whose address no RDMA device has is left as it is, and that is a failure;
with --wait it is waited for.

--json prints an object:
  ports   array, in the order of their numbers:
    port, traddr, trsvcid  of the port
    state       listening  it is healthy and was not touched
                healed     it listens again
                dead       it listens no more (--dry-run)
                stranded   it listens no more, and no RDMA device has its address
                empty      it shows no subsystem, so it need not listen
                failed     see error
    subsystems  array of NQNs that it shows
    error       left out where there is none`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if err := nvmet.CheckPort(args[0]); err != nil {
					return err
				}
			}
			if wait < 0 {
				return fmt.Errorf("cannot wait for %v: --wait takes a time from 0", wait)
			}
			return failed(a.heal(cmd.Context(), args, wait, dryRun, asJSON))
		},
		ValidArgsFunction: a.completePort,
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "tell what would be done, and do nothing")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait for at most this `TIME`, such as 30s, until RDMA devices have the addresses of the ports")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) heal(ctx context.Context, ids []string, wait time.Duration, dryRun, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	healer := nvmet.Healer{Root: a.root, Listeners: a.listeners, DryRun: dryRun}
	results, err := healer.Heal(ctx, ids...)
	errs := []error{err}
	ports := []healedPort{}
	for _, r := range results {
		p := healedPort{r.ID, r.Traddr, r.Trsvcid, r.State, r.Subsystems, ""}
		if p.Subsystems == nil {
			p.Subsystems = []string{}
		}
		if r.Err != nil {
			errs = append(errs, r.Err)
			p.Error = r.Err.Error()
		}
		ports = append(ports, p)
	}
	switch {
	case asJSON:
		errs = append(errs, a.printJSON(map[string]any{"ports": ports}))
	case len(results) == 0 && err == nil && len(ids) > 0:
		errs = append(errs, fmt.Errorf("cannot heal port %s: the target has no RDMA port of that number", ids[0]))
	case len(results) == 0 && err == nil:
		fmt.Fprintln(a.Stderr, "this host's target has no RDMA port")
	default:
		for _, r := range results {
			a.tellHealed(r)
		}
	}
	return errors.Join(errs...)
}

// tellHealed prints what became of a port; what went wrong is printed by another.
func (a *app) tellHealed(r nvmet.Result) {
	what := strings.Join(r.Subsystems, ", ")
	switch r.State {
	case nvmet.Listening:
		a.printFolded("", fmt.Sprintf("%s listens", r.Port), plain)
	case nvmet.Healed:
		a.printFolded("", fmt.Sprintf("%s listened no more and does again: linked anew %s", r.Port, what), plain)
	case nvmet.Dead:
		a.printFolded("", fmt.Sprintf("%s listens no more: would link anew %s", r.Port, what), plain)
	case nvmet.Empty:
		a.printFolded("", fmt.Sprintf("%s shows no subsystem, so it need not listen", r.Port), plain)
	}
}

// completePort completes the number of an RDMA port of the target.
func (a *app) completePort(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var ids []cobra.Completion
	if ports, err := nvmet.Ports(a.root); err == nil && len(args) == 0 {
		for _, p := range ports {
			if p.Transport == "rdma" {
				ids = append(ids, cobra.CompletionWithDesc(p.ID, p.Traddr+" "+p.Trsvcid))
			}
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
