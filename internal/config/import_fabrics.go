// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/credential"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// fabricsConf imports a file in the format of nvme-fabrics.conf, such as nvme-stas 3's: each section becomes the same one of
// ours, with its secrets. What the service would not take of such a file is not imported either.
func (i *importer) fabricsConf(text string) {
	s := parse(i.path, text, secretMode, iniDialect, false) // what it becomes has that mode
	for _, t := range s.doc.tables {
		modernise(t)
	}
	resolve([]*source{s}, i.known, newSecretReader(i.root, credential.Host(i.root)))
	defer func() {
		for _, w := range s.found.warnings {
			if !slices.ContainsFunc(i.refusal, func(f finding) bool { return f.at.line == w.at.line }) {
				i.lose(w.at, "%s", w.text)
			}
		}
	}()
	if s.found.unparsed || len(s.loaded) > 0 { // the service would connect nothing of such a file either
		for _, line := range s.found.errors.places("") {
			i.wrong = errors.Join(i.wrong, errors.New("line "+strings.TrimPrefix(line, ":")))
		}
		return
	}
	host := s.section(secHost)
	d := i.persona(host.at, host.text("hostnqn"), host.text("hostid"))
	if d == nil || i.wrong != nil {
		return
	}
	if len(d.doc.tables) > 0 {
		i.wrong = fmt.Errorf("hostnqn %s is that of %s too, and the defaults of this file would hold for it: import the two one after the other, and join the drop-ins by hand", host.text("hostnqn"), d.sources[0])
		return
	}
	d.closed = true
	for _, t := range s.doc.tables {
		good, bad := i.fabricsEntries(t)
		if bad == nil {
			bad = within(s.found.errors, t, t)
		}
		isEndpoint := t.name == secDiscovery || t.name == secSubsystem
		switch {
		case bad != nil && isEndpoint:
			i.refuse(bad.at, "the %s of line %d is not imported with all that it connects: %s", t.title, t.at.line, bad.text)
		case bad != nil:
			i.wrong = fmt.Errorf("line %d: %s", bad.at.line, bad.text)
			return
		case isEndpoint:
			t.entries = good
			if t = i.fabricsEndpoint(s, d, t); len(t.controllers) > 0 {
				d.doc.tables = append(d.doc.tables, t)
			}
		case t.name == secHost:
			d.own = append(d.own, good...)
		case len(good) > 0:
			d.doc.tables = append(d.doc.tables, table{name: t.name, entries: good})
		}
	}
}

// modernise gives the keys of a table the names and values that the service knows.
func modernise(t table) {
	for n, e := range t.entries {
		if name, ok := strings.CutPrefix(e.key, "kxchap-"); ok { // nvme-cli's name of it since 3.0
			t.entries[n].key = "dhchap-" + name
		}
		if p, ok := param.ByName(e.key); ok {
			t.entries[n].text = inDecimal(p, e.text)
		}
		if on, err := param.ParseBool(e.text); e.key == "persistent" && err == nil { // what config-convert makes of older files
			t.entries[n].text = map[bool]string{true: "force", false: "no"}[on]
		}
	}
	for _, c := range t.controllers {
		modernise(c)
	}
}

// fabricsEndpoint returns an endpoint with those of its controllers that can be imported.
func (i *importer) fabricsEndpoint(s *source, d *draft, t table) table {
	kind := tid.IO
	if t.name == secDiscovery {
		kind = tid.Discovery
	}
	all := t.controllers
	t.controllers = nil
	for _, c := range all {
		good, bad := i.fabricsEntries(c)
		if bad == nil {
			bad = within(s.found.errors, c, t)
		}
		if bad != nil {
			i.refuse(c.at, "controller is not imported: %s", bad.text)
			continue
		}
		key, _, err := connectionOf(kind, append(slices.Clone(good), entry{key: "nqn", text: t.text("nqn")}))
		if err != nil {
			i.refuse(c.at, "controller is not imported: %v", err)
			continue
		}
		key.id.HostNQN = d.host.nqn
		if before, ok := i.seen[key]; ok {
			i.lose(c.at, "controller is not imported: it is at %s already", before)
			continue
		}
		i.seen[key] = fmt.Sprintf("%s:%d", i.path, c.at.line)
		d.count++
		t.controllers = append(t.controllers, table{name: "controller", entries: good})
	}
	return t
}

// within returns the first of the errors that stands in the lines of t: a controller of an endpoint has its line, an
// endpoint its own and those of its keys.
func within(errs list, t, endpoint table) *finding {
	for _, e := range errs {
		isOf := func(line int) bool { return line == e.at.line }
		ofController := slices.ContainsFunc(endpoint.controllers, func(c table) bool { return isOf(c.at.line) })
		ofKey := slices.ContainsFunc(t.entries, func(e entry) bool { return isOf(e.at.line) })
		if (isOf(t.at.line) || ofKey) && (t.name == "controller" || !ofController) {
			return &e
		}
	}
	return nil
}

// fabricsEntries returns the entries of a table as a drop-in has them, or what is bad: one that is unknown and could have to
// do with security or path.
func (i *importer) fabricsEntries(t table) (good []entry, bad *finding) {
	allowed := allowedIn(t.name)
	for _, e := range t.entries {
		p, isParam := param.ByName(e.key)
		switch {
		case slices.Contains(hostKeys, e.key), slices.Contains(iniDialect.others, e.key):
		case isParam && slices.Contains(allowed, e.key):
			set, err := param.Set{}.With(p, e.text)
			if err != nil {
				return nil, &finding{at: e.at, text: err.Error()}
			}
			if e.text != "" {
				value, on := set.Get(p)
				e.text = value
				if p.Info().Form == param.Switch {
					e.text = strconv.FormatBool(on)
				}
			}
			good = append(good, e)
		case slices.Contains(allowed, e.key):
			good = append(good, e)
		case t.name == "controller", isGuarded(e.key):
			return nil, &finding{at: e.at, text: fmt.Sprintf("nothing in discoverd.conf is like %s, which could say over which path or how it is to be connected", shown(e.key))}
		}
	}
	return good, nil
}
