// SPDX-License-Identifier: GPL-3.0-or-later

// Package fleet simulates many hosts whose common array is rebooted: the very core of the daemon, once for each host,
// around a model of the array that takes a bounded number of connects a second. It records what the array sees, to compare
// policies of back-off. docs/performance.md has its results. Time is virtual, and equal options give equal results.
package fleet

import (
	"fmt"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Loss is when the kernel removes the controllers that have lost the array. From then on the daemon connects.
type Loss int

const (
	// AtOnce is with the loss, as when the array says that it is not to be reconnected.
	AtOnce Loss = iota
	// AtTimeout is when the kernel has tried for ctrl_loss_tmo.
	AtTimeout
)

// Options say what is simulated.
type Options struct {
	Hosts    int
	Paths    int           // of each host, every one to another port of the array
	Capacity float64       // connects that the array serves in a second
	Outage   time.Duration // how long the array is down
	Loss     Loss
	// Apart: the discovery controllers are not in the array. They stay connected, take the array out of their pages while it is
	// down, and tell all hosts of the change at once when it is back.
	Apart bool
	Delay core.Backoff
	Seed  uint64
}

const (
	discoveryControllers = 2 // of each host; each names every second path

	warmUp    = 2 * time.Minute        // in which the daemons start, one after the other
	lossTakes = 100 * time.Millisecond // until the last host has noticed the loss
	patience  = 4 * time.Hour          // after which a run ends, whatever is connected
)

// peer is one controller of the array or, of discovery controllers, perhaps beside it.
type peer struct {
	wish    wish.Wish
	unit    string
	argv    []string // of its unit
	port    int      // of the array
	entries []discoverylog.Entry
}

// fleet is all hosts and the array.
type fleet struct {
	*clock
	options Options
	array   *array
	config  config.Config // of every host
	peers   []*peer
	hosts   []*host
	result  *Result
}

// Run simulates one reboot of the array. The result says how many connections came back; all do unless patience ended.
func Run(o Options) (*Result, error) {
	f := &fleet{clock: &clock{}, options: o, result: &Result{back: warmUp + o.Outage}}
	f.array = newArray(f.clock, o.Paths, o.Capacity, f.result)
	if err := f.wire(); err != nil {
		return nil, err
	}
	for i := range o.Hosts {
		h := newHost(f, i)
		f.hosts = append(f.hosts, h)
		f.after(between(h.rng, 0, warmUp/2), h.begin)
	}
	f.after(warmUp, f.goDown)
	f.after(f.result.back, f.comeBack)
	expected := o.Hosts * (len(f.peers) - f.spared())
	for len(f.result.Connected) < expected && f.now < f.result.back+patience && f.next() {
	}
	slices.Sort(f.result.Connected)
	slices.Sort(f.result.Hosts)
	return f.result, nil
}

// wire makes the peers and the configuration that leads to them: the discovery controllers.
func (f *fleet) wire() error {
	const hostNQN, hostID = "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-4111-8111-111111111111", "11111111-1111-4111-8111-111111111111"
	f.config = config.Config{Settings: config.Defaults(), HostNQN: hostNQN, HostID: hostID}
	add := func(kind tid.Kind, traddr, nqn string, port int) (*peer, error) {
		id, err := tid.New(tid.TID{Transport: tid.TCP, Traddr: traddr, NQN: nqn, HostNQN: hostNQN, HostID: hostID}, kind)
		if err != nil {
			return nil, err
		}
		p := &peer{wish: wish.Wish{Kind: kind, TID: id, Owner: wish.OwnerDiscoverd}, unit: id.UnitName(), port: port}
		p.argv = append(append([]string{"/usr/sbin/nvme-discoverctl", "connect"}, p.wish.Args()...), "--idempotent", "--owner="+string(p.wish.Owner))
		f.peers = append(f.peers, p)
		return p, nil
	}
	for i := range discoveryControllers {
		dc, err := add(tid.Discovery, fmt.Sprintf("198.51.100.%d", i+1), tid.DiscoveryNQN, i)
		if err != nil {
			return err
		}
		f.config.Connections = append(f.config.Connections, config.Connection{Wish: dc.wish, From: fmt.Sprintf("discoverd.conf:%d", i+1)})
	}
	for i := range f.options.Paths {
		io, err := add(tid.IO, fmt.Sprintf("198.51.100.%d", i+1), "nqn.2024-01.com.example:volumes", i)
		if err != nil {
			return err
		}
		dc := f.peers[i%discoveryControllers]
		dc.entries = append(dc.entries, discoverylog.Entry{
			Subtype: discoverylog.NVM, Transport: tid.TCP, Adrfam: "ipv4",
			Traddr: io.wish.TID.Traddr, Trsvcid: io.wish.TID.Trsvcid, NQN: io.wish.TID.NQN, CntlID: 0xffff,
		})
	}
	return nil
}

// spared is how many peers of each host the reboot leaves alone. They come first.
func (f *fleet) spared() int {
	if f.options.Apart {
		return discoveryControllers
	}
	return 0
}

func (f *fleet) goDown() {
	f.array.up = false
	for _, h := range f.hosts {
		if f.options.Apart {
			f.after(0, h.logChanged)
		}
		for _, c := range h.connections[f.spared():] {
			f.after(between(h.rng, 0, lossTakes), func() { h.lose(c) })
		}
	}
}

func (f *fleet) comeBack() {
	f.array.up = true
	if f.options.Apart {
		for _, h := range f.hosts {
			f.after(0, h.logChanged)
		}
	}
}

// connected takes down that a connection is back.
func (f *fleet) connected(h *host, c *connection) {
	if f.now < f.result.back {
		return
	}
	f.result.Connected = append(f.result.Connected, f.now-f.result.back)
	if c.wish.Kind == tid.IO && !h.onPath {
		h.onPath = true
		f.result.Hosts = append(f.result.Hosts, f.now-f.result.back)
	}
}
