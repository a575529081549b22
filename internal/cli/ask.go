// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// group returns a command that only holds others.
func group(name, short, long string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Long:  long,
		Args:  cobra.NoArgs,
		RunE:  nameOne,
	}
	cmd.AddCommand(commands...)
	return cmd
}

// nameOne is what a command does that only holds others.
func nameOne(cmd *cobra.Command, _ []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return fmt.Errorf("cannot run %s without knowing what to do: give one of %s", cmd.Name(), strings.Join(names, ", "))
}

// onTerminal tells whether a person can be asked.
func (a *app) onTerminal() bool { return a.Terminal != nil && a.Terminal() }

// ask puts a question to the person at the terminal and returns the answer, "" at the end of the input.
func (a *app) ask(question string) (string, error) {
	if a.lines == nil {
		a.lines = bufio.NewReader(a.Stdin)
	}
	fmt.Fprint(a.Stderr, question)
	line, err := a.lines.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("cannot read the answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// errDeclined is what a command ends with when the person does not want it after all.
var errDeclined = errors.New("nothing was changed")

// confirm asks whether to go on, unless yes says so already. It is an error where nobody can be asked, as in a script: that
// has to say --yes. what is what the command was about to do, "change the owner of nvme3"; because is the reason to ask.
func (a *app) confirm(yes bool, what, because string) error {
	return a.confirmBy(yes, what, because, "[y/N]", "y", "yes")
}

// confirmTyped is confirm for what does more harm: y is not enough.
func (a *app) confirmTyped(yes bool, what, because string) error {
	return a.confirmBy(yes, what, because, "Type yes to go on:", "yes")
}

func (a *app) confirmBy(yes bool, what, because, how string, answers ...string) error {
	if yes {
		return nil
	}
	if !a.onTerminal() {
		return fmt.Errorf("cannot %s without being sure: %s; without a terminal to ask on, --yes says so", what, because)
	}
	answer, err := a.ask(fmt.Sprintf("%s. %s? %s ", because, strings.ToUpper(what[:1])+what[1:], how))
	if err != nil {
		return err
	}
	for _, a := range answers {
		if strings.EqualFold(answer, a) {
			return nil
		}
	}
	return errDeclined
}

// printJSON prints v for programs.
func (a *app) printJSON(v any) error {
	encoder := json.NewEncoder(a.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// printable is s as it is, or quoted where it would disturb a terminal or a table.
func printable(s string) string {
	if quoted := fmt.Sprintf("%q", s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}
