// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/netwatch"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

const (
	maxKicks     = 64   // interfaces of one transport that may wait, as many as the core tells apart
	maxKickAddrs = 1024 // addresses of one interface that may wait

	// kickPause is the least time between two hand-overs of kicks. The core retries a while after the first one, and at most once
	// a second: to wake the loop for each of a storm would be for nothing.
	kickPause = 100 * time.Millisecond
)

// kicks holds what came up and the loop does not know of yet. Containers bring interfaces up faster than a busy loop takes
// events, so kicks are put together. The zero value is ready for use.
type kicks struct {
	mu      sync.Mutex
	waiting []core.Kick // one for each transport and interface, or one without an interface for the whole transport
	posting bool        // a goroutine calls take until nothing is left
}

// add puts kicks with those that wait, at one moment. It reports whether nobody takes them: then the caller starts a goroutine that
// does.
func (k *kicks) add(kicks ...core.Kick) (unattended bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, kick := range kicks {
		k.merge(kick)
	}
	unattended = !k.posting
	k.posting = true
	return unattended
}

func (k *kicks) merge(kick core.Kick) {
	first, same, n := -1, -1, 0
	for i, w := range k.waiting {
		if w.Transport != kick.Transport {
			continue
		}
		if n++; first < 0 {
			first = i
		}
		if w.Iface == kick.Iface {
			same = i
		}
	}
	switch {
	case first >= 0 && k.waiting[first].Iface == "": // covers everything of the transport
	case kick.Iface == "" || same < 0 && n >= maxKicks:
		k.cover(kick, first)
	case same < 0:
		kick.Addrs = slices.Clone(kick.Addrs)
		k.waiting = append(k.waiting, kick)
	default:
		w := &k.waiting[same]
		for _, addr := range kick.Addrs {
			if !slices.Contains(w.Addrs, addr) {
				w.Addrs = append(w.Addrs, addr)
			}
		}
		if len(w.Addrs) > maxKickAddrs {
			k.cover(kick, first)
		}
	}
}

// cover puts one kick in the place of all that wait for its transport. The reason is that of the first of them, at index first, -1
// if none waits.
func (k *kicks) cover(kick core.Kick, first int) {
	all := core.Kick{Transport: kick.Transport, Why: kick.Why}
	if first >= 0 {
		all.Why = k.waiting[first].Why
	}
	k.waiting = slices.DeleteFunc(k.waiting, func(w core.Kick) bool { return w.Transport == kick.Transport })
	k.waiting = append(k.waiting, all)
}

// take returns the kicks that wait. Where none does, nobody attends to the next from then on.
func (k *kicks) take() []core.Kick {
	k.mu.Lock()
	defer k.mu.Unlock()
	taken := k.waiting
	k.waiting = nil
	k.posting = taken != nil
	return taken
}

// networkEvent kicks what an interface or address that came up may serve.
func (d *Daemon) networkEvent(ctx context.Context, ev netwatch.Event) {
	why := "link " + ev.Iface + " is up"
	if ev.Kind == netwatch.AddrUp {
		why = "an address appeared on " + ev.Iface
	}
	kick := core.Kick{Iface: ev.Iface, Addrs: ev.Addrs, Why: why}
	if ev.Hardware && !slices.ContainsFunc(ev.Addrs, netip.Addr.IsGlobalUnicast) {
		kick = core.Kick{Why: why} // a port of a bridge or a bond, which has the addresses and may not have noticed
	}
	d.kickNetwork(ctx, kick)
}

// networkLost kicks everything: any interface may have come up.
func (d *Daemon) networkLost(ctx context.Context) {
	d.kickNetwork(ctx, core.Kick{Why: "network events may have been lost"})
}

func (d *Daemon) kickNetwork(ctx context.Context, kick core.Kick) {
	tcp, rdma := kick, kick
	tcp.Transport, rdma.Transport = tid.TCP, tid.RDMA
	d.kick(ctx, tcp, rdma)
}

// kick hands the loop kicks, together with others that come within kickPause and until the loop has dealt with those before. The first
// one goes at once.
func (d *Daemon) kick(ctx context.Context, kicks ...core.Kick) {
	if !d.kicks.add(kicks...) {
		return
	}
	go func() {
		for {
			taken := d.kicks.take()
			if taken == nil {
				return
			}
			if ctx.Err() == nil && d.boot.any() { // an interface that they name may have come
				d.boot.tell(func(ev core.NBFTLoaded) { d.post(ctx, ev) })
			}
			for _, kick := range taken {
				d.postAndWait(ctx, kick)
			}
			select {
			case <-time.After(kickPause):
			case <-ctx.Done():
			}
		}
	}()
}
