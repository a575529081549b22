// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func (a *app) configCommand() *cobra.Command {
	return group("config", "What is configured",
		`The configuration is discoverd.conf and nvme-fabrics.conf in /etc/nvme, each with its
drop-ins in a directory of the same name and ".d": see discoverd.conf(5).`,
		a.configShowCommand(), a.configCheckCommand(), a.configImportCommand())
}

func (a *app) configShowCommand() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the whole configuration and where each value comes from",
		Long: `Show the whole configuration, all files merged, and where each value comes from.

Parameters that nothing sets are the kernel's own and not shown; an empty value is one that was reset to the kernel's.
With --json it is one object:

  files        that were read, in order
  settings     of the daemon
  discovered   "discovery" and "io": parameters of controllers that no configured discovery controller leads to
  connections  kind (discovery or io), from, values, and for a discovery controller "discovered" as above;
               "unusable", the error that keeps it from being connected, if there is one

Settings, parameters and values are arrays of objects with "key", "value" and "from": FILE:LINE, a file, or words.

Warnings and errors are on stderr; with an error the exit status is 1. What is shown is what comes of the rest: see config
check.`,
		Args: takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			explained, err := config.Explain(a.root, file)
			a.warn(explained.Warnings)
			view := newConfigView(explained)
			if asJSON {
				encoder := json.NewEncoder(a.Stdout)
				encoder.SetIndent("", "  ")
				encoder.SetEscapeHTML(false)
				return failed(errors.Join(encoder.Encode(view), err))
			}
			a.printConfig(view)
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "main configuration `FILE` instead of the installed one")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// warn prints warnings to people.
func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(a.Stderr, "warning:", w)
	}
}

// configView is what config show prints.
type configView struct {
	Files       []string         `json:"files"`
	Settings    []valueView      `json:"settings"`
	Discovered  discoveredView   `json:"discovered"`
	Connections []connectionView `json:"connections"`
}

type valueView struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"`
}

type discoveredView struct {
	Discovery []valueView `json:"discovery"`
	IO        []valueView `json:"io"`
}

type connectionView struct {
	Kind       string          `json:"kind"`
	From       string          `json:"from"`
	Values     []valueView     `json:"values"`
	Discovered *discoveredView `json:"discovered,omitempty"`
	Unusable   string          `json:"unusable,omitempty"`
}

func newConfigView(e config.Explanation) configView {
	view := configView{
		Files:       append([]string{}, e.Files...),
		Settings:    valueViews(e.SettingValues),
		Discovered:  discoveredViewOf(e.Found),
		Connections: []connectionView{},
	}
	for i, c := range e.Connections {
		connection := connectionView{Kind: "io", From: c.From, Values: valueViews(e.Values[i].Own), Unusable: e.Values[i].Unusable}
		if c.Wish.Kind == tid.Discovery {
			connection.Kind = "discovery"
			below := discoveredViewOf(e.Values[i].Found)
			connection.Discovered = &below
		}
		view.Connections = append(view.Connections, connection)
	}
	return view
}

func discoveredViewOf(f config.FoundValues) discoveredView {
	return discoveredView{valueViews(f.Discovery), valueViews(f.IO)}
}

func valueViews(values []config.Value) []valueView {
	views := make([]valueView, len(values))
	for i, v := range values {
		views[i] = valueView(v)
	}
	return views
}

// printConfig prints the view for people.
func (a *app) printConfig(view configView) {
	list := func(indent, title string, values []valueView) {
		if len(values) == 0 {
			return
		}
		a.printFolded(indent, title, plain)
		t := table{indent: indent + "  "}
		for _, v := range values {
			value := v.Value
			if value == "" {
				value = `""`
			}
			t.rows = append(t.rows, []string{v.Key, value, v.From})
		}
		a.printTable(t)
	}
	if len(view.Files) == 0 {
		fmt.Fprintln(a.Stdout, "No configuration file is there.")
	} else {
		fmt.Fprintf(a.Stdout, "Files\n  %s\n", strings.Join(view.Files, "\n  "))
	}
	fmt.Fprintln(a.Stdout)
	list("", "Settings", view.Settings)
	fmt.Fprintln(a.Stdout)
	list("", "Discovery controllers that are found by themselves", view.Discovered.Discovery)
	list("", "I/O controllers that are found by themselves", view.Discovered.IO)
	for _, c := range view.Connections {
		name := "I/O controller"
		if c.Kind == "discovery" {
			name = "Discovery controller"
		}
		fmt.Fprintln(a.Stdout)
		title := fmt.Sprintf("%s, %s", name, c.From)
		if c.Unusable != "" {
			title += ", not connected because of an error"
		}
		list("", title, c.Values)
		if c.Discovered != nil {
			list("  ", "Discovery controllers that it names", c.Discovered.Discovery)
			list("  ", "I/O controllers that it names", c.Discovered.IO)
		}
	}
}

func (a *app) configCheckCommand() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "check [FILE]…",
		Short: "Check whether the configuration is valid, without using it",
		Long: `Check whether the configuration is valid, without using it: everything that "systemctl reload nvme-discoverd" would read,
or in its place the files that are named.

Of these files one in a directory whose name ends in ".d" is taken for a drop-in, and so are the second and every further
one that is in no such directory. A file is taken for what its name or that of its directory says, discoverd.conf or
nvme-fabrics.conf; one with another name for nvme-fabrics.conf if it has the sections of that.

Every error and warning is on stderr, one a line, the verdict on stdout: it says how many sections, keys and connections
the service ignores. The exit status is 1 if there is an error, with --strict also if there is a warning.`,
		RunE: func(_ *cobra.Command, files []string) error {
			load := func() (config.Config, error) { return config.Load(a.root, "") }
			if len(files) > 0 {
				load = func() (config.Config, error) { return config.Check(a.root, files) }
			}
			c, err := load()
			a.warn(c.Warnings)
			if err != nil {
				return failed(err)
			}
			fmt.Fprintln(a.Stdout, verdict(c))
			if strict && len(c.Warnings) > 0 {
				return failed(errors.New("cannot accept the configuration: --strict allows no warnings"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "fail if there is a warning")
	return cmd
}

// verdict says that a configuration without errors is valid, and what of it is ignored all the same.
func verdict(c config.Config) string {
	text := "The configuration is valid"
	var ignored []string
	total := c.Ignored.Sections + c.Ignored.Keys + c.Ignored.Connections
	for _, part := range []struct {
		count     int
		one, many string
	}{
		{c.Ignored.Sections, "section", "sections"},
		{c.Ignored.Keys, "key", "keys"},
		{c.Ignored.Connections, "duplicate connection", "duplicate connections"},
	} {
		if part.count > 0 {
			ignored = append(ignored, plural(part.count, part.one, part.many))
		}
	}
	switch {
	case total == 1:
		text += ", but " + ignored[0] + " was ignored"
	case total > 1:
		text += ", but " + enumerated(ignored) + " were ignored"
	}
	return fmt.Sprintf("%s: %s, %s.", text, plural(len(c.Connections), "connection", "connections"), plural(len(c.Warnings), "warning", "warnings"))
}

// enumerated returns "a", "a and b" or "a, b and c".
func enumerated(parts []string) string {
	if last := len(parts) - 1; last > 0 {
		return strings.Join(parts[:last], ", ") + " and " + parts[last]
	}
	return strings.Join(parts, "")
}
