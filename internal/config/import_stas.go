// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/timespan"
)

// stas imports stafd.conf or stacd.conf of nvme-stas, whose controllers are of the given kind (stafd.conf(5), stacd.conf(5)).
func (i *importer) stas(text string, kind tid.Kind) {
	section := ""
	var defaults []entry
	type controller struct {
		at     position
		fields []entry
		ok     bool
	}
	var controllers []controller
	mdns, mdnsAt := kind == tid.Discovery, position{1, 1} // stafd browses where nothing is said
	scanINI(text, iniEvents{
		section: func(name string, _ position) { section = name },
		junk: func(at position) {
			if meansExclusion(strings.Split(text, "\n")[at.line-1]) {
				i.wrong = errors.Join(i.wrong, fmt.Errorf("line %d: it seems to exclude something, and is not key = value", at.line))
			}
			i.lose(at, "the line is not imported: it is no [section] and no key = value")
		},
		entry: func(key, value string, at position, _ int) {
			key = strings.ToLower(key)
			switch name := stasName(key); {
			case key == "controller":
				if value != "" {
					fields, ok := i.stasController(at, value)
					controllers = append(controllers, controller{at, fields, ok})
				}
			case key == "zeroconf":
				mdns, mdnsAt = value != "disabled" && !isFalse(value), at
			case key == "exclude" || key == "blacklist":
				i.stasExclusion(at, key, value)
			case meansExclusion(key):
				i.wrong = errors.Join(i.wrong, fmt.Errorf("line %d: %s seems to exclude something: the key for that is exclude", at.line, shown(key)))
			case section == "Global" && isParameter(name):
				defaults = append(defaults, entry{key: name, at: at, text: value})
			default:
				i.stasSetting(at, key, value)
			}
		},
	})
	if mdns {
		i.lose(mdnsAt, "zeroconf, which nvme-stas has on by default, is not imported: put zeroconf = true into [global] of discoverd.conf")
	}
	if len(controllers)+len(defaults) == 0 {
		return
	}
	d := i.persona(position{1, 1}, "", "")
	i.defaults(d, kind, lastOfEach(defaults))
	for _, c := range controllers {
		if !c.ok {
			continue
		}
		var fields []entry
		var nqn, id string
		for _, e := range c.fields {
			switch e.key {
			case "hostnqn":
				nqn = e.text
			case "hostid":
				id = e.text
			default:
				fields = append(fields, e)
			}
		}
		own := d
		if nqn != "" || id != "" {
			own = i.persona(c.at, nqn, id)
		}
		if own != nil {
			i.connect(own, kind, c.at, fields)
		}
	}
}

// meansExclusion tells whether a key that is not one looks as if it were to exclude something.
func meansExclusion(key string) bool {
	word, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(key)), " ")
	return strings.HasPrefix(word, "excl") || strings.HasPrefix(word, "blackl") || suggestion(word, []string{"exclude", "blacklist"}) != ""
}

func isParameter(name string) bool {
	_, ok := param.ByName(name)
	return ok
}

func isFalse(text string) bool {
	on, err := param.ParseBool(text)
	return err == nil && !on
}

// stasName returns our name of a key of nvme-stas.
func stasName(key string) string {
	for _, p := range param.All() {
		if name := p.Info().STAS; name != "" && name == key {
			return p.String()
		}
	}
	switch key {
	case "subsysnqn": // its name inside of nvme-stas, which nvme-stas reads too
		return "nqn"
	case "host-nqn":
		return "hostnqn"
	case "host-id":
		return "hostid"
	}
	return key
}

// lastOfEach returns the last entry of each key.
func lastOfEach(entries []entry) []entry {
	var last []entry
	for n, e := range entries {
		if _, again := (table{entries: entries[n+1:]}).find(e.key); !again {
			last = append(last, e)
		}
	}
	return last
}

// stasController takes "key=value;key=value…" apart. ok is false if a part cannot be used, whatever it would mean for the
// connection.
func (i *importer) stasController(at position, value string) (entries []entry, ok bool) {
	usable := true
	for part := range strings.SplitSeq(value, ";") {
		key, text, ok := strings.Cut(strings.TrimSpace(part), "=")
		key, text = stasName(strings.TrimSpace(key)), strings.TrimSpace(text)
		_, isField := tid.TID{}.Get(key)
		switch {
		case key == "" && text == "":
		case !ok:
			i.refuse(at, "controller is not imported: a part of it is not key=value")
			usable = false
		case isField || isParameter(key):
			entries = append(entries, entry{key: key, at: at, text: text})
		default:
			i.refuseFor("controller", at, key)
			usable = false
		}
	}
	return lastOfEach(entries), usable
}

// stasExclusion makes an exclusion of what nvme-stas excludes. One that cannot be made has nothing of the file imported:
// what was forbidden would be connected.
func (i *importer) stasExclusion(at position, key, value string) {
	var parts []string
	for part := range strings.SplitSeq(value, ";") {
		name, text, pair := strings.Cut(strings.TrimSpace(part), "=")
		name, text = stasName(strings.TrimSpace(name)), strings.TrimSpace(text)
		switch {
		case name == "" && text == "":
			continue
		case isParameter(name):
			i.lose(at, "%s of %s is not imported: an exclusion has the keys of an address and of a host only", name, key)
			continue
		case !pair:
			i.wrong = errors.Join(i.wrong, fmt.Errorf("line %d: a part of %s is not key=value", at.line, key))
			return
		case name == "traddr" || name == "host-traddr":
			if inner, ok := strings.CutPrefix(text, "["); ok { // an IPv6 address may stand in brackets elsewhere
				text = strings.TrimSuffix(inner, "]")
			}
		}
		parts = append(parts, name+"="+text)
	}
	if len(parts) == 0 {
		return
	}
	text := strings.Join(parts, ";")
	if _, err := exclusion.Parse(text); err != nil {
		i.wrong = errors.Join(i.wrong, fmt.Errorf("line %d: %w", at.line, err))
		return
	}
	if !slices.Contains(i.exclusions, text) {
		i.exclusions = append(i.exclusions, text)
	}
}

// stasSetting tells what to do about a setting of the daemon.
func (i *importer) stasSetting(at position, key, value string) {
	global := func(line string) {
		i.lose(at, "%s is not imported: put %s into [global] of discoverd.conf", key, line)
	}
	on, err := param.ParseBool(strings.NewReplacer("enabled", "true", "disabled", "false").Replace(value))
	known := err == nil
	switch {
	case key == "tron" && known && on:
		global(`log-level = "debug"`)
	case key == "zeroconf-connections-persistence" && strings.TrimSpace(value) == "-1":
		global(`discovery-retention-time = "infinity"`)
	case key == "zeroconf-connections-persistence":
		if d, err := timespan.Parse(value); err == nil {
			global(`discovery-retention-time = "` + timespan.Format(d) + `"`)
		} else {
			i.loseKey(at, key)
		}
	case key == "persistent-connections" && known && !on:
		i.lose(at, "persistent-connections is not imported: stopping nvme-discoverd disconnects nothing; stop the units nvme-discoverd-*.service for that")
	case key == "ip-family" && (value == "ipv4" || value == "ipv6"):
		i.lose(at, "ip-family is not imported: every address that is configured or found is connected")
	case key == "ignore-iface" && known && on:
		i.lose(at, "ignore-iface is not imported: what a discovery controller names is connected through an interface only where host-iface is set for that controller")
	case key == "udev-rule":
		i.lose(at, "udev-rule is not imported: see nvme-discoverctl legacy")
	case isDefault(key, value, on && known):
	case isGuarded(key):
		i.wrong = errors.Join(i.wrong, fmt.Errorf("line %d: nothing in discoverd.conf is like %s, and without it all would be connected with less security", at.line, shown(key)))
	default:
		i.loseKey(at, key)
	}
}

// isDefault tells whether a setting of nvme-stas asks for what happens here anyway.
func isDefault(key, value string, on bool) bool {
	switch key {
	case "tron", "ignore-iface":
		return !on
	case "persistent-connections", "pleo":
		return on
	case "ip-family":
		return value == "ipv4+ipv6"
	}
	return false
}

// StafBrowses tells whether the stafd of nvme-stas 2 browses mDNS when it runs, which it does where its configuration does not say otherwise.
func StafBrowses(root paths.Root) bool {
	text, _, err := read(root.STAFConfig())
	browses := true
	if err != nil {
		return browses
	}
	scanINI(text, iniEvents{
		section: func(string, position) {},
		junk:    func(position) {},
		entry: func(key, value string, _ position, _ int) {
			if strings.ToLower(key) == "zeroconf" {
				browses = value != "disabled" && !isFalse(value)
			}
		},
	})
	return browses
}
