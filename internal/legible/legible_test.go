// SPDX-License-Identifier: GPL-3.0-or-later

package legible

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "nqn.2024-01.com.example:vol 1 \"ü…\"": "nqn.2024-01.com.example:vol 1 \"ü…\"",
		"a\x1b[2Jb": `a\x1b[2Jb`, "a\nb\tc\x00": `a\nb\tc\x00`, "\xff\xc3(": `\xff\xc3(`, "\u009b31m": `\u009b31m`, "Köln �": "Köln �", "\u202egnp": `\u202egnp`, "\U000e0041": `\U000e0041`,
	} {
		if got := Text(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{"", "nqn.x", "a\x1b[2Jb", "\xff\u202e\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Text(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: got %q", text, got)
		}
		if again := Text(got); again != got {
			t.Errorf("%q: got %q, and of that %q", text, got, again)
		}
	})
}
