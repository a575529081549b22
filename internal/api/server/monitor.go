// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"context"
	"errors"
	"sync"

	wire "github.com/nvme-discoverd/nvme-discoverd/internal/api/orgnvmexpressdiscoverd"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Changes is what one step of the loop changed.
type Changes struct {
	Step    uint64
	Changed []*core.TargetView
	Removed []tid.TID // of targets that were forgotten
	Status  string
	Counts  core.Counts
	Ready   bool

	Zeroconf bool // as in State
	NBFT     bool
}

// broker hands changes to the clients of Monitor, each of which has a queue. One whose queue is full is dropped.
type broker struct {
	depth       int
	mu          sync.Mutex
	subscribers map[*subscriber]struct{}
}

type subscriber struct {
	changes chan *Changes
	tooSlow chan struct{} // closed when it is dropped
}

func (b *broker) publish(c *Changes) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subscribers {
		select {
		case s.changes <- c:
		default:
			close(s.tooSlow)
			delete(b.subscribers, s)
		}
	}
}

func (b *broker) subscribe() *subscriber {
	s := &subscriber{make(chan *Changes, b.depth), make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribers[s] = struct{}{}
	return s
}

func (b *broker) unsubscribe(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subscribers, s)
}

// errTooSlow ends the connection of a client that does not read.
var errTooSlow = errors.New("the client does not read in time")

// Monitor answers the call of that name.
func (m *methods) Monitor(ctx context.Context, c wire.VarlinkCall) error {
	client := c.Conn.(*conn)
	sub := m.broker.subscribe() // before the snapshot, so that nothing falls between
	defer m.broker.unsubscribe(sub)
	s, err := m.state(ctx, &c)
	if s == nil {
		return err
	}
	names := newNames(s.Targets)
	c.Continues = c.WantsMore()
	err = m.within(ctx, &c, len(s.Targets)*controllerSize, func() error {
		return c.ReplyMonitor(ctx, true, names.controllers(s.Targets), []string{}, s.Status, counts(s.Counts), s.Ready, s.Zeroconf, s.NBFT)
	})
	if err != nil || !c.Continues {
		return err
	}
	step := s.Step
	s = nil // a client may watch for days: let go of the state
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-client.gone:
			return nil
		case <-sub.tooSlow:
			m.drop(client)
			c.Continues = false
			return errors.Join(c.ReplyTooSlow(ctx), errTooSlow)
		case changes := <-sub.changes:
			if changes.Step <= step { // the snapshot has it
				continue
			}
			names.add(changes.Changed)
			err := c.ReplyMonitor(ctx, false, names.controllers(changes.Changed), names.remove(changes.Removed), changes.Status, counts(changes.Counts), changes.Ready,
				changes.Zeroconf, changes.NBFT)
			if err != nil {
				return err
			}
		}
	}
}
