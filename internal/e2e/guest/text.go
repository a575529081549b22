// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"regexp"
	"strings"
)

// matchingLines returns the lines of text that match.
func matchingLines(text string, pattern *regexp.Regexp) []string {
	var found []string
	for line := range strings.Lines(text) {
		if pattern.MatchString(line) {
			found = append(found, strings.TrimSuffix(line, "\n"))
		}
	}
	return found
}
