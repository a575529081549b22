// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
)

// exclusionList is one file, for people and programs.
type exclusionList struct {
	Name     string             `json:"name,omitempty"`
	File     string             `json:"file"`
	Entries  []exclusionEntry   `json:"entries"`
	Problems []exclusionProblem `json:"problems"`
	Doubts   []exclusionProblem `json:"doubts"`
}

type exclusionEntry struct {
	File  string `json:"file,omitempty"`
	Line  int    `json:"line"`
	Entry string `json:"entry"`
}

type exclusionProblem struct {
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

func newExclusionList(s exclusion.Source) exclusionList {
	list := exclusionList{Name: s.Name, File: s.File, Entries: []exclusionEntry{}, Problems: []exclusionProblem{}, Doubts: []exclusionProblem{}}
	for _, e := range s.Entries {
		list.Entries = append(list.Entries, exclusionEntry{Line: e.Line, Entry: e.Text})
	}
	for _, p := range s.Problems {
		list.Problems = append(list.Problems, exclusionProblem{p.Line, p.Message})
	}
	for _, p := range s.Doubts {
		list.Doubts = append(list.Doubts, exclusionProblem{p.Line, p.Message})
	}
	return list
}

func (a *app) exclusionListCommand() *cobra.Command {
	var name string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the exclusion lists and their entries",
		Long: `List all exclusion lists with their entries, each with the number of its line, or
the list --name alone. What is in a list and cannot be used is told on standard
error; it excludes nothing. An NQN that is not in the form of one is warned of.
A list that cannot be read is a failure: exit status 1, after the others are
listed.

--json prints an object:
  lists       array, in the order in which entries are looked at:
    name      of the list; left out for exclusions.conf
    file      its path
    entries   array: line, entry
    problems  array: line (left out if the file cannot be read), message
    doubts    array: line, message, about entries that hold and seem to be mistyped`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var sources []exclusion.Source
			if cmd.Flags().Changed("name") {
				if err := exclusion.CheckName(name); err != nil {
					return err
				}
				var err error
				if sources, err = exclusion.Read(a.root, name); err != nil {
					return failed(err)
				}
			} else {
				sources = exclusion.Sources(a.root)
			}
			return failed(a.listExclusions(sources, asJSON))
		},
	}
	cmd.Flags().StringVarP(&name, "name", "N", "", "exclusion list (default all)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) listExclusions(sources []exclusion.Source, asJSON bool) error {
	lists := []exclusionList{}
	unreadable := 0
	for _, s := range sources {
		lists = append(lists, newExclusionList(s))
		if slices.ContainsFunc(s.Problems, func(p exclusion.Problem) bool { return p.Line == 0 }) {
			unreadable++
		}
	}
	if asJSON {
		if err := a.printJSON(map[string]any{"lists": lists}); err != nil {
			return err
		}
	} else {
		a.printExclusions(lists)
	}
	if unreadable > 0 {
		return fmt.Errorf("cannot list everything: %d of %d exclusion lists cannot be read", unreadable, len(lists))
	}
	return nil
}

func (a *app) printExclusions(lists []exclusionList) {
	if len(lists) == 0 {
		fmt.Fprintln(a.Stderr, "there are no exclusion lists")
	}
	for i, list := range lists {
		if i > 0 {
			fmt.Fprintln(a.Stdout)
		}
		name := list.Name
		if name == "" {
			name = "(nvme-cli's)"
		}
		a.printFolded(printable(name)+"  ", printable(list.File), plain)
		for _, e := range list.Entries {
			a.printFolded(fmt.Sprintf("%5d  ", e.Line), e.Entry, plain)
		}
		for _, p := range slices.Concat(list.Problems, list.Doubts) {
			fmt.Fprintln(a.Stderr, "warning:", p.Message)
		}
	}
}
