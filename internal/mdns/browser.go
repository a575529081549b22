// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Config is what a Browser is made of.
type Config struct {
	Bus      string               // socket of the system bus
	Resolved string               // varlink socket of systemd-resolved
	Report   func(Report)         // called with each change; the next one waits until it returns
	Staf     func() (browse bool) // tells whether nvme-stas is configured to browse; called while it runs
	Log      *slog.Logger
}

// Browser keeps one service of the host browsing, as long as that is wanted.
type Browser struct {
	cfg  Config
	wake chan struct{} // of capacity 1: something is to be looked at again

	mu     sync.Mutex
	wanted *Families // nil: nothing is
	peers  *peers    // nil: not known yet

	network func() (network, error)            // readNetwork, or a stand-in
	sources func(choice) source                // makeSource, or a stand-in
	names   func(context.Context, func(peers)) // watchNames, or a stand-in
}

// source is a service of the host that can browse.
type source interface {
	// String is its name for people.
	String() string
	// browse puts into the table what the service hears until ctx ends, or until it cannot go on. errAgain is no failure.
	browse(ctx context.Context, t *table) error
}

// choice is which service is to browse for what.
type choice struct {
	service  kind
	owner    string // Avahi's unique name
	families Families
}

type kind int

const (
	nobody kind = iota
	byAvahi
	byResolved
)

const (
	// pace is the least time between two reports: names may change faster than anybody needs to know.
	pace = time.Second
	// settle is how long after a service has said all that it knows an announcement that was not heard counts as gone: answers by
	// multicast get lost, and the question comes again after 1, 2 and 4 s.
	settle = 10 * time.Second
	// lookAgain is the time between looks for a service while none browses.
	lookAgain = 5 * time.Second
	// The pause after a service has failed grows from the first to the second.
	minPause = 2 * time.Second
	maxPause = time.Minute
)

// New returns a Browser that does nothing until Run and Browse.
func New(cfg Config) *Browser {
	b := &Browser{cfg: cfg, wake: make(chan struct{}, 1), network: readNetwork}
	b.sources = b.makeSource
	b.names = func(ctx context.Context, tell func(peers)) { watchNames(ctx, cfg.Bus, cfg.Log, tell) }
	return b
}

// Browse says for which addresses to browse from now on; nil ends it. It returns at once.
func (b *Browser) Browse(families *Families) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wanted = families
	b.poke()
}

func (b *Browser) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Run browses whenever it is wanted, until ctx ends.
func (b *Browser) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if b.want() != nil {
			b.whileWanted(ctx)
			continue
		}
		select {
		case <-ctx.Done():
		case <-b.wake:
		}
	}
}

func (b *Browser) want() *Families {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wanted
}

// whileWanted browses until nothing is wanted any more.
func (b *Browser) whileWanted(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		b.names(ctx, func(p peers) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.peers = &p
			b.poke()
		})
	})
	s := &session{Browser: b, failed: map[kind]failure{}}
	for ctx.Err() == nil && b.want() != nil {
		s.next(ctx)
	}
	if ctx.Err() == nil {
		s.told = nil
		s.report(Report{})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.peers = nil
}

// failure is how a service failed, and when it is tried again.
type failure struct {
	err   error
	again time.Time
	pause time.Duration
}

// session is what is known while browsing is wanted. It belongs to the goroutine of Run.
type session struct {
	*Browser
	failed map[kind]failure
	told   *Report
	influx influx
}

// choose returns which service is to browse, and if none is, why.
func (s *session) choose() (choice, string) {
	s.mu.Lock()
	wanted, p := s.wanted, s.peers
	s.mu.Unlock()
	if wanted == nil || p == nil {
		return choice{}, ""
	}
	may := func(k kind) bool { return !time.Now().Before(s.failed[k].again) }
	if p.avahi != "" && may(byAvahi) {
		return choice{byAvahi, p.avahi, *wanted}, ""
	}
	_, err := os.Stat(s.cfg.Resolved)
	if err == nil && may(byResolved) {
		return choice{byResolved, "", *wanted}, ""
	}
	return choice{}, s.lack(p, err)
}

// lack says why no service browses, and what to do.
func (s *session) lack(p *peers, socket error) string {
	avahi := "Avahi does not run (start avahi-daemon.service)"
	switch {
	case p.err != nil:
		avahi = "Avahi cannot be looked for: " + p.err.Error()
	case p.avahi != "" && s.failed[byAvahi].err != nil:
		avahi = s.failed[byAvahi].err.Error()
	}
	resolved := "systemd-resolved does not run (it can from systemd 258 on, with MulticastDNS=yes)"
	switch {
	case socket != nil && !errors.Is(socket, fs.ErrNotExist):
		resolved = "systemd-resolved cannot be looked for: " + socket.Error()
	case socket == nil && s.failed[byResolved].err != nil:
		resolved = s.failed[byResolved].err.Error()
	}
	return avahi + "; " + resolved
}

// next has one service browse until another one is to, or reports that none does and waits.
func (s *session) next(ctx context.Context) {
	c, problem := s.choose()
	if c.service == nobody {
		if problem != "" {
			s.report(Report{Problem: problem})
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-time.After(lookAgain):
		}
		return
	}
	began := time.Now()
	err := s.browse(ctx, c)
	if err == nil || errors.Is(err, errAgain) {
		return
	}
	f := s.failed[c.service]
	if f.pause = min(max(2*f.pause, minPause), maxPause); time.Since(began) > maxPause {
		f.pause = minPause
	}
	f.err, f.again = err, time.Now().Add(f.pause)
	s.failed[c.service] = f
}

// browse has a service browse. It returns nil when another one is to.
func (s *session) browse(ctx context.Context, c choice) error {
	ctx, cancel := context.WithCancel(ctx)
	t := newTable()
	ended := make(chan error, 1)
	source := s.sources(c)
	go func() { ended <- source.browse(ctx, t) }()
	end := func() {
		cancel()
		<-ended
	}
	var ready time.Time // since when the service has said all that it knows
	var due <-chan time.Time
	look := func() {
		r := Report{Service: source.String()}
		host, err := s.network()
		switch {
		case err != nil:
			r.Problem = err.Error()
		case !t.fill(&r, host): // once it has said all, it tells what comes and goes: a name that nobody resolves keeps nothing from going
		case ready.IsZero():
			ready = time.Now()
		}
		var waiting int
		if r.Found, waiting = s.influx.admit(r.Found, time.Now()); waiting > 0 {
			r.Ignored += waiting
			if r.Example == "" {
				r.Example = "new ones come faster than one a second"
			}
			time.AfterFunc(influxEvery, t.touch)
		}
		if wait := settle - time.Since(ready); err == nil && !ready.IsZero() { // without this host's addresses nothing is known to be gone
			if r.Complete = wait <= 0; !r.Complete {
				time.AfterFunc(wait, t.touch)
			}
		}
		s.report(r)
	}
	s.report(Report{Service: source.String()})
	refresh := time.NewTicker(time.Minute) // interfaces and addresses of this host may have changed
	defer refresh.Stop()
	for {
		select {
		case <-ctx.Done():
			end()
			return nil
		case err := <-ended:
			cancel()
			if errors.Is(err, errAgain) {
				return err
			}
			return fmt.Errorf("%s: %w", source, err)
		case <-s.wake:
			if now, _ := s.choose(); now != c {
				end()
				return nil
			}
			t.touch() // nvme-stas may have come or gone
		case <-refresh.C:
			t.touch()
		case <-t.changed:
			if due == nil {
				due = time.After(pace)
			}
		case <-due:
			due = nil
			look()
		}
	}
}

func (b *Browser) makeSource(c choice) source {
	if c.service == byAvahi {
		return avahi{b.cfg.Bus, c.owner, c.families, b.cfg.Log}
	}
	return resolved{b.cfg.Resolved, c.families}
}

// report tells of a report that says another thing than the last one.
func (s *session) report(r Report) {
	s.mu.Lock()
	staf := s.peers != nil && s.peers.staf != ""
	s.mu.Unlock()
	r.Beside = r.Service != "" && staf && s.cfg.Staf()
	if s.told != nil && s.told.same(r) {
		return
	}
	s.told = &r
	s.cfg.Report(r)
}
