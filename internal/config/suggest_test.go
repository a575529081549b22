// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

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

// TestHint: for what other programs and people call a key, the message says what it is called here, and where it belongs.
func TestHint(t *testing.T) {
	const table, line = ": did you mean %s? It belongs in a controller table, controller = [{ transport = …, traddr = … }]", ": did you mean %s? It belongs in a controller line, controller = transport=…;traddr=…"
	for _, test := range []struct {
		d                  *dialect
		section, key, want string
	}{
		{tomlDialect, "controller", "port", ": did you mean trsvcid?"},
		{tomlDialect, "controller", "Address", ": did you mean traddr?"},
		{tomlDialect, "controller", "host", ": did you mean traddr or host-traddr?"},
		{tomlDialect, "controller", "interface", ": did you mean host-iface?"},
		{tomlDialect, "controller", "tradr", ": did you mean traddr?"},
		{tomlDialect, "controller", "kato", ": did you mean keep-alive-tmo?"},
		{tomlDialect, "controller", "subnqn", ": did you mean nqn? It belongs in [[discovery-controller]] or [[subsystem]]"},
		{tomlDialect, secDiscovery, "port", fmt.Sprintf(table, "trsvcid")},
		{tomlDialect, secSubsystem, "tradr", fmt.Sprintf(table, "traddr")},
		{tomlDialect, secSubsystem, "controllers", ": did you mean controller?"},
		{tomlDialect, secSubsystem, "name", ": did you mean nqn?"},
		{tomlDialect, secHost, "uuid", ": did you mean hostid?"},
		{tomlDialect, secHost, "hostnqm", ": did you mean hostnqn?"},
		{tomlDialect, secGlobal, "kato", ": did you mean keep-alive-tmo? It belongs in [host], a section of defaults, an endpoint or a controller table"},
		{tomlDialect, secGlobal, "colour", ""},
		{iniDialect, secSubsystem, "port", fmt.Sprintf(line, "trsvcid")},
		{iniDialect, "controller", "source_address", ": did you mean host-traddr?"},
	} {
		diff(t, test.key+" in "+test.section, test.want, test.d.hint(test.key, allowedIn(test.section)))
	}
	for _, test := range []struct{ name, want string }{
		{"discovery-controler", ": did you mean discovery-controller?"},
		{"discovery", ": did you mean discovery-controller?"},
		{"Io_Controller", ": did you mean subsystem?"},
		{"settings", ": did you mean global?"},
		{"defaults", ": did you mean io-controller-defaults?"},
		{"colours", ""},
	} {
		diff(t, "section "+test.name, test.want, suggest(test.name, sectionNames()))
	}
}

// TestAliases: an alias stands for a key or section that exists, and is spelled as it is looked for.
func TestAliases(t *testing.T) {
	known := append(sectionNames(), knownKeys()...)
	for _, alias := range aliases {
		if !slices.Contains(known, alias.of) {
			t.Errorf("%s: there is no such key or section", alias.of)
		}
		for _, name := range strings.Fields(alias.names) {
			if name != plainName(name) {
				t.Errorf("%s, for %s: it is never looked for, %s is", name, alias.of, plainName(name))
			}
		}
	}
}
