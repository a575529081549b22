// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
)

func (a *app) exclusionEditCommand() *cobra.Command {
	var name string
	var yes bool
	cmd := &cobra.Command{
		Use:   "edit",
		Short: "Edit an exclusion list with $VISUAL or $EDITOR",
		Long: `Edit a copy of an exclusion list with the program in $VISUAL or else $EDITOR, vi if
neither is set. Words after the first are passed to the program; quotes mean
nothing.

It needs a terminal. In a script, use exclusion add and exclusion remove.

The copy takes the list's place if each of its lines is good and nobody has
changed the list meanwhile. Otherwise the list stays, and so does the copy, whose
path is told.`,
		Args: usable(&name),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !a.onTerminal() || a.Columns == nil || a.Columns() == 0 {
				return failed(fmt.Errorf("cannot edit exclusion list %s without a terminal: use exclusion add and exclusion remove", name))
			}
			edit, err := exclusion.Begin(a.root, name)
			if err != nil {
				return failed(err)
			}
			for _, other := range edit.Other {
				fmt.Fprintf(a.Stderr, "note: exclusion list %s is in %s too, which this does not edit\n", name, other)
			}
			editor := append(a.editor(), edit.Draft)
			if err := a.program(cmd.Context(), editor...); err != nil {
				err = fmt.Errorf("cannot edit exclusion list %s with %s: %w: set VISUAL or EDITOR to another editor", name, editor[0], err)
				return failed(errors.Join(err, edit.Drop()))
			}
			return failed(a.finishEdit(edit, yes, name))
		},
	}
	nameFlag(cmd.Flags(), &name)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// editor returns the person's editor, a program and its first arguments.
func (a *app) editor() []string {
	for _, variable := range []string{"VISUAL", "EDITOR"} {
		if words := strings.Fields(a.Getenv(variable)); len(words) > 0 {
			return words
		}
	}
	return []string{"vi"}
}

func (a *app) finishEdit(edit *exclusion.Edit, yes bool, name string) error {
	added, changed, err := edit.Changed()
	if err == nil && !changed {
		fmt.Fprintf(a.Stdout, "exclusion list %s stays as it is\n", name)
		return edit.Drop()
	}
	if err == nil {
		err = a.confirmExclusion(yes, added, "save exclusion list "+name)
	}
	if err == nil {
		err = edit.Save()
	}
	if err != nil {
		return fmt.Errorf("%w\nexclusion list %s stays as it was; your edit is in %s", err, name, edit.Draft)
	}
	fmt.Fprintf(a.Stdout, "saved exclusion list %s\n", name)
	a.warnOfProblems(name)
	return nil
}
