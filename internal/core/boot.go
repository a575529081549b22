// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// noSuchSource is EADDRNOTAVAIL: host-traddr is no address of this host, or is no more.
const noSuchSource = 99

// boot is what the boot firmware's tables wish for (docs/design.md, "NBFT").
type boot struct {
	connections []nbft.Connection
	anySource   map[tid.TID]bool // wishes whose host-traddr, got by DHCP, this host has no more
	redundant   map[tid.TID]bool // configured wishes that were told to be redundant
	refused     map[tid.TID]bool // wishes that were told to lack the secret that the tables demand
}

func (m *Machine) nbftLoaded(ev NBFTLoaded) {
	connections := agreed(ev.Connections)
	if slices.Equal(m.boot.connections, connections) {
		return
	}
	m.boot.connections, m.stale = connections, true
	m.preview()
}

// agreed returns the connections of all tables, of which those that are one get the security that any of their tables asks for.
func agreed(connections []nbft.Connection) []nbft.Connection {
	type key struct {
		host string
		tid  tid.TID
	}
	keyOf := func(c nbft.Connection) key { return key{c.Host, c.Wish.TID} }
	asked := map[key]nbft.Connection{}
	for _, c := range connections {
		sum := asked[keyOf(c)]
		sum.Authentication = sum.Authentication || c.Authentication
		sum.Wish = asSecureAs(sum.Wish, c.Wish)
		asked[keyOf(c)] = sum
	}
	all := slices.Clone(connections)
	for i, c := range all {
		sum := asked[keyOf(c)]
		all[i].Authentication, all[i].Wish = sum.Authentication, asSecureAs(c.Wish, sum.Wish)
	}
	return all
}

// securityOf returns nothing but what w asks for to be safe: the zero Wish for nothing.
func securityOf(w wish.Wish) wish.Wish { return asSecureAs(wish.Wish{}, w) }

// asSecureAs returns w with the security that other, a wish for the same controller, asks for and w does not.
func asSecureAs(w, other wish.Wish) wish.Wish {
	_, tls := w.Params.Get(param.TLS)
	if _, wanted := other.Params.Get(param.TLS); wanted && !tls {
		w.Params = requireTLS(w.Params)
		tls = true
	}
	for _, p := range []param.Param{param.Concat, param.Keyring, param.TLSKeyIdentity} {
		_, has := w.Params.Get(p)
		if value, wanted := other.Params.Get(p); wanted && !has && !(tls && p == param.Concat) {
			w.Params, _ = w.Params.With(p, value) // a good value
		}
	}
	if w.Secrets == "" {
		w.Secrets = other.Secrets
	}
	return w
}

// withoutStaleSource is a wish without the host-traddr that turned out not to be this host's any more.
func (m *Machine) withoutStaleSource(w wish.Wish) wish.Wish {
	if m.boot.anySource[w.TID] {
		w.TID.HostTraddr = ""
	}
	return w
}

// authenticates tells whether a wish has the secret for in-band authentication.
func (m *Machine) authenticates(w wish.Wish) bool {
	return m.cfg.Secrets[w.Secrets][secret.DHChap].Value.IsSet()
}

// lacksSecret tells whether the tables demand authentication of a connection, with the wish for its address, that has no secret
// for it.
func (m *Machine) lacksSecret(c nbft.Connection, w wish.Wish) bool {
	return c.Authentication && !m.authenticates(w)
}

// permitted tells whether a connection of the tables, with the wish for its address, may be made, and says once when not: a
// table that demands authentication holds no secret for it, and without one the kernel would connect in the clear.
func (m *Machine) permitted(c nbft.Connection, w wish.Wish) bool {
	if !m.lacksSecret(c, w) {
		delete(m.boot.refused, w.TID)
		return true
	}
	if !m.boot.refused[w.TID] {
		m.boot.refused[w.TID] = true
		m.emit(Log{Level: slog.LevelError, Kind: KindCannotConnect, TID: w.TID, Msg: fmt.Sprintf("%s: it is not connected: it requires authentication, and no dhchap-secret is configured for hostnqn %s: give one in [host], then reload", c.From, w.TID.HostNQN)})
	}
	return false
}

// covers tells whether the tables name the target of w too: it is theirs, with their identity, whatever else names it.
// A wish that pins another path is one of its own, and so is one with the secret that the tables demand and lack.
func (m *Machine) covers(w wish.Wish) bool {
	covered, _ := m.covered(w)
	return covered
}

// covered is covers, and tells whether what the tables name is not connected for lack of a secret.
func (m *Machine) covered(w wish.Wish) (covered, refused bool) {
	for _, c := range m.boot.connections {
		booted, ok := m.addressed(c.Host, c.Wish)
		if !ok || !includes(w, booted) {
			continue
		}
		refused := m.lacksSecret(c, booted)
		if refused && m.authenticates(w) {
			continue
		}
		return true, refused
	}
	return false, false
}

// includes tells whether booted, a wish of the tables, is for the target of w, and by a path that w names or leaves open.
func includes(w, booted wish.Wish) bool {
	a, b := booted.TID, w.TID
	return booted.Kind == w.Kind && a.Transport == b.Transport && a.Traddr == b.Traddr && a.Trsvcid == b.Trsvcid && tid.SameNQN(a.NQN, b.NQN) &&
		(b.HostTraddr == "" || b.HostTraddr == a.HostTraddr) && (b.HostIface == "" || b.HostIface == a.HostIface)
}

// tellRedundant says once of a configured connection that the boot firmware has it already, or has it and it may not be made.
func (m *Machine) tellRedundant(w wish.Wish, from string) {
	if m.boot.redundant[w.TID] {
		return
	}
	m.boot.redundant[w.TID] = true
	msg := from + " is redundant: the NBFT names this controller, and it is connected as the NBFT says"
	if _, refused := m.covered(w); refused {
		msg = from + " is not connected: the NBFT requires authentication of this controller: give it a dhchap-secret"
	}
	m.emit(Log{Level: slog.LevelError, Kind: KindRedundant, TID: w.TID, Msg: msg})
}

// withoutSource lets a connection of the tables go without its host-traddr when that came by DHCP and is not this host's any
// more, and reports whether it did.
func (m *Machine) withoutSource(t *target, errno int) bool {
	if errno != noSuchSource || t.wish.TID.HostTraddr == "" {
		return false
	}
	if k := m.kicks[t.wish.TID.Transport]; k.timer.when != never && k.helps(t.wish.TID) { // it has just come back
		return false
	}
	for _, c := range m.boot.connections {
		if w, ok := m.addressed(c.Host, c.Wish); ok && c.DHCP && w.TID == t.wish.TID {
			m.log(slog.LevelInfo, KindSourceGone, t, "the address "+t.wish.TID.HostTraddr+" that the firmware got by DHCP is not this host's: connecting from any")
			m.boot.anySource[w.TID] = true
			m.transition(t, Waiting)
			m.moveTo(t, m.withoutStaleSource(w))
			m.at(&t.timer, m.now)
			return true
		}
	}
	return false
}

// sourcesAreBack has connections of the tables made from the addresses that the firmware used, where those were missing and
// have come back: a path that was given up for another one is a path again.
func (m *Machine) sourcesAreBack(ev Kick) {
	for id := range m.boot.anySource {
		if (ev.Transport == "" || ev.Transport == id.Transport) && m.mayBeBack(id, ev) {
			delete(m.boot.anySource, id)
			m.stale = true
		}
	}
}

// mayBeBack reports whether the source address of a wish that did without it is among what came up. Where that is not known, it may be;
// but for a connection that is there nothing is to be won by a guess.
func (m *Machine) mayBeBack(id tid.TID, ev Kick) bool {
	if ev.Iface != "" {
		return (id.HostIface == "" || id.HostIface == ev.Iface) && ev.has(id.HostTraddr)
	}
	id.HostTraddr = ""
	t := m.targets.byTID[id]
	return t == nil || t.state != Connected
}
