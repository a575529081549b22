// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"slices"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// connectionKey is equal for connections that are the same.
type connectionKey struct {
	id   tid.TID
	host string
}

func keyOf(c Connection) connectionKey { return connectionKey{sameness(c.Wish.TID), c.Host} }

// claim is a connection as the first file that configures it has it. Later files may configure it too.
type claim struct {
	file string
	kept
}

// claims tells whether s decides what the connection is like: s configures it first, or an error costs the earlier file its
// connection. If the earlier file asks for less security, the connection is not made at all: s forbids the one, and the other is
// not what the earlier file says.
func (r *resolver) claims(s *source, t table, now kept, faults []fault) bool {
	key := keyOf(now.connection)
	mine := &claim{s.file, now}
	first, taken := r.first[key]
	if !taken {
		r.first[key] = mine
		return true
	}
	id := now.connection.Wish.TID
	if now.connection.Host != "" {
		id.Traddr = now.connection.Host
	}
	at := slices.IndexFunc(r.lost, func(l lost) bool { return l.file == first.file && l.connection.From == first.connection.From })
	if at >= 0 && len(faults) == 0 && len(onlyGrave(r.lost[at].faults)) == 0 && now.lacks(first.connection.Wish.Params, first.secrets) == "" {
		r.lost = slices.Delete(r.lost, at, at+1)
		r.first[key] = mine
		return true
	}
	var more []fault // security that s asks for and the first lacks
	for _, f := range onlyGrave(faults) {
		if !first.has(f) && !slices.Contains([]string{"host-traddr", "host-iface"}, f.key) { // those are of another connection
			more = append(more, f)
		}
	}
	lacks := first.lacks(now.connection.Wish.Params, now.secrets)
	if lacks != "" {
		more = append(more, s.wrong(t.at, lacks, true, "cannot connect %v with %s: it is configured at %s too, without %[2]s: make the two alike, or leave one of them out", id, lacks, first.connection.From))
	}
	if lacks == "" {
		s.found.warnings.ignore(ignoredConnection, t.at, "connection %v is configured already at %s: the first one counts, this one is ignored", id, first.connection.From)
	}
	switch {
	case at >= 0:
		r.lost[at].faults = append(r.lost[at].faults, more...)
	case len(more) > 0:
		r.withdraw(first, more)
	}
	return false
}

// withdraw turns a connection that is in force already into one that faults cost.
func (r *resolver) withdraw(c *claim, faults []fault) {
	is := func(k Connection) bool { return k.From == c.connection.From && keyOf(k) == keyOf(c.connection) }
	if at := slices.IndexFunc(r.out.Config.Connections, is); at >= 0 {
		r.out.Config.Connections = slices.Delete(r.out.Config.Connections, at, at+1)
		r.out.Values = slices.Delete(r.out.Values, at, at+1)
	}
	r.next.connections[c.file] = slices.DeleteFunc(r.next.connections[c.file], func(k kept) bool { return is(k.connection) })
	r.lost = append(r.lost, lost{c.file, c.kept, faults, false})
}
