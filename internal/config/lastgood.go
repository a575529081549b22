// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"slices"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// lastGood is what a Loader remembers of its last load.
type lastGood struct {
	settings    Settings
	files       map[string]*source // the last version of each file that could be parsed
	connections map[string][]kept  // of each file
	found       kept               // of Config.Discovered, with the parameters of I/O controllers for its own
	hosts       map[string]secret.Set
}

// kept is a connection of the last good state of a file.
type kept struct {
	connection Connection
	values     ConnectionValues
	secrets    secret.Set // of the connection
	below      secret.Set // of what it names
}

// lost is a connection that an error costs, for now.
type lost struct {
	file   string
	kept   // as it would be without the error
	faults []fault
	unsure bool // nobody can tell what it would be
}

// has tells whether the connection has what a key that is at fault now asks for: it may stay in force then.
func (k kept) has(f fault) bool {
	if !f.grave {
		return true
	}
	if key, _, ok := secretOf(f.key); ok {
		return k.secrets[key].Value.IsSet()
	}
	if p, ok := param.ByName(f.key); ok {
		_, set := k.connection.Wish.Params.Get(p)
		return set
	}
	value, _ := k.connection.Wish.TID.Get(f.key)
	return value != ""
}

func (k kept) hasAll(faults []fault) bool {
	return !slices.ContainsFunc(faults, func(f fault) bool { return !k.has(f) })
}

// lacks returns what these parameters and secrets have for the security of a connection and k has not, "" if there is nothing.
func (k kept) lacks(params param.Set, secrets secret.Set) string {
	for _, p := range param.Encrypting() {
		_, has := k.connection.Wish.Params.Get(p)
		if _, asked := params.Get(p); asked && !has {
			return p.String()
		}
	}
	for _, key := range secret.Keys() {
		if secrets[key].Value.IsSet() && !k.secrets[key].Value.IsSet() {
			return key.String()
		}
	}
	return ""
}

// mayStand tells whether a connection of the last load may stay in place of now, as far as now can be told: it is no less
// secure, over no other path and by no other host.
func (k kept) mayStand(now lost) bool {
	is, asked := k.connection.Wish.TID, now.connection.Wish.TID
	for _, key := range []string{"host-traddr", "host-iface"} {
		value, _ := asked.Get(key)
		if has, _ := is.Get(key); value != "" && value != has {
			return false
		}
	}
	return k.hasAll(now.faults) && k.lacks(now.connection.Wish.Params, now.secrets) == "" && (now.unsure || is.HostNQN == asked.HostNQN)
}

// sameEnd tells whether two connections lead to one subsystem at one address, whoever connects and from where.
func sameEnd(a, b Connection) bool {
	x, y := a.Wish.TID, b.Wish.TID
	return a.Wish.Kind == b.Wish.Kind && a.Host == b.Host && x.NQN == y.NQN && x.Transport == y.Transport && x.Trsvcid == y.Trsvcid &&
		tid.SameAddr(x.Transport, x.Traddr, y.Traddr)
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
