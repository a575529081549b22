// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// table is rows in columns. In a pipe each row is one line, for grep and awk. On a screen that is too narrow, the last columns
// follow below their row, indented, and what is too long even for that is broken.
type table struct {
	rows    [][]string
	heading bool   // the first row is one
	indent  string // of all lines
	dense   bool   // leaves out the columns that are empty in all rows but the heading
}

// gap is between columns.
const gap = 2

func (a *app) printTable(t table) {
	s := a.screen()
	body := t.rows
	if t.heading {
		body = t.rows[1:]
	}
	var columns []int
	for i := range t.rows[0] {
		if !t.dense || slices.ContainsFunc(body, func(row []string) bool { return row[i] != "" }) {
			columns = append(columns, i)
		}
	}
	widths := make([]int, len(columns))
	for _, row := range t.rows {
		for i, column := range columns {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[column]), 1)
		}
	}
	// So many columns stand side by side.
	room, beside := s.columns-len(t.indent), 0
	for total := 0; beside < len(columns); beside++ {
		total += widths[beside]
		if s.columns > 0 && total > room && beside > 0 {
			break
		}
		total += gap
	}
	for n, row := range t.rows {
		line := ""
		for i, column := range columns[:beside] {
			cell := row[column]
			if cell == "" {
				cell = "-"
			}
			line += pad(cell, widths[i]+gap)
		}
		lines := []string{strings.TrimRight(line, " ")}
		if beside == 1 {
			lines = s.folded(lines[0], len(t.indent))
		}
		lines = append(lines, s.below(row, columns[beside:], len(t.indent)+2*gap)...)
		for _, text := range lines {
			if n == 0 && t.heading {
				text = s.paint(bold, text)
			}
			fmt.Fprintln(a.Stdout, t.indent+text)
		}
	}
}

// below arranges the cells that have no place beside the others, so many columns from the left.
func (s screen) below(row []string, columns []int, behind int) []string {
	var lines []string
	line := ""
	for _, column := range columns {
		cell := row[column]
		switch joint := joined(strings.Repeat(" ", gap), line, cell); {
		case behind+utf8.RuneCountInString(joint) <= s.columns:
			line = joint
		default:
			if line != "" {
				lines = append(lines, line)
			}
			folded := s.folded(cell, behind)
			lines = append(lines, folded[:len(folded)-1]...)
			line = folded[len(folded)-1]
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	for i := range lines {
		lines[i] = strings.Repeat(" ", 2*gap) + lines[i]
	}
	return lines
}

// printFolded prints a line that begins with a key, and what it has to break below what follows the key.
func (a *app) printFolded(key, text, color string) {
	s := a.screen()
	behind := utf8.RuneCountInString(key)
	for i, line := range s.folded(text, behind) {
		if i > 0 {
			key = strings.Repeat(" ", behind)
		}
		fmt.Fprintln(a.Stdout, key+s.paint(color, line))
	}
}
