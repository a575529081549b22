// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/probe"
)

// peers is a network in virtual time: every peer is a black hole but those that answer.
type peers struct {
	*prober
	answers chan string // the address of each probe that ended, and how
	ahead   []string    // those that answer at once
	slow    string      // this one takes longer than quickTimeout
}

func newPeers(answering ...string) *peers {
	p := &peers{answers: make(chan string, 2000), ahead: answering}
	p.prober = newProber(p.connect)
	return p
}

func (p *peers) connect(ctx context.Context, e core.Probe) error {
	for _, there := range p.ahead {
		if e.Target.Traddr == there {
			return nil
		}
	}
	if e.Target.Traddr == p.slow {
		select {
		case <-time.After(time.Second): // a lost SYN is sent again
			return nil
		case <-ctx.Done():
		}
	}
	<-ctx.Done()
	return fmt.Errorf("cannot reach %s: %w", e.Target, unix.ETIMEDOUT)
}

func (p *peers) begin(ctx context.Context, traddr string, first bool) {
	e := core.Probe{Target: probe.Target{Traddr: traddr, Trsvcid: "4420"}, First: first}
	p.probe(ctx, e, func(done core.ProbeDone) {
		if done.Err != "" {
			traddr += fmt.Sprintf(" errno %d", done.Errno)
		}
		p.answers <- traddr
	})
}

// until waits for an answer and returns how long that took and how many others came before it.
func (p *peers) until(want string) (took time.Duration, others int) {
	begun := time.Now()
	for answer := range p.answers {
		if answer == want {
			break
		}
		others++
	}
	return time.Since(begun), others
}

// Peers that are dead hardly hold up one that is there, whether they have failed before or not.
func TestDeadPeersDelayNoGoodOne(t *testing.T) {
	const deadPeers = 500
	for _, test := range []struct {
		name  string
		first bool // the dead ones have not failed before
		most  time.Duration
	}{
		{"of which is known that they fail", false, 0},
		{"of which nothing is known", true, (deadPeers / parallelProbes) * quickTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				p := newPeers("good")
				for i := range deadPeers {
					p.begin(ctx, fmt.Sprintf("dead%d", i), test.first)
				}
				p.begin(ctx, "good", true)
				took, others := p.until("good")
				if took > test.most {
					t.Errorf("behind %d dead peers a good one answered after %v, want at most %v", deadPeers, took, test.most)
				}
				for range deadPeers - others { // none is forgotten
					<-p.answers
				}
			})
		})
	}
}

// A peer that has failed before waits for those that have not, and no longer.
func TestRetriesAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers("again")
		for i := range parallelProbes {
			p.begin(t.Context(), fmt.Sprintf("dead%d", i), true)
		}
		p.begin(t.Context(), "again", false)
		if took, _ := p.until("again"); took != quickTimeout {
			t.Errorf("answered after %v, want %v", took, quickTimeout)
		}
	})
}

// A first probe that ends early for want of an answer is no failure: the whole time is granted then.
func TestSlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers()
		p.slow = "slow"
		p.begin(t.Context(), "slow", true)
		if took, _ := p.until("slow"); took != quickTimeout+time.Second {
			t.Errorf("a slow peer answered after %v, want %v", took, quickTimeout+time.Second)
		}
		p.begin(t.Context(), "dead", true)
		if took, _ := p.until(fmt.Sprintf("dead errno %d", unix.ETIMEDOUT)); took != quickTimeout+probeTimeout {
			t.Errorf("a dead peer failed after %v, want %v", took, quickTimeout+probeTimeout)
		}
	})
}

// Host names whose name server does not answer hold up no probe.
func TestLookupsDelayNoProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const names = 500
		log, _ := lines()
		posted := make(chan core.Event, names+1)
		x := newExecutor(tools{log: log, reader: newReader(""), post: func(_ context.Context, ev core.Event) { posted <- ev }})
		x.lookUp = func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		x.prober.try = func(context.Context, core.Probe) error { return nil }
		begun := time.Now()
		for i := range names {
			x.do(t.Context(), core.Resolve{Host: fmt.Sprintf("host%d.example", i)})
		}
		x.do(t.Context(), core.Probe{})
		if first := <-posted; first != (core.ProbeDone{}) || time.Since(begun) != 0 {
			t.Errorf("the probe ended after %v, behind %+v", time.Since(begun), first)
		}
		for range names {
			if failed := (<-posted).(core.Resolved); failed.Err == "" {
				t.Errorf("%+v, want an error", failed)
			}
		}
	})
}

// TestLookupCause: the message names what was looked up once, and the server without its port.
func TestLookupCause(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{&net.DNSError{Err: "no such host", Name: "array.example", Server: "192.0.2.53:53", IsNotFound: true}, "no such host (name server 192.0.2.53)"},
		{&net.DNSError{Err: "no such host", Name: "array.example", IsNotFound: true}, "no such host"},
		{&net.DNSError{Err: "server misbehaving", Name: "array.example", Server: "192.0.2.53:5353"}, "server misbehaving (name server 192.0.2.53:5353)"},
		{&net.DNSError{Err: "read udp 192.0.2.1:40000->192.0.2.53:53: i/o timeout", Name: "array.example", Server: "192.0.2.53:53", IsTimeout: true}, "no answer in time (name server 192.0.2.53)"},
		{&net.DNSError{Err: "dial udp 192.0.2.53:53: connect: network is unreachable", Name: "array.example", Server: "192.0.2.53:53"}, "dial udp 192.0.2.53:53: connect: network is unreachable"},
		{context.DeadlineExceeded, "context deadline exceeded"},
	} {
		posted := make(chan core.Event, 1)
		log, _ := lines()
		x := newExecutor(tools{log: log, reader: newReader(""), post: func(_ context.Context, ev core.Event) { posted <- ev }})
		x.lookUp = func(context.Context, string) ([]netip.Addr, error) { return nil, test.err }
		x.resolve(t.Context(), core.Resolve{Host: "array.example"})
		if got, want := (<-posted).(core.Resolved).Err, "cannot resolve array.example: "+test.want; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// What is not urgent never takes all places, nor more than there are.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(3, 2)
		running := map[string]int{}
		release := make(chan struct{})
		begin := func(what string, urgent bool) {
			p.run(urgent, func() {
				p.mu.Lock()
				running[what]++
				p.mu.Unlock()
				<-release
				p.mu.Lock()
				running[what]--
				p.mu.Unlock()
			})
		}
		expect := func(urgent, others int) {
			t.Helper()
			synctest.Wait()
			if running["urgent"] != urgent || running["other"] != others {
				t.Errorf("running: %v, want %d urgent ones and %d others", running, urgent, others)
			}
		}
		for range 5 {
			begin("other", false)
		}
		expect(0, 2)
		for range 3 {
			begin("urgent", true)
		}
		expect(1, 2)
		release <- struct{}{} // whoever goes, an urgent one follows or had the place
		synctest.Wait()
		if running["urgent"]+running["other"] != 3 {
			t.Errorf("running: %v, want 3 in all", running)
		}
		for range 7 {
			release <- struct{}{}
		}
		expect(0, 0)
	})
}
