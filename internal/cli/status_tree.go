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
		p.printDown(controllers)
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

// printDown prints what should be connected and is not.
func (p *statusPrinter) printDown(controllers []client.Controller) {
	for _, c := range controllers {
		if !wanted(c) || healthy(c) {
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
		if !p.all && used+2 > troubleLines && i+1 < len(troubles) {
			p.line("  and %s: see --all", plural(len(troubles)-i, "other trouble", "other troubles"))
			return used + 1
		}
		used += p.printMembers(t, each, len(troubles) <= 3)
	}
	return used
}

// printMembers prints a trouble and of its members as many as there is room for. units allows lines for their units.
func (p *statusPrinter) printMembers(t *trouble, room int, units bool) int {
	heading := t.what
	if len(t.members) > 1 {
		heading = fmt.Sprintf("%d %s", len(t.members), t.what)
	}
	used := p.wrapped(p.mark()+" ", heading, bad)
	shown := t.members
	if !p.all && len(shown) > room {
		shown = shown[:max(room-1, 1)]
	}
	for _, c := range shown {
		used += p.printMember(c, units && len(shown) <= 2)
	}
	if rest := len(t.members) - len(shown); rest > 0 {
		p.line("    %s and %d more", p.ellipsis(), rest)
		used++
	}
	return used
}

// printMember prints one that has trouble, with its unit: on a narrow screen on a line of its own if there is room.
func (p *statusPrinter) printMember(c client.Controller, room bool) int {
	const indent = "    "
	name, detail := title(c), p.progress(c)
	whole := joined("  ", name, detail, value(c.Unit))
	switch {
	case p.columns == 0 || utf8.RuneCountInString(indent+whole) <= p.columns:
		p.line("%s%s", indent, joined("  ", name, detail, p.paint(faint, value(c.Unit))))
		return 1
	default:
		p.line("%s%s", indent, joined("  ", p.clip(name, max(p.columns-len(indent)-2-len(detail), 20)), detail))
		if !room || c.Unit == nil {
			return 1
		}
		p.line("%s%s", indent, p.paint(faint, *c.Unit))
		return 2
	}
}

// whatIsWrong says it in words that are the same for all that suffer the same.
func (p *statusPrinter) whatIsWrong(c client.Controller) string {
	switch {
	case c.State == "collision":
		return "not connected: another controller has the same unit name"
	case c.State == "reconnecting":
		return p.stateOf(c)
	case c.LastError != nil:
		// Those who suffer the same at different addresses belong together; the addresses are shown with each.
		where := strings.NewReplacer(hostPort(c.Traddr, value(c.Trsvcid)), "the target", c.Traddr, "the target")
		return "not connected: " + where.Replace(*c.LastError)
	}
	return "not connected: it does not stay connected"
}

// progress says what is done about it.
func (p *statusPrinter) progress(c client.Controller) string {
	switch {
	case c.State == "reconnecting":
		return joined(" ", value(c.Device), "since", p.ago(c.Since))
	case c.NextRetry != nil:
		return fmt.Sprintf("%s, next in %s", plural(int(c.Attempts), "attempt", "attempts"), p.until(*c.NextRetry))
	case c.State == "connecting":
		return fmt.Sprintf("%s, trying now", plural(int(c.Attempts), "attempt", "attempts"))
	}
	return ""
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
	var trees [][]row
	lines := 0
	for _, d := range details {
		trees, lines = nil, 2*len(sources)
		for _, s := range sources {
			rows := p.rows(s.roots, "", d)
			trees = append(trees, rows)
			lines += len(rows)
		}
		if p.all || lines <= room {
			break
		}
	}
	for i, s := range sources {
		name := s.name
		if name == "" {
			name = "named by nothing any more"
		}
		if p.columns > 0 {
			name = p.clip(name, p.columns)
		}
		p.line("\n%s", p.paint(bold, name))
		p.printRows(trees[i], lines+len(controllers) <= room)
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
	switch {
	case n.State == "reconnecting":
		what = "with a broken connection"
	case wrong(n.Controller):
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

// cells are the columns of a controller.
func (p *statusPrinter) cells(r row) [5]string {
	c := r.Controller
	name, state := c.Nqn, p.shortState(c)
	if c.Kind == "discovery" {
		name = "discovery " + place(c)
		return [5]string{name, r.text, value(c.Device), state, p.ago(c.Since)}
	}
	return [5]string{name, place(c), value(c.Device), state, p.ago(c.Since)}
}

// shortState is a word for the tree: what is wrong was said above.
func (a *app) shortState(c client.Controller) string {
	if (c.State == "connected" || c.State == "reconnecting") && c.DeviceState != nil {
		return *c.DeviceState
	}
	return c.State
}

// printRows prints items in columns. double allows a second line for the unit where the screen is narrow.
func (p *statusPrinter) printRows(rows []row, double bool) {
	var widths [5]int
	tree := 0
	for _, r := range rows {
		if r.node == nil {
			continue
		}
		for i, cell := range p.cells(r) {
			w := utf8.RuneCountInString(cell)
			if i == 0 { // the tree indents it
				w += utf8.RuneCountInString(r.prefix)
			}
			widths[i] = max(widths[i], w)
		}
		tree = max(tree, utf8.RuneCountInString(r.prefix))
	}
	total := 0
	for _, w := range widths {
		total += w + 2
	}
	const unit = len("nvme-discoverd-0123456789ab.service")
	units := p.columns == 0 || total+unit <= p.columns
	if over := total - 2 - p.columns; p.columns > 0 && !units && over > 0 {
		name := max(widths[0]-over, min(widths[0], tree+16))
		over -= widths[0] - name
		widths[0], widths[1] = name, max(widths[1]-over, min(widths[1], 12))
	}
	for _, r := range rows {
		if r.node == nil {
			p.line("%s%s", r.prefix, p.paint(r.color, r.text))
			continue
		}
		cells := p.cells(r)
		name := widths[0] - utf8.RuneCountInString(r.prefix)
		text := r.prefix + pad(p.clip(cells[0], name), name)
		for i, cell := range cells[1:] {
			if widths[i+1] == 0 {
				continue
			}
			cell = pad(cell, widths[i+1])
			switch i {
			case 0:
				cell = p.paint(r.color, pad(p.clip(strings.TrimRight(cell, " "), widths[1]), widths[1]))
			case 2:
				cell = p.paint(colorOf(r.Controller), cell)
			}
			text += "  " + cell
		}
		if units {
			text += "  " + p.paint(faint, value(r.Unit))
		}
		p.line("%s", strings.TrimRight(text, " "))
		if units || !double || r.Unit == nil {
			continue
		}
		branch := p.branches()[3]
		if len(r.children) > 0 {
			branch = p.branches()[2]
		}
		p.line("%s%s", r.below+branch, p.paint(faint, *r.Unit))
	}
}
