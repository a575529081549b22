package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// resolve gives a document its meaning. What is wrong and what is odd goes to found; the Config is of use only when
// nothing is wrong.
func resolve(file string, doc document, known identity, found *findings) Config {
	r := resolver{file: file, found: found, config: Config{Settings: Defaults()}, first: map[tid.TID]string{}}
	d := &r.config.Discovered
	d.Discovery = mustSet(param.KeepAliveTMO, "30")
	d.IO = mustSet(param.CtrlLossTMO, "600")

	host := table{name: secHost, title: "[host]"}
	for _, t := range doc.tables {
		r.checkKeys(t)
		switch t.name {
		case secGlobal:
			r.settings(t)
		case secDiscoveryDefaults:
			d.Discovery = r.params(d.Discovery, t)
		case secIODefaults:
			d.IO = r.params(d.IO, t)
		case secHost:
			host = t
		}
	}
	d.Discovery = r.params(d.Discovery, host)
	d.IO = r.params(d.IO, host)
	own := r.persona(host, known)
	r.config.HostNQN, r.config.HostID = own.nqn, own.id

	for _, t := range doc.tables {
		switch t.name {
		case secDiscovery:
			r.endpoint(t, tid.Discovery, d.Discovery)
		case secSubsystem:
			r.endpoint(t, tid.IO, d.IO)
		}
	}
	r.checkIdentity(known)
	return r.config
}

// resolver holds what resolve has worked out so far.
type resolver struct {
	file   string
	found  *findings
	config Config
	first  map[tid.TID]string // where each TID was first configured, "file:line"
}

// mustSet returns the set of one parameter that is known to be right.
func mustSet(p param.Param, value string) param.Set {
	set, err := param.Set{}.With(p, value)
	if err != nil {
		panic(err)
	}
	return set
}

// checkKeys reports every key that a table does not know: an error where it is one that is at home elsewhere, because it
// would not be obeyed, else a warning. No value is shown: it could be a secret under a misspelt name.
func (r *resolver) checkKeys(t table) {
	allowed := allowedIn(t.name)
	for _, e := range t.entries {
		home := belongs(e.key)
		switch {
		case slices.Contains(secretKeys, e.key):
			r.found.errors.add(e.at, "cannot use %s in %s: secrets and keys in the configuration are not supported yet", e.key, t.title)
		case t.name != "" && slices.Contains(allowed, e.key):
			if e.strange != "" {
				r.found.errors.add(e.at, "cannot set %s to %s: it must be a string, an integer or a truth value", e.key, e.strange)
			}
		case home != "":
			r.found.errors.add(e.at, "cannot use %s in %s: it belongs in %s", e.key, t.title, home)
		default:
			r.found.warnings.add(e.at, "key %s in %s is unknown and ignored%s", shown(e.key), t.title, suggest(e.key, allowed))
		}
	}
	for _, c := range t.controllers {
		r.checkKeys(c)
	}
}

// shown returns a key as it can stand in a message, whatever it is made of.
func shown(key string) string {
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }) {
		return strconv.Quote(key)
	}
	return key
}

// settings applies [global]. An empty value is the default.
func (r *resolver) settings(t table) {
	for _, s := range settings {
		e, ok := t.find(s.key)
		if !ok || e.text == "" {
			continue
		}
		if !s.set(&r.config.Settings, e.text) {
			r.found.errors.add(e.at, "cannot set %s to %q: it must be %s", s.key, e.text, s.want)
		}
	}
}

// params lays the parameters of a table over those of the level above it. An empty value resets one to the kernel's default.
func (r *resolver) params(set param.Set, t table) param.Set {
	for _, e := range t.entries {
		p, ok := param.ByName(e.key)
		if !ok || e.strange != "" {
			continue
		}
		next, err := set.With(p, e.text)
		if err != nil {
			r.found.errors.add(e.at, "%v", err)
			continue
		}
		set = next
	}
	return set
}

// endpoint adds the connections of a [[discovery-controller]] or [[subsystem]].
func (r *resolver) endpoint(t table, kind tid.Kind, base param.Set) {
	nqn := t.text("nqn")
	if err := checkNQN(nqn, kind); err != nil {
		r.found.errors.add(t.place("nqn"), "%v", err)
		nqn = tid.DiscoveryNQN // stands in, so that the controllers are looked at nevertheless
	}
	switch {
	case !t.listed:
		r.found.errors.add(t.at, "cannot connect a %s without a controller: add controller = [{ transport = …, traddr = … }]", t.title)
	case len(t.controllers) == 0:
		r.found.warnings.add(t.at, "%s lists no controller: nothing of it is connected", t.title)
	}
	set := r.params(base, t)
	for _, c := range t.controllers {
		r.controller(c, kind, nqn, r.params(set, c))
	}
}

// checkNQN tells why nqn cannot name an endpoint.
func checkNQN(nqn string, kind tid.Kind) error {
	switch {
	case nqn == "" && kind == tid.Discovery:
		return nil
	case nqn == "":
		return fmt.Errorf(`cannot connect a [[subsystem]] without its name: add nqn = "nqn.…"`)
	case nqn == tid.DiscoveryNQN && kind == tid.IO:
		return fmt.Errorf("cannot use nqn %q in [[subsystem]]: it is that of discovery controllers, which belong in [[discovery-controller]]", nqn)
	}
	return tid.CheckNQN(nqn)
}

// controller adds one connection.
func (r *resolver) controller(t table, kind tid.Kind, nqn string, set param.Set) {
	id := tid.TID{NQN: nqn, HostNQN: r.config.HostNQN, HostID: r.config.HostID}
	for _, key := range controllerKeys {
		id.Set(key, t.text(key))
	}
	id, err := tid.New(id, kind)
	if err != nil {
		at := t.at
		if field := (*tid.FieldError)(nil); errors.As(err, &field) {
			at = t.place(field.Key)
		}
		r.found.errors.add(at, "%v", err)
		return
	}
	from := fmt.Sprintf("%s:%d", r.file, t.at.line)
	if before, ok := r.first[sameness(id)]; ok {
		r.found.warnings.add(t.at, "connection %v is configured already at %s: the first one counts, this one is ignored", id, before)
		return
	}
	r.first[sameness(id)] = from
	r.config.Connections = append(r.config.Connections, Connection{
		Wish: wish.Wish{Kind: kind, TID: id, Params: set, Owner: wish.OwnerDiscoverd},
		From: from,
	})
}

// sameness returns what is equal for two spellings of one TID: Fibre Channel addresses are compared without regard to case.
func sameness(id tid.TID) tid.TID {
	if id.Transport == tid.FC {
		id.Traddr, id.HostTraddr = strings.ToLower(id.Traddr), strings.ToLower(id.HostTraddr)
	}
	return id
}
