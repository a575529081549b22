// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

// A screen has 24 lines: what is wrong may take half of them, the tree the rest.
const (
	screenLines  = 23
	troubleLines = 12
)

// detail is how much of the tree is shown: of siblings that are alike so many, and of more than that their number.
type detail struct {
	leaves   int
	branches int // of discovery controllers
}

// details begins with everything and ends with what fits whatever there is.
var details = []detail{{math.MaxInt, math.MaxInt}, {2, math.MaxInt}, {0, math.MaxInt}, {0, 4}, {0, 0}}

// statusPrinter writes the status for people.
type statusPrinter struct {
	*app
	screen
	all   bool
	check bool // only what is down
}

func (p *statusPrinter) line(format string, args ...any) {
	fmt.Fprintf(p.Stdout, format+"\n", args...)
}

func (p *statusPrinter) print(status client.Status, controllers []client.Controller) {
	text := fmt.Sprintf("nvme-discoverd %s, up %s: %s", status.Version, p.ago(status.Since), status.Status)
	used := p.wrapped("", text, bold)
	if p.check {
		for _, c := range controllers {
			if why := p.missing(c); why != "" {
				p.wrapped(p.mark()+" ", title(c)+": "+why, colorOf(c))
			}
		}
		return
	}
	used += p.printTrouble(controllers) + p.printStrays(status)
	switch {
	case len(controllers) == 0 && !status.Ready:
		p.line("")
		p.wrapped("", "It has just started and has not compared its configuration with the controllers yet.", plain)
		return
	case len(controllers) == 0:
		p.line("")
		p.wrapped("", "No controller is configured or discovered: see discoverd.conf(5).", plain)
		return
	}
	p.printTree(controllers, screenLines-used)
}

// printChecked prints of each controller in a line whether it is there.
func (p *statusPrinter) printChecked(controllers []client.Controller) {
	for _, c := range controllers {
		if present(c) {
			p.wrapped("", title(c)+": "+joined(" ", p.stateOf(c), value(c.Device)), plain)
			continue
		}
		p.wrapped(p.mark()+" ", title(c)+": "+p.downBecause(c), colorOf(c))
	}
}

// wrapped prints a text, broken between words where the screen ends, and returns the number of lines. Those after the first
// are indented.
func (p *statusPrinter) wrapped(mark, text, color string) int {
	const indent = "  "
	lines := p.folded(strings.TrimSpace(text), len(indent))
	for i, line := range lines {
		if i > 0 {
			mark = indent
		}
		p.line("%s", p.paint(color, mark+line))
	}
	return len(lines)
}

// broken breaks a text between words so that it fits behind so many columns.
func (s screen) broken(text string, behind int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && s.columns > 0 && behind+utf8.RuneCountInString(line+" "+word) > s.columns {
			lines = append(lines, line)
			line = ""
		}
		line = joined(" ", line, word)
	}
	return append(lines, line)
}

// printBrowsing tells how browsing mDNS does, if it is switched on. It returns how many lines it wrote.
func (p *statusPrinter) printBrowsing(b *client.Browsing) int {
	if b == nil {
		return 0
	}
	p.line("")
	used := 1
	if b.Problem != nil {
		used += p.wrapped("", "mDNS is not heard: "+printable(*b.Problem), bad)
	}
	if b.Service != nil {
		text := fmt.Sprintf("mDNS: %s browses, %s", *b.Service, plural(int(b.Announced), "announcement", "announcements"))
		if b.Ignored > 0 && b.Example != nil {
			text += fmt.Sprintf(", %d ignored: %s", b.Ignored, printable(*b.Example))
		}
		used += p.wrapped("", text, plain)
	}
	if b.Beside {
		used += p.wrapped("", "nvme-stas browses mDNS too: put zeroconf = disabled into /etc/stas/stafd.conf, or zeroconf = false into discoverd.conf", bad)
	}
	return used
}

// node is a controller in the tree, below the discovery controller that names it.
type node struct {
	client.Controller
	children []*node
}

// size is the number of controllers of a tree, and calm whether there is nothing wrong and nothing special in it.
func (n *node) size() (size int, calm bool) {
	size, calm = 1, healthy(n.Controller)
	for _, child := range n.children {
		s, c := child.size()
		size += s
		calm = calm && c
	}
	return size, calm
}

// source is where wishes come from, with the controllers that it names itself.
type source struct {
	name  string
	roots []*node
}

// forest arranges controllers below their sources. A controller with several stands below the first of them: below
// something of its own before a log page.
func forest(controllers []client.Controller) []*source {
	nodes := map[string]*node{}
	for _, c := range controllers {
		nodes[c.Tid] = &node{Controller: c}
	}
	var sources []*source
	for _, c := range controllers {
		name := ownSource(c)
		parent := (*node)(nil)
		for _, tid := range c.Parents {
			if parent == nil && name == "" && tid != c.Tid {
				parent = nodes[tid]
			}
		}
		if parent != nil {
			parent.children = append(parent.children, nodes[c.Tid])
			continue
		}
		i := slices.IndexFunc(sources, func(s *source) bool { return s.name == name })
		if i < 0 {
			i = len(sources)
			sources = append(sources, &source{name: name})
		}
		sources[i].roots = append(sources[i].roots, nodes[c.Tid])
	}
	return sources
}

// ownSource is the first source of a controller that is no log page, without the line of a file.
func ownSource(c client.Controller) string {
	if len(c.Sources) <= len(c.Parents) {
		return ""
	}
	for _, s := range c.Sources {
		switch {
		case s.Kind == "log":
			continue
		case s.File != nil:
			return *s.File
		}
		return s.Text
	}
	return ""
}

// row is an item of the tree as it is shown.
type row struct {
	*node         // nil: text stands for several
	text   string // for several, or what is below the node and not shown
	color  string // of text
	prefix string // of the line
	below  string // of what follows it and belongs to it
}

// printTree prints the tree in as much detail as fits in so many lines.
func (p *statusPrinter) printTree(controllers []client.Controller, room int) {
	sources := forest(controllers)
	var heads, trees [][]string
	lay := func(d detail, units bool) (lines int) {
		heads, trees = nil, nil
		for _, s := range sources {
			name := s.name
			if name == "" {
				name = "named by nothing any more"
			}
			heads = append(heads, p.folded(name, 0))
			trees = append(trees, p.layout(p.rows(s.roots, "", d), units))
			lines += 1 + len(heads[len(heads)-1]) + len(trees[len(trees)-1])
		}
		return lines
	}
	for _, d := range details {
		if p.all {
			lay(d, false)
			break
		}
		if lay(d, true) <= room || lay(d, false) <= room {
			break
		}
	}
	for i := range sources {
		p.line("")
		for _, line := range heads[i] {
			p.line("%s", p.paint(bold, line))
		}
		for _, line := range trees[i] {
			p.line("%s", line)
		}
	}
}

// rows arranges siblings and what is below them.
func (p *statusPrinter) rows(siblings []*node, prefix string, d detail) []row {
	shown, sums := summed(siblings, d)
	branches := p.branches()
	var rows []row
	for i, n := range shown {
		branch, below := branches[0], branches[2]
		if i+1 == len(shown)+len(sums) {
			branch, below = branches[1], branches[3]
		}
		r := row{node: n, prefix: prefix + branch, below: prefix + below}
		if size, calm := n.size(); calm && size-1 > d.leaves && len(siblings) > 1 {
			r.text, r.color = fmt.Sprintf("+ %d connected", size-1), good
			rows = append(rows, r)
			continue
		}
		rows = append(append(rows, r), p.rows(n.children, r.below, d)...)
	}
	for i, r := range sums {
		branch, below := branches[0], branches[2]
		if i+1 == len(sums) {
			branch, below = branches[1], branches[3]
		}
		for j, text := range p.broken(r.text, utf8.RuneCountInString(prefix+branch)) {
			if j > 0 {
				branch = below
			}
			rows = append(rows, row{text: text, color: r.color, prefix: prefix + branch})
		}
	}
	return rows
}

// summed returns the siblings that are worth a line, and lines for the many that are alike.
func summed(siblings []*node, d detail) (shown []*node, sums []row) {
	kinds := map[string][]*node{}
	var order []string
	for _, n := range siblings {
		k := alike(n)
		if kinds[k] == nil {
			order = append(order, k)
		}
		kinds[k] = append(kinds[k], n)
	}
	var leaves []string
	for _, k := range order {
		nodes := kinds[k]
		discovery := nodes[0].Kind == "discovery"
		if discovery && len(nodes) <= d.branches || !discovery && len(nodes) <= d.leaves {
			continue
		}
		delete(kinds, k)
		text, below := fmt.Sprintf("%d %s", len(nodes), k), 0
		for _, n := range nodes {
			size, _ := n.size()
			below += size - 1
		}
		if below > 0 {
			text += fmt.Sprintf(", %s below", plural(below, "controller", "controllers"))
		}
		if d.leaves == 0 && !discovery { // in one line
			leaves = append(leaves, text)
			continue
		}
		sums = append(sums, row{text: text, color: colorOf(nodes[0].Controller)})
	}
	for _, n := range siblings {
		if kinds[alike(n)] != nil {
			shown = append(shown, n)
		}
	}
	if len(leaves) > 0 {
		r := row{text: strings.Join(leaves, ", ")}
		if len(leaves) == 1 && leaves[0] == fmt.Sprintf("%d connected", len(siblings)) {
			r.color = good
		}
		sums = append(sums, r)
	}
	return shown, sums
}

// alike says in words what siblings have in common that are shown as one number.
func alike(n *node) string {
	_, calm := n.size()
	what := n.State
	if wrong(n.Controller) && n.State != "reconnecting" {
		what = "not connected"
	}
	if n.Kind != "discovery" {
		return what
	}
	if healthy(n.Controller) && !calm {
		what += " with trouble below"
	}
	return "discovery controllers " + what
}
