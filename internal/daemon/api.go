// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/server"
	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"

	wire "github.com/nvme-discoverd/nvme-discoverd/internal/api/orgnvmexpressdiscoverd"
)

// statePace is how often the loop copies its state for those who ask, at most, while things keep happening. They share
// the copies.
const statePace = 20 * time.Millisecond

// listenPause is the pause before listening is tried again.
const listenPause = 5 * time.Second

// backing is what the api shows and passes requests on to. machine, step and settings belong to the loop.
type backing struct {
	root     paths.Root
	version  string
	log      *slog.Logger
	machine  machine
	step     func(context.Context, core.Event) // feeds the machine and has the effects carried out
	settings func() config.Settings            // those in force
	record   func() ([]byte, error)            // returns the recording as it is now
}

// machine is the part of a *core.Machine that the api looks at.
type machine interface {
	View() core.View
	Counts() core.Counts
	Ready() bool
	Browses() bool
	Changed() ([]*core.TargetView, []tid.TID)
}

// api joins the varlink server and the loop. Calls come in as queries, functions that the loop runs between two events;
// what changes goes out to the server without waiting for it.
type api struct {
	backing
	server  *server.Server
	queries chan func(context.Context)
	reloads chan chan<- error // asks watchReloads, which answers
	metrics *metrics
	steps   atomic.Uint64 // steps of the loop so far

	// The loop's own:
	answer core.Answer // of the last request
	service

	// Whoever holds the one token of copying:
	copying chan struct{}
	copied  *server.State
	begun   time.Time // when copied was asked for
}

// service is what Monitor tells of the service itself.
type service struct {
	status string
	ready  bool
	nbft   bool
	mdns   bool // it is browsed
}

func newAPI(b backing) *api {
	a := &api{
		backing: b, queries: make(chan func(context.Context)), reloads: make(chan chan<- error), metrics: newMetrics(),
		copying: make(chan struct{}, 1), copied: &server.State{},
	}
	a.server = server.New(server.Config{Backend: a, Version: b.version, Since: time.Now(), Log: b.log})
	return a
}

// serve answers calls until ctx ends.
func (a *api) serve(ctx context.Context) {
	l := a.listen(ctx)
	if l == nil {
		return
	}
	if err := a.server.Serve(ctx, l); err != nil {
		a.log.Error(err.Error())
	}
	if err := server.Remove(a.root); err != nil {
		a.log.Warn(err.Error())
	}
}

// listen returns nil when ctx has ended before it could listen. Controllers are connected without it too: a failure, of a full
// /run for example, is logged and tried again.
func (a *api) listen(ctx context.Context) *net.UnixListener {
	for told := false; ; told = true {
		l, err := server.Listen(a.root)
		switch {
		case err == nil && told:
			a.log.Info("listening on " + a.root.Socket() + " at last: nvme-discoverctl and nvme-stas can ask again")
			return l
		case err == nil:
			return l
		case !told:
			a.log.Error(err.Error() + "; nvme-discoverctl and nvme-stas cannot ask anything; trying again every " + listenPause.String())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(listenPause):
		}
	}
}

// stepped looks at what a step did. The loop calls it.
func (a *api) stepped(begun time.Time, ev core.Event, effects []core.Effect) {
	step := a.steps.Add(1)
	before := a.service
	for _, e := range effects {
		switch e := e.(type) {
		case core.Answer:
			a.answer = e
		case core.Status:
			a.status = e.Text
		}
	}
	changed, removed := a.machine.Changed()
	a.metrics.stepped(begun, ev, effects, changed, removed)
	a.ready, a.nbft, a.mdns = a.machine.Ready(), a.settings().NBFT, a.machine.Browses()
	if len(changed)+len(removed) > 0 || a.service != before {
		a.server.Publish(&server.Changes{
			Step: step, Changed: changed, Removed: removed, Status: a.status, Counts: a.machine.Counts(), Ready: a.ready, NBFT: a.nbft, Zeroconf: a.mdns,
		})
	}
}

// ask has the loop run f, with the loop's own context, and waits until it has.
func (a *api) ask(ctx context.Context, f func(context.Context)) error {
	done := make(chan struct{})
	select {
	case a.queries <- func(loop context.Context) { f(loop); close(done) }:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// State implements server.Backend. Whoever comes while a copy is being made shares the next one.
func (a *api) State(ctx context.Context) (*server.State, error) {
	came := time.Now()
	select {
	case a.copying <- struct{}{}:
		defer func() { <-a.copying }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if a.copied.Step != 0 && (a.copied.Step == a.steps.Load() || a.begun.After(came)) {
		return a.copied, nil
	}
	select {
	case <-time.After(time.Until(a.begun.Add(statePace))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	begun := time.Now()
	next := &server.State{}
	err := a.ask(ctx, func(context.Context) {
		next.View, next.Step = a.machine.View(), a.steps.Load()
		next.NBFT, next.Zeroconf = a.settings().NBFT, a.machine.Browses()
	})
	if err != nil {
		return nil, err
	}
	next.Targets = slices.Collect(next.View.Targets.All())
	a.copied, a.begun = next, begun
	return next, nil
}

// Request implements server.Backend.
func (a *api) Request(ctx context.Context, op core.RequestOp, target string) (int, error) {
	var answer core.Answer
	err := a.ask(ctx, func(loop context.Context) {
		a.step(loop, core.Request{Op: op, Target: target})
		answer = a.answer
	})
	switch {
	case err != nil:
		return 0, err
	case answer.Refuse != nil:
		return 0, answer.Refuse
	}
	return answer.Done, nil
}

// Reload implements server.Backend. It returns when the loop has the new configuration.
func (a *api) Reload(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case a.reloads <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		if err != nil {
			return &server.ReloadError{Reason: err.Error()}
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Metrics implements server.Backend. The targets are counted in the view that all share: it has the names too that have no
// address yet, of which no step tells.
func (a *api) Metrics(ctx context.Context) ([]wire.Metric, error) {
	state, err := a.State(ctx)
	if err != nil {
		return nil, err
	}
	return a.metrics.snapshot().families(a.version, state.Targets), nil
}

// Recording implements server.Backend.
func (a *api) Recording() ([]byte, error) { return a.record() }
