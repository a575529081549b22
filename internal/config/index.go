// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// path names a table, a key or an array element in a TOML file.
type path string

// child returns the path of a key. Of a key longer than any of ours the beginning will do, so that paths stay short.
func (p path) child(key string) path { return p + "\x00" + path(key[:min(len(key), 40)]) }
func (p path) elem(i int) path       { return p + "\x00[" + path(strconv.Itoa(i)) + "]" }
func (p path) depth() int            { return strings.Count(string(p), "\x00") }

// index tells where things stand in a TOML file: a table at its header or its brace, a key at its first character.
// The TOML library tells this of a syntax error only.
type index map[path]position

// maxDepth bounds how deep tables, arrays and dotted keys go into each other. Our files need five; the TOML library spends
// so much stack and time on each that a file of nothing but brackets would end the process.
const maxDepth = 8

// newIndex returns the index of text. deep is the place where text goes deeper than maxDepth, the zero position if it
// does not. Of a text that is not TOML the index is right up to the first error, and of no use after it.
func newIndex(text string) (found index, deep position) {
	s := scanner{text: text, at: position{1, 1}, index: index{}, counts: map[path]int{}}
	var table path
	for s.blank(); s.off < len(s.text); s.blank() {
		begin := s.off
		switch {
		case s.sees("[["):
			table = s.header(2)
		case s.sees("["):
			table = s.header(1)
		default:
			s.keyValue(table)
		}
		s.progress(begin)
	}
	return s.index, s.deep
}

// scanner walks over a text once.
type scanner struct {
	text   string
	off    int
	at     position // of counted, see here
	count  int      // offset up to which at is counted
	index  index
	counts map[path]int // elements so far of each array of tables
	deep   position
}

// here returns the position of the offset.
func (s *scanner) here() position {
	passed := s.text[s.count:s.off]
	if n := strings.Count(passed, "\n"); n > 0 {
		s.at = position{s.at.line + n, 1}
		passed = passed[strings.LastIndexByte(passed, '\n')+1:]
	}
	s.at.column += utf8.RuneCountInString(passed)
	s.count = s.off
	return s.at
}

// note records the position of p if it has none: what a table is made of may come in several places.
func (s *scanner) note(p path, at position) {
	if _, ok := s.index[p]; !ok {
		s.index[p] = at
	}
}

func (s *scanner) sees(what string) bool { return strings.HasPrefix(s.text[s.off:], what) }

// skip passes n bytes, as far as there are as many.
func (s *scanner) skip(n int) { s.off = min(s.off+n, len(s.text)) }

// skipUntil passes everything before the first of the characters in stops.
func (s *scanner) skipUntil(stops string) {
	n := strings.IndexAny(s.text[s.off:], stops)
	if n < 0 {
		n = len(s.text) - s.off
	}
	s.off += n
}

// progress passes one byte if nothing was passed since begin, so that no text holds the scanner up for ever.
func (s *scanner) progress(begin int) {
	if s.off == begin {
		s.skip(1)
	}
}

// tooDeep tells whether depth is beyond the bound, and then ends the scan.
func (s *scanner) tooDeep(depth int) bool {
	if depth <= maxDepth {
		return false
	}
	if s.deep == (position{}) {
		s.deep = s.here()
	}
	s.off = len(s.text)
	return true
}

// blank passes white space, ends of lines and comments.
func (s *scanner) blank() {
	for s.off < len(s.text) {
		switch s.text[s.off] {
		case ' ', '\t', '\r', '\n':
			s.off++
		case '#':
			s.skipUntil("\n")
		default:
			return
		}
	}
}

func (s *scanner) spaces() {
	for s.sees(" ") || s.sees("\t") {
		s.off++
	}
}

// header reads "[a.b]" or, with two brackets, "[[a.b]]", and returns the path of the table that it opens.
func (s *scanner) header(brackets int) path {
	at := s.here()
	s.skip(brackets)
	var p path
	keys := s.keys()
	for i, key := range keys {
		p = p.child(key)
		s.note(p, at)
		if brackets == 2 && i == len(keys)-1 {
			s.counts[p]++
		}
		if n := s.counts[p]; n > 0 {
			p = p.elem(n - 1)
			s.note(p, at)
		}
	}
	s.spaces()
	s.skip(brackets)
	return p
}

// keyValue reads "a.b = value" in a table.
func (s *scanner) keyValue(p path) {
	at := s.here()
	for _, key := range s.keys() {
		p = p.child(key)
		s.note(p, at)
	}
	s.spaces()
	if s.sees("=") {
		s.skip(1)
		s.spaces()
		s.value(p)
	}
}

// keys reads the parts of a dotted key.
func (s *scanner) keys() []string {
	var keys []string
	for {
		s.spaces()
		begin := s.off
		switch {
		case s.sees(`"`), s.sees("'"):
			s.quoted()
			key := s.text[begin:s.off]
			if plain, err := strconv.Unquote(key); err == nil && key[0] == '"' {
				key = plain
			} else {
				key = strings.TrimSuffix(key[1:], key[:1])
			}
			keys = append(keys, key)
		default:
			s.skipUntil(" \t\r\n.=]}#")
			keys = append(keys, s.text[begin:s.off])
		}
		s.spaces()
		if !s.sees(".") || s.tooDeep(len(keys)) {
			return keys
		}
		s.skip(1)
	}
}

// value passes a value, recording what stands in it if it is an array or an inline table.
func (s *scanner) value(p path) {
	switch {
	case s.tooDeep(p.depth()):
	case s.sees(`"`), s.sees("'"):
		s.quoted()
	case s.sees("["):
		n := 0
		s.items("]", func() {
			s.note(p.elem(n), s.here())
			s.value(p.elem(n))
			n++
		})
	case s.sees("{"):
		s.items("}", func() { s.keyValue(p) })
	default:
		s.skipUntil(",]}#\n")
	}
}

// items passes a bracketed list, its commas and comments, and calls item at the beginning of each item.
func (s *scanner) items(end string, item func()) {
	s.skip(1)
	for s.blank(); s.off < len(s.text) && !s.sees(end); s.blank() {
		if s.sees(",") {
			s.skip(1)
			continue
		}
		begin := s.off
		item()
		s.progress(begin)
	}
	s.skip(len(end))
}

// quoted passes a string of any of the four kinds.
func (s *scanner) quoted() {
	quote := s.text[s.off : s.off+1]
	triple := strings.Repeat(quote, 3)
	if s.sees(triple) {
		s.skip(3)
		s.closing(quote, triple)
		for range 2 { // up to two quotes more belong to the string
			if s.sees(quote) {
				s.skip(1)
			}
		}
		return
	}
	s.skip(1)
	s.closing(quote, quote)
}

// closing passes everything up to and with end; in a "basic" string a backslash hides the character after it.
func (s *scanner) closing(quote, end string) {
	for s.off < len(s.text) && !s.sees(end) {
		if quote == `"` && s.sees(`\`) {
			s.skip(1)
		}
		s.skip(1)
	}
	s.skip(len(end))
}
