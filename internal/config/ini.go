// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// iniEvents are what there is in an INI file, in its order. Columns count characters.
type iniEvents struct {
	section func(name string, at position)                    // without the brackets
	entry   func(key, value string, at position, valueAt int) // valueAt is the column of the value
	junk    func(at position)                                 // a line that is none of these
}

// scanINI walks over an INI file. Comments begin with "#" or ";" at the beginning of a line or with "#" after white space;
// no value that we know holds white space, and libnvme's documentation of nvme-fabrics.conf has comments after values.
func scanINI(text string, found iniEvents) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		for _, blank := range []string{" ", "\t"} {
			line, _, _ = strings.Cut(line, blank+"#")
		}
		trimmed := strings.TrimSpace(line)
		at := position{number, column(line, strings.Index(line, trimmed))}
		key, value, pair := strings.Cut(trimmed, "=")
		switch {
		case trimmed == "", trimmed[0] == '#', trimmed[0] == ';':
		case trimmed[0] == '[' && strings.HasSuffix(trimmed, "]"):
			found.section(trimmed[1:len(trimmed)-1], at)
		case pair && trimmed[0] != '[' && strings.TrimSpace(key) != "":
			before := len(key) + 1 + len(value) - len(strings.TrimLeft(value, " \t"))
			found.entry(strings.TrimSpace(key), strings.TrimSpace(value), at, at.column+column(trimmed, before)-1)
		default:
			found.junk(at)
		}
	}
}

// column returns the column of an offset in a line.
func column(line string, offset int) int { return utf8.RuneCountInString(line[:offset]) + 1 }

// iniSections returns the names of the sections of nvme-fabrics.conf by what stands in it.
func iniSections() map[string]string {
	names := map[string]string{}
	for name, title := range iniDialect.titles {
		if name != secGlobal {
			names[title] = name
		}
	}
	return names
}

// parseINI reads the text of an nvme-fabrics.conf. Our own scanner, since a document needs places, which the INI libraries
// do not keep.
func parseINI(text string) (document, findings) {
	var found findings
	text, ok := plain(text, &found)
	if !ok {
		found.unparsed = true
		return document{}, found
	}
	l := iniLoader{names: iniSections(), singles: map[string]int{}, seen: map[tableKey]int{}, found: &found}
	l.doc.tables = []table{{title: "the beginning of the file, before the first section", at: position{1, 1}}}
	scanINI(text, iniEvents{section: l.section, entry: l.entry, junk: func(at position) {
		found.unparsed = true
		found.errors.add(at, "cannot parse this line: it must be a [section] or key = value")
	}})
	return l.doc, found
}

// iniLoader turns what the scanner finds into a document.
type iniLoader struct {
	names   map[string]string
	doc     document
	singles map[string]int   // sections that there are: the number of their table
	current int              // table
	unknown string           // title of the section if it is none that we know: its keys are passed over
	seen    map[tableKey]int // of entries: their number in the table
	found   *findings
}

// tableKey is a key of the table with this number.
type tableKey struct {
	table int
	key   string
}

func (l *iniLoader) section(name string, at position) {
	title := "[" + name + "]"
	known, ok := l.names[title]
	l.unknown = ""
	if !ok {
		l.unknown = "[" + shownSection(name) + "]"
		var candidates []string
		for title := range l.names {
			candidates = append(candidates, strings.Trim(title, "[]"))
		}
		slices.Sort(candidates)
		l.found.warnings.ignore(ignoredSection, at, "section [%s] is unknown and ignored%s", shownSection(name), suggest(name, candidates))
		return
	}
	if before, again := l.singles[known]; again && !sections[known] {
		line := l.doc.tables[before].at.line
		if known == secHost {
			l.found.faults = append(l.found.faults, l.found.errors.fault(at, "hostnqn", true,
				"cannot use a second %s: the one at line %d holds for the whole file; another host goes into a drop-in of its own", title, line))
		} else {
			l.found.warnings.add(at, "section %s is at line %d already: both count, and this one where both set a key", title, line)
		}
		l.current = before
		return
	}
	l.doc.tables = append(l.doc.tables, table{name: known, title: title, at: at})
	l.current = len(l.doc.tables) - 1
	l.singles[known] = l.current
}

// shownSection returns the name of a section as it can stand in a message.
func shownSection(name string) string {
	if strings.ReplaceAll(shown(strings.ReplaceAll(name, " ", "_")), "_", " ") == strings.ReplaceAll(name, "_", " ") {
		return name
	}
	return shown(name)
}

func (l *iniLoader) entry(key, value string, at position, valueAt int) {
	t := &l.doc.tables[l.current]
	switch {
	case l.unknown != "":
		l.found.unknownSection(l.unknown, key, at)
	case key == "controller" && sections[t.name]:
		t.listed = true
		if value == "" { // resets the list
			t.controllers = nil
			return
		}
		t.controllers = append(t.controllers, l.controller(value, position{at.line, valueAt}))
	default:
		e := entry{key: key, at: at, text: value}
		if i, again := l.seen[tableKey{l.current, key}]; again {
			if before := t.entries[i]; before.text != value && grave(key) {
				t.faults = append(t.faults, l.found.errors.fault(at, meant(key), true,
					"cannot set %s twice in %s: it is at line %d already", shown(key), t.title, before.at.line))
				return
			}
			l.found.warnings.add(at, "key %s in %s is set at line %d already: this one counts", shown(key), t.title, t.entries[i].at.line)
			t.entries[i] = e
			return
		}
		l.seen[tableKey{l.current, key}] = len(t.entries)
		t.entries = append(t.entries, e)
	}
}

// controller takes "key=value;key=value…" apart.
func (l *iniLoader) controller(value string, at position) table {
	t := table{name: "controller", title: iniDialect.path, at: at}
	seen := map[string]int{} // columns
	next := at.column
	for part := range strings.SplitSeq(value, ";") {
		trimmed := strings.TrimSpace(part)
		here := position{at.line, next + column(part, strings.Index(part, trimmed)) - 1}
		next += utf8.RuneCountInString(part) + 1
		if trimmed == "" {
			continue
		}
		key, text, ok := strings.Cut(trimmed, "=")
		key = strings.TrimSpace(key)
		before, again := seen[key]
		switch {
		case !ok || key == "":
			t.faults = append(t.faults, l.found.errors.fault(here, meant(trimmed), true, "cannot parse this part of the controller line: it must be key=value"))
		case again:
			t.faults = append(t.faults, l.found.errors.fault(here, key, grave(key),
				"cannot set %s twice in a controller line: it is at column %d already", shown(key), before))
		default:
			seen[key] = here.column
			t.entries = append(t.entries, entry{key: key, at: here, text: strings.TrimSpace(text)})
		}
	}
	return t
}
