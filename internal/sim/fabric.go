// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"fmt"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

const (
	hostNQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-4111-8111-111111111111"
	hostID  = "11111111-1111-4111-8111-111111111111"
)

// health is how a port answers.
type health int

const (
	healthy health = iota
	refusing
	silent  // packets vanish
	mute    // accepts and says nothing
	denying // knows neither subsystem nor host
)

var healthNames = [...]string{"healthy", "refusing", "silent", "mute", "denying"}

// port is one address of one subsystem.
type port struct {
	transport, traddr, trsvcid, nqn string
	discovery                       bool
	health                          health
	dead                            bool     // does not come back when the time of faults is over
	seenBy                          []string // fc: the ports of this host that see it
	announced                       bool     // fc: the kernel tells of it
	absent                          bool     // fc: it is not in the fabric

	entries   []discoverylog.Entry
	tail      []discoverylog.Entry // of a huge page
	gen       uint64
	epcsd     bool
	own       bool               // the page has an entry for the DC itself
	endsAfter time.Duration      // a DC that does not keep connections; 0 keeps them
	mildly    bool               // it ends them so that the kernel reconnects, else so that the kernel gives up at once
	ends      []time.Duration    // of connections to a DC that were live, for whatever reason
	kept      config.Persistence // a DC whose section says so, in some of the configurations; "" says nothing
}

func (p *port) up() bool { return p.health == healthy && !p.absent }

// serves tells whether a connect as t gets through to the port.
func (p *port) serves(t tid.TID) bool {
	return p.up() && (p.transport != tid.FC || slices.Contains(p.seenBy, t.HostTraddr))
}

// answer is what a connect to the port takes and gives.
func (p *port) answer(w *world, t tid.TID) (time.Duration, syscall.Errno) {
	h := refusing
	if p != nil {
		h = p.health
	}
	switch h {
	case healthy:
		return w.latency(60 * time.Millisecond), 0
	case silent:
		return 3200 * time.Millisecond, syscall.ETIMEDOUT
	case mute:
		return 10300 * time.Millisecond, syscall.EAGAIN
	case denying:
		return 20 * time.Millisecond, syscall.EIO
	}
	return time.Millisecond, syscall.ECONNREFUSED
}

// fabric is what there is to connect to, and what the administrator wants of it.
type fabric struct {
	ports  []*port
	config config.Config
}

// port returns the port that a wish leads to, nil if there is none.
func (f *fabric) port(t tid.TID) *port {
	for _, p := range f.ports {
		if p.transport == t.Transport && p.traddr == t.Traddr && p.trsvcid == t.Trsvcid &&
			(p.nqn == t.NQN || p.discovery && t.NQN == tid.DiscoveryNQN) {
			return p
		}
	}
	return nil
}

// nqnOf is the name of subsystem number n.
func nqnOf(n int) string { return "nqn.2024-01.com.example:s" + strconv.Itoa(n) }

func (w *world) newFabric() {
	transport := func() string {
		switch {
		case !w.mix.transports || w.chance(0.7):
			return tid.TCP
		case w.chance(0.5):
			return tid.RDMA
		}
		return tid.FC
	}
	add := func(p *port, n int) {
		p.transport = transport()
		p.traddr = "192.0.2." + strconv.Itoa(n)
		switch {
		case p.transport == tid.FC:
			w.zone(p, n)
		case p.discovery:
			p.trsvcid = "8009"
		default:
			p.trsvcid = "4420"
		}
		p.dead = w.chance(w.mix.dead)
		if p.dead || w.chance(0.2) {
			p.health = health(w.rng.IntN(len(healthNames)))
		}
		w.fabric.ports = append(w.fabric.ports, p)
	}
	dcs := 1 + w.rng.IntN(3)
	if w.mix.tail > 0 {
		dcs = hugeDCs
	}
	for i := range dcs {
		p := &port{discovery: true, nqn: tid.DiscoveryNQN, gen: 1, epcsd: w.chance(0.3), own: w.chance(0.7)}
		if w.chance(0.4) {
			p.nqn = fmt.Sprintf("nqn.2024-01.com.example:dc%d", i)
		}
		if w.chance(w.mix.ending) {
			p.endsAfter, p.mildly = w.between(time.Second, 40*time.Second), w.chance(0.5)
		}
		if w.chance(0.3) {
			p.kept = []config.Persistence{config.PersistenceNever, config.PersistenceAuto, config.PersistenceAlways}[w.rng.IntN(3)]
		}
		p.tail = tail(i, w.mix.tail)
		add(p, 10+i)
	}
	for i := range 1 + w.rng.IntN(w.mix.size) {
		add(&port{nqn: nqnOf(i)}, 20+i)
		if w.chance(0.3) { // a second path
			add(&port{nqn: nqnOf(i)}, 60+i)
		}
	}
	for _, p := range w.fabric.ports {
		if p.discovery {
			w.newPage(p)
		}
	}
	w.names.newNames()
	w.boot.newTables()
	w.newConfig()
}

// The ports of this host on Fibre Channel.
var hbas = []string{"nn-0x00000000000000d0:pn-0x00000000000000d0", "nn-0x00000000000000d1:pn-0x00000000000000d1"}

// zone puts a port into the Fibre Channel fabric under the number n.
func (w *world) zone(p *port, n int) {
	p.transport, p.traddr, p.trsvcid = tid.FC, fmt.Sprintf("nn-0x%016x:pn-0x%016x", n, n), ""
	p.seenBy = hbas[:1+w.rng.IntN(2)]
	p.announced, p.absent = p.discovery && w.chance(0.7), w.chance(0.1)
}

// ended notes that a live connection to a DC ended.
func (p *port) ended(now time.Duration) {
	if p.discovery {
		p.ends = append(p.ends, now)
	}
}

// newPage writes the log page of a DC anew.
func (w *world) newPage(dc *port) {
	dc.gen++
	dc.entries = nil
	if dc.own {
		dc.entries = append(dc.entries, discoverylog.Entry{Subtype: discoverylog.Current, Transport: dc.transport, Traddr: dc.traddr, Trsvcid: dc.trsvcid, NQN: dc.nqn, EPCSD: dc.epcsd})
	}
	if w.chance(0.1) {
		return
	}
	for _, p := range w.fabric.ports {
		if !w.chance(0.5) || p == dc && !w.chance(0.3) {
			continue
		}
		e := discoverylog.Entry{Subtype: discoverylog.NVM, Transport: p.transport, Traddr: p.traddr, Trsvcid: p.trsvcid, NQN: p.nqn}
		if p.discovery {
			e.Subtype, e.DupRetInfo, e.EPCSD = discoverylog.Referral, w.chance(0.1), p.epcsd
			if w.chance(0.5) {
				e.NQN = tid.DiscoveryNQN
			}
		}
		dc.entries = append(dc.entries, e)
	}
	dc.entries = append(dc.entries, dc.tail...)
	if w.chance(0.1) { // nonsense
		dc.entries = append(dc.entries, discoverylog.Entry{Subtype: 9, Transport: "tcp", Traddr: "192.0.2.9", Trsvcid: "1", NQN: "x"},
			discoverylog.Entry{Subtype: discoverylog.NVM, Traddr: "nowhere", NQN: "y"})
	}
}

// wishFor is a wish for a port, pinned to what chance has it.
func (w *world) wishFor(p *port) wish.Wish {
	t := tid.TID{Transport: p.transport, Traddr: p.traddr, Trsvcid: p.trsvcid, NQN: p.nqn, HostNQN: hostNQN, HostID: hostID}
	kind := tid.IO
	if p.discovery {
		kind = tid.Discovery
		if w.chance(0.7) {
			t.NQN = tid.DiscoveryNQN
		}
	}
	switch {
	case p.transport == tid.FC: // the kernel asks for it
		t.HostTraddr = hbas[w.rng.IntN(len(hbas))]
	case w.chance(w.mix.pins):
		switch w.rng.IntN(4) {
		case 0:
			t.HostIface = eth0
		case 1:
			t.HostIface = eth1
		case 2:
			t.HostTraddr = eth0Addr
		case 3:
			t.HostTraddr, t.HostIface = eth1Addr, eth1
		}
	}
	t, err := tid.New(t, kind)
	if err != nil {
		panic(err)
	}
	return wish.Wish{Kind: kind, TID: t, Owner: wish.OwnerDiscoverd, Params: w.params()}
}

func (w *world) params() param.Set {
	var s param.Set
	if w.chance(0.8) {
		s, _ = s.With(param.CtrlLossTMO, []string{"0", "5", "20", "60"}[w.rng.IntN(4)])
	}
	return s
}

// newConfig configures some of what there is.
func (w *world) newConfig() {
	c := &w.fabric.config
	s := config.Defaults()
	s.ReconnectMaxDelay = w.mix.reconnectMax
	s.DiscoveryRetention = w.mix.retention
	s.DiscoveryPersistence = w.mix.persistence
	s.MaxParallelConnects = w.mix.parallel
	s.EPCSDPollInterval = w.mix.poll
	s.FCKickstartInterval = w.mix.kickstart
	s.Zeroconf = w.multicast.configured()
	*c = config.Config{Settings: s, HostNQN: hostNQN, HostID: hostID}
	c.Discovered.IO, c.Discovered.Discovery = w.params(), w.params()
	there := map[config.Connection]bool{}
	for _, p := range w.fabric.ports {
		for w.chance(0.6) {
			if !p.discovery && w.chance(0.5) {
				break
			}
			wanted := w.wishFor(p)
			connection := config.Connection{Wish: wanted, Host: w.names.of(p), Discovered: c.Discovered}
			if connection.Host != "" && w.chance(0.7) {
				wanted.TID.Traddr = ""
				connection.Wish = wanted
			} else {
				connection.Host = ""
			}
			if key := (config.Connection{Wish: wish.Wish{TID: wanted.TID}, Host: connection.Host}); !there[key] {
				there[key] = true
				connection.From = "discoverd.conf:" + strconv.Itoa(len(there))
				if p.kept != "" && w.chance(0.7) {
					connection.Persistence = p.kept
				}
				c.Connections = append(c.Connections, connection)
			}
		}
	}
}

// desired is what should be connected when all is well: every wish, whatever Fibre Channel and mDNS announce, and for each the port that it leads to. An unfit wish and
// what only it leads to is left out.
func (w *world) desired(fit func(wish.Wish) bool) []wish.Wish {
	var list []wish.Wish
	seen := map[tid.TID]bool{}
	add := func(x wish.Wish) {
		if !seen[x.TID] {
			seen[x.TID] = true
			if fit(x) {
				list = append(list, x)
			}
		}
	}
	var targets []*core.TargetView
	if len(w.names.hosts) > 0 {
		targets = slices.Collect(w.shell.machine.View().Targets.All())
	}
	for _, c := range w.boot.wishes() {
		add(c.Wish)
	}
	for _, c := range w.fabric.config.Connections {
		if c.Host != "" { // by the address that the daemon has come to; namedComesBack judges whether that is right
			for _, t := range targets {
				if slices.Contains(t.Sources, c.From+" ("+c.Host+")") {
					add(t.Wish)
				}
			}
			continue
		}
		if !w.boot.covers(c.Wish) {
			add(c.Wish)
		}
	}
	for _, p := range w.fabric.ports {
		for _, hba := range p.seenBy {
			if p.announced && !p.absent {
				add(wish.Wish{Kind: tid.Discovery, TID: tid.TID{
					Transport: tid.FC, Traddr: p.traddr, NQN: tid.DiscoveryNQN, HostTraddr: hba, HostNQN: hostNQN, HostID: hostID,
				}})
			}
		}
	}
	for _, x := range w.multicast.wishes() {
		if !w.boot.covers(x) {
			add(x)
		}
	}
	static := len(list)
	for i := 0; i < len(list); i++ {
		if list[i].Kind != tid.Discovery {
			continue
		}
		parent := list[i].TID
		for _, e := range w.fabric.port(parent).entries {
			kind := tid.IO
			switch {
			case e.Subtype == discoverylog.Referral:
				kind = tid.Discovery
			case e.Subtype != discoverylog.NVM:
				continue
			}
			t := tid.TID{Transport: e.Transport, Traddr: e.Traddr, Trsvcid: e.Trsvcid, NQN: e.NQN, HostNQN: parent.HostNQN, HostID: parent.HostID}
			if (e.Transport == tid.FC) != (parent.Transport == tid.FC) {
				continue // an address that cannot be reached from there
			}
			t.HostTraddr = parent.HostTraddr
			if e.Transport == tid.TCP { // the only one that is bound to an interface
				t.HostIface = parent.HostIface
			}
			if t, err := tid.New(t, kind); err == nil && !w.boot.covers(wish.Wish{Kind: kind, TID: t}) {
				add(wish.Wish{Kind: kind, TID: t})
			}
		}
	}
	if len(seen) > mostWanted { // which of them are left out is nobody's promise
		return list[:static]
	}
	return list
}
