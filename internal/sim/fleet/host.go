// SPDX-License-Identifier: GPL-3.0-or-later

package fleet

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

const (
	reconnectDelay = 10 * time.Second // of the kernel, between its own attempts: its default, and it has no jitter
	reconnects     = 60               // that it makes before it removes a controller: ctrl_loss_tmo 600 over 10
)

// epoch is time zero of the cores.
var epoch = time.Unix(1_000_000, 0)

// host is one core and a thin shell around it: systemd, the kernel and the state files of a host on which nothing goes
// wrong and which takes no time for what it does alone.
type host struct {
	*fleet
	rng         *rand.Rand
	machine     *core.Machine
	connections []*connection // in the order of fleet.peers
	seq         uint64        // uevent_seqnum
	writes      []func()      // to /dev/nvme-fabrics, which takes one at a time; the first is being carried out
	timer       time.Duration // when the next tick comes at the latest; 0 is never
	onPath      bool          // it has had a path since the array is back
}

// connection is what a host holds of one peer.
type connection struct {
	*peer
	name   string    // nvmeN
	state  linkState // of the controller
	active bool      // its unit is, with or without a controller
	made   uint64    // seq when the controller changed last
}

type linkState int

const (
	absent linkState = iota
	live
	reconnecting // by the kernel
)

func newHost(f *fleet, number int) *host {
	h := &host{fleet: f, seq: 100}
	seed := f.options.Seed<<20 + uint64(number)
	h.rng = rand.New(rand.NewPCG(seed, 2))
	h.machine = core.New(seed)
	h.machine.SetBackoff(f.options.Delay)
	for i, p := range f.peers {
		h.connections = append(h.connections, &connection{peer: p, name: fmt.Sprintf("nvme%d", i+1), state: live, active: true})
	}
	return h
}

// begin starts the daemon on a host that is fully connected.
func (h *host) begin() {
	h.step(core.ConfigLoaded{Config: h.config})
	h.step(core.BusUp{})
}

// post hands an event to the loop, never within a step.
func (h *host) post(d time.Duration, ev core.Event) { h.after(d, func() { h.step(ev) }) }

func (h *host) step(ev core.Event) {
	h.result.Steps++
	for _, effect := range h.machine.Step(epoch.Add(h.now), ev) {
		h.do(effect)
	}
	h.arm()
}

// arm schedules a tick for the core's deadline, unless one comes before that, which then does it.
func (h *host) arm() {
	deadline := h.machine.Deadline()
	if deadline.IsZero() {
		return
	}
	at := max(deadline.Sub(epoch), h.now)
	if h.timer != 0 && h.timer <= at {
		return
	}
	h.timer = at
	h.after(at-h.now, func() {
		if h.timer != at { // an earlier one took its place
			return
		}
		h.timer = 0
		if deadline := h.machine.Deadline(); !deadline.IsZero() && deadline.Sub(epoch) <= h.now {
			h.step(core.Tick{})
			return
		}
		h.arm()
	})
}

func (h *host) do(effect core.Effect) {
	switch e := effect.(type) {
	case core.Probe:
		h.probe(e)
	case core.StartUnit:
		h.start(h.unit(e.Unit), core.OpStart)
	case core.RestartUnit:
		h.start(h.unit(e.Unit), core.OpRestart)
	case core.StopUnit:
		h.unit(e.Unit).active = false
		h.post(0, core.JobDone{Unit: e.Unit, Op: core.OpStop, Outcome: core.Done})
	case core.AskUnit:
		c := h.unit(e.Unit)
		h.post(0, core.UnitState{Unit: e.Unit, Known: true, Info: c.info(), Device: h.device(c)})
	case core.ReadLog:
		h.readLog(e)
	case core.TakeSnapshot:
		h.snapshot(e)
	case core.Kickstart:
		h.post(0, core.Kickstarted{Token: e.Token, NoFC: true})
	}
}

// unit returns the connection of a unit. The core makes up no unit names.
func (h *host) unit(name string) *connection {
	for _, c := range h.connections {
		if c.unit == name {
			return c
		}
	}
	panic("fleet: no connection has the unit " + name)
}

func (c *connection) info() core.UnitInfo {
	if !c.active {
		return core.UnitInfo{Name: c.unit, Active: "inactive"}
	}
	return core.UnitInfo{Name: c.unit, Active: "active", Argv: c.argv}
}

// device is a reading of the controller of a connection, nil if there is none.
func (h *host) device(c *connection) *core.Device {
	if c.state == absent {
		return nil
	}
	id := c.wish.TID
	d := &core.Device{Owner: string(c.wish.Owner), Unit: c.unit, Seq: h.seq}
	d.Controller = sysfs.Controller{
		Name: c.name, Transport: id.Transport, Traddr: id.Traddr, Trsvcid: id.Trsvcid, NQN: id.NQN,
		HostNQN: id.HostNQN, HostID: id.HostID, State: "live", Type: "io",
	}
	if c.wish.Kind == tid.Discovery {
		d.Type = "discovery"
	}
	if c.state == reconnecting {
		d.State = "connecting"
	}
	return d
}

func (h *host) probe(e core.Probe) {
	for _, c := range h.connections {
		if id := c.wish.TID; id.Traddr == e.Target.Traddr && id.Trsvcid == e.Target.Trsvcid {
			h.array.probe(c.port, e.Mute, func(o outcome) { h.step(core.ProbeDone{Target: e.Target, Mute: e.Mute, Err: errorOf(o)}) })
			return
		}
	}
	panic("fleet: nobody is at " + e.Target.String())
}

func errorOf(o outcome) string {
	switch o {
	case dropped:
		return "connection timed out"
	case mute:
		return "no answer"
	}
	return ""
}

// start carries a unit's connect out, after those before it: the kernel serialises the writes.
func (h *host) start(c *connection, op core.Op) {
	write := func() {
		h.array.connect(c.port, func(o outcome) {
			done := core.JobDone{Unit: c.unit, Op: op, Outcome: core.Done}
			switch c.active = o == served; o {
			case served:
				h.live(c)
				done.Device = h.device(c)
			case dropped:
				done.Outcome, done.Failure = "failed", &state.Result{Errno: int(syscall.ETIMEDOUT), Meaning: errorOf(o)}
			case mute:
				done.Outcome, done.Failure = "failed", &state.Result{Errno: int(syscall.EAGAIN), Meaning: errorOf(o)}
			}
			h.step(done)
			h.writes = h.writes[1:]
			if len(h.writes) > 0 {
				h.writes[0]()
			}
		})
	}
	if h.writes = append(h.writes, write); len(h.writes) == 1 {
		write()
	}
}

// live notes that a controller is there, made anew or reconnected.
func (h *host) live(c *connection) {
	c.state = live
	h.seq++
	c.made = h.seq
	h.connected(h, c)
}

// lose breaks a connection to the array. The kernel removes the controller at once, or when it has tried in vain.
func (h *host) lose(c *connection) {
	if h.options.Loss == AtOnce {
		h.remove(c)
		return
	}
	c.state = reconnecting
	h.reconnect(c, reconnects)
}

func (h *host) reconnect(c *connection, left int) {
	h.after(reconnectDelay, func() {
		h.array.connect(c.port, func(o outcome) {
			switch {
			case o == served:
				h.live(c)
				h.step(core.DeviceSeen{Device: *h.device(c), Why: "connected", Reconnected: c.wish.Kind == tid.Discovery})
			case left == 1:
				h.remove(c)
			default:
				h.reconnect(c, left-1)
			}
		})
	})
}

func (h *host) remove(c *connection) {
	c.state = absent
	h.seq++
	h.step(core.DeviceRemoved{Name: c.name, Seq: h.seq})
}

// logChanged is the event by which a discovery controller says that its page has changed.
func (h *host) logChanged() {
	for _, c := range h.connections {
		if c.wish.Kind == tid.Discovery && c.state == live {
			h.step(core.LogChanged{Device: c.name})
		}
	}
}

func (h *host) readLog(e core.ReadLog) {
	for _, c := range h.connections {
		if c.name != e.Device {
			continue
		}
		h.after(between(h.rng, time.Millisecond, 20*time.Millisecond), func() {
			if c.state != live {
				h.step(core.LogFailed{Device: e.Device, Token: e.Token, Err: "input/output error"})
				return
			}
			page := discoverylog.Page{Generation: 1}
			if h.array.up || !h.options.Apart {
				page.Entries = c.entries
			}
			h.step(core.LogRead{Device: e.Device, Token: e.Token, Pages: core.JudgePages(page, e.Readers)})
		})
	}
}

func (h *host) snapshot(e core.TakeSnapshot) {
	snap := core.Snapshot{Token: e.Token, UnitsKnown: true, Devids: map[string]string{}}
	for _, c := range h.connections {
		if d := h.device(c); d != nil {
			snap.Devices = append(snap.Devices, *d)
			snap.Devids[c.unit] = c.name
		}
		if c.active {
			snap.Units = append(snap.Units, c.info())
		}
	}
	h.post(0, snap)
}
