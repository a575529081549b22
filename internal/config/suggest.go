package config

import (
	"strconv"
	"strings"
	"unicode"
)

// suggest returns ": did you mean …?" with the candidate that name is most likely a slip of, or "".
func suggest(name string, candidates []string) string {
	if best := suggestion(name, candidates); best != "" {
		return ": did you mean " + best + "?"
	}
	return ""
}

// suggestion returns the candidate that name is most likely a slip of, or "".
func suggestion(name string, candidates []string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	best, least := "", 3
	for _, c := range candidates {
		if len(name) > len(c)+2 || len(c) > len(name)+2 {
			continue
		}
		if d := distance(name, strings.ToLower(c)); d < least && d < (len(c)+1)/2 {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to insert, delete or replace, and the neighbours to exchange, to make b of a: their optimal
// string alignment distance.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1) // rows[i][j] is the distance of a[:i] and b[:j]
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// longestKey is longer than any key that is known, and shorter than any secret.
const longestKey = 32

// shown returns a key as it can stand in a message, whatever it is made of. Of one that is too long for a key only the beginning
// is shown: it may hold a secret, such as one without an equals sign before it that ends in one itself.
func shown(key string) string {
	if len(key) > longestKey {
		rest := strings.TrimLeft(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
		word := key[:len(key)-len(rest)]
		if len(word) > longestKey {
			word = word[:4]
		}
		return strconv.Quote(word + "…")
	}
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }) {
		return strconv.Quote(key)
	}
	return key
}
