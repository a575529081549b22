// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// shortOptions are the letters of `nvme discover`, as of nvme-cli 2.13 (fabrics.c, NVMF_ARGS), that stand for no parameter.
// They are constant.
var shortOptions = map[string]string{
	"t": "transport", "n": "nqn", "a": "traddr", "s": "trsvcid", "w": "host-traddr", "f": "host-iface",
	"q": "hostnqn", "I": "hostid", "S": "dhchap-secret", "C": "dhchap-ctrl-secret",
	"m": "matching", "d": "device", "r": "raw", "p": "persistent", "J": "config", "O": "dump-config", "o": "output-format", "v": "verbose",
}

// shortOption returns the option that a letter stands for, "" if nvme-cli has none.
func shortOption(letter string) string {
	for _, p := range param.All() {
		if letter == p.Info().Letter {
			return p.String()
		}
	}
	return shortOptions[letter]
}

// harmless are the options that say nothing of a connection.
var harmless = []string{"device", "raw", "config", "dump-config", "output-format", "verbose", "quiet", "force", "nbft", "no-nbft", "context", "timeout"}

// flags are the options that take no value, besides the parameters that are switches.
func isFlag(option string) bool {
	if p, ok := param.ByName(option); ok {
		return p.Info().Form == param.Switch
	}
	return slices.Contains([]string{"persistent", "matching", "quiet", "dump-config", "force", "nbft", "no-nbft", "verbose"}, option)
}

// discoveryConf imports nvme-cli's discovery.conf: on each line the options of one `nvme discover`, which end at blanks and
// equals signs and know no quotes.
func (i *importer) discoveryConf(text string) {
	type line struct {
		draft  *draft
		at     position
		fields []entry
		params []entry
	}
	var lines []line
	number := 0
	for raw := range strings.Lines(text) {
		number++
		at := position{number, 1}
		raw = strings.TrimSpace(raw)
		if raw == "" || raw[0] == '#' {
			continue
		}
		l := line{at: at}
		var nqn, id string
		options, ok := i.options(at, strings.FieldsFunc(raw, func(r rune) bool { return strings.ContainsRune(" \t\r=", r) }))
		for _, e := range options {
			_, isParam := param.ByName(e.key)
			switch {
			case e.key == "hostnqn":
				nqn = e.text
			case e.key == "hostid":
				id = e.text
			case e.key == "persistent":
				l.fields = append(l.fields, entry{key: e.key, at: at, text: "force"})
			case e.key == "matching":
				i.lose(at, "matching is not imported: all that the discovery controller names is connected; exclude what is not to be")
			case slices.Contains(harmless, e.key):
				i.loseKey(at, e.key)
			case isParam:
				l.params = append(l.params, e)
			case e.key == "nqn" || slices.Contains(controllerKeys, e.key):
				l.fields = append(l.fields, e)
			default:
				i.refuseFor("controller", at, e.key)
				ok = false
			}
		}
		if !ok {
			continue
		}
		if !slices.ContainsFunc(l.fields, func(e entry) bool { return e.key != "persistent" }) {
			i.lose(at, "the line is not imported: it names no controller")
			continue
		}
		if _, _, err := connectionOf(tid.Discovery, l.fields); err != nil {
			i.refuse(at, "controller is not imported: %v", err)
			continue
		}
		if l.draft = i.persona(at, nqn, id); l.draft != nil {
			lines = append(lines, l)
		}
	}
	// `nvme connect-all` gives the options of a line to what that controller names, too: a drop-in has one set for all.
	first, differ := map[*draft][]entry{}, map[*draft]bool{}
	for _, l := range lines {
		if params, ok := first[l.draft]; !ok {
			first[l.draft] = l.params
		} else if !sameEntries(params, l.params) {
			differ[l.draft] = true
		}
	}
	for _, l := range lines {
		params, isFirst := first[l.draft]
		switch {
		case differ[l.draft]:
			if n := slices.IndexFunc(l.params, func(e entry) bool { return isGuarded(e.key) }); n >= 0 {
				i.refuse(l.at, "controller is not imported: what it names would be connected without %s, since other lines differ, and [io-controller-defaults] would hold for all", l.params[n].key)
				continue
			}
			if len(l.params) > 0 {
				i.lose(l.at, "the parameters of this line are imported for its discovery controller, not for what that names: other lines differ, and [io-controller-defaults] would hold for all")
			}
			l.fields = append(l.fields, l.params...)
		case isFirst:
			i.defaults(l.draft, tid.Discovery, params)
			i.defaults(l.draft, tid.IO, params)
			delete(first, l.draft)
		}
		i.connect(l.draft, tid.Discovery, l.at, l.fields)
	}
}

func sameEntries(a, b []entry) bool {
	less := func(x, y entry) int { return strings.Compare(x.key+"="+x.text, y.key+"="+y.text) }
	a, b = slices.SortedFunc(slices.Values(a), less), slices.SortedFunc(slices.Values(b), less)
	return slices.EqualFunc(a, b, func(x, y entry) bool { return x.key == y.key && x.text == y.text })
}

// options takes the words of a line apart. Of an option that comes twice the last one counts, as for nvme-cli. known is
// false if one is not known or not complete, whatever it would mean for the connection.
func (i *importer) options(at position, words []string) (options []entry, known bool) {
	known = true
	set := func(key, text string) {
		if n := slices.IndexFunc(options, func(e entry) bool { return e.key == key }); n >= 0 {
			options = slices.Delete(options, n, n+1)
		}
		options = append(options, entry{key: key, at: at, text: text})
	}
	for n := 0; n < len(words); n++ {
		word := words[n]
		key, long := strings.CutPrefix(word, "--")
		value, attached := "", false
		if !long {
			letter, ok := strings.CutPrefix(word, "-")
			if !ok || letter == "" {
				i.lose(at, "word %d of the line is not imported: it belongs to no option", n+1)
				continue
			}
			name := shortOption(letter[:1])
			if name == "" {
				i.refuse(at, "controller is not imported: word %d is an option of one letter that nvme-cli does not have", n+1)
				known = false
				continue
			}
			key, value, attached = name, letter[1:], len(letter) > 1
		}
		key = strings.ReplaceAll(key, "_", "-")
		switch {
		case isFlag(key):
			set(key, "true")
			for ; attached && value != ""; value = value[1:] { // letters in a row
				if next := shortOption(value[:1]); isFlag(next) {
					set(next, "true")
				} else {
					i.refuse(at, "controller is not imported: some letters of word %d are no switches", n+1)
					known = false
					break
				}
			}
		case attached:
			set(key, value)
		case n+1 < len(words) && !strings.HasPrefix(words[n+1], "--"): // a value may be negative
			n++
			set(key, words[n])
		default:
			i.refuse(at, "controller is not imported: %s has no value", shown(key))
			known = false
		}
	}
	return options, known
}
