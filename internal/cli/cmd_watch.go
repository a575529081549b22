package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"

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
happens, until interrupted. TARGET is as with status: changes of that one only,
as long as it is called so.

--json prints one reply of Monitor of the varlink interface
org.nvmexpress.discoverd in each line: {"snapshot": true, "controllers": […], …},
and then those that changed.`,
		Args:              takes(0, 1),
		ValidArgsFunction: a.completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, unix.SIGTERM)
			defer stop()
			err := a.withDaemon(ctx, func(c *client.Client) error {
				w := watcher{app: a, screen: a.screen(), asJSON: asJSON, titles: map[string]string{}}
				if len(args) == 1 {
					found, err := c.Controllers(ctx, args[0])
					if err != nil {
						return err
					}
					w.only = map[string]bool{}
					for _, c := range found {
						w.only[c.Tid] = true
					}
				}
				return c.Monitor(ctx, w.show)
			})
			if errors.Is(err, context.Canceled) || ctx.Err() != nil && cmd.Context().Err() == nil {
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
		text := title(c) + ": " + joined(" ", w.stateOf(c), w.phaseOf(c), value(c.Device))
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
	_, err := fmt.Fprintln(w.Stdout, w.now().Format("15:04:05"), w.paint(color, text))
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
	kept := client.Change{Snapshot: change.Snapshot, Status: change.Status, Controllers: []client.Controller{}, Removed: []string{}}
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
