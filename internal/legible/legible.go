// SPDX-License-Identifier: GPL-3.0-or-later

// Package legible makes texts from outside fit for a terminal: names come from targets, files and recordings, and may be anything.
package legible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is s with what cannot be seen, or moves the cursor, in Go's escapes in its place; all else stays as it is. Words stay one line.
func Text(s string) string {
	if !strings.ContainsFunc(s, hidden) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case !hidden(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		s = s[size:]
	}
	return b.String()
}

// hidden tells what shows nothing: controls, and what changes the direction of writing.
func hidden(r rune) bool { return !unicode.IsPrint(r) }
