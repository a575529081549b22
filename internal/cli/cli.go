// Package cli is the command line nvme-discoverctl: one file for each command, cmd_x.go.
//
// The units run it once for every connect, so a command does nothing before its own work, and the package nothing at all
// before Run.
package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fabrics"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/rdma"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Exit statuses.
const (
	Done   = 0
	Failed = 1
	Usage  = 2
)

// Env is what the commands see of the world.
type Env struct {
	Version string // of nvme-discoverctl
	Args    []string
	Getenv  func(string) string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	// Terminal tells whether a person sits at Stdin and Stderr and can be asked; nil: nobody does.
	Terminal func() bool
	// Columns tells how wide the terminal is that Stdout leads to; 0 and nil: it leads to none.
	Columns func() int
}

// connector does the work on controllers: *connect.Connector, or a stand-in in tests.
type connector interface {
	Connect(ctx context.Context, req connect.Request) (device string, err error)
	DisconnectUnit(unit string, t tid.TID) (outcome string, err error)
	Disconnect(what string, match func(sysfs.Controller) bool, force bool) (outcomes []string, err error)
	DisconnectAll(match func(connect.Owned) bool, force bool) (outcomes []string, err error)
	Controllers() ([]connect.Owned, error)
	Cleanup(unit string) (outcome string, err error)
}

// app is one run.
type app struct {
	Env
	root      paths.Root
	connector func() connector
	program   func(ctx context.Context, argv ...string) error // runs another program on Stdin, Stdout and Stderr
	lines     *bufio.Reader                                   // of Stdin, once somebody was asked
	now       func() time.Time
	listeners func() ([]rdma.Listener, error) // on RDMA devices
}

// Run runs the command that env.Args names, the program's own name left out, and returns the exit status. What went wrong
// is on env.Stderr in one line for each thing.
func Run(ctx context.Context, env Env) int {
	a := &app{Env: env, now: time.Now, listeners: rdma.Listeners}
	a.connector = func() connector {
		return connect.New(a.root, fabrics.New(a.root), func(err error) { fmt.Fprintln(a.Stderr, "warning:", err) })
	}
	a.program = func(ctx context.Context, argv ...string) error {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = a.Stdin, a.Stdout, a.Stderr
		return cmd.Run()
	}
	return a.run(ctx)
}

func (a *app) run(ctx context.Context) int {
	root := a.rootCommand()
	cmd, err := root.ExecuteContextC(ctx)
	var failure *failure
	switch {
	case err == nil:
		return Done
	case errors.As(err, &failure):
		fmt.Fprintln(a.Stderr, failure.err)
		return Failed
	default:
		fmt.Fprintf(a.Stderr, "%v: see %s --help\n", err, cmd.CommandPath())
		return Usage
	}
}

// failure is an error of the work, as opposed to one of the command line.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }

// failed marks err, if it is one, as a failure.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return &failure{err}
}

// takes has a command refuse other numbers of arguments than from least to most, and say how it is used.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		usage := strings.TrimSuffix(cmd.UseLine(), " [flags]")
		switch {
		case len(args) < least:
			return fmt.Errorf("cannot %s: arguments are missing in %s", cmd.Name(), usage)
		case len(args) > most:
			return fmt.Errorf("cannot %s: %q is one argument too many for %s", cmd.Name(), args[most], usage)
		}
		return nil
	}
}

func (a *app) rootCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "nvme-discoverctl",
		Short:         "Control the NVMe over Fabrics connections of this host",
		SilenceErrors: true,
		SilenceUsage:  true,
		// A suggestion takes three lines, and an error is one.
		DisableSuggestions: true,
	}
	cmd.SetArgs(wish.Unescape(a.Args))
	cmd.SetOut(a.Stdout)
	cmd.SetErr(a.Stderr)
	cmd.PersistentFlags().StringVar((*string)(&a.root), "root", "", "directory that stands for /")
	_ = cmd.PersistentFlags().MarkHidden("root") // the flag is there
	cmd.AddCommand(a.statusCommand(), a.listCommand(), a.watchCommand(), a.logsCommand(), a.metricsCommand())
	cmd.AddCommand(a.startCommand(), a.stopCommand(), a.retryCommand(), a.rescanCommand(), a.reloadCommand())
	cmd.AddCommand(a.disconnectAllCommand(), a.exclusionCommand(), a.legacyCommand())
	cmd.AddCommand(a.connectCommand(), a.disconnectCommand(), a.cleanupCommand(), a.watchShutdownCommand(), a.registryCommand(), a.nbftCommand(), a.nvmetCommand(), a.configCommand(), a.versionCommand())
	refuseStrangers(cmd)
	return cmd
}
