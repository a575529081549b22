// SPDX-License-Identifier: GPL-3.0-or-later

package exclusion

import (
	"iter"
	"slices"
	"strings"
)

// section is where entries stand. What stands before any section header counts for us too, but not for nvme-cli 3, which
// keeps all other sections for later use.
const section = "exclusions"

// line is one of a list.
type line struct {
	number int    // counted from 1
	raw    string // as it stands in the file, with its end
	bare   string // without its comment, a byte order mark and the white space around it
	header bool   // it begins a section
	counts bool   // it stands where entries do
}

// lines takes a list apart.
func lines(text string) iter.Seq[line] {
	return func(yield func(line) bool) {
		number, counts := 0, true
		for raw := range strings.Lines(text) {
			number++
			bare := raw
			if number == 1 {
				bare = strings.TrimPrefix(bare, mark)
			}
			bare = strings.TrimSpace(withoutComment(bare))
			l := line{number: number, raw: raw, bare: bare, header: strings.HasPrefix(bare, "[") && strings.HasSuffix(bare, "]")}
			if l.header {
				counts = l.title() == section
			}
			l.counts = counts
			if !yield(l) {
				return
			}
		}
	}
}

// mark is the byte order mark that some editors begin a file with.
const mark = "\ufeff"

// title is the name of the section that a header begins.
func (l line) title() string { return strings.TrimSpace(strings.Trim(l.bare, "[]")) }

// misspelt tells of a header whether it means the section of the entries and does not say so.
func (l line) misspelt() bool {
	title := strings.ToLower(l.title())
	return !l.counts && slices.Contains([]string{section, "exclusion", "exclude", "excludes"}, title)
}

// headed returns a list as other tools read it too: with the header of their section before entries that stand before any,
// which nvme-cli 3 passes over, and without a byte order mark, which would hide a header from whoever does not know it.
func headed(text string) string {
	text = strings.TrimPrefix(text, mark)
	end := 0
	for l := range lines(text) {
		switch {
		case l.header:
			return text
		case l.bare != "":
			return text[:end] + "[" + section + "]\n" + text[end:]
		}
		end += len(l.raw)
	}
	return text
}

// room returns where entries are added to a list that headed has returned, and whether the header of their section must go
// before them: at the end of that section if there is one, since others may follow it.
func room(text string) (offset int, header bool) {
	offset, header = len(text), true
	end := 0
	for l := range lines(text) {
		end += len(l.raw)
		if l.counts && l.bare != "" {
			offset, header = end, false
		}
	}
	return offset, header
}
