// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

// printDot draws the topology for dot(1): the host, the discovery controllers, the subsystems, and the path to each, with
// its device. What is wrong is drawn with broken lines, too, for those who print in black and white.
func (a *app) printDot(controllers []client.Controller) {
	quote := func(lines ...string) string {
		text := strings.Join(lines, "\n")
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
	}
	style := func(c client.Controller) string {
		switch {
		case healthy(c):
			return "color=darkgreen"
		case wrong(c):
			return "color=red, style=dashed"
		}
		return "color=gray, style=dotted"
	}
	line := func(format string, args ...any) { fmt.Fprintf(a.Stdout, format+"\n", args...) }
	line("digraph nvme {\n  rankdir=LR;\n  node [shape=box];\n  host [label=%s];", quote("this host"))
	dcs := map[string]bool{}
	for _, c := range controllers {
		dcs[c.Tid] = c.Kind == "discovery"
	}
	subsystems := map[string]bool{}
	for _, c := range controllers {
		if c.Kind == "discovery" {
			line("  %s [label=%s, %s];", quote(c.Tid), quote("discovery "+place(c), joined(" ", value(c.Device), c.State)), style(c))
		} else if !subsystems[c.Nqn] {
			subsystems[c.Nqn] = true
			line("  %s [label=%s, shape=cylinder];", quote("subsystem "+c.Nqn), quote(c.Nqn))
		}
	}
	for _, c := range controllers {
		to, label := quote(c.Tid), ""
		if c.Kind != "discovery" {
			to, label = quote("subsystem "+c.Nqn), quote(place(c), joined(" ", value(c.Device), c.State))
		}
		attributes := style(c)
		if label != "" {
			attributes = "label=" + label + ", " + attributes
		}
		from := []string{}
		for _, parent := range c.Parents {
			if dcs[parent] {
				from = append(from, quote(parent))
			}
		}
		if len(from) == 0 || ownSource(c) != "" {
			from = append(from, "host")
		}
		for _, f := range from {
			line("  %s -> %s [%s];", f, to, attributes)
		}
	}
	line("}")
}
