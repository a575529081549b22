// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

const (
	kickDelay   = 200 * time.Millisecond // docs/design.md, "Kicks"
	kickSpacing = time.Second            // between two retries of all that waits: a storm of events must not be one of probes
	kickQuiet   = 10 * time.Second       // for which a storm of them stays out of the journal

	maxPendingLinks = 64 // interfaces that one retry tells apart; with more of them everything is retried
)

// kicked is the retry of what waits on one transport.
type kicked struct {
	transport string
	timer     timer     // set while a retry is pending
	why       string    // its first reason
	links     []Kick    // what came up; nil with a pending retry: everything is retried
	last      time.Time // when the last retry was
	told      time.Time // when the journal last said so
}

func (k *kicked) rank() (int, time.Time, uint64) {
	return rankKick, never, uint64(slices.Index(transports, k.transport))
}

var transports = []string{tid.FC, tid.Loop, tid.RDMA, tid.TCP}

func newKicks() map[string]*kicked {
	kicks := map[string]*kicked{}
	for _, transport := range transports {
		k := &kicked{transport: transport}
		k.timer.owner = k
		kicks[transport] = k
	}
	return kicks
}

// kick schedules one retry of what waits on a transport, however many reasons come within the delay.
func (m *Machine) kick(ev Kick) {
	m.sourcesAreBack(ev)
	for _, transport := range transports {
		k := m.kicks[transport]
		if ev.Transport != "" && ev.Transport != transport {
			continue
		}
		pending := k.timer.when != never
		if k.add(ev, pending); pending {
			continue
		}
		at := m.now.Add(kickDelay)
		if soonest := k.last.Add(kickSpacing); k.last != never && at.Before(soonest) {
			at = soonest
		}
		k.why = ev.Why
		m.at(&k.timer, at)
	}
}

// add notes what came up. A reason without an interface, or too many of them, stand for everything.
func (k *kicked) add(ev Kick, pending bool) {
	switch {
	case ev.Iface == "" || pending && (k.links == nil || len(k.links) >= maxPendingLinks):
		k.links = nil
	case !slices.ContainsFunc(k.links, func(have Kick) bool { return have.Iface == ev.Iface && slices.Equal(have.Addrs, ev.Addrs) }):
		k.links = append(k.links, ev)
	}
}

// helps reports whether a connection to t may succeed because of what came up.
func (k *kicked) helps(t tid.TID) bool {
	return k.links == nil || slices.ContainsFunc(k.links, func(link Kick) bool { return link.serves(t) })
}

// serves reports whether a connection to t may use the interface. A connection without a path of its own takes whichever
// the routes lead to: any interface with an address of the same kind. An interface without addresses, as those of
// containers often are, serves only what is bound to it.
func (k Kick) serves(t tid.TID) bool {
	to, err := netip.ParseAddr(t.Traddr)
	switch {
	case t.HostIface != "" && t.HostIface != k.Iface:
		return false
	case t.HostTraddr != "":
		_, err := netip.ParseAddr(t.HostTraddr)
		return err != nil || k.has(t.HostTraddr)
	case t.HostIface != "":
		return true
	case err != nil: // a host name
		return slices.ContainsFunc(k.Addrs, netip.Addr.IsGlobalUnicast)
	case to.Zone() != "":
		return to.Zone() == k.Iface
	}
	return slices.ContainsFunc(k.Addrs, func(a netip.Addr) bool { return sameScope(a.Unmap(), to.Unmap()) })
}

// has reports whether the interface has an address.
func (k Kick) has(addr string) bool {
	want, err := netip.ParseAddr(addr)
	return err == nil && slices.ContainsFunc(k.Addrs, func(a netip.Addr) bool { return a.WithZone("").Unmap() == want.WithZone("").Unmap() })
}

// sameScope reports whether packets to an address may leave with the other as their source.
func sameScope(from, to netip.Addr) bool {
	return from.Is4() == to.Is4() && from.IsLoopback() == to.IsLoopback() && from.IsLinkLocalUnicast() == to.IsLinkLocalUnicast()
}

// due retries what waits on the transport, names that could not be resolved among it.
func (k *kicked) due(m *Machine) {
	n := 0
	m.targets.index()
	for _, t := range m.inOrder(m.targets.waiting[k.transport]) {
		if !t.notBefore.After(m.now) && k.helps(t.wish.TID) {
			m.retryNow(t)
			n++
		}
	}
	n += m.kickNames(k.transport, k)
	if n > 0 {
		level := slog.LevelInfo
		if k.told != never && m.now.Sub(k.told) < kickQuiet {
			level = slog.LevelDebug
		} else {
			k.told = m.now
		}
		m.log(level, KindKicked, nil, fmt.Sprintf("%s: trying what waits on %s now (%d)", k.why, k.transport, n))
	}
	k.last, k.links = m.now, nil
}

// retryNow tries a target that waits now, as if it had not failed before.
func (m *Machine) retryNow(t *target) {
	t.attempts = 0
	m.at(&t.timer, m.now)
	m.change(t)
}
