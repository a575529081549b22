// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"math"
	"strings"
	"unicode/utf8"
)

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
