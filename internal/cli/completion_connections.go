// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// completeControllers completes the name of a connected controller for the shell, as sysfs has it, the daemon running or not.
// Controllers of other owners, which are not disconnected, are left out.
func (a *app) completeControllers(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	controllers, _ := a.connector().Controllers() // there is nobody to tell
	prefix := ""
	if strings.HasPrefix(typed, "/dev/") {
		prefix = "/dev/"
	}
	var names []cobra.Completion
	for _, c := range controllers {
		if !c.Foreign() && !slices.Contains(args, prefix+c.Name) {
			names = append(names, cobra.CompletionWithDesc(prefix+c.Name, connect.TIDs(c.Controller)[0].String()))
		}
	}
	return offered(names), cobra.ShellCompDirectiveNoFileComp
}

// completeTIDFlags completes the options that name a connection.
func (a *app) completeTIDFlags(cmd *cobra.Command) {
	complete := map[string]cobra.CompletionFunc{
		"transport":  cobra.FixedCompletions([]cobra.Completion{tid.TCP, tid.RDMA, tid.FC, tid.Loop}, cobra.ShellCompDirectiveNoFileComp),
		"host-iface": a.completeInterface,
		"nqn": func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			controllers, _ := a.connector().Controllers()
			var names []cobra.Completion
			for _, c := range controllers {
				if c.NQN != "" && !slices.Contains(names, c.NQN) {
					names = append(names, c.NQN)
				}
			}
			return offered(names), cobra.ShellCompDirectiveNoFileComp
		},
	}
	for _, key := range tid.Keys() {
		f, ok := complete[key]
		if !ok {
			f = cobra.NoFileCompletions
		}
		_ = cmd.RegisterFlagCompletionFunc(key, f) // the flag is there
	}
}
