// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// parseTOML reads the text of a TOML file. What it finds are errors of syntax, which hold the document empty, and sections
// of the wrong shape.
func parseTOML(text string) (document, findings) {
	var found findings
	text, ok := plain(text, &found)
	if !ok {
		found.unparsed = true
		return document{}, found
	}
	places, deep := newIndex(text)
	if deep != (position{}) {
		found.unparsed = true
		found.errors.add(deep, "cannot parse the file: tables, arrays or dotted keys go deeper than %d levels", maxDepth)
		return document{}, found
	}
	var top map[string]any
	if _, err := toml.Decode(text, &top); err != nil {
		at, message := syntaxError(text, err)
		found.unparsed = true
		found.errors.add(at, "cannot parse the file as TOML: %s", message)
		return document{}, found
	}
	l := tomlLoader{index: places, found: &found}
	return l.document(top), found
}

// byteOrderMark begins what some editors write.
const byteOrderMark = "\ufeff"

// plain returns text without a byte order mark. What is not text at all is an error.
func plain(text string, found *findings) (string, bool) {
	text = strings.TrimPrefix(text, byteOrderMark)
	if !utf8.ValidString(text) {
		found.errors.add(firstInvalid(text), "cannot parse the file: it is not UTF-8")
		return "", false
	}
	return text, true
}

// firstInvalid returns the place of the first byte of text that is no part of a character in UTF-8.
func firstInvalid(text string) position {
	at := position{1, 1}
	for text != "" {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			return at
		case r == '\n':
			at = position{at.line + 1, 1}
		default:
			at.column++
		}
		text = text[size:]
	}
	return at
}

// syntaxError takes an error of the TOML library apart.
func syntaxError(text string, err error) (position, string) {
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return position{1, 1}, strings.TrimPrefix(err.Error(), "toml: ")
	}
	message := strings.TrimSuffix(parse.Message, ".")
	if before, found, ok := strings.Cut(message, " but found "); ok && len(found) > len(`"a short word" instead`) {
		message = before // it could be a secret
	}
	if last := parse.LastKey[strings.LastIndexByte(parse.LastKey, '.')+1:]; last != "" && len(last) <= longestKey {
		message += fmt.Sprintf(" (at or after key %s)", parse.LastKey)
	}
	message = strings.Map(func(r rune) rune { // both may hold raw text of the file
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, message)
	before := text[:min(max(parse.Position.Start, 0), len(text))]
	at := position{strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1}
	if line := parse.Position.Line; line > 0 && line < at.line {
		at = position{line, 1} // the library is past the end of the line that it means
	}
	if unquoted(text, before) {
		message += ": is it a text? Then it must stand in quotes"
	}
	return at, message
}

// unquoted guesses whether the value in which, or right after which, a syntax error stands lacks its quotes.
func unquoted(text, before string) bool {
	line := text[strings.LastIndexByte(before, '\n')+1:]
	inLine := len(text) - len(line)
	line, _, _ = strings.Cut(line, "\n")
	equals := strings.LastIndexByte(line[:min(len(before)-inLine, len(line))], '=')
	if equals < 0 {
		return false
	}
	value := strings.TrimSpace(line[equals+1:])
	for _, prefix := range []string{"true", "false"} {
		if strings.HasPrefix(value, prefix) {
			return false
		}
	}
	first, _ := utf8.DecodeRuneInString(value)
	number := strings.Trim(value, "0123456789_") == ""
	return !number && (first == '/' || unicode.IsLetter(first) || unicode.IsDigit(first))
}

// tomlLoader turns what the TOML library makes of a file into a document.
type tomlLoader struct {
	index index
	found *findings
}

func (l tomlLoader) document(top map[string]any) document {
	var doc document
	loose := table{title: "the beginning of the file, before the first section", at: position{1, 1}}
	for _, key := range l.ordered("", top) {
		value, p := top[key], path("").child(key)
		at := l.index[p]
		one, isTable := value.(map[string]any)
		many, isTables := tables(value)
		switch repeats, known := sections[key]; {
		case known && repeats && isTables:
			for i, t := range many {
				doc.tables = append(doc.tables, l.table(key, tomlDialect.title(key), p.elem(i), t))
			}
		case known && repeats:
			l.found.unparsed = true
			l.found.errors.add(at, "cannot use %s like this: each one begins with a line [[%s]]", key, key)
		case known && isTable:
			doc.tables = append(doc.tables, l.table(key, tomlDialect.title(key), p, one))
		case known:
			l.found.unparsed = true
			l.found.errors.add(at, "cannot use %s like this: it is one section, which begins with a line [%s]", key, key)
		case isTable, isTables && len(many) > 0:
			unknown := func(p path, values map[string]any) {
				l.found.warnings.ignore(ignoredSection, l.index[p], "section %s is unknown and ignored%s", shown(key), suggest(key, sectionNames()))
				l.unknownSection(key, p, values)
			}
			if isTable {
				unknown(p, one)
			}
			for i, t := range many {
				unknown(p.elem(i), t)
			}
		default:
			loose.entries = append(loose.entries, l.entry(p, key, value))
		}
	}
	doc.tables = append(doc.tables, loose)
	return doc
}

// unknownSection looks at the keys of a section that is none of ours.
func (l tomlLoader) unknownSection(name string, p path, values map[string]any) {
	for _, key := range l.ordered(p, values) {
		at := l.index[p.child(key)]
		if inner := graveIn(values[key]); inner != "" && !grave(key) {
			key = inner
		}
		l.found.unknownSection("section "+shown(name), key, at)
	}
}

// table makes a table of a section or of a controller.
func (l tomlLoader) table(name, title string, p path, values map[string]any) table {
	t := table{name: name, title: title, at: l.index[p]}
	for _, key := range l.ordered(p, values) {
		value, p := values[key], p.child(key)
		if key != "controller" || !sections[name] {
			t.entries = append(t.entries, l.entry(p, key, value))
			continue
		}
		t.listed = true
		many, ok := tables(value)
		if !ok {
			l.found.unparsed = true
			l.found.errors.add(l.index[p], "cannot use controller like this: it is a list of tables, %s", tomlDialect.controller)
		}
		for i, c := range many {
			t.controllers = append(t.controllers, l.table("controller", tomlDialect.path, p.elem(i), c))
		}
	}
	return t
}

// ordered returns the keys of a table in the order of the file.
func (l tomlLoader) ordered(p path, values map[string]any) []string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		x, y := l.index[p.child(a)], l.index[p.child(b)]
		return cmp.Or(cmp.Compare(x.line, y.line), cmp.Compare(x.column, y.column), cmp.Compare(a, b))
	})
	return keys
}

// entry makes the entry of one key.
func (l tomlLoader) entry(p path, key string, value any) entry {
	e := entry{key: key, at: l.index[p]}
	switch v := value.(type) {
	case string:
		e.text = v
	case int64:
		e.text = strconv.FormatInt(v, 10)
	case bool:
		e.text = strconv.FormatBool(v)
	case float64:
		e.strange = "a number with a fraction"
	case time.Time:
		e.strange = "a date or time"
	case map[string]any:
		e.strange = "a table"
	default:
		e.strange = "an array"
	}
	e.inner = graveIn(value)
	return e
}

// tables returns value as the list of tables that it is, whichever way it is written.
func tables(value any) ([]map[string]any, bool) {
	switch v := value.(type) {
	case []map[string]any:
		return v, true
	case []any:
		var all []map[string]any
		for _, item := range v {
			t, ok := item.(map[string]any)
			if !ok {
				return nil, false
			}
			all = append(all, t)
		}
		return all, true
	}
	return nil, false
}
