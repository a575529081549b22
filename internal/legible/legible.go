// SPDX-License-Identifier: GPL-3.0-or-later

// Package legible makes texts from outside fit for a terminal: names come from targets, files and recordings, and may be anything.
package legible

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is s with what cannot be seen, or moves the cursor, in its place as a Go string has it; all else, quotes too, stays as it is.
func Text(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			b.WriteString(s[:size])
		} else {
			b.WriteString(strings.Trim(strconv.Quote(s[:size]), `"`))
		}
		s = s[size:]
	}
	return b.String()
}

// hidden tells what may have to be written otherwise: controls, what changes the direction of writing, and what stands for an invalid byte.
func hidden(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
