// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"fmt"
	"slices"
	"strings"
)

// Suite names the Debian release inside the machine.
type Suite string

const (
	// Bookworm is Debian 12: kernel 6.1 and systemd 252, the oldest that the product is made for.
	Bookworm Suite = "bookworm"
	// Trixie is Debian 13: kernel 6.12 and systemd 257. All scenarios are written for it.
	Trixie Suite = "trixie"
	// Sid is Debian's development.
	Sid Suite = "sid"
)

// ParseSuite reads the name of a suite that the machine can be made of.
func ParseSuite(name string) (Suite, error) {
	all := []Suite{Bookworm, Trixie, Sid}
	if !slices.Contains(all, Suite(name)) {
		return "", fmt.Errorf("cannot make a machine of suite %q: there are %s", name, strings.Trim(fmt.Sprint(all), "[]"))
	}
	return Suite(name), nil
}

// missing are packages that a suite does not have: scenarios that need them are not for it.
var missing = map[Suite][]string{Bookworm: {"ktls-utils", "nvme-stas", "python3-varlink"}}

// packages are those of the list that the suite has.
func (s Suite) packages(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(missing[s], name) })
}

// mmdebstrapOptions are what unpacking the suite takes beside what all need.
func (s Suite) mmdebstrapOptions() []string {
	if s == Sid { // a mirror of it may stand still for weeks
		return []string{`--aptopt=Acquire::Check-Valid-Until "false"`}
	}
	return nil
}
