// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	wire "github.com/nvme-discoverd/nvme-discoverd/internal/api/orgnvmexpressdiscoverd"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

// methods answers the calls of the interface. Those that only read are for everybody, the others call root first.
type methods struct{ *Server }

// Sizes of what a reply is made of, in bytes of memory and JSON together, generously.
const (
	controllerSize = 2 << 10
	entrySize      = 1 << 10
)

// state gets the daemon's state for a call. Without one the call is answered already.
func (m *methods) state(ctx context.Context, c *wire.VarlinkCall) (*State, error) {
	limited, cancel := context.WithTimeout(ctx, m.limits.answer)
	defer cancel()
	state, err := m.Backend.State(limited)
	if err != nil {
		return nil, m.refuse(ctx, c, "", err)
	}
	return state, nil
}

// refuse answers with the error of the interface that err is.
func (m *methods) refuse(ctx context.Context, c *wire.VarlinkCall, target string, err error) error {
	var refusal *core.Refusal
	var reload *ReloadError
	switch {
	case errors.As(err, &refusal) && refusal.Reason == "":
		return c.ReplyNoSuchController(ctx, &refusal.Target)
	case errors.As(err, &refusal):
		return c.ReplyNotPossible(ctx, refusal.Target, refusal.Reason)
	case errors.As(err, &reload):
		return c.ReplyReloadFailed(ctx, reload.Reason)
	case errors.Is(err, context.DeadlineExceeded):
		return c.ReplyTimeout(ctx)
	case ctx.Err() != nil:
		return err
	}
	return c.ReplyNotPossible(ctx, target, err.Error())
}

// within sends a reply that takes about so many bytes, if there is room for it now. Root is not held to that.
func (m *methods) within(ctx context.Context, c *wire.VarlinkCall, size int, send func() error) error {
	if root(c) {
		return send()
	}
	uid := c.Conn.(*conn).peer.Uid
	taken, ok := m.replies.take(uid, size)
	if !ok {
		return c.ReplyBusy(ctx)
	}
	defer m.replies.give(uid, taken)
	return send()
}

// list sends a reply for each of n elements, of which one takes about so many bytes, as systemd's services do: a call without more
// gets an answer if there is one element. A client that does not read in time is too slow.
func (m *methods) list(ctx context.Context, c *wire.VarlinkCall, size, n int, reply func(i int) error) error {
	if n > 1 && !c.WantsMore() {
		return m.standard(ctx, c, expectedMore, nil)
	}
	client := c.Conn.(*conn)
	end := time.Now().Add(m.limits.list)
	return m.within(ctx, c, heldReplies+size, func() error {
		client.hold()
		for i := range n {
			if time.Now().After(end) {
				m.drop(client)
				c.Continues = false
				return errors.Join(c.ReplyTooSlow(ctx), client.release(), errTooSlow)
			}
			c.Continues = i < n-1
			if err := reply(i); err != nil {
				return err
			}
		}
		return client.release()
	})
}

// drop counts a client that does not read and complains of it.
func (m *methods) drop(client *conn) {
	m.dropped.Add(1)
	m.complain(fmt.Sprintf("dropped a varlink client that does not read in time (uid %d, pid %d)", client.peer.Uid, client.peer.Pid))
}

// GetStatus answers the call of that name.
func (m *methods) GetStatus(ctx context.Context, c wire.VarlinkCall) error {
	s, err := m.state(ctx, &c)
	if s == nil {
		return err
	}
	return m.within(ctx, &c, controllerSize+len(s.Unwanted)*controllerSize, func() error {
		unwanted := []wire.Unwanted{}
		for _, d := range s.Unwanted {
			unwanted = append(unwanted, wire.Unwanted{Device: d.Name, DeviceState: optional(d.State), Nqn: optional(d.NQN), Unit: d.Unit})
		}
		return c.ReplyGetStatus(ctx, m.Version, when(m.Since), s.Ready, s.Status, s.Bus, counts(s.Counts), s.Zeroconf, s.NBFT, browsing(s.MDNS),
			unwanted, append([]string{}, s.Unexplained...))
	})
}

// ListControllers answers the call of that name.
func (m *methods) ListControllers(ctx context.Context, c wire.VarlinkCall, target, id, unit, device, nqn, kind, state *string) error {
	s, err := m.state(ctx, &c)
	if s == nil {
		return err
	}
	found := selectors{target, id, unit, device, nqn, kind, state}.of(s.Targets)
	if len(found) == 0 {
		return c.ReplyNoSuchController(ctx, target)
	}
	names := newNames(s.Targets)
	return m.list(ctx, &c, controllerSize, len(found), func(i int) error { return c.ReplyListControllers(ctx, names.controller(found[i])) })
}

// GetController answers the call of that name.
func (m *methods) GetController(ctx context.Context, c wire.VarlinkCall, target, id, unit, device, nqn *string) error {
	s, err := m.state(ctx, &c)
	if s == nil {
		return err
	}
	found := selectors{target: target, tid: id, unit: unit, device: device, nqn: nqn}.of(s.Targets)
	switch len(found) {
	case 0:
		return c.ReplyNoSuchController(ctx, target)
	case 1:
		return c.ReplyGetController(ctx, newNames(s.Targets).controller(found[0]))
	}
	return c.ReplyNotUnique(ctx, int64(len(found)))
}

// ListDiscoveryLogs answers the call of that name.
func (m *methods) ListDiscoveryLogs(ctx context.Context, c wire.VarlinkCall, target, id, unit, device, nqn *string) error {
	s, err := m.state(ctx, &c)
	if s == nil {
		return err
	}
	selected := selectors{target: target, tid: id, unit: unit, device: device, nqn: nqn}
	found := selected.of(s.Targets)
	if len(found) == 0 && !selected.none() {
		return c.ReplyNoSuchController(ctx, target)
	}
	var read []*core.TargetView
	size := 0
	for _, t := range found {
		if !t.PageRead.IsZero() {
			read, size = append(read, t), max(size, controllerSize+len(entriesOf(t))*entrySize)
		}
	}
	if len(read) == 0 {
		return c.ReplyNoSuchLog(ctx)
	}
	return m.list(ctx, &c, size, len(read), func(i int) error { return c.ReplyListDiscoveryLogs(ctx, logOf(read[i])) })
}

// ListMetrics answers the call of that name.
func (m *methods) ListMetrics(ctx context.Context, c wire.VarlinkCall) error {
	limited, cancel := context.WithTimeout(ctx, m.limits.answer)
	defer cancel()
	metrics, err := m.Backend.Metrics(limited)
	if err != nil {
		return m.refuse(ctx, &c, "", err)
	}
	metrics = append(metrics, m.Metrics()...)
	return m.list(ctx, &c, controllerSize, len(metrics), func(i int) error { return c.ReplyListMetrics(ctx, metrics[i]) })
}

// Start answers the call of that name.
func (m *methods) Start(ctx context.Context, c wire.VarlinkCall, target string) error {
	return m.request(ctx, c, core.RequestStart, &target, c.ReplyStart)
}

// Stop answers the call of that name.
func (m *methods) Stop(ctx context.Context, c wire.VarlinkCall, target string) error {
	return m.request(ctx, c, core.RequestStop, &target, c.ReplyStop)
}

// Retry answers the call of that name.
func (m *methods) Retry(ctx context.Context, c wire.VarlinkCall, target *string) error {
	return m.request(ctx, c, core.RequestRetry, target, c.ReplyRetry)
}

// Rescan answers the call of that name.
func (m *methods) Rescan(ctx context.Context, c wire.VarlinkCall, target *string) error {
	return m.request(ctx, c, core.RequestRescan, target, c.ReplyRescan)
}

// request carries out what only root may ask for. No target stands for all of them, an empty word for none.
func (m *methods) request(ctx context.Context, c wire.VarlinkCall, op core.RequestOp, target *string, reply func(context.Context, int64) error) error {
	if !root(&c) {
		return m.standard(ctx, &c, permissionDenied, nil)
	}
	word := ""
	if target != nil {
		if word = *target; word == "" {
			return c.ReplyNoSuchController(ctx, target)
		}
	}
	limited, cancel := context.WithTimeout(ctx, m.limits.answer)
	defer cancel()
	count, err := m.Backend.Request(limited, op, word)
	if err != nil {
		return m.refuse(ctx, &c, word, err)
	}
	return reply(ctx, int64(count))
}

// Reload answers the call of that name.
func (m *methods) Reload(ctx context.Context, c wire.VarlinkCall) error {
	if !root(&c) {
		return m.standard(ctx, &c, permissionDenied, nil)
	}
	limited, cancel := context.WithTimeout(ctx, reloadTimes*m.limits.answer)
	defer cancel()
	if err := m.Backend.Reload(limited); err != nil {
		return m.refuse(ctx, &c, "", err)
	}
	return c.ReplyReload(ctx)
}

// pieceSize is how many bytes of a recording one reply has: the buffer of a client need not hold all.
const pieceSize = 192 << 10

// GetRecording answers the call of that name.
func (m *methods) GetRecording(ctx context.Context, c wire.VarlinkCall) error {
	if !root(&c) {
		return m.standard(ctx, &c, permissionDenied, nil)
	}
	file, err := m.Backend.Recording()
	if err != nil {
		return m.refuse(ctx, &c, "", err)
	}
	size := len(file)
	if c.WantsMore() {
		size = pieceSize
	}
	for {
		piece := file[:min(size, len(file))]
		file = file[len(piece):]
		c.Continues = len(file) > 0
		if err := c.ReplyGetRecording(ctx, base64.StdEncoding.EncodeToString(piece)); err != nil || len(file) == 0 {
			return err
		}
	}
}

// reloadTimes is how much longer than others a reload may take: it reads files.
const reloadTimes = 6

// root tells whether the caller is root.
func root(c *wire.VarlinkCall) bool { return c.Conn.(*conn).peer.Uid == 0 }
