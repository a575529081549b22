// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
)

// fault is an error in a table as it concerns the connections that the table governs: it costs them.
type fault struct {
	key   string // that is wrong, or that the wrong one seems to mean; "" if that cannot be told
	grave bool   // without the key a connection would be less secure, another host's, or over another path
	why   string // the error, "file:line:column: cannot …"
	own   bool   // it is in [host] of a file that cannot be parsed, whose parameters other files do not inherit
}

// graveKeys are those without which a connection would be less secure, another host's, or over another path.
func graveKeys() []string {
	keys := slices.Concat(allSecretKeys(), hostKeys, []string{"host-traddr", "host-iface"})
	for _, p := range param.All() {
		if p.Info().Security != param.None {
			keys = append(keys, p.String())
		}
	}
	return keys
}

// securityWords are parts of the names of keys that have to do with security, whatever tool they are of.
var securityWords = []string{"secret", "chap", "tls", "psk", "key", "concat", "auth", "cert", "hmac", "crypt", "cipher", "secur"}

// grave tells whether a key is one of the grave ones, looks like a slip of one, or has to do with security by its name.
func grave(key string) bool {
	if isKnown(key) && !slices.Contains(graveKeys(), key) {
		return false
	}
	return slices.Contains(graveKeys(), key) || suggestion(key, graveKeys()) != "" || isGuarded(key)
}

// isGuarded tells whether a key has to do with security, by its name.
func isGuarded(key string) bool {
	name := strings.ToLower(key)
	return slices.ContainsFunc(securityWords, func(w string) bool { return strings.Contains(name, w) })
}

// isOfPath tells whether a key has to do with the way to a controller, by its name.
func isOfPath(key string) bool {
	name := strings.ToLower(key)
	return slices.ContainsFunc([]string{"iface", "interface", "addr"}, func(w string) bool { return strings.Contains(name, w) })
}

// isKnown tells whether any section has the key.
func isKnown(key string) bool {
	return slices.ContainsFunc(append(sectionNames(), "controller"), func(name string) bool { return slices.Contains(allowedIn(name), key) })
}

// meant returns the key of a connection that an unknown one seems to mean, "" if that cannot be told.
func meant(key string) string {
	known := slices.Concat(controllerKeys, graveKeys())
	for _, p := range param.All() {
		known = append(known, p.String())
	}
	if slices.Contains(known, key) {
		return key
	}
	return suggestion(key, known)
}

// graveIn returns the first grave key at any depth of what a TOML value holds, in the order of the alphabet, "" if there is none.
func graveIn(value any) string {
	many, ok := tables(value)
	if one, isTable := value.(map[string]any); isTable {
		many, ok = []map[string]any{one}, true
	}
	if !ok {
		return ""
	}
	for _, t := range many {
		for _, key := range slices.Sorted(maps.Keys(t)) {
			if grave(key) {
				return key
			}
			if inner := graveIn(t[key]); inner != "" {
				return inner
			}
		}
	}
	return ""
}

// unknownSection reports a key of an unknown section that would make the connections of the file others than they are without it.
func (f *findings) unknownSection(title, key string, at position) {
	if grave(key) {
		f.faults = append(f.faults, f.errors.fault(at, meant(key), true,
			"cannot use %s in %s: that section is unknown, and nothing of the file is connected without what it asks for", shown(key), title))
	}
}

// fault adds an error and returns it as a fault, whose why lacks the file.
func (l *list) fault(at position, key string, grave bool, format string, args ...any) fault {
	l.add(at, format, args...)
	return fault{key: key, grave: grave, why: fmt.Sprintf("%d:%d: %s", at.line, at.column, fmt.Sprintf(format, args...))}
}

// wrong adds an error to the findings of s and returns it as a fault.
func (s *source) wrong(at position, key string, grave bool, format string, args ...any) fault {
	f := s.found.errors.fault(at, key, grave, format, args...)
	f.why = s.file + ":" + f.why
	return f
}

// placeFaults completes the faults that the loader found with the name of the file.
func (s *source) placeFaults() {
	complete := func(faults []fault) {
		for i := range faults {
			faults[i].why = s.file + ":" + faults[i].why
		}
	}
	s.loaded = s.found.faults
	complete(s.loaded)
	s.faults = slices.Clone(s.loaded)
	for _, t := range s.doc.tables {
		complete(t.faults)
		for _, c := range t.controllers {
			complete(c.faults)
		}
	}
}

// onlyGrave returns the grave ones of faults.
func onlyGrave(faults []fault) []fault {
	var list []fault
	for _, f := range faults {
		if f.grave {
			list = append(list, f)
		}
	}
	return list
}
