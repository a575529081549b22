// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/nvme-discoverd/nvme-discoverd/internal/typo"
)

// suggest returns ": did you mean …?" with the candidates that name most likely stands for, or "".
func suggest(name string, candidates []string) string {
	if found := likely(name, candidates); found != nil {
		return ": did you mean " + strings.Join(found, " or ") + "?"
	}
	return ""
}

// likely returns the candidates that other programs and people call name, else the one that name is a slip of, or nil.
func likely(name string, candidates []string) []string {
	var found []string
	for _, alias := range aliases {
		if !slices.Contains(strings.Fields(alias.names), plainName(name)) {
			continue
		}
		if i := slices.IndexFunc(candidates, func(c string) bool { return plainName(c) == alias.of }); i >= 0 {
			found = append(found, candidates[i])
		}
	}
	if best := suggestion(name, candidates); found == nil && best != "" {
		found = []string{best}
	}
	return found
}

// plainName returns a name as aliases has it.
func plainName(name string) string {
	return strings.NewReplacer("_", "-", " ", "-", "/", "").Replace(strings.ToLower(name))
}

// aliases are the names that other programs and people have for keys and sections of ours, the likeliest meaning of a name
// first. They are constant. They serve for suggestions only: what an unknown key costs depends on its own name (fault.go).
var aliases = []struct{ of, names string }{
	{"transport", "type trtype protocol proto fabric"},
	{"traddr", "address addr ip ip-address ipaddr host hostname host-name server target portal target-address remote-address"},
	{"trsvcid", "port portnum port-number svcid service service-id trport tcp-port target-port"},
	{"nqn", "subnqn subsysnqn subsys-nqn subsystem-nqn target-nqn name subsystem"},
	{"host-traddr", "host host-address host-addr source source-address src src-addr src-address local-address bind bind-address"},
	{"host-iface", "interface iface nic dev device netdev host-interface source-interface"},
	{"hostnqn", "initiator initiator-nqn initiatorname"},
	{"hostid", "uuid host-uuid"},

	{"keep-alive-tmo", "kato keepalive keep-alive keep-alive-timeout keepalive-timeout keepalive-tmo"},
	{"ctrl-loss-tmo", "ctrl-loss ctrl-loss-timeout controller-loss-timeout loss-timeout dev-loss-tmo"},
	{"reconnect-delay", "reconnect reconnect-interval retry-delay"},
	{"fast-io-fail-tmo", "fast-io-fail fast-io-fail-timeout"},
	{"nr-io-queues", "queues nr-queues io-queues num-io-queues"},
	{"nr-write-queues", "write-queues num-write-queues"},
	{"nr-poll-queues", "poll-queues num-poll-queues"},
	{"queue-size", "queue-depth depth"},
	{"hdr-digest", "header-digest"},
	{"duplicate-connect", "duplicate"},

	{"discovery-controller", "discovery dc discovery-server"},
	{"subsystem", "controller controllers io-controller subsys connection target"},
	{"discovery-controller-defaults", "discovery-defaults dc-defaults"},
	{"io-controller-defaults", "defaults subsystem-defaults controller-defaults ioc-defaults"},
	{"global", "general settings service daemon main options"},
	{"controller", "path paths controllers connection connections"},

	{"discovery-retention-time", "retention retention-time"},
	{"reconnect-max-delay", "max-reconnect-delay"},
	{"zeroconf", "mdns avahi"},
}

// hint returns ": did you mean …?" for a key that a table does not know which knows the keys allowed: one of these, or else
// a key of other tables, and where that belongs.
func (d *dialect) hint(key string, allowed []string) string {
	if text := suggest(key, allowed); text != "" {
		return text
	}
	for _, found := range likely(key, knownKeys()) {
		return fmt.Sprintf(": did you mean %s? It belongs in %s", found, d.belongs(found))
	}
	return ""
}

// knownKeys returns the keys of all tables.
func knownKeys() []string {
	var keys []string
	for _, name := range append(sectionNames(), "controller") {
		keys = append(keys, allowedIn(name)...)
	}
	return keys
}

// suggestion returns the candidate that name is most likely a slip of, or "".
func suggestion(name string, candidates []string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	best, least := "", 3
	for _, c := range candidates {
		if len(name) > len(c)+2 || len(c) > len(name)+2 {
			continue
		}
		if d := typo.Distance(name, strings.ToLower(c)); d < least && d < (len(c)+1)/2 {
			best, least = c, d
		}
	}
	return best
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
