package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
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
	l[tid.Discovery] = values{set: mustSet(param.KeepAliveTMO, "30"), from: map[param.Param]string{param.KeepAliveTMO: builtIn}}
	l[tid.IO] = values{set: mustSet(param.CtrlLossTMO, "600"), from: map[param.Param]string{param.CtrlLossTMO: builtIn}}
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

// mustSet returns the set of one parameter that is known to be right.
func mustSet(p param.Param, value string) param.Set {
	set, err := param.Set{}.With(p, value)
	if err != nil {
		panic(err)
	}
	return set
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

// lost is a connection that an error costs, for now.
type lost struct {
	file   string
	kept   // as it would be without the error
	faults []fault
	unsure bool // nobody can tell what it would be
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
	if all.Zeroconf {
		found.warnings.add(t.place("zeroconf"), "zeroconf is not supported by this version: no discovery controller is found by mDNS")
		if !all.IfacePinning {
			found.errors.add(t.place("iface-pinning"), "cannot set iface-pinning to false with zeroconf: what mDNS finds is connected through the interface that it was heard on")
			all.IfacePinning = true
		}
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
				"cannot use %s in %s: it is unknown, so this controller is not connected%s", shown(e.key), t.title, suggest(e.key, allowed)))
		case grave(e.key) && (t.name != secGlobal || suggestion(e.key, allowed) == ""):
			wrong("cannot use %s in %s: it is unknown, so nothing that it may hold for is connected%s", shown(e.key), t.title, suggest(e.key, append(allowed, graveKeys()...)))
		case e.inner != "":
			faults = append(faults, s.wrong(e.at, meant(e.inner), true,
				"cannot use %s below %s in %s: %[2]s is unknown, so nothing that it may hold for is connected", shown(e.inner), shown(e.key), t.title))
		default:
			s.found.warnings.add(e.at, "key %s in %s is unknown and ignored%s", shown(e.key), t.title, suggest(e.key, allowed))
		}
	}
	return faults
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
		if number, ok := cInteger(text); ok && s.dialect == iniDialect && !p.Info().Bool && !p.Info().Text {
			text = number
		}
		set, err := v.set.With(p, inSeconds(p, text))
		if err != nil {
			if set, err = v.set.With(p, e.text); err != nil { // tells it in the words of the file
				v.faults = append(v.faults, s.wrong(e.at, e.key, grave(e.key), "%v", err))
				continue
			}
		}
		if !cloned {
			v.from, cloned = maps.Clone(v.from), true
		}
		v.set, v.from[p] = set, s.place(e.at)
	}
	return v
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

// inSeconds returns the value of a parameter that is a span of time as the number of seconds that the kernel takes, -1
// being its infinity. Every other value is returned as it is.
func inSeconds(p param.Param, text string) string {
	switch p {
	case param.KeepAliveTMO, param.CtrlLossTMO, param.ReconnectDelay, param.FastIOFailTMO:
	default:
		return text
	}
	d, err := parseSpan(text)
	switch {
	case err != nil:
	case d == Infinity && p.Info().Min < 0:
		return "-1"
	case d != Infinity && d%time.Second == 0:
		return strconv.FormatInt(int64(d/time.Second), 10)
	}
	return text
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
	if r.known.derived && slices.ContainsFunc(r.personas, func(p persona) bool { return p.nqn == r.known.nqn }) {
		r.out.Warnings = append(r.out.Warnings, fmt.Sprintf("%s: the file does not exist, and no hostid: using %s, derived from the machine ID", r.known.nqnFile, r.known.nqn))
	}
}

// remember notes what is in force now for the next load.
func (r *resolver) remember() {
	out := r.out.Config
	r.next.settings = out.Settings
	for nqn, ref := range out.HostSecrets {
		if set, ok := out.Secrets[ref]; ok {
			r.next.hosts[nqn] = set
		}
	}
	if _, bad := out.Unusable[out.Discovered.Secrets]; !bad {
		found := Connection{Discovered: out.Discovered, Wish: wish.Wish{Params: out.Discovered.IO}}
		found.Wish.TID.HostNQN, found.Wish.TID.HostID = out.HostNQN, out.HostID
		r.next.found = kept{connection: found, secrets: out.Secrets[out.Discovered.Secrets]}
	} else {
		r.next.found = r.last.found
	}
}

// endpoint adds the connections of an endpoint.
func (r *resolver) endpoint(s *source, t table, kind tid.Kind, own persona, base levels) {
	faults := slices.Concat(own.faults, t.faults, r.checkKeys(s, t))
	unsure := own.unknowing
	nqn := t.text("nqn")
	if err := s.dialect.checkNQN(nqn, kind); err != nil {
		faults, unsure = append(faults, s.wrong(t.place("nqn"), "", true, "%v", err)), true
		nqn = tid.DiscoveryNQN // stands in, so that the controllers are looked at nevertheless
	}
	switch {
	case !t.listed:
		s.found.warnings.add(t.at, "%s has no controller: nothing of it is connected; add %s", t.title, s.dialect.controller)
	case len(t.controllers) == 0:
		s.found.warnings.add(t.at, "%s lists no controller: nothing of it is connected", t.title)
	}
	set := r.params(s, base[kind], t)
	secrets, wrong := r.secrets(s, own.secrets, t)
	set, secrets, more := oneTLSKey(s, t, set, secrets)
	faults = slices.Concat(faults, wrong, more)
	var below Discovered
	var persistence Persistence
	if kind == tid.Discovery {
		below = base.discovered(own.ref)
		persistence, wrong = persistenceOf(s, t)
		faults = append(faults, wrong...)
	}
	for _, c := range t.controllers {
		set := r.params(s, set, c)
		secrets, wrong := r.secrets(s, secrets, c)
		set, secrets, more := oneTLSKey(s, c, set, secrets)
		faults := slices.Concat(faults, c.faults, r.checkKeys(s, c), wrong, more)
		id := tid.TID{NQN: nqn, HostNQN: own.nqn, HostID: own.id}
		for _, key := range controllerKeys {
			id.Set(key, c.text(key))
		}
		host, checked, misplaced := r.address(s, c, id, kind)
		faults = slices.Concat(faults, misplaced, r.notTaken(s, checked.Transport, []table{c, t}, set), r.plain(s, []table{c, t}, set, secrets))
		faults = append(faults, set.faults...)
		r.connection(s, c, Connection{
			Wish:       wish.Wish{Kind: kind, TID: checked, Owner: wish.OwnerDiscoverd},
			Host:       host,
			Discovered: below, Persistence: persistence,
			From: s.place(c.at),
		}, set, secrets, origins{c, t, own, base}, faults, unsure || checked.Transport == "")
	}
}

// persistenceOf returns what the section of a discovery controller says of its connection, "" if nothing: the global
// default.
func persistenceOf(s *source, t table) (Persistence, []fault) {
	e, ok := t.find(persistentKey)
	if !ok || e.text == "" || e.strange != "" {
		return "", nil
	}
	p, known := persistences[e.text]
	if !known {
		return "", []fault{s.wrong(e.at, persistentKey, false, "cannot set %s to %q: it must be no, auto or force", persistentKey, e.text)}
	}
	return p, nil
}

// address returns the TID that a controller table asks for and the name that stands for its traddr. A field that cannot be used
// is a fault, and is not set; without those that name the target there is no TID.
func (r *resolver) address(s *source, c table, id tid.TID, kind tid.Kind) (host string, checked tid.TID, faults []fault) {
	if c.text("trsvcid") == "none" && id.Transport != "" && !tid.Takes(id.Transport, "trsvcid") {
		id.Trsvcid = "" // as log pages have it, and what is made of them
	}
	if host = hostName(&id); host != "" {
		id.Traddr = "::" // stands in while the rest is checked
	}
	for {
		var err error
		checked, err = tid.New(id, kind)
		if err == nil {
			err = checkSource(checked, host)
		}
		if err == nil {
			break
		}
		key, hint := "", ""
		var other *sourceError
		if field := (*tid.FieldError)(nil); errors.As(err, &field) {
			key = field.Key
		} else if errors.As(err, &other) {
			key = other.key
		}
		if key == "traddr" && strings.HasSuffix(err.Error(), "needs an IP address") {
			hint = " or the name of a host"
		}
		faults = append(faults, s.wrong(c.place(key), key, true, "%v%s", err, hint))
		if value, _ := id.Get(key); value == "" || !slices.Contains([]string{"host-traddr", "host-iface"}, key) {
			return "", tid.TID{}, faults
		}
		id.Set(key, "")
	}
	if addr, err := netip.ParseAddr(checked.Traddr); host == "" && err == nil && addr.Is6() && addr.IsLinkLocalUnicast() && addr.Zone() == "" && checked.HostIface == "" && len(faults) == 0 {
		or := ""
		if tid.Takes(checked.Transport, "host-iface") {
			or = ", or set host-iface"
		}
		s.found.warnings.add(c.place("traddr"), "traddr %s is link-local, and nothing says on which interface: add its zone as in %s%%eth0%s", checked.Traddr, checked.Traddr, or)
	}
	if host != "" {
		checked.Traddr = ""
	}
	return host, checked, faults
}

// notTaken reports what a connection by a transport cannot have, and what its own tables, the most specific first, or levels
// above them set. From above only what makes the connection less secure counts: those levels are for all transports.
func (r *resolver) notTaken(s *source, transport string, own []table, v values) (faults []fault) {
	if transport == "" {
		return nil
	}
	for _, p := range param.All() {
		value, set := v.set.Get(p)
		if !set || p.Info().On(transport) {
			continue
		}
		if e, ok := findIn(own, p.String()); ok {
			faults = append(faults, s.wrong(e.at, e.key, grave(e.key), "cannot use %s with transport %s, which does not take it", e.key, transport))
		} else if p == param.TLS || p == param.Concat {
			faults = append(faults, s.wrong(own[0].place("transport"), p.String(), true,
				"cannot use transport %s with %s = %s of %s, which it does not take: set %s to false here to do without", transport, p, value, v.from[p], p))
		}
	}
	if e, ok := findIn(own, secret.TLS.String(), secret.TLS.String()+fileSuffix); ok && e.text != "" && !param.TLS.Info().On(transport) {
		faults = append(faults, s.wrong(e.at, e.key, true, "cannot use %s with transport %s, which does not take it", e.key, transport))
	}
	return faults
}

// plain reports a TLS key at a connection that says nothing of TLS: it would be connected in the clear.
func (r *resolver) plain(s *source, own []table, v values, secrets secret.Set) (faults []fault) {
	for _, p := range []param.Param{param.TLS, param.Concat} {
		if _, said := v.from[p]; said {
			return nil
		}
	}
	for _, name := range []string{secret.TLS.String(), secret.TLS.String() + fileSuffix, param.TLSKeyIdentity.String(), param.Keyring.String()} {
		if e, ok := findIn(own, name); ok && e.text != "" && e.strange == "" {
			faults = append(faults, s.wrong(e.at, param.TLS.String(), true, "cannot use %s without TLS: add tls = true, or tls = false to connect in the clear", name))
		}
	}
	return faults
}

// findIn returns the entry of the first of tables that sets any of keys.
func findIn(tables []table, keys ...string) (entry, bool) {
	for _, t := range tables {
		for _, key := range keys {
			if e, ok := t.find(key); ok {
				return e, true
			}
		}
	}
	return entry{}, false
}

// oneTLSKey lets a table's tls-key-identity take the place of a tls-key from above, and the reverse.
func oneTLSKey(s *source, t table, v values, secrets secret.Set) (values, secret.Set, []fault) {
	identity, _ := t.find(param.TLSKeyIdentity.String())
	key, _ := findIn([]table{t}, secret.TLS.String(), secret.TLS.String()+fileSuffix)
	switch {
	case identity.text != "" && key.text != "":
		return v, secrets, []fault{s.wrong(identity.at, identity.key, true, "cannot set %s and %s in %s: leave one of them out", key.key, identity.key, t.title)}
	case identity.text != "":
		secrets[secret.TLS] = secret.Secret{}
	case key.text != "":
		v.set, _ = v.set.With(param.TLSKeyIdentity, "")
	}
	return v, secrets, nil
}

// connection adds one connection unless it is there already. Faults cost it: then it is added so that it is known and not
// connected, unless the one of the last load can stay; if it is unsure what it would be, it is not known either.
func (r *resolver) connection(s *source, t table, c Connection, v values, secrets secret.Set, from origins, faults []fault, unsure bool) {
	c.Wish.Params, c.Wish.Secrets = v.set, from.own.ref
	if secrets != from.own.secrets && len(faults) == 0 {
		c.Wish.Secrets = r.keep(secrets, secret.Ref(fmt.Sprintf("%s:%d", c.From, t.at.column)))
	}
	own := ConnectionValues{Own: slices.Concat(from.list(s, c), v.list(), listSecrets(secrets))}
	if c.Wish.Kind == tid.Discovery {
		own.Found = from.base.found(from.own.secrets)
	}
	now := kept{connection: c, values: own, secrets: secrets, below: from.own.secrets}
	if wrong := from.base.faults(); c.Wish.Kind == tid.Discovery && len(faults) == 0 && len(wrong) > 0 { // of what it names
		r.belowLast(s.file, &now, wrong)
	}
	switch {
	case len(faults) > 0 && unsure:
		r.lost = append(r.lost, lost{s.file, now, faults, true})
	case !r.claims(s, t, now, faults):
	case len(faults) > 0:
		r.lost = append(r.lost, lost{s.file, now, faults, false})
	default:
		r.add(s.file, now)
	}
}

// add puts a connection in force that file asks for.
func (r *resolver) add(file string, k kept) {
	r.next.connections[file] = append(r.next.connections[file], k)
	r.out.Config.Connections = append(r.out.Config.Connections, k.connection)
	r.out.Values = append(r.out.Values, k.values)
}

// belowLast gives a discovery controller, because of faults of the defaults, what it passed on to what it names at the last
// load; without that nothing that it names is connected.
func (r *resolver) belowLast(file string, now *kept, faults []fault) {
	for _, k := range r.last.connections[file] {
		io := kept{connection: Connection{Wish: wish.Wish{Params: k.connection.Discovered.IO}}, secrets: k.below}
		if sameEnd(k.connection, now.connection) && io.hasAll(faults) && io.lacks(now.connection.Discovered.IO, now.below) == "" {
			now.connection.Discovered, now.below, now.values.Found = k.connection.Discovered, k.below, k.values.Found
			now.connection.Discovered.Secrets = r.keep(k.below, lastGoodRef(k.connection.Discovered.Secrets))
			return
		}
	}
	now.connection.Discovered.Secrets = r.block("what is named at "+secret.Ref(now.connection.From), faults)
}

// lostConnections gives each connection that an error costs the state of the last load, or makes it known as one that is not
// to be connected.
func (r *resolver) lostConnections() {
	for _, l := range r.lost {
		stays := false
		for _, k := range r.last.connections[l.file] {
			key := keyOf(k.connection)
			if other, taken := r.first[key]; !sameEnd(k.connection, l.connection) || taken && other.connection.From != l.connection.From || !k.mayStand(l) {
				continue
			}
			stays = true
			r.first[key] = &claim{l.file, k}
			k.connection.Wish.Secrets = r.keep(k.secrets, lastGoodRef(k.connection.Wish.Secrets))
			k.connection.Discovered.Secrets = r.keep(k.below, lastGoodRef(k.connection.Discovered.Secrets))
			r.add(l.file, k)
		}
		if !stays && !l.unsure {
			c := l.connection
			l.values.Unusable = l.faults[0].why
			c.Wish.Secrets = r.block(secret.Ref("the connection at "+c.From), l.faults)
			r.out.Config.Connections = append(r.out.Config.Connections, c)
			r.out.Values = append(r.out.Values, l.values)
		}
	}
}

// sourceError says which field checkSource refuses.
type sourceError struct{ key, text string }

func (e *sourceError) Error() string { return e.text }

// checkSource tells, with a *sourceError, what of a TID its transport does not take, or why nothing can be connected from its
// host-traddr. The TID is complete but for an address if host names its controller. What firmware and log pages name has an address of the right family, or is told by others.
func checkSource(id tid.TID, host string) error {
	switch {
	case id.Transport == tid.FC && id.HostTraddr == "": // required_opts in the kernel's drivers/nvme/host/fc.c
		return &sourceError{"host-traddr", "cannot use transport fc without the host-traddr of a port of this host, such as nn-0x…:pn-0x…"}
	case host == "" && wish.OneIPVersion(id) != nil:
		return &sourceError{"host-traddr", fmt.Sprintf("cannot use host-traddr %q with traddr %q: they are of different IP versions", id.HostTraddr, id.Traddr)}
	}
	for _, key := range controllerKeys {
		if value, _ := id.Get(key); value != "" && !tid.Takes(id.Transport, key) {
			return &sourceError{key, fmt.Sprintf("cannot use %s with transport %s, which does not take it", key, id.Transport)}
		}
	}
	return nil
}

// checkNQN tells why nqn cannot name an endpoint.
func (d *dialect) checkNQN(nqn string, kind tid.Kind) error {
	switch {
	case nqn == "" && kind == tid.Discovery:
		return nil
	case nqn == "":
		return fmt.Errorf(`cannot connect a %s without its name: add %s`, d.title(secSubsystem), d.nqn)
	case nqn == tid.DiscoveryNQN && kind == tid.IO:
		return fmt.Errorf("cannot use nqn %q in %s: it is that of discovery controllers, which belong in %s", nqn, d.title(secSubsystem), d.title(secDiscovery))
	}
	return tid.CheckNQN(nqn)
}

// sameness returns what is equal for two spellings of one TID: the UUID of an NQN is compared without regard to case.
func sameness(id tid.TID) tid.TID {
	id.NQN = tid.FoldNQN(id.NQN)
	return id
}

// hostName returns the traddr of a TID if it is the name of a host, in lower case, else "".
func hostName(id *tid.TID) string {
	if id.Transport != tid.TCP && id.Transport != tid.RDMA {
		return ""
	}
	return tid.HostName(id.Traddr)
}
