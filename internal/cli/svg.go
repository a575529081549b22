// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

// The picture has three columns: the host with its ports, the ports of targets with their discovery controllers, and the subsystems.
// Lengths are in pixels.
const (
	svgMargin  = 20
	svgLine    = 18 // height of a line of text
	svgPad     = 10 // between a frame and what is in it
	svgGap     = 18 // between boxes
	svgLetter  = 15 // width of two letters, about
	svgLetters = 38 // in a line of an NQN
	svgCables  = 150
	svgPaths   = 230 // wide enough for the words on a path
)

// svgBox is a box of the picture: a port of the host or of a target, or a subsystem.
type svgBox struct {
	lines    []svgText
	paths    int // that end at its right side
	x, y     int
	width    int
	height   int
	leaving  int // paths that were drawn from it so far
	arriving int // and to it
	arrives  int // paths that end at its left side
}

type svgText struct{ text, class string }

// middle is the height at which the n-th of several lines meets the side of a box.
func (b *svgBox) middle(n, of int) int { return b.y + b.height*(2*n+1)/(2*max(of, 1)) }

// topology is what the picture shows.
type topology struct {
	ports      []string // of the host, each where connections come from
	targets    []string // ports of targets: transport and address
	subsystems []string // NQNs
	box        map[string]*svgBox
	cables     []cable
}

// cable leads from a port of the host to one of a target, for all connections between them.
type cable struct {
	from, to string
	class    string
}

// printSVG draws the topology as people do: the host on the left, its ports, the ports of the targets with their discovery
// controllers, and the subsystems on the right; a line is a connection, or several along one way. What is wrong is dashed, what is kept
// from being connected dotted, so that colours tell nothing alone.
func (a *app) printSVG(controllers []client.Controller) {
	t := topology{box: map[string]*svgBox{}}
	for _, c := range controllers {
		a.place(&t, c)
	}
	height := t.arrange()
	subsystems := svgMargin + t.widest(t.ports) + 4*svgPad + svgCables + t.widest(t.targets) + svgPaths
	width := subsystems + t.widest(t.subsystems) + svgMargin
	out := func(format string, args ...any) { fmt.Fprintf(a.Stdout, format+"\n", args...) }
	out(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="NVMe over Fabrics connections of a host">`, width, height, width, height)
	out("%s", svgStyle)
	out(`<rect class="back" width="100%%" height="100%%"/>`)
	if len(t.ports) > 0 {
		first, last := t.box[t.ports[0]], t.box[t.ports[len(t.ports)-1]]
		top := first.y - svgLine - svgPad
		out(`<rect class="host" x="%d" y="%d" width="%d" height="%d" rx="6"/>`, svgMargin, top, first.width+2*svgPad, last.y+last.height+svgPad-top)
		out(`<text class="title" x="%d" y="%d">this host</text>`, svgMargin+svgPad, top+svgLine)
	}
	for _, c := range t.cables {
		from, to := t.box[c.from], t.box[c.to]
		t.curve(out, c.class, from, to, from.paths, to.arrives)
	}
	for _, c := range controllers {
		if c.Kind == "discovery" {
			continue
		}
		from, to := t.box[targetPort(c)], t.box[c.Nqn]
		x, y := t.curve(out, lineClass(c), from, to, from.paths, to.arrives)
		out(`<text class="%s label" x="%d" y="%d" text-anchor="end">%s</text>`, lineClass(c), x-8, y-6, escaped(joined(" ", value(c.Device), c.State)))
	}
	for _, column := range []struct {
		names []string
		class string
	}{{t.ports, "port"}, {t.targets, "target"}, {t.subsystems, "subsystem"}} {
		for _, name := range column.names {
			t.box[name].draw(out, column.class)
		}
	}
	out("</svg>")
}

// place adds a connection.
func (a *app) place(t *topology, c client.Controller) {
	box := func(column *[]string, name string, lines ...svgText) *svgBox {
		if t.box[name] == nil {
			*column = append(*column, name)
			t.box[name] = &svgBox{lines: lines}
		}
		return t.box[name]
	}
	port := hostPortOf(c)
	from := box(&t.ports, port, svgText{port, ""})
	target := targetPort(c)
	where := c.Traddr
	if where == "" {
		where = "in this host"
	}
	to := box(&t.targets, target, svgText{joined(" ", c.Transport, where), "title"})
	class := lineClass(c)
	i := slices.IndexFunc(t.cables, func(w cable) bool { return w.from == port && w.to == target })
	switch {
	case i < 0:
		t.cables = append(t.cables, cable{port, target, class})
		from.paths++
		to.arrives++
	case rank(class) < rank(t.cables[i].class):
		t.cables[i].class = class
	}
	if c.Kind == "discovery" {
		text := joined(" ", "discovery", value(c.Trsvcid)+":", value(c.Device), c.State)
		to.lines = append(to.lines, svgText{text, class})
		return
	}
	var lines []svgText
	for _, line := range (screen{columns: svgLetters}).folded(c.Nqn, 0) {
		lines = append(lines, svgText{line, ""})
	}
	box(&t.subsystems, c.Nqn, lines...).arrives++
	to.paths++
}

// hostPortOf is from where a connection comes.
func hostPortOf(c client.Controller) string {
	switch iface, addr := value(c.HostIface), value(c.HostTraddr); {
	case iface != "" && addr != "":
		return iface + " " + addr
	case iface != "" || addr != "":
		return iface + addr
	case c.Transport == "loop":
		return "loop"
	}
	return "as routed"
}

// targetPort names a port of a target: all services at one address.
func targetPort(c client.Controller) string { return c.Transport + "\x00" + c.Traddr }

// lineClass is how a connection is drawn.
func lineClass(c client.Controller) string {
	switch {
	case healthy(c):
		return "good"
	case wrong(c):
		return "bad"
	case c.State == "waiting" || c.State == "connecting":
		return "moving"
	}
	return "off"
}

// rank orders how connections are drawn: of several along one cable, the first one counts.
func rank(class string) int { return slices.Index([]string{"good", "bad", "moving", "off"}, class) }

// arrange gives every box its place and size and returns the height of the picture.
func (t *topology) arrange() (height int) {
	x := svgMargin + svgPad
	var columns []int
	for i, names := range [][]string{t.ports, t.targets, t.subsystems} {
		width := t.widest(names)
		total := -svgGap
		for _, name := range names {
			b := t.box[name]
			b.x, b.width = x, width
			b.height = max(len(b.lines)*svgLine, max(b.paths, b.arrives)*svgLine) + svgPad
			total += b.height + svgGap
		}
		columns = append(columns, total)
		height = max(height, total)
		x += width + []int{2*svgPad + svgCables, svgPaths, 0}[i]
	}
	const head = svgMargin + svgLine + svgPad
	for i, names := range [][]string{t.ports, t.targets, t.subsystems} {
		y := head + (height-columns[i])/2
		for _, name := range names {
			t.box[name].y = y
			y += t.box[name].height + svgGap
		}
	}
	return head + max(height, 0) + svgPad + svgMargin
}

// widest is the width of the boxes of a column.
func (t *topology) widest(names []string) int {
	letters := 10
	for _, name := range names {
		for _, line := range t.box[name].lines {
			letters = max(letters, utf8.RuneCountInString(line.text))
		}
	}
	return letters*svgLetter/2 + 2*svgPad
}

// curve draws a line between two boxes, of which so many leave and arrive, and returns where it ends.
func (t *topology) curve(out func(string, ...any), class string, from, to *svgBox, leave, arrive int) (x, y int) {
	x1, y1 := from.x+from.width, from.middle(from.leaving, leave)
	x2, y2 := to.x, to.middle(to.arriving, arrive)
	from.leaving++
	to.arriving++
	bend := (x2 - x1) / 3
	out(`<path class="%s" d="M%d %dC%d %d %d %d %d %d"/>`, class, x1, y1, x1+bend, y1, x2-2*bend, y2, x2-bend, y2)
	out(`<path class="%s" d="M%d %dH%d"/>`, class, x2-bend, y2, x2)
	return x2, y2
}

// draw draws a box with its text.
func (b *svgBox) draw(out func(string, ...any), class string) {
	out(`<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="4"/>`, class, b.x, b.y, b.width, b.height)
	y := b.y + (b.height-len(b.lines)*svgLine)/2 + svgLine - 5
	for _, line := range b.lines {
		attribute := ""
		if line.class != "" {
			attribute = fmt.Sprintf(` class="%s"`, line.class)
		}
		out(`<text%s x="%d" y="%d">%s</text>`, attribute, b.x+svgPad, y, escaped(line.text))
		y += svgLine
	}
}

// escaped is a text as XML has it.
func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder takes everything
	return b.String()
}

// svgStyle has colours for a light and for a dark ground.
const svgStyle = `<style>
text{font:12px monospace;fill:#24292f}.title{font-weight:bold}
rect{fill:#f6f8fa;stroke:#57606a}.back{fill:#ffffff;stroke:none}.host{fill:#ffffff}.subsystem{fill:#ddf4ff;stroke:#0969da}
path{fill:none;stroke-width:1.6}path.good{stroke:#0a7d45}path.bad{stroke:#cf222e;stroke-dasharray:6 3}path.moving{stroke:#8250df;stroke-dasharray:6 3}path.off{stroke:#57606a;stroke-dasharray:2 3}
text.good{fill:#0a7d45}text.bad{fill:#cf222e}text.moving{fill:#8250df}text.off{fill:#57606a}.label{paint-order:stroke;stroke:#ffffff;stroke-width:4px}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect{fill:#161b22;stroke:#8b949e}.back,.host{fill:#0d1117}.subsystem{fill:#0c2d6b;stroke:#58a6ff}
path.good{stroke:#3fb950}path.bad{stroke:#ff7b72}path.moving{stroke:#d2a8ff}path.off{stroke:#8b949e}
text.good{fill:#3fb950}text.bad{fill:#ff7b72}text.moving{fill:#d2a8ff}text.off{fill:#8b949e}.label{stroke:#0d1117}}
</style>`
