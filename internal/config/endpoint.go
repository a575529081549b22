// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// endpoint adds the connections of an endpoint.
func (r *resolver) endpoint(s *source, t table, kind tid.Kind, own persona, base levels) {
	faults := slices.Concat(own.faults, t.faults, r.checkKeys(s, t))
	unsure := own.unknowing
	nqn := t.text("nqn")
	if err := s.dialect.checkNQN(nqn, kind); err != nil {
		faults, unsure = append(faults, s.wrong(t.place("nqn"), "", true, "%v", err)), true
		nqn = tid.DiscoveryNQN // stands in, so that the controllers are looked at nevertheless
	} else if err := tid.CheckForm(nqn); nqn != "" && err != nil {
		s.found.warnings.add(t.place("nqn"), "nqn %v; the connection is tried all the same", err)
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
		faults = slices.Concat(faults, misplaced, r.notTaken(s, checked.Transport, []table{c, t}, set), r.plain(s, checked.Transport, []table{c, t}, set))
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
		} else if p.Info().Security == param.Encrypts {
			faults = append(faults, s.wrong(own[0].place("transport"), p.String(), true,
				"cannot use transport %s with %s = %s of %s, which it does not take: set %s to false here to do without", transport, p, value, v.from[p], p))
		}
	}
	if e, ok := findIn(own, namesOf(secret.TLS.String())...); ok && e.text != "" && !param.TLS.Info().On(transport) {
		faults = append(faults, s.wrong(e.at, e.key, true, "cannot use %s with transport %s, which does not take it", e.key, transport))
	}
	return faults
}

// plain reports a TLS key at a connection that says nothing of TLS: it would be connected in the clear. Of a transport without
// TLS that is reported anyway.
func (r *resolver) plain(s *source, transport string, own []table, v values) (faults []fault) {
	if !param.TLS.Info().On(transport) {
		return nil
	}
	for _, p := range param.Encrypting() {
		if _, said := v.from[p]; said {
			return nil
		}
	}
	names := namesOf(secret.TLS.String())
	for _, p := range param.All() {
		if p.Info().Security == param.NamesKey {
			names = append(names, p.String())
		}
	}
	for _, name := range names {
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
	key, _ := findIn([]table{t}, namesOf(secret.TLS.String())...)
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
	if wrong := from.base.faults(); c.Wish.Kind == tid.Discovery && len(wrong) > 0 { // of what it names
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
