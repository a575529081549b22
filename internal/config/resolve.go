package config

import (
	"errors"
	"fmt"
	"maps"
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
	set  param.Set
	from map[param.Param]string // shared between values: cloned before a change
}

// levels are the parameters of each kind of controller that hold where an endpoint sets none.
type levels [2]values

// builtInLevels returns the levels of an empty file.
func builtInLevels() (l levels) {
	l[tid.Discovery] = values{mustSet(param.KeepAliveTMO, "30"), map[param.Param]string{param.KeepAliveTMO: builtIn}}
	l[tid.IO] = values{mustSet(param.CtrlLossTMO, "600"), map[param.Param]string{param.CtrlLossTMO: builtIn}}
	return l
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

// resolve gives the documents their meaning. What is wrong and what is odd goes to the findings of each source; the Config
// is of use only when nothing is wrong.
func resolve(sources []*source, known identity, read secretReader) Explanation {
	r := resolver{known: known, mainPersonas: map[*dialect]persona{}, first: map[connectionKey]string{}, readSecret: read}
	r.out.Settings = Defaults()
	r.settings(sources)

	main := map[*dialect]levels{tomlDialect: builtInLevels(), iniDialect: builtInLevels()}
	for _, s := range sources {
		for _, t := range s.doc.tables {
			r.checkKeys(s, t)
		}
		own := r.typeDefaults(s, main[s.dialect])
		if !s.dropIn {
			main[s.dialect] = own
		}
		r.connections(s, r.hostParams(s, own))
	}
	r.unconfigured(sources)
	r.explainSettings(sources)
	return r.out
}

// resolver holds what resolve has worked out so far.
type resolver struct {
	known        identity // of the host itself
	personas     []persona
	out          Explanation
	mainPersonas map[*dialect]persona     // of the main files
	first        map[connectionKey]string // where each connection was first configured, "file:line"

	readSecret secretReader
	nvmePath   string // where nvme-path is set, "" if it is not
}

// connectionKey is equal for connections that are the same.
type connectionKey struct {
	id   tid.TID
	host string
}

// settings applies [global] of the main file, the one place for it.
func (r *resolver) settings(sources []*source) {
	main := "the main file, discoverd.conf"
	for _, s := range sources {
		if s.dialect == tomlDialect && !s.dropIn {
			var set map[string]position
			r.out.Settings, set = settingsOf(s.section(secGlobal), &s.found)
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
// default.
func settingsOf(t table, found *findings) (Settings, map[string]position) {
	all, set := Defaults(), map[string]position{}
	for _, s := range settings {
		e, ok := t.find(s.key)
		if !ok || e.text == "" {
			continue
		}
		set[s.key] = e.at
		if !s.set(&all, e.text) {
			found.errors.add(e.at, "cannot set %s to %q: it must be %s", s.key, e.text, s.want)
		}
	}
	if all.Zeroconf {
		found.warnings.add(t.place("zeroconf"), "zeroconf is not supported by this version: no discovery controller is found by mDNS")
		if !all.IfacePinning {
			found.errors.add(t.place("iface-pinning"), "cannot set iface-pinning to false with zeroconf: what mDNS finds is connected through the interface that it was heard on")
		}
	}
	return all, set
}

// checkKeys reports every key that a table does not know: an error where it is one that is at home elsewhere, because it
// would not be obeyed, else a warning. No value is shown: it could be a secret under a misspelt name.
func (r *resolver) checkKeys(s *source, t table) {
	allowed := allowedIn(t.name)
	for _, e := range t.entries {
		home := s.dialect.belongs(e.key)
		switch {
		case elsewhere[e.key] != "":
			s.found.errors.add(e.at, "cannot use %s in %s: %s", e.key, t.title, elsewhere[e.key])
		case t.name != "" && slices.Contains(allowed, e.key):
			if e.strange != "" {
				s.found.errors.add(e.at, "cannot set %s to %s: it must be a string, an integer or a truth value", e.key, e.strange)
			}
		case t.name == secHost && slices.Contains(s.dialect.others, e.key):
		case home != "":
			s.found.errors.add(e.at, "cannot use %s in %s: it belongs in %s", e.key, t.title, home)
		default:
			s.found.warnings.add(e.at, "key %s in %s is unknown and ignored%s", shown(e.key), t.title, suggest(e.key, allowed))
		}
	}
	for _, c := range t.controllers {
		r.checkKeys(s, c)
	}
}

// shown returns a key as it can stand in a message, whatever it is made of.
func shown(key string) string {
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }) {
		return strconv.Quote(key)
	}
	return key
}

// typeDefaults lays the type defaults of a file over those of the level above it.
func (r *resolver) typeDefaults(s *source, base levels) levels {
	base[tid.Discovery] = r.params(s, base[tid.Discovery], s.section(secDiscoveryDefaults))
	base[tid.IO] = r.params(s, base[tid.IO], s.section(secIODefaults))
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
	for _, e := range t.entries {
		p, ok := param.ByName(e.key)
		if !ok || e.strange != "" {
			continue
		}
		set, err := v.set.With(p, inSeconds(p, e.text))
		if err != nil {
			if set, err = v.set.With(p, e.text); err != nil { // tells it in the words of the file
				s.found.errors.add(e.at, "%v", err)
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
	own.secrets, own.ref = r.hostSecrets(s, own)
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
	for _, d := range []*dialect{iniDialect, tomlDialect} {
		for _, s := range sources {
			if s.dialect != d || s.dropIn {
				continue
			}
			found = r.hostParams(s, r.typeDefaults(s, found))
			p := r.mainPersonas[d]
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

// endpoint adds the connections of an endpoint.
func (r *resolver) endpoint(s *source, t table, kind tid.Kind, own persona, base levels) {
	nqn := t.text("nqn")
	if err := s.dialect.checkNQN(nqn, kind); err != nil {
		s.found.errors.add(t.place("nqn"), "%v", err)
		nqn = tid.DiscoveryNQN // stands in, so that the controllers are looked at nevertheless
	}
	switch {
	case !t.listed:
		s.found.errors.add(t.at, "cannot connect a %s without a controller: add %s", t.title, s.dialect.controller)
	case len(t.controllers) == 0:
		s.found.warnings.add(t.at, "%s lists no controller: nothing of it is connected", t.title)
	}
	set := r.params(s, base[kind], t)
	secrets := r.secrets(s, own.secrets, t)
	var below Discovered
	var persistence Persistence
	if kind == tid.Discovery {
		below = base.discovered(own.ref)
		persistence = persistenceOf(s, t)
	}
	for _, c := range t.controllers {
		id := tid.TID{NQN: nqn, HostNQN: own.nqn, HostID: own.id}
		for _, key := range controllerKeys {
			id.Set(key, c.text(key))
		}
		host := hostName(&id)
		if host != "" {
			id.Traddr = "::" // stands in while the rest is checked
		}
		checked, err := tid.New(id, kind)
		if err == nil {
			err = checkSource(checked, host)
		}
		if err != nil {
			at, hint := c.place("host-traddr"), "" // of checkSource
			if field := (*tid.FieldError)(nil); errors.As(err, &field) {
				at = c.place(field.Key)
				if field.Key == "traddr" && strings.HasSuffix(err.Error(), "needs an IP address") {
					hint = " or the name of a host"
				}
			}
			s.found.errors.add(at, "%v%s", err, hint)
			_, _ = r.params(s, set, c), r.secrets(s, secrets, c) // for what is wrong there
			continue
		}
		if host != "" {
			checked.Traddr = ""
		}
		r.connection(s, c, Connection{
			Wish:       wish.Wish{Kind: kind, TID: checked, Owner: wish.OwnerDiscoverd},
			Host:       host,
			Discovered: below, Persistence: persistence,
			From: s.place(c.at),
		}, r.params(s, set, c), r.secrets(s, secrets, c), origins{c, t, own, base})
	}
}

// persistenceOf returns what the section of a discovery controller says of its connection, "" if nothing: the global
// default.
func persistenceOf(s *source, t table) Persistence {
	e, ok := t.find(persistentKey)
	if !ok || e.text == "" {
		return ""
	}
	p, known := persistences[e.text]
	if !known && e.strange == "" {
		s.found.errors.add(e.at, "cannot set %s to %q: it must be no, auto or force", persistentKey, e.text)
	}
	return p
}

// connection adds one connection unless it is there already.
func (r *resolver) connection(s *source, t table, c Connection, v values, secrets secret.Set, from origins) {
	c.Wish.Params, c.Wish.Secrets = v.set, from.own.ref
	if secrets != from.own.secrets {
		c.Wish.Secrets = r.keep(secrets, secret.Ref(fmt.Sprintf("%s:%d", c.From, t.at.column)))
	}
	if _, on := v.set.Get(param.TLS); !on && secrets[secret.TLS].Value.IsSet() && secrets[secret.TLS] != from.own.secrets[secret.TLS] {
		s.found.warnings.add(t.at, "tls-key from %s is not used: the connection has no tls = true", secrets[secret.TLS].From)
	}
	key := connectionKey{sameness(c.Wish.TID), c.Host}
	key.id.NQN = tid.FoldNQN(key.id.NQN)
	if before, ok := r.first[key]; ok {
		id := c.Wish.TID
		if c.Host != "" {
			id.Traddr = c.Host
		}
		s.found.warnings.add(t.at, "connection %v is configured already at %s: the first one counts, this one is ignored", id, before)
		return
	}
	r.first[key] = c.From
	r.out.Config.Connections = append(r.out.Config.Connections, c)
	own := ConnectionValues{Own: slices.Concat(from.list(s, c), v.list(), listSecrets(secrets))}
	if c.Wish.Kind == tid.Discovery {
		own.Found = from.base.found(from.own.secrets)
	}
	r.out.Values = append(r.out.Values, own)
}

// checkSource tells why nothing can be connected from the host-traddr of a TID, which is complete but for an address if host
// names its controller. What firmware and log pages name has an address of the right family, or is told by others.
func checkSource(id tid.TID, host string) error {
	switch {
	case id.Transport == tid.FC && id.HostTraddr == "": // required_opts in the kernel's drivers/nvme/host/fc.c
		return errors.New("cannot use transport fc without the host-traddr of a port of this host, such as nn-0x…:pn-0x…")
	case host == "" && wish.OneIPVersion(id) != nil:
		return fmt.Errorf("cannot use host-traddr %q with traddr %q: they are of different IP versions", id.HostTraddr, id.Traddr)
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

// sameness returns what is equal for two spellings of one TID: Fibre Channel addresses are compared without regard to case.
func sameness(id tid.TID) tid.TID {
	if id.Transport == tid.FC {
		id.Traddr, id.HostTraddr = strings.ToLower(id.Traddr), strings.ToLower(id.HostTraddr)
	}
	return id
}

// hostName returns the traddr of a TID if it is the name of a host, in lower case, else "".
func hostName(id *tid.TID) string {
	if id.Transport != tid.TCP && id.Transport != tid.RDMA {
		return ""
	}
	return tid.HostName(id.Traddr)
}
