package config

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
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("from %q to %q: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestSuggest(t *testing.T) {
	for name, want := range map[string]string{
		"nbtf":        ": did you mean nbft?",
		"tsl":         ": did you mean tls?",
		"tso":         ": did you mean tos?",
		"TLS":         ": did you mean tls?",
		"queue_sizes": ": did you mean queue-size?",
		"xyz":         "",
		"t":           "",
		"":            "",
	} {
		diff(t, name, want, suggest(name, []string{"nbft", "tls", "tos", "queue-size"}))
	}
}
