// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/probe"
)

const (
	// probeTimeout is how long a port may take to accept a connection, and muteTimeout how long a peer may take to answer too.
	probeTimeout = 3 * time.Second
	muteTimeout  = 5 * time.Second
	// quickTimeout is how long the first probe of a peer keeps its place. A peer that is there accepts within milliseconds,
	// unless a packet is lost, so that many dead peers hold a good one up for a fraction of a second. One that did not accept
	// by then is probed once more, among the retries and for probeTimeout.
	quickTimeout = 500 * time.Millisecond

	// parallelProbes bounds the probes at one time. Each is a socket, of which the service may have 1024, and each to a dead
	// peer on our own link is an entry of the kernel's neighbour table, which overflows for everybody beyond 1024.
	parallelProbes = 256
	// parallelRetries bounds those of them that are no first ones, so that a first probe finds a place however many peers
	// are dead.
	parallelRetries = 192
)

// prober probes peers: those that have not failed before ahead of the others.
type prober struct {
	try    func(context.Context, core.Probe) error
	places *places
}

func newProber(try func(context.Context, core.Probe) error) *prober {
	return &prober{try: try, places: newPlaces(parallelProbes, parallelRetries)}
}

// tryPeer is the try of every prober but those of tests.
func tryPeer(ctx context.Context, e core.Probe) error {
	if e.Mute {
		return probe.ICReq(ctx, e.Target)
	}
	return probe.TCP(ctx, e.Target)
}

// probe begins a probe and hands its end to answer, on a goroutine of its own.
func (p *prober) probe(ctx context.Context, e core.Probe, answer func(core.ProbeDone)) {
	timeout := probeTimeout
	if e.Mute {
		timeout = muteTimeout
	}
	whole := func() { answer(probeDone(e, p.within(ctx, e, timeout))) }
	if !e.First || e.Mute {
		p.places.run(e.First, whole)
		return
	}
	p.places.run(true, func() {
		err := p.within(ctx, e, quickTimeout)
		if errors.Is(err, unix.ETIMEDOUT) && ctx.Err() == nil {
			p.places.run(false, whole)
			return
		}
		answer(probeDone(e, err))
	})
}

func (p *prober) within(ctx context.Context, e core.Probe, timeout time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return p.try(limited, e)
}

func probeDone(e core.Probe, err error) core.ProbeDone {
	done := core.ProbeDone{Target: e.Target, Mute: e.Mute}
	if err != nil {
		done.Err = err.Error()
		var errno unix.Errno
		if errors.As(err, &errno) {
			done.Errno = int(errno)
		}
	}
	return done
}

// places runs functions on goroutines, those that are urgent ahead of the others and else in the order of their coming.
type places struct {
	most, othersMost int // at one time: all together, and those that are not urgent

	mu             sync.Mutex
	taken          int // Invariant: othersTaken <= taken <= most
	othersTaken    int // Invariant: othersTaken <= othersMost
	urgent, others []func()
}

// newPlaces returns so many places, of which what is not urgent never takes more than others.
func newPlaces(all, others int) *places { return &places{most: all, othersMost: others} }

// run runs f as soon as there is a place for it. It never blocks.
func (p *places) run(urgent bool, f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if urgent {
		p.urgent = append(p.urgent, f)
	} else {
		p.others = append(p.others, f)
	}
	p.fill()
}

// fill gives the free places to those who wait. The caller holds mu.
func (p *places) fill() {
	for p.taken < p.most && len(p.urgent) > 0 {
		p.taken++
		go p.work(pop(&p.urgent), false)
	}
	for p.taken < p.most && p.othersTaken < p.othersMost && len(p.others) > 0 {
		p.taken++
		p.othersTaken++
		go p.work(pop(&p.others), true)
	}
}

func (p *places) work(f func(), other bool) {
	f()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if other {
		p.othersTaken--
	}
	p.fill()
}

// pop takes the first one off a queue and lets go of it.
func pop(queue *[]func()) func() {
	f := (*queue)[0]
	(*queue)[0] = nil
	*queue = (*queue)[1:]
	return f
}
