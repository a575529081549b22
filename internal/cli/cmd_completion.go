// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/legible"
	"github.com/nvme-discoverd/nvme-discoverd/internal/registry"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// addCompletions has the shell complete what stands behind commands and options, below root. What takes no file gets none.
func (a *app) addCompletions(root *cobra.Command) {
	words := func(words ...string) cobra.CompletionFunc {
		return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return words, cobra.ShellCompDirectiveNoFileComp
		}
	}
	for _, of := range []struct {
		command, option string
		complete        cobra.CompletionFunc
	}{
		{"wait", "for", words(untilConnected, untilReady)},
		{"connect", "owner", words(string(wish.OwnerDiscoverd), string(wish.OwnerNBFT))},
		{"disconnect-all", "owner", a.completeOwner},
		{"exclusion list", "name", a.completeList},
		{"exclusion delete", "name", a.completeList},
		{"exclusion add", "name", a.completeList},
		{"exclusion remove", "name", a.completeList},
		{"exclusion remove", "entry", a.completeEntry},
		{"exclusion edit", "name", a.completeList},
	} {
		if cmd, _, err := root.Find(strings.Fields(of.command)); err == nil && cmd.Flags().Lookup(of.option) != nil {
			_ = cmd.RegisterFlagCompletionFunc(of.option, of.complete) // the option is there
		}
	}
	for command, complete := range map[string]cobra.CompletionFunc{
		"registry get": a.completeAttribute, "registry set": a.completeAttribute, "registry delete": a.completeAttribute,
		"exclusion test": a.completeDevice,
	} {
		if cmd, _, err := root.Find(strings.Fields(command)); err == nil {
			cmd.ValidArgsFunction = complete
		}
	}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.ValidArgsFunction == nil && cmd.Name() != "check" && cmd.Name() != "help" { // which takes files, and has its own
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	for _, c := range root.Commands() {
		walk(c)
	}
}

// completeDevice completes the name of a fabrics controller that is connected.
func (a *app) completeDevice(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var devices []cobra.Completion
	if controllers, _ := sysfs.NewReader(a.root).Scan(); len(args) == 0 {
		for _, c := range controllers {
			devices = append(devices, cobra.CompletionWithDesc(c.Name, c.NQN+" @ "+hostPort(c.Traddr, c.Trsvcid)))
		}
	}
	return offered(devices), cobra.ShellCompDirectiveNoFileComp
}

// completeAttribute completes a device and then one of its attributes in the registry.
func (a *app) completeAttribute(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		if cmd.Name() == "set" {
			return a.completeDevice(cmd, args, word)
		}
		devices, _ := registry.New(a.root).List()
		return offered(devices), cobra.ShellCompDirectiveNoFileComp
	case 1:
		attributes, _ := registry.New(a.root).Entry(args[0])
		names := slices.Sorted(maps.Keys(attributes))
		if cmd.Name() == "set" && !slices.Contains(names, registry.Owner) {
			names = append(names, registry.Owner)
		}
		return offered(names), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeOwner completes an owner that the registry has.
func (a *app) completeOwner(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	reg := registry.New(a.root)
	var owners []cobra.Completion
	devices, _ := reg.List()
	for _, device := range devices {
		if owner, err := reg.Owner(device); err == nil && owner != "" {
			owners = append(owners, owner)
		}
	}
	slices.Sort(owners)
	return offered(slices.Compact(owners)), cobra.ShellCompDirectiveNoFileComp
}

// completeList completes the name of an exclusion list.
func (a *app) completeList(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	for _, list := range exclusion.Sources(a.root) {
		if list.Name != "" {
			names = append(names, cobra.CompletionWithDesc(list.Name, list.File))
		}
	}
	return offered(names), cobra.ShellCompDirectiveNoFileComp
}

// completeEntry completes an entry of the exclusion list that the command line names.
func (a *app) completeEntry(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	name := cmd.Flag("name").Value.String()
	var entries []cobra.Completion
	for _, list := range exclusion.Sources(a.root) {
		for _, e := range list.Entries {
			if list.Name == name {
				entries = append(entries, e.Text)
			}
		}
	}
	return offered(entries), cobra.ShellCompDirectiveNoFileComp
}

// completeInterface completes the name of a network interface.
func (a *app) completeInterface(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	interfaces, _ := os.ReadDir(a.root.SysClassNet())
	for _, i := range interfaces {
		names = append(names, i.Name())
	}
	return offered(names), cobra.ShellCompDirectiveNoFileComp
}

// completionTime is how long a person who pressed the tab key waits for the daemon.
const completionTime = 2 * time.Second

// completeTarget completes the name of one controller for the shell (the command completion is cobra's own): devices, NQNs
// and units that the daemon knows, TIDs in the place of units that are not there yet. Without a daemon there is nothing to offer.
func (a *app) completeTarget(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeTargets(cmd, args, word)
}

// completeTargets is completeTarget for a command that takes several.
func (a *app) completeTargets(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.targetNames(func(client.Controller) bool { return true }), cobra.ShellCompDirectiveNoFileComp
}

// completeDC completes the name of one discovery controller.
func (a *app) completeDC(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.targetNames(func(c client.Controller) bool { return c.Kind == "discovery" }), cobra.ShellCompDirectiveNoFileComp
}

// targetNames returns the names of the daemon's controllers that match.
func (a *app) targetNames(match func(client.Controller) bool) []cobra.Completion {
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	var names []cobra.Completion
	_ = a.withDaemon(ctx, func(c *client.Client) error {
		controllers, err := c.Controllers(ctx, "")
		for _, c := range controllers {
			if !match(c) {
				continue
			}
			if c.Device != nil {
				names = append(names, cobra.CompletionWithDesc(*c.Device, title(c)))
			}
			if c.Kind != "discovery" {
				names = append(names, cobra.CompletionWithDesc(c.Nqn, place(c)))
			}
			name := c.Tid // it has no unit yet
			if c.Unit != nil {
				name = *c.Unit
			}
			names = append(names, cobra.CompletionWithDesc(name, title(c)))
		}
		return err
	})
	return offered(unique(names))
}

// offered leaves out the words that the shell would write to the terminal as something else than they are, and makes descriptions legible.
func offered(names []cobra.Completion) []cobra.Completion {
	kept := []cobra.Completion{}
	for _, name := range names {
		word, about, described := strings.Cut(name, "\t")
		if legible.Text(word) != word {
			continue
		}
		if described {
			name = cobra.CompletionWithDesc(word, legible.Text(about))
		}
		kept = append(kept, name)
	}
	return kept
}

// unique keeps the first of completions of the same word: paths to one subsystem share its NQN.
func unique(names []cobra.Completion) []cobra.Completion {
	seen := map[string]bool{}
	return slices.DeleteFunc(names, func(c cobra.Completion) bool {
		word, _, _ := strings.Cut(c, "\t")
		again := seen[word]
		seen[word] = true
		return again
	})
}
