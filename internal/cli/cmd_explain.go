// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

func (a *app) explainCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain TARGET",
		Short: "Explain why a connection is as it is, and what to try",
		Long: `Explain one connection on one screen: its state and last error, why it is wanted (the
line of a file, the entry of a log page, the record of a boot firmware table), what
it waits for, what excludes it, its unit, its controller, its last states with times
and errors, what the journal says, and what to try. TARGET is a unit, nvmeN, an NQN
(all paths to the subsystem) or a transport ID. The states, which come from the
recording of the service (see "record"), are shown only to root, the journal and some
of the rest only to those who may read them.

--json prints an object:
  explanations  array, one for each connection:
    controller   object of type Controller of the varlink interface org.nvmexpress.discoverd
    reasons      array: source (of type Source); for an entry of a log page also number
                 and entry (of type LogEntry)
    waitsFor     in words, left out for nothing
    exclusions   array of the entries that match: file, line, entry
    unit         name, loadState, activeState, subState, result, since
    secrets      array, for root: key, from, next (whether the controller is connected with
                 another one, and this one is used at the next connect)
    device       name, state, type, source, interface, owner, use, attributes
    history      array of its last states, oldest first: time, state, device; error,
                 times and until of attempts that failed for one reason, first and last
    journal      array, oldest first: time, priority, message
    try, unknown  arrays of sentences: what to try, what could not be found out`,
		Args:              takes(1, 1),
		ValidArgsFunction: a.completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withDaemon(ctx, func(c *client.Client) error {
				found, err := c.Controllers(ctx, args[0])
				if err != nil {
					return err
				}
				e := explainer{
					app: a, journal: 10, controllers: sync.OnceValues(a.connector().Controllers),
					past: sync.OnceValues(func() (past, error) { return history(ctx, c) }),
				}
				if len(found) > 1 {
					e.journal = 5
				}
				if e.all, err = c.Controllers(ctx, ""); err != nil {
					return err
				}
				if e.logs, err = c.DiscoveryLogs(ctx, ""); err != nil {
					return err
				}
				explanations := []explanation{}
				for _, controller := range found {
					explanations = append(explanations, e.explain(ctx, controller))
				}
				if asJSON {
					return a.printJSON(map[string]any{"explanations": explanations})
				}
				for i, x := range explanations {
					if i > 0 {
						fmt.Fprintln(a.Stdout)
					}
					a.printExplanation(x)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, jsonFlag)
	return cmd
}

// printExplanation prints everything about one connection.
func (a *app) printExplanation(x explanation) {
	c := x.Controller
	p := pairs{app: a, screen: a.screen(), width: 11}
	p.title(title(c))
	state := a.stateSince(c)
	if c.State == "foreign" {
		state = "looked after by " + printable(value(c.Owner)) + " for " + a.ago(c.Since)
	}
	if c.Attempts > 0 {
		state += fmt.Sprintf(", %s failed", plural(int(c.Attempts), "attempt", "attempts"))
	}
	p.line("state", state, colorOf(c))
	if c.LastError != nil {
		p.line("last error", *c.LastError, bad)
		if c.ErrorSince != nil && c.ErrorCount != nil {
			p.line("", fmt.Sprintf("%s, first %s ago", plural(int(*c.ErrorCount), "time", "times"), a.ago(*c.ErrorSince)), plain)
		}
	}
	p.line("waits for", x.WaitsFor, plain)
	for i, r := range x.Reasons {
		p.line(heading("wanted by", i), a.reasonText(r), plain)
	}
	if c.RetainUntil != nil {
		p.line("", "nothing names it any more; it is forgotten in "+a.until(*c.RetainUntil), plain)
	}
	for i, e := range x.Exclusions {
		p.line(heading("excluded by", i), fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Entry), plain)
	}
	p.line("unit", a.unitText(x.Unit, c), plain)
	if d := x.Device; d != nil {
		p.line("controller", deviceText(d), plain)
		for i, use := range d.Use {
			p.line(heading("used", i), use, plain)
		}
	}
	for i, s := range x.Secrets {
		p.line(heading("secrets", i), secretText(s), plain)
	}
	p.line("reached at", a.reachedAt(c), plain)
	for i, s := range x.History {
		color := plain
		if s.Error != "" {
			color = bad
		}
		p.line(heading("history", i), a.historyText(s), color)
	}
	for i, l := range x.Journal {
		color := plain
		if l.Priority <= 3 {
			color = bad
		}
		p.line(heading("journal", i), joined("  ", a.clock(l.Time), printable(l.Message)), color)
	}
	for i, text := range x.Try {
		p.line(heading("try", i), text, bold)
	}
	for i, text := range x.Unknown {
		p.line(heading("unknown", i), text, faint)
	}
}

// heading is the key of the first of several lines.
func heading(key string, i int) string {
	if i > 0 {
		return ""
	}
	return key
}

// reasonText says why a connection is wanted.
func (a *app) reasonText(r reason) string {
	switch {
	case r.Source.Kind == "nbft":
		return "the boot firmware's table, record " + strings.TrimPrefix(r.Source.Text, "NBFT: ") + ": see nvme-discoverctl nbft show"
	case r.Source.Text == "retained":
		return "nothing at present: a discovery controller that was named before is kept for a while"
	case r.Source.Instance != nil && r.Source.Iface != nil:
		return fmt.Sprintf("it announces itself by mDNS as %s, heard on %s", printable(*r.Source.Instance), *r.Source.Iface)
	case r.Source.Parent == nil:
		return r.Source.Text
	}
	text := "the log page of " + title(r.parent)
	if r.parent.Device != nil {
		text += " (" + *r.parent.Device + ")"
	}
	if r.Entry != nil {
		text += fmt.Sprintf(", entry %d: %s, port %d, controller ID %s", *r.Number, r.Entry.Subtype, r.Entry.PortId, controllerID(r.Entry.Cntlid))
	}
	if r.read != "" {
		text += ", read " + a.ago(r.read) + " ago"
	}
	return text
}

// unitText says what systemd has of a unit.
func (a *app) unitText(u *unitState, c client.Controller) string {
	switch {
	case u == nil:
		return value(c.Unit)
	case u.LoadState == "not-found":
		return u.Name + ": systemd has none at present"
	}
	text := fmt.Sprintf("%s: %s (%s)", u.Name, u.ActiveState, u.SubState)
	if u.Result != "success" && u.Result != "" {
		text += ", " + u.Result
	}
	if u.Since != "" {
		text += " for " + a.ago(u.Since)
	}
	return text
}

// deviceText says what the kernel has of a controller.
func deviceText(d *deviceState) string {
	text := d.Name + ": " + d.State
	if d.Owner != "" {
		text += ", owner " + printable(d.Owner)
	}
	if d.Source != "" {
		text += ", from " + joined("%", d.Source, d.Interface)
	}
	for _, attribute := range deviceAttributes {
		if v := d.Attributes[attribute.name]; v != "" {
			text += fmt.Sprintf(", %s %s", attribute.words, v)
		}
	}
	return text
}

// reachedAt is where the target is.
func (a *app) reachedAt(c client.Controller) string {
	text := c.Transport + " " + hostPort(c.Traddr, value(c.Trsvcid))
	if from := joined(" through ", value(c.HostTraddr), value(c.HostIface)); from != "" {
		text += " from " + from
	}
	return text + joined("", " as ", value(c.Hostnqn))
}

// clock is a time of the journal for people: today's without the date.
func (a *app) clock(when string) string {
	t, err := time.Parse(time.RFC3339, when)
	if err != nil {
		return ""
	}
	now := a.now()
	t = t.In(now.Location())
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}
