// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

// trouble is what several controllers have in common that is wrong with them.
type trouble struct {
	what    string
	members []client.Controller
}

// printTrouble says first what is wrong, the same trouble of many in one place. It returns how many lines it wrote.
func (p *statusPrinter) printTrouble(controllers []client.Controller) int {
	var troubles []*trouble
	count := 0
	for _, c := range controllers {
		if !wrong(c) {
			continue
		}
		count++
		what := p.whatIsWrong(c)
		i := slices.IndexFunc(troubles, func(t *trouble) bool { return t.what == what })
		if i < 0 {
			i = len(troubles)
			troubles = append(troubles, &trouble{what: what})
		}
		troubles[i].members = append(troubles[i].members, c)
	}
	if count == 0 {
		return 0
	}
	p.line("\n%s", p.paint(bold, plural(count, "controller needs", "controllers need")+" attention:"))
	used := 2
	each := max((troubleLines-used)/len(troubles)-1, 1) // lines for members
	for i, t := range troubles {
		lines := p.troubleText(t, each, len(troubles) <= 3)
		if over := used + len(lines) - troubleLines; !p.all && i > 0 && (over > 1 || over == 1 && i+1 < len(troubles)) {
			p.line("  and %s: see --all", plural(len(troubles)-i, "other trouble", "other troubles"))
			return used + 1
		}
		for _, line := range lines {
			p.line("%s", line)
		}
		used += len(lines)
	}
	return used
}

// troubleText are the lines about a trouble and as many of its members as there is room for, in lines. units allows lines for their units.
func (p *statusPrinter) troubleText(t *trouble, room int, units bool) []string {
	heading := t.what
	switch first := t.members[0]; {
	case len(t.members) > 1:
		heading = fmt.Sprintf("%d %s", len(t.members), t.what)
	case first.State == "reconnecting":
		heading = p.stateOf(first)
	}
	const mark = 2
	var lines []string
	for i, line := range p.folded(heading, mark) {
		if i == 0 {
			line = p.mark() + " " + line
		} else {
			line = "  " + line
		}
		lines = append(lines, p.paint(bad, line))
	}
	var members []string
	shown := 0
	for i, c := range t.members {
		member := p.memberLines(c, p.progress(c, len(t.members) > 1), units && len(t.members) <= 2)
		if brief := p.memberLines(c, "", false); room == 1 && len(member) > len(brief) {
			member = brief
		}
		last := i+1 == len(t.members)
		if i > 0 && !p.all && (len(members)+len(member) > room || !last && len(members)+len(member)+1 > room) {
			break
		}
		members = append(members, member...)
		shown++
	}
	if rest := len(t.members) - shown; rest > 0 {
		members = append(members, fmt.Sprintf("    %s and %d more", p.ellipsis(), rest))
	}
	return append(lines, members...)
}

// memberLines are the lines of one that has trouble, with its unit: on a narrow screen on a line of its own if units allows it.
func (p *statusPrinter) memberLines(c client.Controller, detail string, units bool) []string {
	const indent = "    "
	name := title(c)
	if whole := indent + joined("  ", name, detail, value(c.Unit)); p.columns == 0 || utf8.RuneCountInString(whole) <= p.columns {
		return []string{indent + joined("  ", name, detail, p.paint(faint, value(c.Unit)))}
	}
	cells := []cell{{text: name}, {text: detail}}
	if units {
		cells = append(cells, cell{value(c.Unit), faint})
	}
	lines := p.flowed(cells, len(indent))
	for i := range lines {
		lines[i] = indent + lines[i]
	}
	return lines
}

// whatIsWrong says it in words that are the same for all that suffer the same.
func (p *statusPrinter) whatIsWrong(c client.Controller) string {
	switch {
	case c.State == "collision":
		return "not connected: another controller has the same unit name"
	case c.State == "reconnecting":
		return broken(c)
	case c.LastError != nil:
		// Those who suffer the same at different addresses belong together; the addresses are shown with each.
		where := strings.NewReplacer(hostPort(c.Traddr, value(c.Trsvcid)), "the target", c.Traddr, "the target")
		return "not connected: " + where.Replace(*c.LastError)
	}
	return "not connected: it does not stay connected"
}

// progress says what is done about it. times has one that is reconnecting say for how long.
func (p *statusPrinter) progress(c client.Controller, times bool) string {
	switch {
	case c.State == "reconnecting" && !times:
		return value(c.Device)
	case c.State == "reconnecting":
		return joined(" ", value(c.Device), p.reconnecting(c))
	case c.NextRetry != nil:
		return fmt.Sprintf("%s, next in %s", plural(int(c.Attempts), "attempt", "attempts"), p.until(*c.NextRetry))
	case c.State == "connecting":
		return fmt.Sprintf("%s, trying now", plural(int(c.Attempts), "attempt", "attempts"))
	}
	return ""
}

// printStrays tells of connections and units that nothing accounts for. It returns how many lines it wrote.
func (p *statusPrinter) printStrays(status client.Status) int {
	used := 0
	browsing := p.printBrowsing(status.Browsing)
	say := func(n int, one, many string, names []string) {
		if n == 0 {
			return
		}
		if used == 0 {
			p.line("")
			used++
		}
		const most = 3
		if len(names) > most && !p.all {
			names = append(slices.Clone(names[:most]), p.ellipsis())
		}
		used += p.wrapped("", fmt.Sprintf("%s: %s", plural(n, one, many), strings.Join(names, ", ")), plain)
	}
	var unwanted []string
	for _, u := range status.Unwanted {
		unwanted = append(unwanted, joined(" ", u.Device, printable(value(u.Nqn))))
	}
	say(len(unwanted), "connection that nothing wishes for any more, kept until it drops",
		"connections that nothing wishes for any more, kept until they drop", unwanted)
	say(len(status.Unexplained), "unit that nothing accounts for, stop it with systemctl",
		"units that nothing accounts for, stop them with systemctl", status.Unexplained)
	return used + browsing
}
