// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// names is what the resolver of this host answers.
type names struct {
	*world
	hosts []*host
	down  bool // it answers nothing but errors, after a while
}

// host is a name that stands for a port, and maybe for other addresses of its subsystem and for some that nobody has.
type host struct {
	name  string
	port  *port
	addrs []netip.Addr // in the order of the answer
	ever  []netip.Addr // that it ever stood for
}

func (n *names) init(w *world) { n.world = w }

// of returns the name of a port, "" if it has none.
func (n *names) of(p *port) string {
	for _, h := range n.hosts {
		if h.port == p {
			return h.name
		}
	}
	return ""
}

func (n *names) find(name string) *host {
	for _, h := range n.hosts {
		if h.name == name {
			return h
		}
	}
	return nil
}

// newNames gives some ports names.
func (n *names) newNames() {
	for i, p := range n.fabric.ports {
		if p.transport != tid.FC && n.chance(n.mix.names) {
			h := &host{name: fmt.Sprintf("array%d.example", i), port: p}
			n.hosts = append(n.hosts, h)
			n.resolveTo(h)
		}
	}
}

// resolveTo changes what a name stands for.
func (n *names) resolveTo(h *host) {
	h.addrs = nil
	add := func(addr string) {
		if a := netip.MustParseAddr(addr); !slices.Contains(h.addrs, a) {
			h.addrs = append(h.addrs, a)
		}
	}
	for _, p := range n.fabric.ports {
		same := p.nqn == h.port.nqn && p.transport == h.port.transport && p.trsvcid == h.port.trsvcid && p.kept == h.port.kept
		if p == h.port && n.chance(0.9) || p != h.port && same && n.chance(0.6) {
			add(p.traddr)
		}
	}
	for n.chance(0.3) {
		add([]string{"192.0.2." + strconv.Itoa(200+n.rng.IntN(5)), "2001:db8::" + strconv.Itoa(1+n.rng.IntN(5))}[n.rng.IntN(2)])
	}
	n.rng.Shuffle(len(h.addrs), func(i, j int) { h.addrs[i], h.addrs[j] = h.addrs[j], h.addrs[i] })
	for _, a := range h.addrs {
		if !slices.Contains(h.ever, a) {
			h.ever = append(h.ever, a)
		}
	}
	n.tracef("names: %s is %v", h.name, h.addrs)
}

// nameChanges has a name stand for other addresses from now on.
func (n *names) nameChanges() {
	if len(n.hosts) > 0 {
		n.resolveTo(n.hosts[n.rng.IntN(len(n.hosts))])
	}
}

// resolverFails takes the resolver away for a while.
func (n *names) resolverFails() {
	n.down = true
	n.tracef("names: the resolver is down")
	n.after(n.between(10*time.Millisecond, time.Minute), func() { n.heal() })
}

func (n *names) heal() {
	if n.down {
		n.tracef("names: the resolver is back")
		n.down = false
	}
}

const resolveTimeout = 20 * time.Second // as in internal/daemon

// resolve answers a question of the daemon: with what was so when it was asked or when it is answered.
func (s *shell) resolve(e core.Resolve) {
	took := s.latency(5 * time.Millisecond)
	if !s.calm && s.chance(s.mix.slow) {
		took = s.between(0, resolveTimeout)
	}
	answer := core.Resolved{Host: e.Host}
	early := s.chance(0.5)
	lookUp := func() {
		switch h := s.names.find(e.Host); {
		case s.names.down || !s.calm && s.chance(s.mix.readFails):
			answer.Err = "cannot resolve " + e.Host + ": server misbehaving"
		case h == nil:
			answer.Err = "cannot resolve " + e.Host + ": no such host"
		default:
			answer.Addrs = slices.Clone(h.addrs)
		}
	}
	if early {
		lookUp()
	}
	if s.names.down {
		took = s.between(took, max(took, resolveTimeout))
	}
	s.within(took, func() {
		if !early {
			lookUp()
		}
		s.post(answer)
	})
}

// wishes are those that a connection with a name comes to by some addresses.
func wishes(c config.Connection, addrs []netip.Addr) (wishes []wish.Wish) {
	for _, addr := range addrs {
		if x, err := c.Wish.At(c.Host, addr); err == nil {
			wishes = append(wishes, x)
		}
	}
	return wishes
}
