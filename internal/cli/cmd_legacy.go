// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/legacy"
)

func (a *app) legacyCommand() *cobra.Command {
	return group("legacy", "Show, disable and enable nvme-cli's own automatic connects",
		`nvme-cli installs a udev rule and units that connect controllers on their own.
Beside nvme-discoverd they connect a second time what it connects, and connect
again what was disconnected on purpose: they know no exclusion list and no owner.`,
		a.legacyStatusCommand(), a.legacyDisableCommand(), a.legacyEnableCommand())
}

// legacyPiece is one file of nvme-cli's, for people and programs.
type legacyPiece struct {
	Name  string       `json:"name"`
	What  string       `json:"what"`
	State legacy.State `json:"state"`
	Path  string       `json:"path,omitempty"`
}

func (a *app) legacyStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell which of nvme-cli's automatic connects are in force",
		Long: `Tell of each file of nvme-cli's automatic connects whether it is
  in-force  it connects controllers, or will at the next boot or event
  idle      it is installed, but nothing starts it
  masked    it is installed and cannot be started
  absent    it is not installed

--json prints an object:
  pieces   array:
    name   of the file
    what   what it does
    state  one of the above
    path   of the file that decides: a mask, or what would run; left out if absent`,
		Args: takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			pieces := []legacyPiece{}
			inForce := false
			for _, p := range legacy.Status(a.root) {
				pieces = append(pieces, legacyPiece(p))
				inForce = inForce || p.State == legacy.InForce
			}
			if asJSON {
				return failed(a.printJSON(map[string]any{"pieces": pieces}))
			}
			t := table{}
			for _, p := range pieces {
				t.rows = append(t.rows, []string{fmt.Sprint(p.State), p.Name, p.What})
			}
			a.printTable(t)
			if inForce {
				fmt.Fprintln(a.Stdout, "\nWhat is in force races with nvme-discoverd: nvme-discoverctl legacy disable masks it.")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) legacyDisableCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "disable",
		Short: "Mask nvme-cli's automatic connects",
		Long: `Mask what is installed of nvme-cli's automatic connects by links to /dev/null in
/etc/udev/rules.d and /etc/systemd/system, as "systemctl mask" does, have udev and
systemd notice, and stop those of the units that still run. What is connected stays
so: nvme-discoverd claims what it wants of that as it is, although the registry says
that its owner is autoconnect.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			made, err := legacy.Disable(a.root)
			a.legacyDone(cmd.Context(), "masked", made)
			a.legacyStop(cmd.Context())
			a.legacyChanged(cmd.Context())
			if len(made) == 0 && err == nil {
				fmt.Fprintln(a.Stderr, "nothing to mask: nvme-cli's automatic connects are not installed, or masked already")
			}
			return failed(err)
		},
	}
}

func (a *app) legacyEnableCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "enable",
		Short: "Undo \"legacy disable\"",
		Long: `Remove the masks that "legacy disable" makes, and have udev and systemd notice.
Nothing is started.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			removed, err := legacy.Enable(a.root)
			a.legacyDone(cmd.Context(), "removed", removed)
			a.legacyChanged(cmd.Context())
			if len(removed) == 0 && err == nil {
				fmt.Fprintln(a.Stderr, "nothing to undo: no mask of nvme-cli's automatic connects is there")
			}
			return failed(err)
		},
	}
}

// reloadTimeout is how long systemd or udev may take to notice.
const reloadTimeout = time.Minute

// legacyDone tells what was done and has those that run read their files again. That they cannot is a warning: they will at
// the next boot.
func (a *app) legacyDone(ctx context.Context, verb string, files []string) {
	for _, file := range files {
		fmt.Fprintln(a.Stdout, verb, file)
	}
	if len(files) == 0 {
		return
	}
	for _, program := range []struct {
		runs string
		argv []string
	}{
		{a.root.SystemdRuns(), []string{a.root.Systemctl(), "daemon-reload"}},
		{a.root.UdevRuns(), []string{a.root.Udevadm(), "control", "--reload"}},
	} {
		if _, err := os.Stat(program.runs); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := a.reload(ctx, program.argv); err != nil {
			fmt.Fprintf(a.Stderr, "warning: cannot run %q, so the change holds from the next boot on: %v\n", program.argv, err)
		}
	}
}

// legacyStop stops the units that still run: nobody else looks after what they connect from now on.
func (a *app) legacyStop(ctx context.Context) {
	if _, err := os.Stat(a.root.SystemdRuns()); errors.Is(err, os.ErrNotExist) {
		return
	}
	argv := append([]string{a.root.Systemctl(), "stop"}, legacy.Services()...)
	if err := a.reload(ctx, argv); err != nil {
		fmt.Fprintf(a.Stderr, "warning: cannot run %q, so what runs of them goes on: %v\n", argv, err)
	}
}

// legacyChanged has nvme-discoverd look at once whether nvme-cli's automatic connects are in force, which it does every minute
// anyway.
func (a *app) legacyChanged(ctx context.Context) {
	c, err := client.Dial(ctx, a.root)
	var absent *client.SocketNotFoundError
	if errors.As(err, &absent) {
		return
	}
	if err == nil {
		defer c.Close()
		_, err = c.Control(ctx, "Rescan", "")
	}
	if err != nil {
		fmt.Fprintf(a.Stderr, "warning: cannot have nvme-discoverd notice, which it will within a minute: %v\n", err)
	}
}

func (a *app) reload(ctx context.Context, argv []string) error {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	return a.program(ctx, argv...)
}
