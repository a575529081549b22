// SPDX-License-Identifier: GPL-3.0-or-later

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
	"github.com/nvme-discoverd/nvme-discoverd/internal/keyring"
	"github.com/nvme-discoverd/nvme-discoverd/internal/legible"
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
	out       *output // what Stdout leads through
	connector func() connector
	program   func(ctx context.Context, argv ...string) error           // runs another program on Stdin, Stdout and Stderr
	capture   func(ctx context.Context, argv ...string) ([]byte, error) // runs another program and returns what it prints
	lines     *bufio.Reader                                             // of Stdin, once somebody was asked
	now       func() time.Time
	listeners func() ([]rdma.Listener, error) // on RDMA devices

	keyIdentity func(serial int) (string, error)         // of a TLS key in the kernel's keyrings
	keys        func(ring string) ([]keyring.Key, error) // the TLS keys in a keyring; "" is the kernel's own
}

// captureTime is how long systemd or the journal may take to answer.
const captureTime = 10 * time.Second

// Run runs the command that env.Args names, the program's own name left out, and returns the exit status. What went wrong
// is on env.Stderr in one line for each thing.
func Run(ctx context.Context, env Env) int {
	a := &app{Env: env, now: time.Now, listeners: rdma.Listeners, keyIdentity: keyring.Identity}
	a.keys = func(name string) ([]keyring.Key, error) {
		ring, err := keyring.Ring(a.root, name)
		if err != nil {
			return nil, err
		}
		return keyring.List(ring)
	}
	a.connector = func() connector {
		return connect.New(a.root, fabrics.New(a.root), func(err error) { a.complain("warning: " + err.Error()) })
	}
	a.program = func(ctx context.Context, argv ...string) error {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = env.Stdin, env.Stdout, env.Stderr // not through pipes: it may be an editor
		return cmd.Run()
	}
	a.capture = func(ctx context.Context, argv ...string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, captureTime)
		defer cancel()
		return exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	}
	return a.run(ctx)
}

func (a *app) run(ctx context.Context) int {
	a.out = &output{to: a.Stdout}
	a.Stdout = a.out
	root := a.rootCommand()
	cmd, err := root.ExecuteContextC(ctx)
	if a.out.err != nil && (err == nil && !unattended(cmd) || errors.Is(err, a.out.err)) {
		err = failed(a.out.err)
	}
	var failure *failure
	switch {
	case err == nil:
		return Done
	case errors.As(err, &failure):
		a.complain(failure.Error())
		return Failed
	default:
		a.complain(fmt.Sprintf("%v: see %s --help", suggest(cmd, err), cmd.CommandPath()))
		return Usage
	}
}

// complain prints a text with names from anywhere in it, of one line or several, on Stderr.
func (a *app) complain(text string) {
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintln(a.Stderr, legible.Text(line))
	}
}

// unattended tells whether a unit or a udev rule runs a command: then what it did counts, and not whether the journal could take
// the line about it.
func unattended(cmd *cobra.Command) bool {
	unit := cmd.Flags().Lookup("unit")
	return cmd.Hidden || unit != nil && unit.Value.String() != ""
}

// failure is an error of the work, as opposed to one of the command line.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed marks err, if it is one, as a failure.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return &failure{err}
}

// takes requires between least and most arguments; a negative most is no limit.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("cannot %s: arguments are missing in %s", cmd.Name(), usage(cmd))
		case most >= 0 && len(args) > most:
			return fmt.Errorf("cannot %s: %q is one argument too many for %s", cmd.Name(), args[most], usage(cmd))
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
		Version:       a.Version,
		// cobra's own takes three lines, and an error is one.
		DisableSuggestions: true,
	}
	cmd.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	cmd.SetArgs(wish.Unescape(a.Args))
	cmd.SetOut(a.Stdout)
	cmd.SetErr(a.Stderr)
	cmd.PersistentFlags().StringVar((*string)(&a.root), "root", "", "directory that stands for /")
	_ = cmd.PersistentFlags().MarkHidden("root") // the flag is there
	cmd.AddCommand(a.statusCommand(), a.explainCommand(), a.listCommand(), a.waitCommand(), a.watchCommand(), a.logsCommand(), a.metricsCommand(), a.recordCommand(), a.replayCommand(), a.reportCommand())
	cmd.AddCommand(a.startCommand(), a.stopCommand(), a.retryCommand(), a.rescanCommand(), a.reloadCommand())
	cmd.AddCommand(a.disconnectAllCommand(), a.exclusionCommand(), a.legacyCommand())
	cmd.AddCommand(a.connectCommand(), a.disconnectCommand(), a.cleanupCommand(), a.credentialCommand(), a.watchShutdownCommand(), a.registryCommand(), a.nbftCommand(), a.nvmetCommand(), a.configCommand(), a.hostnqnCommand(), a.tlsCommand(), a.versionCommand())
	a.addHelp(cmd)
	a.addCompletions(cmd)
	return cmd
}
