// SPDX-License-Identifier: GPL-3.0-or-later

// Package server offers org.nvmexpress.discoverd on the varlink socket of the daemon (docs/design.md, "Varlink").
//
// Anybody on the host may connect, so a client is not trusted: it gets a place among few, a deadline for each message and
// for each reply, and a bounded queue of changes. The daemon's loop never waits for one: the server asks it questions, one
// at a time, and takes what it publishes without a word back.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varlink/go/varlink"

	wire "github.com/nvme-discoverd/nvme-discoverd/internal/api/orgnvmexpressdiscoverd"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

// Backend is the daemon as the server needs it. Many goroutines call it; each method ends when its context does, with the
// context's error.
type Backend interface {
	// State returns what the daemon knows, not older than the call. Nobody may change it.
	State(ctx context.Context) (*State, error)
	// Request carries out what an administrator asks for and returns for how many targets; it refuses with a *core.Refusal.
	Request(ctx context.Context, op core.RequestOp, target string) (int, error)
	// Reload reads the configuration again. A *ReloadError says that it does not parse.
	Reload(ctx context.Context) error
	// Metrics returns the daemon's metrics.
	Metrics(ctx context.Context) ([]wire.Metric, error)
	// Recording returns what the daemon heard and decided of late, in the format of package recording.
	Recording() ([]byte, error)
}

// State is what the daemon knew after one step of its loop.
type State struct {
	core.View
	Targets  []*core.TargetView // all of View's
	Step     uint64
	Zeroconf bool // mDNS is looked after
	NBFT     bool // the boot firmware's tables are
}

// ReloadError says why a configuration cannot be used, one line for each mistake.
type ReloadError struct{ Reason string }

func (e *ReloadError) Error() string { return "cannot reload the configuration: " + e.Reason }

// limits bound what clients can cost.
type limits struct {
	connections int           // at one time
	others      int           // of those, for users other than root
	perUser     int           // of those, for one of them
	message     int           // bytes of a call
	replies     int           // bytes of all replies being sent at one time, about
	share       int           // of those, for one user other than root
	changes     int           // queued for one client of Monitor
	idle        time.Duration // between calls
	receive     time.Duration // from the first byte of a call to its last
	send        time.Duration // for a reply
	list        time.Duration // for all replies of a listing
	answer      time.Duration // for the daemon's loop
	complain    time.Duration // between log lines about clients
}

var defaultLimits = limits{
	connections: 64, others: 48, perUser: 16,
	message: 64 << 10, replies: 32 << 20, share: 8 << 20, changes: 256,
	idle: 5 * time.Minute, receive: 10 * time.Second, send: 10 * time.Second, list: 30 * time.Second, answer: 5 * time.Second,
	complain: 10 * time.Second,
}

// Config is what a Server is made of.
type Config struct {
	Backend Backend
	Version string    // of the daemon
	Since   time.Time // when it started
	Log     *slog.Logger
}

// Server answers varlink calls.
type Server struct {
	Config
	limits  limits
	service *varlink.Service
	places  places
	broker  broker
	replies budget

	turnedAway atomic.Uint64
	dropped    atomic.Uint64
	calls      atomic.Uint64
	complaint  atomic.Int64 // when the last one was logged, Unix nanoseconds
}

// New returns a server that does not listen yet.
func New(cfg Config) *Server { return newServer(cfg, defaultLimits) }

func newServer(cfg Config, l limits) *Server {
	s := &Server{
		Config: cfg, limits: l,
		places:  places{limits: l, users: map[uint32]int{}},
		broker:  broker{depth: l.changes, subscribers: map[*subscriber]struct{}{}},
		replies: budget{free: l.replies, share: l.share, users: map[uint32]int{}},
	}
	// Neither can fail: the interfaces are these two, and their names differ.
	s.service, _ = varlink.NewService("The nvme-discoverd Project", "nvme-discoverd", cfg.Version, "https://github.com/nvme-discoverd/nvme-discoverd")
	_ = s.service.RegisterInterface(wire.VarlinkNew(&methods{s}))
	return s
}

// Publish tells the clients of Monitor what a step of the loop changed. It never blocks. c is shared: nobody may change it
// any more.
func (s *Server) Publish(c *Changes) { s.broker.publish(c) }

// Serve answers calls on l until ctx ends; then it closes l and all connections, and returns nil when the last handler has.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var handlers sync.WaitGroup
	defer handlers.Wait()
	defer cancel() // before Wait: it ends the handlers
	for {
		c, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("cannot accept varlink calls any more: %w", err)
		case err != nil: // no file descriptors, no memory, a client that went away: the next one may have more luck
			s.complain("cannot accept a varlink connection: " + err.Error())
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		peer, err := credentials(c)
		if err != nil {
			c.Close()
			continue
		}
		if !s.places.take(peer.Uid) {
			s.turnedAway.Add(1) // before the client is told
			s.complain(fmt.Sprintf("turned away a varlink client (uid %d, pid %d): too many are connected", peer.Uid, peer.Pid))
			c.Close()
			continue
		}
		handlers.Go(func() {
			defer s.places.leave(peer.Uid)
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			s.handle(ctx, newConn(c, peer, s.limits))
		})
	}
}

// handle answers one client's calls, one after the other.
func (s *Server) handle(ctx context.Context, c *conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go c.receive(ctx)
	for call := range c.calls {
		s.calls.Add(1)
		c.busy.Store(true)
		err := s.answer(ctx, c, call)
		c.busy.Store(false)
		if err != nil {
			return
		}
	}
}

// answer answers one call. An error ends the connection.
func (s *Server) answer(ctx context.Context, c *conn, message []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.Log.Error(fmt.Sprintf("a varlink call failed, please report this: %v", r))
			err = errors.New("internal error")
		}
	}()
	call, err := parseCall(message)
	if err != nil {
		return err
	}
	if wrong := call.wrong(); wrong != nil {
		return call.refuse(ctx, c, *wrong)
	}
	return s.service.HandleMessage(ctx, c, call.message)
}

// complain logs what clients do wrong, seldom: they must not fill the journal.
func (s *Server) complain(msg string) {
	last, now := s.complaint.Load(), time.Now().UnixNano()
	if now-last >= int64(s.limits.complain) && s.complaint.CompareAndSwap(last, now) {
		s.Log.Warn(msg)
	}
}

// Metrics returns the server's own metrics.
func (s *Server) Metrics() []wire.Metric {
	counter := func(name, help string, value uint64) wire.Metric {
		total := "_total"
		return wire.Metric{
			Name: name, Type: "counter", Help: help,
			Samples: []wire.Sample{{Suffix: &total, Labels: map[string]string{}, Value: float64(value)}},
		}
	}
	return []wire.Metric{
		{
			Name: "nvme_discoverd_varlink_clients", Type: "gauge", Help: "Clients connected to the varlink socket.",
			Samples: []wire.Sample{{Labels: map[string]string{}, Value: float64(s.places.taken())}},
		},
		counter("nvme_discoverd_varlink_calls", "Varlink calls.", s.calls.Load()),
		counter("nvme_discoverd_varlink_clients_refused", "Varlink clients for whom there was no place.", s.turnedAway.Load()),
		counter("nvme_discoverd_varlink_clients_dropped", "Varlink clients that were dropped because they did not read.", s.dropped.Load()),
	}
}
