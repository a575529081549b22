package config

import (
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// stas imports stafd.conf or stacd.conf of nvme-stas, whose controllers are of the given kind (stafd.conf(5), stacd.conf(5)).
func (i *importer) stas(text string, kind tid.Kind) {
	section := ""
	var defaults []entry
	type controller struct {
		at     position
		fields []entry
	}
	var controllers []controller
	mdns, mdnsAt := kind == tid.Discovery, position{1, 1} // stafd browses where nothing is said
	scanINI(text, iniEvents{
		section: func(name string, _ position) { section = name },
		junk:    func(at position) { i.lose(at, "the line is not imported: it is no [section] and no key = value") },
		entry: func(key, value string, at position, _ int) {
			key = strings.ToLower(key)
			switch name := stasName(key); {
			case key == "controller":
				if value != "" {
					controllers = append(controllers, controller{at, i.stasController(at, value)})
				}
			case key == "zeroconf":
				mdns, mdnsAt = value != "disabled" && !isFalse(value), at
			case key == "exclude" || key == "blacklist":
				i.stasExclusion(at, key, value)
			case section == "Global" && isParameter(name):
				defaults = append(defaults, entry{key: name, at: at, text: value})
			default:
				i.stasSetting(at, key, value)
			}
		},
	})
	if mdns {
		i.lose(mdnsAt, "zeroconf, which nvme-stas has on by default, is not imported: mDNS is not supported by this version")
	}
	if len(controllers)+len(defaults) == 0 {
		return
	}
	d := i.persona(position{1, 1}, "", "")
	i.defaults(d, kind, lastOfEach(defaults))
	for _, c := range controllers {
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
	switch key {
	case "kato":
		return "keep-alive-tmo"
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

// stasController takes "key=value;key=value…" apart.
func (i *importer) stasController(at position, value string) []entry {
	var entries []entry
	for part := range strings.SplitSeq(value, ";") {
		key, text, ok := strings.Cut(strings.TrimSpace(part), "=")
		key, text = stasName(strings.TrimSpace(key)), strings.TrimSpace(text)
		_, isField := tid.TID{}.Get(key)
		switch {
		case key == "" && text == "":
		case !ok:
			i.lose(at, "a part of the controller is not imported: it is not key=value")
		case isField || isParameter(key):
			entries = append(entries, entry{key: key, at: at, text: text})
		default:
			i.loseKey(at, key)
		}
	}
	return lastOfEach(entries)
}

// stasExclusion tells how to exclude what nvme-stas excludes: the exclusion lists are files of their own.
func (i *importer) stasExclusion(at position, key, value string) {
	var parts []string
	for _, e := range i.stasController(at, value) {
		if _, ok := (tid.TID{}).Get(e.key); ok {
			parts = append(parts, e.key+"="+e.text)
		}
	}
	if len(parts) > 0 {
		i.lose(at, "%s is not imported: put the line \"exclusion = %s\" into a file %s/….conf", key, comment(strings.Join(parts, ";")), i.root.Exclusions())
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
		if d, err := parseSpan(value); err == nil {
			global(`discovery-retention-time = "` + formatSpan(d) + `"`)
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
