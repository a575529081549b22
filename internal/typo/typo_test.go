// SPDX-License-Identifier: GPL-3.0-or-later

package typo

import "testing"

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "abd", 1},
		{"abc", "abcd", 1},
		{"abc", "bc", 1},
		{"nbtf", "nbft", 1},
		{"tsl", "tls", 1},
		{"ab", "ba", 1},
		{"ca", "abc", 3}, // what was exchanged is not changed again
		{"kitten", "sitting", 3},
	} {
		if got := Distance(test.a, test.b); got != test.want {
			t.Errorf("from %q to %q: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
