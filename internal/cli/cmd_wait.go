// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/timespan"
)

// What wait can wait for.
const (
	untilConnected = "connected"
	untilReady     = "ready"
)

func (a *app) waitCommand() *cobra.Command {
	var timeout, until string
	cmd := &cobra.Command{
		Use:   "wait [TARGET]...",
		Short: "Wait until everything is connected",
		Long: `Wait until everything that this host should be connected to is connected, or every
TARGET: a unit, nvmeN, an NQN (all paths to the subsystem) or a transport ID. A
TARGET that the service does not know yet is waited for, as is the service itself.

Without TARGET the log page of every connected discovery controller must have been
read too, for it may name more. What is excluded, stopped, polled, or belongs to
another program does not count, unless it is a TARGET, nor does a discovery controller
that nothing names any more. Nothing to connect is enough.

--for=ready waits only until the service has read its configuration and compared it
with the controllers that there are.

The exit status is 0 when it is so, and 1 after --timeout; then standard error says
what is missing and why.`,
		Args:              takes(0, -1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case until != untilConnected && until != untilReady:
				return fmt.Errorf("cannot wait for %q: --for takes connected or ready", until)
			case until == untilReady && len(args) > 0:
				return errors.New("cannot wait for a TARGET to be ready: --for=ready is about the service, leave out TARGET or --for")
			case slices.Contains(args, ""):
				return errors.New("cannot wait for an empty name: give a unit, nvmeN, NQN or TID")
			}
			most, err := timespan.Parse(timeout)
			if err != nil {
				return fmt.Errorf("cannot use --timeout=%s: %v: give a time such as 90 (seconds), 5min or infinity", timeout, err)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, unix.SIGTERM)
			defer stop()
			if most != 0 && most != timespan.Infinity {
				ctx, stop = context.WithTimeout(ctx, most)
				defer stop()
			}
			w := waiter{app: a, targets: args, ready: until == untilReady, known: map[string]client.Controller{}}
			return failed(w.run(ctx, most))
		},
	}
	cmd.Flags().StringVar(&timeout, "timeout", "2min", "give up after this `TIME`; 0 or infinity: never")
	cmd.Flags().StringVar(&until, "for", untilConnected, "`WHAT` to wait for: connected or ready")
	return cmd
}

// waiter waits for controllers.
type waiter struct {
	*app
	targets []string
	ready   bool // the daemon's being ready is enough

	known  map[string]client.Controller // by canonical TID, as last seen
	status string                       // of the service
	last   error                        // why the daemon could not be asked last; nil while it answers
}

// run waits until all is there or ctx ends; most is how long that may take, for the message.
func (w *waiter) run(ctx context.Context, most time.Duration) error {
	asked := false
	for {
		err := w.ask(ctx)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) { // the end of ctx, which a dial may notice first
			<-ctx.Done()
		}
		switch {
		case err == nil:
			fmt.Fprintln(w.Stdout, w.status)
			return nil
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			if w.lastLook(ctx) {
				fmt.Fprintln(w.Stdout, w.status)
				return nil
			}
			return w.late(most)
		case ctx.Err() != nil:
			return errors.New("interrupted before everything was there")
		case !interrupted(err):
			return err
		}
		if w.last = err; !asked && w.onTerminal() {
			asked = true
			fmt.Fprintln(w.Stderr, "waiting for nvme-discoverd, which does not answer yet")
		}
		if err := pause(ctx, redialPause); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// lastLookTime is how long the daemon may take to say why not everything is there, once the time is over.
const lastLookTime = 2 * time.Second

// lastLook asks the daemon once more what is missing and why, since the reasons that it told last may be old. It tells whether all is there
// after all. Without an answer what was known stays.
func (w *waiter) lastLook(ctx context.Context) (done bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLookTime)
	defer cancel()
	_ = w.withDaemon(ctx, func(c *client.Client) error { // an error is known already, or came a moment too late
		status, err := c.Status(ctx)
		if err != nil {
			return err
		}
		w.last = nil
		if w.status = status.Status; !status.Ready || w.ready {
			done = status.Ready
			return nil
		}
		all, err := c.Controllers(ctx, "")
		if err != nil {
			return err
		}
		clear(w.known)
		for _, c := range all {
			w.known[c.Tid] = c
		}
		done = len(w.missing()) == 0
		return nil
	})
	return done
}

// errEnough ends a Monitor call that has shown everything.
var errEnough = errors.New("everything is there")

// ask follows one daemon until all is there, which is no error.
func (w *waiter) ask(ctx context.Context) error {
	return w.withDaemon(ctx, func(c *client.Client) error {
		for {
			status, err := c.Status(ctx)
			if err != nil {
				return err
			}
			if w.last, w.status = nil, status.Status; status.Ready {
				break
			}
			if err := pause(ctx, redialPause); err != nil {
				return err
			}
		}
		if w.ready {
			return nil
		}
		told := false
		err := c.Monitor(ctx, func(change client.Change) error {
			if change.Snapshot {
				clear(w.known)
			}
			w.status = change.Status
			for _, c := range change.Controllers {
				w.known[c.Tid] = c
			}
			for _, id := range change.Removed {
				delete(w.known, id)
			}
			missing := w.missing()
			if len(missing) == 0 {
				return errEnough
			}
			if !told && w.onTerminal() {
				told = true
				fmt.Fprintf(w.Stderr, "waiting for %s\n", plural(len(missing), "controller", "controllers"))
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	})
}

// missing says of each controller that is waited for and not there what it does.
func (w *waiter) missing() []string {
	var missing []string
	add := func(c client.Controller, text string) { missing = append(missing, title(c)+": "+text) }
	all := slices.SortedFunc(maps.Values(w.known), func(a, b client.Controller) int { return strings.Compare(a.Tid, b.Tid) })
	for _, word := range w.targets {
		found := false
		for _, c := range all {
			if !called(c, word) {
				continue
			}
			found = true
			if !present(c) {
				add(c, w.downBecause(c))
			}
		}
		if !found {
			missing = append(missing, word+": nothing is called so")
		}
	}
	if len(w.targets) > 0 {
		return missing
	}
	for _, c := range all {
		if why := w.app.missing(c); why != "" {
			add(c, why)
		}
	}
	return missing
}

// missing says why not everything is there because of a controller, "" if it is not in the way.
func (a *app) missing(c client.Controller) string {
	switch {
	case wanted(c) && !healthy(c):
		return a.downBecause(c)
	case unread(c):
		return joined(": ", "its log page is not read yet", value(c.LastError))
	}
	return ""
}

// downBecause is what a controller does instead of being connected, and the last error.
func (a *app) downBecause(c client.Controller) string {
	text := a.stateOf(c)
	if c.Device != nil {
		text += " (" + *c.Device + ")"
	}
	if c.LastError != nil {
		text += ": " + *c.LastError
	}
	return text
}

// late is the error of a wait that took too long.
func (w *waiter) late(most time.Duration) error {
	const few = 10
	switch {
	case w.last != nil:
		return fmt.Errorf("gave up after %s: %w", timespan.Format(most), w.last)
	case len(w.known) == 0 && len(w.targets) == 0:
		return fmt.Errorf("gave up after %s: %s: see systemctl status nvme-discoverd", timespan.Format(most), joined(": ", "nvme-discoverd is not ready", w.status))
	}
	missing := w.missing()
	text := fmt.Sprintf("gave up after %s: %s missing", timespan.Format(most), plural(len(missing), "controller is", "controllers are"))
	for i, line := range missing {
		if i == few-1 && len(missing) > few {
			text += fmt.Sprintf("\nand %d more: see nvme-discoverctl status", len(missing)-i)
			break
		}
		text += "\n" + line
	}
	return errors.New(text)
}

// called tells whether a word names a controller, as the service understands it.
func called(c client.Controller, word string) bool {
	unit := value(c.Unit)
	words := []string{unit, strings.TrimSuffix(unit, ".service"), value(c.Device), c.Tid}
	return word != "" && (slices.Contains(words, word) || tid.SameNQN(c.Nqn, word))
}

// present tells whether a controller works, whoever looks after it.
func present(c client.Controller) bool {
	return healthy(c) || c.State == "foreign" && value(c.DeviceState) == "live"
}

// wanted tells whether a controller should be connected now, as counts.wanted has it. What is kept from it on purpose is not wanted, nor is
// a discovery controller that nothing names any more once it is down.
func wanted(c client.Controller) bool {
	switch c.State {
	case "excluded", "foreign", "stopped", "parked":
		return false
	}
	return c.RetainUntil == nil || healthy(c)
}

// unread tells whether a discovery controller may still name more, as counts.unread has it.
func unread(c client.Controller) bool {
	return healthy(c) && c.Kind == "discovery" && c.LogRead == nil && c.RetainUntil == nil
}
