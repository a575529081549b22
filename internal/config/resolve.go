// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// builtIn is where the values come from that no file sets.
const builtIn = "built-in default"

// values are parameters and where each was set or reset.
type values struct {
	set    param.Set
	from   map[param.Param]string // shared between values: cloned before a change
	faults []fault                // of the tables that the parameters are of
}

// levels are the parameters of each kind of controller that hold where an endpoint sets none.
type levels [2]values

// builtInLevels returns the levels of an empty file.
func builtInLevels() (l levels) {
	for _, kind := range []tid.Kind{tid.Discovery, tid.IO} {
		v := values{set: param.Defaults(kind), from: map[param.Param]string{}}
		for _, p := range param.All() {
			if _, ok := v.set.Get(p); ok {
				v.from[p] = builtIn
			}
		}
		l[kind] = v
	}
	return l
}

// forOthers returns the levels as other files inherit them: an error of this one costs theirs no connection, unless that
// would be another than they ask for.
func (l levels) forOthers() levels {
	for kind := range l {
		l[kind].faults = onlyGrave(l[kind].faults)
	}
	return l
}

// faults returns the grave faults of both kinds.
func (l levels) faults() []fault {
	return onlyGrave(slices.Concat(l[tid.Discovery].faults, l[tid.IO].faults))
}

func (l levels) discovered(secrets secret.Ref) Discovered {
	return Discovered{l[tid.Discovery].set, l[tid.IO].set, secrets}
}

// resolve gives the documents their meaning. What is wrong and what is odd goes to the findings of each source.
func resolve(sources []*source, known identity, read secretReader) Explanation {
	e, _ := resolveOver(nil, sources, known, read)
	return e
}

// resolveOver is resolve for a Loader: what an error costs stays as it was at the last load, if that is no less than what the
// file asks for. It returns what the next load is to remember.
func resolveOver(last *lastGood, sources []*source, known identity, read secretReader) (Explanation, *lastGood) {
	if last == nil {
		last = &lastGood{settings: Defaults()}
	}
	r := resolver{known: known, mainPersonas: map[*dialect]persona{}, first: map[connectionKey]*claim{}, readSecret: read, last: last}
	r.out.Settings = last.settings
	if len(sources) == 0 || sources[0].dialect != tomlDialect || sources[0].dropIn {
		r.out.Settings = Defaults() // there is no main file any more
	}
	r.next = &lastGood{files: map[string]*source{}, connections: map[string][]kept{}, hosts: map[string]secret.Set{}}
	r.settings(sources)

	main := map[*dialect]levels{tomlDialect: builtInLevels(), iniDialect: builtInLevels()}
	for _, s := range sources {
		if s.found.unparsed { // what is wrong in the rest of it is told, and nothing of it used: it may ask for less than the whole
			aside := resolver{known: known, personas: slices.Clone(r.personas), mainPersonas: map[*dialect]persona{}, first: map[connectionKey]*claim{}, readSecret: read, nvmePath: r.nvmePath, last: &lastGood{}}
			aside.next = &lastGood{connections: map[string][]kept{}}
			aside.out.Settings = r.out.Settings
			aside.source(s, maps.Clone(main))
			s.doc, s.faults, s.keyFaults = document{}, slices.Clone(s.loaded), map[string][]fault{}
		} else {
			r.next.files[s.file] = s
		}
		r.source(s, main)
	}
	r.lostConnections()
	r.unconfigured(sources)
	r.explainSettings(sources)
	r.remember()
	return r.out, r.next
}

// source adds what a file configures. main are the type defaults of the main files before it.
func (r *resolver) source(s *source, main map[*dialect]levels) {
	for _, t := range s.doc.tables {
		switch t.name {
		case secDiscovery, secSubsystem: // where they are connected
		case "", secGlobal:
			s.faults = append(s.faults, onlyGrave(slices.Concat(t.faults, r.checkKeys(s, t)))...)
		default:
			s.keyFaults[t.name] = slices.Concat(s.keyFaults[t.name], t.faults, r.checkKeys(s, t))
		}
	}
	own := r.typeDefaults(s, main[s.dialect])
	if !s.dropIn {
		main[s.dialect] = own.forOthers()
	}
	r.connections(s, r.hostParams(s, own))
}

// resolver holds what resolve has worked out so far.
type resolver struct {
	known        identity // of the host itself
	personas     []persona
	out          Explanation
	mainPersonas map[*dialect]persona     // of the main files
	first        map[connectionKey]*claim // who has each connection

	last, next *lastGood
	lost       []lost

	readSecret secretReader
	nvmePath   string // where nvme-path is set, "" if it is not
}

// settings applies [global] of the main file, the one place for it.
func (r *resolver) settings(sources []*source) {
	main := "the main file, discoverd.conf"
	for _, s := range sources {
		if s.dialect == tomlDialect && !s.dropIn {
			var set map[string]position
			r.out.Settings, set = settingsOf(s.section(secGlobal), r.last.settings, &s.found)
			main = s.file
			if r.out.Settings.NVMePath != "" {
				r.nvmePath = s.place(set["nvme-path"])
			}
		}
	}
	for _, s := range sources {
		for _, t := range s.doc.tables {
			if t.name == secGlobal && s.dropIn {
				s.found.errors.add(t.at, "cannot use %s in a drop-in: it belongs in %s", t.title, main)
			}
		}
	}
}

// settingsOf returns the defaults with what [global] sets, and where each of these keys stands. An empty value is the
// default; what cannot be set stays as it was at the last load.
func settingsOf(t table, last Settings, found *findings) (Settings, map[string]position) {
	all, set := Defaults(), map[string]position{}
	for _, s := range settings {
		e, ok := t.find(s.key)
		if !ok || e.text == "" && e.strange == "" {
			continue
		}
		set[s.key] = e.at
		with := all
		switch before := s.get(last); {
		case e.strange == "" && s.set(&with, e.text):
			all = with
			continue
		case e.strange == "":
			found.errors.add(e.at, "cannot set %s to %q: it must be %s", s.key, e.text, s.want)
			fallthrough
		default:
			if with = all; before != "" && s.set(&with, before) {
				all = with
			}
		}
	}
	if all.Zeroconf && !all.IfacePinning {
		found.errors.add(t.place("iface-pinning"), "cannot set iface-pinning to false with zeroconf: what mDNS finds is connected through the interface that it was heard on")
		all.IfacePinning = true
	}
	return all, set
}

// checkKeys reports every key that a table does not know: an error where it is one that is at home elsewhere, because it
// would not be obeyed, or one without which a connection would be another than the file asks for; else a warning. No value
// is shown: it could be a secret under a misspelt name.
func (r *resolver) checkKeys(s *source, t table) (faults []fault) {
	allowed := allowedIn(t.name)
	for _, e := range t.entries {
		wrong := func(format string, args ...any) {
			faults = append(faults, s.wrong(e.at, meant(e.key), grave(e.key), format, args...))
		}
		home := s.dialect.belongs(e.key)
		switch {
		case t.name != "" && slices.Contains(allowed, e.key):
			if e.strange != "" {
				wrong("cannot set %s to %s: it must be a string, an integer or a truth value", e.key, e.strange)
			}
		case t.name == secHost && slices.Contains(s.dialect.others, e.key):
		case home != "":
			wrong("cannot use %s in %s: it belongs in %s", e.key, t.title, home)
		case t.name == "controller":
			// Whatever it is to do, the connection without it is not the one that the file asks for.
			faults = append(faults, s.wrong(e.at, meant(e.key), grave(e.key) || meant(e.key) == "",
				"cannot use %s in %s: it is unknown, so this controller is not connected%s", shown(e.key), t.title, s.dialect.hint(e.key, allowed)))
		case grave(e.key) && (t.name != secGlobal || suggestion(e.key, allowed) == ""), isOfPath(e.key) && t.name != secGlobal:
			faults = append(faults, s.wrong(e.at, meant(e.key), true,
				"cannot use %s in %s: it is unknown, so nothing that it may hold for is connected%s", shown(e.key), t.title, s.dialect.hint(e.key, allowed)))
		case e.inner != "":
			faults = append(faults, s.wrong(e.at, meant(e.inner), true,
				"cannot use %s below %s in %s: %[2]s is unknown, so nothing that it may hold for is connected", shown(e.inner), shown(e.key), t.title))
		default:
			s.found.warnings.ignore(ignoredKey, e.at, "key %s in %s is unknown and ignored%s", shown(e.key), t.title, s.dialect.hint(e.key, allowed))
		}
	}
	return faults
}

// typeDefaults lays the type defaults of a file over those of the level above it.
func (r *resolver) typeDefaults(s *source, base levels) levels {
	for kind, name := range map[tid.Kind]string{tid.Discovery: secDiscoveryDefaults, tid.IO: secIODefaults} {
		base[kind] = r.params(s, base[kind], s.section(name))
		base[kind].faults = slices.Concat(base[kind].faults, s.keyFaults[name])
		for _, f := range s.loaded { // any of them may be one of these defaults
			if _, ok := param.ByName(f.key); (ok || f.key == "") && !f.own {
				base[kind].faults = append(base[kind].faults, f)
			}
		}
	}
	return base
}

// hostParams lays the parameters of a file's [host] over its type defaults.
func (r *resolver) hostParams(s *source, base levels) levels {
	host := s.section(secHost)
	for kind := range base {
		base[kind] = r.params(s, base[kind], host)
	}
	return base
}

// params lays the parameters of a table over those of the level above it. An empty value resets one to the kernel's default.
func (r *resolver) params(s *source, v values, t table) values {
	cloned := false
	v.faults = slices.Clip(v.faults)
	for _, e := range t.entries {
		p, ok := param.ByName(e.key)
		if !ok || e.strange != "" {
			continue
		}
		text := e.text
		if s.dialect == iniDialect {
			text = inDecimal(p, text)
		}
		set, err := v.set.With(p, text)
		if err != nil {
			if _, told := v.set.With(p, e.text); told != nil { // in the words of the file
				err = told
			}
			v.faults = append(v.faults, s.wrong(e.at, e.key, grave(e.key), "%v", err))
			continue
		}
		if !cloned {
			v.from, cloned = maps.Clone(v.from), true
		}
		v.set, v.from[p] = set, s.place(e.at)
	}
	return v
}

// inDecimal returns the value of p in a file of nvme-cli's, with an integer that is written as in C in decimal.
func inDecimal(p param.Param, text string) string {
	if number, ok := cInteger(text); ok && p.Info().Form.IsNumber() {
		return number
	}
	return text
}

// cInteger returns an integer that is written as in C, 0x1E or 036 for 30, in decimal: nvme-cli reads those of
// nvme-fabrics.conf so.
func cInteger(text string) (decimal string, ok bool) {
	digits := strings.TrimLeft(text, "+-")
	if len(text)-len(digits) > 1 || strings.Trim(digits, "0123456789abcdefABCDEFxX") != "" ||
		strings.HasPrefix(digits, "0b") || strings.HasPrefix(digits, "0B") { // Go knows more than C
		return "", false
	}
	n, err := strconv.ParseInt(text, 0, 64)
	return strconv.FormatInt(n, 10), err == nil
}

// connections adds what a file configures. base are the levels below its endpoints.
func (r *resolver) connections(s *source, base levels) {
	own := r.persona(s)
	own.faults = append(own.faults, s.keyFaults[secHost]...)
	own.faults = append(own.faults, s.faults...)
	r.hostSecrets(s, &own)
	for _, t := range s.doc.tables {
		switch t.name {
		case secDiscovery:
			r.endpoint(s, t, tid.Discovery, own, base)
		case secSubsystem:
			r.endpoint(s, t, tid.IO, own, base)
		}
	}
	if !s.dropIn {
		r.mainPersonas[s.dialect] = own
	}
}

// unconfigured works out the identity and the parameters of what is found by itself.
func (r *resolver) unconfigured(sources []*source) {
	found, own := builtInLevels(), persona{identity: r.known, idFrom: r.known.idFrom()}
	var ref secret.Ref
	var set secret.Set
	var wrong []fault
	for _, d := range []*dialect{iniDialect, tomlDialect} {
		for _, s := range sources {
			if s.dialect != d || s.dropIn {
				continue
			}
			found = r.hostParams(s, r.typeDefaults(s, found))
			p := r.mainPersonas[d]
			wrong = append(wrong, p.faults...)
			given := p.explicit || s.section(secHost).text("hostid") != ""
			if given {
				own = p
			}
			if given || p.ref != "" { // secrets belong to a host
				set, ref = p.secrets, p.ref
			}
		}
	}
	r.out.Config.Discovered = found.discovered(ref)
	r.out.HostNQN, r.out.HostID = own.nqn, own.id
	if wrong = append(onlyGrave(wrong), found.faults()...); len(wrong) > 0 || own.nqn == "" {
		if last := r.last.found; last.connection.Wish.TID.HostNQN != "" && last.hasAll(wrong) && last.lacks(found[tid.IO].set, set) == "" {
			r.out.Config.Discovered = last.connection.Discovered
			r.out.Config.Discovered.Secrets = r.keep(last.secrets, "last good secrets of what is found")
			r.out.HostNQN, r.out.HostID = last.connection.Wish.TID.HostNQN, last.connection.Wish.TID.HostID
		} else if len(wrong) > 0 {
			r.out.Config.Discovered.Secrets = r.block("what is found", wrong)
			if wrong = found.faults(); len(wrong) > 0 {
				r.block(DefaultsRef, wrong)
			}
		}
	}
	r.out.HostIDFrom = map[string]string{}
	for _, p := range append([]persona{own}, r.personas...) {
		if p.nqn != "" {
			r.out.HostIDFrom[p.nqn] = p.idFrom
		}
	}
	r.out.Found = found.found(set)
}

// add puts a connection in force that file asks for.
func (r *resolver) add(file string, k kept) {
	r.next.connections[file] = append(r.next.connections[file], k)
	r.out.Config.Connections = append(r.out.Config.Connections, k.connection)
	r.out.Values = append(r.out.Values, k.values)
}
