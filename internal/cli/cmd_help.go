// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nvme-discoverd/nvme-discoverd/internal/typo"
)

// commandGroups are the commands as the manual page and the help group them.
var commandGroups = []struct {
	title    string
	commands []string
}{
	{"The service", []string{"status", "explain", "list", "wait", "watch", "logs", "metrics", "record", "replay", "report", "start", "stop", "retry", "rescan", "reload"}},
	{"Configuration", []string{"config", "nbft", "hostnqn", "tls"}},
	{"Connections", []string{"connect", "disconnect", "disconnect-all"}},
	{"Exclusion lists", []string{"exclusion"}},
	{"Ownership registry", []string{"registry"}},
	{"Automatic connects of nvme-cli", []string{"legacy"}},
	{"The kernel's own target", []string{"nvmet"}},
	{"Others", []string{"completion", "help", "version"}},
}

// addHelp has all commands print help in our way, and those that cobra itself adds, help and completion, refuse words that they do
// not know, as all others do: cobra's own print help and are done.
func (a *app) addHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Short = "Print help"
			c.Run, c.RunE = nil, help
		case "completion":
			c.Short = "Print what makes a shell complete command lines"
			c.RunE = nameOne
		}
	}
	root.InitDefaultVersionFlag()
	var flags func(*cobra.Command)
	flags = func(cmd *cobra.Command) {
		cmd.InitDefaultHelpFlag()
		for name, usage := range map[string]string{"help": "print help", "version": "print the version"} {
			if f := cmd.Flags().Lookup(name); f != nil {
				f.Usage = usage
			}
		}
		for _, c := range cmd.Commands() {
			flags(c)
		}
	}
	flags(root)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { a.printHelp(cmd.OutOrStdout(), cmd) })
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
			return err
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		return meant(err, unknown.GetSpecifiedName(), names, "--")
	})
}

// help prints the help of the command that args name.
func help(cmd *cobra.Command, args []string) error {
	topic, rest, err := cmd.Root().Find(args)
	if err != nil || len(rest) > 0 {
		err := fmt.Errorf("cannot help with %s: there is no such command", printable(strings.Join(args, " ")))
		if len(rest) > 0 {
			return meant(err, rest[0], commandNames(topic), "")
		}
		return meant(err, strings.Join(args, " "), commandNames(cmd.Root()), "")
	}
	return failed(topic.Help())
}

// commandNames are the commands that a person can call below cmd.
func commandNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// suggest completes the error about a command that does not exist, which was looked for below cmd.
func suggest(cmd *cobra.Command, err error) error {
	rest, unknown := strings.CutPrefix(err.Error(), "unknown command ")
	var word string
	if _, scan := fmt.Sscanf(rest, "%q", &word); !unknown || scan != nil {
		return err
	}
	return meant(err, word, commandNames(cmd), "")
}

// meant adds to an error about a word what was probably meant by it.
func meant(err error, word string, words []string, prefix string) error {
	if near := nearest(word, words); near != "" {
		return fmt.Errorf("%w (did you mean %s%s?)", err, prefix, near)
	}
	return err
}

// nearest returns the word that differs least from a mistyped one, "" if none is like it.
func nearest(mistyped string, words []string) string {
	best, least := "", max(1, (len(mistyped)+1)/3)
	for _, w := range words {
		d := typo.Distance(mistyped, w)
		if len(mistyped) > 2 && strings.HasPrefix(w, mistyped) {
			d = 1 // it is not complete
		}
		if d < least || d == least && best == "" {
			best, least = w, d
		}
	}
	return best
}

// tableColumn matches what stands before the last column of a row: its key, if it has one.
var tableColumn = regexp.MustCompile(`^ *(\S+( \S+)*  +)?`)

// readable is the length of a line of text that is still good to read.
const readable = 90

// printHelp prints the help of a command.
func (a *app) printHelp(to io.Writer, cmd *cobra.Command) {
	s := a.screen()
	long := cmd.Long
	if long == "" {
		long = cmd.Short + "."
	}
	fmt.Fprintf(to, "%s\n\n%s\n  %s\n", s.reflow(long), s.paint(bold, "Usage:"), strings.Join(s.folded(usage(cmd), 4), "\n    "))
	names := map[string]*cobra.Command{}
	width := 0
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			names[c.Name()] = c
			width = max(width, len(c.Name()))
		}
	}
	list := func(title string, commands []string) {
		fmt.Fprintf(to, "\n%s\n", s.paint(bold, title+":"))
		for _, name := range commands {
			lines := s.broken(names[name].Short, width+5)
			fmt.Fprintf(to, "  %s   %s\n", pad(name, width), strings.Join(lines, "\n"+strings.Repeat(" ", width+5)))
		}
	}
	switch {
	case !cmd.HasParent():
		for _, g := range commandGroups {
			list(g.title, g.commands)
		}
	case len(names) > 0:
		list("Commands", commandNames(cmd))
	}
	if cmd.HasAvailableLocalFlags() {
		fmt.Fprintf(to, "\n%s\n%s", s.paint(bold, "Options:"), cmd.LocalFlags().FlagUsagesWrapped(s.columns))
	}
	switch {
	case !cmd.HasParent():
		fmt.Fprintf(to, "\nMore: %s COMMAND --help, nvme-discoverctl(8)\n", cmd.CommandPath())
	case len(names) > 0:
		fmt.Fprintf(to, "\nMore: %s COMMAND --help\n", cmd.CommandPath())
	}
}

// usage is how a command is called.
func usage(cmd *cobra.Command) string {
	line := cmd.CommandPath() + strings.TrimPrefix(cmd.Use, cmd.Name())
	if cmd.HasAvailableSubCommands() {
		line += " COMMAND [ARGUMENT]... [OPTION]..."
	}
	return line
}

// reflow breaks a text anew for the screen, in lines that are not longer than is good to read. Lines that are indented are rows of
// tables: those that are too long are broken, and go on below the text of their last column.
func (s screen) reflow(text string) string {
	if s.columns == 0 {
		return text
	}
	s.columns = min(s.columns, readable)
	var lines []string
	paragraph := ""
	end := func() {
		if paragraph != "" {
			lines = append(lines, s.broken(paragraph, 0)...)
		}
		paragraph = ""
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" || line[0] == ' ' {
			end()
			column := len(tableColumn.FindString(line))
			rest := s.broken(line[column:], utf8.RuneCountInString(line[:column]))
			lines = append(lines, line[:column]+rest[0])
			for _, more := range rest[1:] {
				lines = append(lines, strings.Repeat(" ", column)+more)
			}
			continue
		}
		paragraph = joined(" ", paragraph, line)
	}
	end()
	return strings.Join(lines, "\n")
}
