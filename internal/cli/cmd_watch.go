// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

func (a *app) watchCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "watch [TARGET]",
		Short: "Print every change as it happens",
		Long: `Print what is not connected now, and then every change of a controller as it
happens, until interrupted or until nobody reads it any more. TARGET is as with
status: changes of that one only, as long as it is called so. When the service
restarts, watch says so, connects again and goes on.

--json prints one reply of Monitor of the varlink interface
org.nvmexpress.discoverd in each line: {"snapshot": true, "controllers": […], …},
and then those that changed. After a restart of the service another snapshot comes.`,
		Args:              takes(0, 1),
		ValidArgsFunction: a.completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			// With SIGPIPE caught, a pipe that nobody reads is the same end whether a write or the wait finds it.
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, unix.SIGTERM, unix.SIGPIPE)
			defer stop()
			ctx, done := untilUnread(ctx, a.out.to)
			defer done()
			w := watcher{app: a, screen: a.screen(), asJSON: asJSON, titles: map[string]string{}}
			err := w.run(ctx, strings.Join(args, ""))
			hungUp := w.columns > 0 && errors.Is(err, unix.EIO) // as a terminal answers a write then
			if ctx.Err() != nil && cmd.Context().Err() == nil || errors.Is(err, unix.EPIPE) || hungUp {
				a.out.err = nil
				return nil // that is how it ends
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, jsonFlag)
	return cmd
}

// watcher prints changes.
type watcher struct {
	*app
	screen
	asJSON bool
	only   map[string]bool   // canonical TIDs; nil: all
	titles map[string]string // of canonical TIDs
}

// run watches until ctx ends or the output takes no more. It outlives the daemon that it began with.
func (w *watcher) run(ctx context.Context, target string) error {
	for watched := false; ; {
		err := w.withDaemon(ctx, func(c *client.Client) error {
			if target != "" {
				if err := w.look(ctx, c, target); err != nil && !watched {
					return err
				}
			}
			return c.Monitor(ctx, func(change client.Change) error {
				watched = true
				return w.show(change)
			})
		})
		if !watched || ctx.Err() != nil || !interrupted(err) {
			return err
		}
		if err := w.tell("nvme-discoverd ended the connection: waiting for it to come back"); err != nil {
			return failed(err)
		}
		if err := w.awaitDaemon(ctx); err != nil {
			return err
		}
		if err := w.tell("nvme-discoverd is back"); err != nil {
			return failed(err)
		}
	}
}

// tell tells about the watching itself, where it is not in the way of a program that reads JSON.
func (w *watcher) tell(text string) error {
	if w.asJSON {
		fmt.Fprintln(w.Stderr, text)
		return nil
	}
	return w.say(bold, text)
}

// look adds to what is watched what target names now.
func (w *watcher) look(ctx context.Context, c *client.Client, target string) error {
	found, err := c.Controllers(ctx, target)
	if w.only == nil {
		w.only = map[string]bool{}
	}
	for _, c := range found {
		w.only[c.Tid] = true
	}
	return err
}

func (w *watcher) show(change client.Change) error {
	if w.only != nil {
		change = w.filter(change)
		if !change.Snapshot && len(change.Controllers)+len(change.Removed) == 0 {
			return nil
		}
	}
	if w.asJSON {
		encoder := json.NewEncoder(w.Stdout)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(change)
	}
	if change.Snapshot {
		if err := w.say(plain, change.Status); err != nil {
			return err
		}
	}
	for _, c := range change.Controllers {
		w.titles[c.Tid] = title(c)
		if change.Snapshot && healthy(c) {
			continue
		}
		state := w.stateOf(c)
		if c.State == "reconnecting" {
			if state = broken(c); c.ReconnectUntil != nil {
				state += " for up to " + w.until(*c.ReconnectUntil)
			}
		}
		text := title(c) + ": " + joined(" ", state, w.phaseOf(c), value(c.Device))
		if c.LastError != nil && c.State == "waiting" {
			text += ": " + *c.LastError
		}
		if err := w.say(colorOf(c), text); err != nil {
			return err
		}
	}
	for _, tid := range change.Removed {
		if err := w.say(faint, w.titles[tid]+": no longer wanted"); err != nil {
			return err
		}
		delete(w.titles, tid)
	}
	return nil
}

func (w *watcher) say(color, text string) error {
	time := w.now().Format("15:04:05 ")
	lines := w.folded(text, len(time))
	for i := range lines {
		lines[i] = w.paint(color, lines[i])
	}
	_, err := fmt.Fprintln(w.Stdout, time+strings.Join(lines, "\n"+strings.Repeat(" ", len(time))))
	return err
}

// phaseOf is what a controller that connects waits for.
func (w *watcher) phaseOf(c client.Controller) string {
	if c.State != "connecting" || c.Phase == nil {
		return ""
	}
	return "(" + *c.Phase + ")"
}

func (w *watcher) filter(change client.Change) client.Change {
	kept := change
	kept.Controllers, kept.Removed = []client.Controller{}, []string{}
	for _, c := range change.Controllers {
		if w.only[c.Tid] {
			kept.Controllers = append(kept.Controllers, c)
		}
	}
	for _, tid := range change.Removed {
		if w.only[tid] {
			kept.Removed = append(kept.Removed, tid)
		}
	}
	return kept
}
