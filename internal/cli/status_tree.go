package cli

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

// A screen has 24 lines: what is wrong may take half of them, and of the tree everything is shown if it fits in the rest.
const (
	screenLines  = 22
	troubleLines = 12
	fewAlike     = 2 // so many of one kind side by side are shown; of more, the number
	fewBranches  = 4 // so many discovery controllers side by side
)

// statusPrinter writes the status for people.
type statusPrinter struct {
	*app
	screen
	all bool
}

func (p *statusPrinter) line(format string, args ...any) {
	fmt.Fprintf(p.Stdout, format+"\n", args...)
}

func (p *statusPrinter) print(status client.Status, controllers []client.Controller) {
	p.line("%s %s, up %s: %s", p.paint(bold, "nvme-discoverd"), status.Version, p.ago(status.Since), status.Status)
	used := 1 + p.printTrouble(controllers)
	used += p.printStrays(status)
	if len(controllers) == 0 {
		p.line("\nNo controller is configured or discovered: see discoverd.conf(5).")
		return
	}
	p.printTree(controllers, max(screenLines-used, screenLines/3))
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
	p.line("\n%s", p.paint(bad, plural(count, "controller needs", "controllers need")+" attention:"))
	used := 2
	each := max((troubleLines-used)/len(troubles)-1, 1) // lines for members
	for i, t := range troubles {
		if !p.all && used+2 > troubleLines && i+1 < len(troubles) {
			p.line("  and %s: see --all", plural(len(troubles)-i, "other trouble", "other troubles"))
			return used + 1
		}
		used += p.printMembers(t, each)
	}
	return used
}

// printMembers prints a trouble and of its members as many as there is room for.
func (p *statusPrinter) printMembers(t *trouble, room int) int {
	heading := t.what
	if len(t.members) > 1 {
		heading = fmt.Sprintf("%d %s", len(t.members), t.what)
	}
	p.line("%s %s", p.paint(bad, p.mark()), p.fit(heading, 2))
	shown := t.members
	if !p.all && len(shown) > room {
		shown = shown[:max(room-1, 1)]
	}
	used := 1
	for _, c := range shown {
		used += p.printMember(c, len(shown) <= fewAlike)
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
	whole := joined("  ", name, detail, c.Unit)
	switch {
	case p.columns == 0 || utf8.RuneCountInString(indent+whole) <= p.columns:
		p.line("%s%s", indent, joined("  ", name, detail, p.paint(faint, c.Unit)))
		return 1
	default:
		p.line("%s%s", indent, joined("  ", p.clip(name, max(p.columns-len(indent)-2-len(detail), 20)), detail))
		if !room {
			return 1
		}
		p.line("%s%s", indent, p.paint(faint, c.Unit))
		return 2
	}
}

// whatIsWrong says it in words that are the same for all that suffer the same.
func (p *statusPrinter) whatIsWrong(c client.Controller) string {
	switch {
	case c.State == "collision":
		return "not connected: another controller has the same unit name"
	case c.State == "connected":
		return p.stateOf(c)
	case c.Last_error != nil:
		return "not connected: " + *c.Last_error
	}
	return "not connected: it does not stay connected"
}

// progress says what is done about it.
func (p *statusPrinter) progress(c client.Controller) string {
	switch {
	case c.State == "connected":
		return joined(" ", value(c.Device), "since", p.ago(c.Since))
	case c.Next_retry != nil:
		return fmt.Sprintf("%s, next in %s", plural(int(c.Attempts), "attempt", "attempts"), p.until(*c.Next_retry))
	case c.State == "connecting":
		return fmt.Sprintf("%s, trying now", plural(int(c.Attempts), "attempt", "attempts"))
	}
	return ""
}

// fit clips a text to what is left of a line after so many columns.
func (p *statusPrinter) fit(text string, after int) string {
	if p.columns == 0 {
		return text
	}
	return p.clip(text, p.columns-after)
}

// printStrays tells of connections and units that nothing accounts for. It returns how many lines it wrote.
func (p *statusPrinter) printStrays(status client.Status) int {
	used := 0
	say := func(n int, one, many string, names []string) {
		if n == 0 {
			return
		}
		if used == 0 {
			p.line("")
			used++
		}
		p.line("%s", p.fit(fmt.Sprintf("%s: %s", plural(n, one, many), strings.Join(names, ", ")), 0))
		used++
	}
	var unwanted []string
	for _, u := range status.Unwanted {
		unwanted = append(unwanted, joined(" ", u.Device, printable(value(u.Nqn))))
	}
	say(len(unwanted), "connection that nothing wishes for any more, kept until it drops",
		"connections that nothing wishes for any more, kept until they drop", unwanted)
	say(len(status.Unexplained), "unit that nothing accounts for, stop it with systemctl",
		"units that nothing accounts for, stop them with systemctl", status.Unexplained)
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
		if strings.HasPrefix(s, "log page of ") {
			continue
		}
		if i := strings.LastIndexByte(s, ':'); i > 0 && strings.Trim(s[i+1:], "0123456789") == "" {
			return s[:i]
		}
		return s
	}
	return ""
}

// row is an item of the tree as it is shown.
type row struct {
	*node         // nil: text stands for several
	text   string // what follows the columns
	color  string // of text
	prefix string // of the line
	below  string // prefix of a second line
}

// printTree prints the tree in so many lines, or a little more.
func (p *statusPrinter) printTree(controllers []client.Controller, room int) {
	sources := forest(controllers)
	whole := p.all || len(controllers)+2*len(sources) <= room
	for _, s := range sources {
		name := s.name
		if name == "" {
			name = "named by nothing any more"
		}
		p.line("\n%s", p.paint(bold, p.fit(name, 0)))
		rows := p.rows(s.roots, "", whole)
		p.printRows(rows, 2*len(controllers)+2*len(sources) <= room)
	}
}

// rows arranges siblings and what is below them.
func (p *statusPrinter) rows(siblings []*node, prefix string, whole bool) []row {
	shown, sums := siblings, []row(nil)
	if !whole {
		shown, sums = summed(siblings)
	}
	branches := p.branches()
	var rows []row
	for i, n := range shown {
		branch, below := branches[0], branches[2]
		if i+1 == len(shown)+len(sums) {
			branch, below = branches[1], branches[3]
		}
		r := row{node: n, prefix: prefix + branch, below: prefix + below}
		children := n.children
		if size, calm := n.size(); !whole && calm && size > 1+fewAlike && len(siblings) > 1 {
			r.text, r.color, children = fmt.Sprintf("%d below, all connected", size-1), good, nil
		}
		rows = append(append(rows, r), p.rows(children, prefix+below, whole)...)
	}
	for i, r := range sums {
		branch := branches[0]
		if i+1 == len(sums) {
			branch = branches[1]
		}
		r.prefix = prefix + branch
		rows = append(rows, r)
	}
	return rows
}

// summed returns the siblings that are worth a line, and lines for the many that are alike.
func summed(siblings []*node) (shown []*node, sums []row) {
	kinds := map[string][]*node{}
	var order []string
	for _, n := range siblings {
		k := alike(n)
		if kinds[k] == nil {
			order = append(order, k)
		}
		kinds[k] = append(kinds[k], n)
	}
	for _, k := range order {
		few := fewAlike
		if kinds[k][0].Kind == "discovery" {
			few = fewBranches
		}
		if len(kinds[k]) <= few {
			continue
		}
		total := 0
		for _, n := range kinds[k] {
			size, _ := n.size()
			total += size - 1
		}
		text := fmt.Sprintf("%d %s", len(kinds[k]), k)
		if total > 0 {
			text += fmt.Sprintf(", %s below", plural(total, "controller", "controllers"))
		}
		sums = append(sums, row{text: text, color: colorOf(kinds[k][0].Controller)})
		delete(kinds, k)
	}
	for _, n := range siblings {
		if kinds[alike(n)] != nil {
			shown = append(shown, n)
		}
	}
	return shown, sums
}

// alike says in words what siblings have in common that are shown as one number.
func alike(n *node) string {
	_, calm := n.size()
	what := n.State
	switch {
	case wrong(n.Controller) && n.State == "connected":
		what = "with a broken connection"
	case wrong(n.Controller):
		what = "not connected"
	}
	if n.Kind != "discovery" {
		return what
	}
	if healthy(n.Controller) && !calm {
		what += ", not all below them"
	}
	return "discovery controllers " + what
}

// cells are the columns of a controller.
func (p *statusPrinter) cells(r row) [5]string {
	c := r.Controller
	name, state := c.Nqn, p.shortState(c)
	if c.Kind == "discovery" {
		name = "discovery " + place(c)
		return [5]string{name, "", value(c.Device), state, p.ago(c.Since)}
	}
	return [5]string{name, place(c), value(c.Device), state, p.ago(c.Since)}
}

// shortState is a word for the tree: what is wrong was said above.
func (a *app) shortState(c client.Controller) string {
	if c.State == "connected" && c.Device_state != nil {
		return *c.Device_state
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
		widths[0] = max(widths[0]-over, tree+16)
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
			if i == 2 {
				cell = p.paint(colorOf(r.Controller), cell)
			}
			text += "  " + cell
		}
		if units {
			text += "  " + p.paint(faint, r.Unit)
		}
		p.line("%s", strings.TrimRight(text, " "))
		below := r.below
		if len(r.children) > 0 && r.text == "" {
			below += p.branches()[2]
		} else {
			below += p.branches()[3]
		}
		if !units && double {
			p.line("%s%s", below, p.paint(faint, r.Unit))
		}
		if r.text != "" {
			p.line("%s%s%s", r.below, p.branches()[1], p.paint(r.color, r.text))
		}
	}
}
