package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// refuseStrangers has the commands that cobra itself adds, help and completion, refuse words that they do not know, as all
// others do: cobra's own print help and are done.
func refuseStrangers(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Run, c.RunE = nil, help
		case "completion":
			c.RunE = nameOne
		}
	}
}

// help prints the help of the command that args name.
func help(cmd *cobra.Command, args []string) error {
	topic, rest, err := cmd.Root().Find(args)
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("cannot help with %s: there is no such command", printable(strings.Join(args, " ")))
	}
	topic.InitDefaultHelpFlag() // it is shown too
	return failed(topic.Help())
}
