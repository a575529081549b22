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

// cells are the columns of a controller.
func (p *statusPrinter) cells(r row) [5]cell {
	c := r.Controller
	name, where := c.Nqn, cell{text: place(c)}
	if c.Kind == "discovery" {
		name, where = "discovery "+place(c), cell{r.text, r.color}
	}
	return [5]cell{{text: name}, where, {text: value(c.Device)}, {c.State, colorOf(c)}, {text: p.ago(c.Since)}}
}

// cell is a text in a colour.
type cell struct{ text, color string }

func (c cell) width() int { return utf8.RuneCountInString(c.text) }

// layout returns the lines of items in columns. On a narrow screen what follows a long name stands below it, and is not in the columns.
// units allows a line for the unit where it has no place on that of its controller.
func (p *statusPrinter) layout(rows []row, units bool) []string {
	const unit = len("nvme-discoverd-0123456789ab.service")
	widths, aligned := p.columnWidths(rows)
	total := 0
	for _, w := range widths {
		total += w + gap
	}
	beside := p.columns == 0 || aligned == len(rows) && total+unit <= p.columns
	var lines []string
	for _, r := range rows {
		if r.node == nil {
			lines = append(lines, r.prefix+p.paint(r.color, r.text))
			continue
		}
		below := r.below + p.branches()[3]
		if len(r.children) > 0 {
			below = r.below + p.branches()[2]
		}
		cells := p.cells(r)
		if !p.fits(r, widths) {
			more := append([]cell{}, cells[1:]...)
			if units {
				more = append(more, cell{value(r.Unit), faint})
			}
			for i, line := range p.folded(cells[0].text, utf8.RuneCountInString(below)) {
				if i == 0 {
					lines = append(lines, r.prefix+line)
				} else {
					lines = append(lines, below+line)
				}
			}
			for _, line := range p.flowed(more, utf8.RuneCountInString(below)) {
				lines = append(lines, below+line)
			}
			continue
		}
		text := r.prefix + pad(cells[0].text, widths[0]-utf8.RuneCountInString(r.prefix))
		for i, c := range cells[1:] {
			if widths[i+1] > 0 {
				text += strings.Repeat(" ", gap) + p.paint(c.color, c.text) + strings.Repeat(" ", widths[i+1]-c.width())
			}
		}
		if beside {
			text += strings.Repeat(" ", gap) + p.paint(faint, value(r.Unit))
		}
		lines = append(lines, strings.TrimRight(text, " "))
		if !beside && units && r.Unit != nil {
			lines = append(lines, below+p.paint(faint, *r.Unit))
		}
	}
	return lines
}

// columnWidths returns how wide the columns are, and how many items have their cells in them, those without any among them: the longest are
// left out until the others fit the screen.
func (p *statusPrinter) columnWidths(rows []row) (widths [5]int, aligned int) {
	longest := math.MaxInt
	for {
		widths, aligned = [5]int{}, 0
		next, total := 0, -gap
		for _, r := range rows {
			long := p.length(r)
			if long >= longest {
				continue
			}
			next = max(next, long)
			aligned++
			if r.node == nil {
				continue
			}
			for i, c := range p.cells(r) {
				widths[i] = max(widths[i], c.width())
				if i == 0 { // the tree indents it
					widths[i] = max(widths[i], utf8.RuneCountInString(r.prefix)+c.width())
				}
			}
		}
		for _, w := range widths {
			total += w + gap
		}
		if p.columns == 0 || total <= p.columns || next == 0 {
			return widths, aligned
		}
		longest = next
	}
}

// length is by which items are left out of the columns: what the name and the address of a controller take.
func (p *statusPrinter) length(r row) int {
	if r.node == nil {
		return 0
	}
	cells := p.cells(r)
	return utf8.RuneCountInString(r.prefix) + cells[0].width() + cells[1].width()
}

// fits tells whether the cells of a controller are within the columns.
func (p *statusPrinter) fits(r row, widths [5]int) bool {
	for i, c := range p.cells(r) {
		width := c.width()
		if i == 0 {
			width += utf8.RuneCountInString(r.prefix)
		}
		if width > widths[i] {
			return false
		}
	}
	return true
}

// flowed puts cells one after the other into lines that fit behind so many columns; one that is too long for a line is broken.
func (s screen) flowed(cells []cell, behind int) []string {
	var lines []string
	line, width := "", 0
	for _, c := range cells {
		if c.text == "" {
			continue
		}
		if line != "" && behind+width+gap+c.width() <= s.columns {
			line, width = line+strings.Repeat(" ", gap)+s.paint(c.color, c.text), width+gap+c.width()
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		folded := s.folded(c.text, behind)
		for _, part := range folded[:len(folded)-1] {
			lines = append(lines, s.paint(c.color, part))
		}
		last := folded[len(folded)-1]
		line, width = s.paint(c.color, last), utf8.RuneCountInString(last)
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
