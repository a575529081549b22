// SPDX-License-Identifier: GPL-3.0-or-later

package wish

import (
	"slices"
	"strings"
)

// escaped marks a command line in which "$" and "\" are written by their numbers. It follows the command's name.
const escaped = "--escaped"

var (
	escaper   = strings.NewReplacer(`\`, `\x5c`, "$", `\x24`)
	unescaper = strings.NewReplacer(`\x5c`, `\`, `\x24`, "$")
)

// Escape returns a command of nvme-discoverctl, beginning with its name, without a dollar sign. systemd expands "$" in the commands
// of units. It can be asked not to; but systemd 252 writes such a command into the unit's file in a way that it does not
// read back, and "$$" as well, so that a unit loses or changes its command at the next daemon-reload.
func Escape(args []string) []string {
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, "$") }) {
		return args
	}
	all := []string{args[0], escaped}
	for _, arg := range args[1:] {
		all = append(all, escaper.Replace(arg))
	}
	return all
}

// Unescape takes back what Escape did, and leaves every other command as it is.
func Unescape(args []string) []string {
	if len(args) < 2 || args[1] != escaped {
		return args
	}
	all := args[:1:1]
	for _, arg := range args[2:] {
		all = append(all, unescaper.Replace(arg))
	}
	return all
}
