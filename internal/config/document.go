// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// document is a configuration file as it stands there: names and texts, nothing checked. The loader of each format makes
// one; resolve gives it its meaning.
type document struct {
	tables []table // in the order of the file
}

// dialect is how the files of one format spell what messages speak of.
type dialect struct {
	titles     map[string]string // of each section
	controller string            // what a controller key looks like
	path       string            // what one controller is called
	nqn        string            // what an nqn key looks like
	others     []string          // keys of [host] that are for other programs
}

// title returns a section as people read it in a file.
func (d *dialect) title(section string) string { return d.titles[section] }

// tomlDialect is that of discoverd.conf, iniDialect that of nvme-fabrics.conf. They are constant.
var (
	tomlDialect = &dialect{
		titles: map[string]string{
			secGlobal:            "[global]",
			secDiscoveryDefaults: "[discovery-controller-defaults]",
			secIODefaults:        "[io-controller-defaults]",
			secHost:              "[host]",
			secDiscovery:         "[[discovery-controller]]",
			secSubsystem:         "[[subsystem]]",
		},
		controller: "controller = [{ transport = …, traddr = … }]",
		path:       "a controller table",
		nqn:        `nqn = "nqn.…"`,
	}
	iniDialect = &dialect{
		titles: map[string]string{
			secGlobal:            "[global] of discoverd.conf",
			secDiscoveryDefaults: "[Discovery Controller Defaults]",
			secIODefaults:        "[I/O Controller Defaults]",
			secHost:              "[Host]",
			secDiscovery:         "[Discovery Controller]",
			secSubsystem:         "[Subsystem]",
		},
		controller: "controller = transport=…;traddr=…",
		path:       "a controller line",
		nqn:        "nqn = nqn.…",
		others:     []string{"hostsymname"},
	}
)

// table is one section of a document, or one controller of an endpoint.
type table struct {
	name        string // "global", "subsystem", …; "controller"; "" for what stands before the first section
	title       string // as people read it in the file: "[global]", "[[subsystem]]", "a controller line"
	at          position
	entries     []entry
	controllers []table // of an endpoint
	listed      bool    // an endpoint has a controller key, be it an empty list
	faults      []fault // that its loader found
}

// find returns the entry called key.
func (t table) find(key string) (entry, bool) {
	i := slices.IndexFunc(t.entries, func(e entry) bool { return e.key == key })
	if i < 0 {
		return entry{}, false
	}
	return t.entries[i], true
}

// text returns the value of key, "" where it is not set.
func (t table) text(key string) string {
	e, _ := t.find(key)
	return e.text
}

// place returns where key stands, or where the table begins when it is not there.
func (t table) place(key string) position {
	if e, ok := t.find(key); ok {
		return e.at
	}
	return t.at
}

// entry is one key with its value.
type entry struct {
	key     string
	at      position
	text    string // a number in decimal, a truth value as true or false
	strange string // what the value is when it is no single value: "an array"
	inner   string // the first grave key in it then, "" if there is none
}

// position is a place in a file, both counted from 1, the column in characters.
type position struct{ line, column int }

// finding is one thing to tell about a file.
type finding struct {
	at      position
	text    string
	ignores ignored
}

// ignored is what a warning says is ignored.
type ignored int

// What is ignored.
const (
	ignoredNothing ignored = iota
	ignoredSection
	ignoredKey
	ignoredConnection
)

// Ignored counts what the configuration says and the service ignores.
type Ignored struct {
	Sections    int // unknown ones
	Keys        int // unknown ones of known sections
	Connections int // that are configured twice
}

// Any tells whether anything is ignored.
func (i Ignored) Any() bool { return i != Ignored{} }

// list holds findings in any order, possibly repeated.
type list []finding

func (l *list) add(at position, format string, args ...any) {
	l.ignore(ignoredNothing, at, format, args...)
}

// ignore adds a warning that something is ignored.
func (l *list) ignore(what ignored, at position, format string, args ...any) {
	*l = append(*l, finding{at, fmt.Sprintf(format, args...), what})
}

// sorted returns the findings in the order of the file, each once.
func (l list) sorted() list {
	sorted := slices.Clone(l)
	slices.SortFunc(sorted, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.at.line, b.at.line), cmp.Compare(a.at.column, b.at.column), cmp.Compare(a.text, b.text))
	})
	return slices.Compact(sorted)
}

// count adds what the findings say is ignored to sum.
func (l list) count(sum *Ignored) {
	for _, f := range l.sorted() {
		switch f.ignores {
		case ignoredNothing:
		case ignoredSection:
			sum.Sections++
		case ignoredKey:
			sum.Keys++
		case ignoredConnection:
			sum.Connections++
		}
	}
}

// lines returns the findings in the order of the file, each once.
func (l list) lines(file string) []string {
	var lines []string
	for _, f := range l.sorted() {
		lines = append(lines, fmt.Sprintf("%s:%d:%d: %s", file, f.at.line, f.at.column, f.text))
	}
	return lines
}

// findings are what is wrong in a file and what is odd.
type findings struct {
	errors, warnings list

	unparsed bool    // what the file says as a whole cannot be told
	faults   []fault // errors that concern everything that it connects
}

// err joins the errors, one a line; nil if there are none.
func (f findings) err(file string) error {
	var errs []error
	for _, line := range f.errors.lines(file) {
		errs = append(errs, errors.New(line))
	}
	return errors.Join(errs...)
}
