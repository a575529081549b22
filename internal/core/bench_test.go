// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// host answers every effect of a machine at once and with success: what the core alone costs. Connections are made in the
// order in which they are asked for.
type host struct {
	m     *Machine
	now   time.Time
	seq   uint64
	next  int // number of the next controller
	pages map[tid.TID][]discoverylog.Entry
	dcs   map[string]tid.TID
	todo  []Event
	steps int
	spent time.Duration // in the core

	started bool // the first comparison is over; the others stay without an answer, for they cost what there is
}

func newHost() *host {
	return &host{m: New(1), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), pages: map[tid.TID][]discoverylog.Entry{}, dcs: map[string]tid.TID{}}
}

// step feeds one event and everything that follows from it.
func (h *host) step(events ...Event) {
	h.todo = append(h.todo, events...)
	for len(h.todo) > 0 {
		ev := h.todo[0]
		h.todo = h.todo[1:]
		h.steps++
		begun := time.Now()
		effects := h.m.Step(h.now, ev)
		h.m.Deadline()
		h.spent += time.Since(begun)
		for _, e := range effects {
			h.carryOut(e)
		}
	}
}

// settle lets the timers of the next second run.
func (h *host) settle() {
	until := h.now.Add(time.Second)
	for at := h.m.Deadline(); at != never && !at.After(until); at = h.m.Deadline() {
		if at.After(h.now) {
			h.now = at
		}
		h.step(Tick{})
	}
}

func (h *host) carryOut(e Effect) {
	answer := func(ev Event) { h.todo = append(h.todo, ev) }
	switch e := e.(type) {
	case Probe:
		answer(ProbeDone{Target: e.Target, Mute: e.Mute})
	case StartUnit:
		d := h.device(e.Wish.TID, e.Wish.Kind, e.Unit)
		answer(DeviceSeen{Device: d, Why: "connected"})
		answer(JobDone{Unit: e.Unit, Op: OpStart, Outcome: Done, Device: &d})
	case RestartUnit:
		d := h.device(e.Wish.TID, e.Wish.Kind, e.Unit)
		answer(DeviceSeen{Device: d, Why: "connected"})
		answer(JobDone{Unit: e.Unit, Op: OpRestart, Outcome: Done, Device: &d})
	case StopUnit:
		answer(JobDone{Unit: e.Unit, Op: OpStop, Outcome: Done})
	case AskUnit:
		answer(UnitState{Unit: e.Unit, Known: true, Info: UnitInfo{Name: e.Unit, Active: "active"}})
	case ReadLog:
		page := discoverylog.Page{Entries: h.pages[h.dcs[e.Device]]}
		answer(LogRead{Device: e.Device, Token: e.Token, Pages: JudgePages(page, e.Readers)})
	case TakeSnapshot:
		if !h.started {
			answer(Snapshot{Token: e.Token, UnitsKnown: true})
		}
	case Kickstart:
		answer(Kickstarted{Token: e.Token, NoFC: true})
	}
}

func (h *host) device(t tid.TID, kind tid.Kind, unit string) Device {
	h.seq++
	d := Device{
		Controller: sysfs.Controller{
			Name: "nvme" + strconv.Itoa(h.next), Transport: t.Transport, Traddr: t.Traddr, Trsvcid: t.Trsvcid, NQN: t.NQN,
			HostNQN: t.HostNQN, HostID: t.HostID, SrcAddr: "192.0.2.1", State: "live", Type: "io",
		},
		Owner: "discoverd", Unit: unit, Seq: h.seq,
	}
	if kind == tid.Discovery {
		d.Type = "discovery"
		h.dcs[d.Name] = t
	}
	h.next++
	return d
}

func address(i int) string {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
}

func subsystemTID(addr, nqn string) tid.TID {
	return tid.TID{Transport: tid.TCP, Traddr: addr, Trsvcid: "4420", NQN: nqn, HostNQN: hostNQN}
}

// manySubsystems is a configuration of n subsystems with eight paths each.
func manySubsystems(n int) config.Config {
	cfg := config.Config{Settings: config.Defaults(), HostNQN: hostNQN}
	for i := range n {
		cfg.Connections = append(cfg.Connections, config.Connection{
			From: "discoverd.conf:" + strconv.Itoa(i),
			Wish: wish.Wish{Kind: tid.IO, Owner: wish.OwnerDiscoverd, TID: subsystemTID(address(i), "nqn.2014-08.org.example:"+strconv.Itoa(i/8))},
		})
	}
	return cfg
}

// discovered is a configuration of DCs that each name an equal part of n subsystems.
func (h *host) discovered(n, dcs int) config.Config {
	cfg := config.Config{Settings: config.Defaults(), HostNQN: hostNQN}
	for dc := range dcs {
		t := tid.TID{Transport: tid.TCP, Traddr: address(1<<20 + dc), Trsvcid: "8009", NQN: tid.DiscoveryNQN, HostNQN: hostNQN}
		cfg.Connections = append(cfg.Connections, config.Connection{Wish: wish.Wish{Kind: tid.Discovery, Owner: wish.OwnerDiscoverd, TID: t}})
		for i := dc; i < n; i += dcs {
			h.pages[t] = append(h.pages[t], entryOf(i))
		}
	}
	return cfg
}

func entryOf(i int) discoverylog.Entry {
	return discoverylog.Entry{
		Subtype: discoverylog.NVM, Transport: tid.TCP, Traddr: address(i), Trsvcid: "4420", NQN: "nqn.2014-08.org.example:" + strconv.Itoa(i/8),
	}
}

// connectedHost is a host on which n configured subsystems are connected.
func connectedHost(tb testing.TB, n int) *host {
	h := newHost()
	h.start(manySubsystems(n))
	h.mustHave(tb, n)
	return h
}

func (h *host) start(cfg config.Config) {
	h.step(ConfigLoaded{Config: cfg}, BusUp{})
	h.started = true
	h.settle()
}

func (h *host) mustHave(tb testing.TB, n int) {
	tb.Helper()
	if h.next != n {
		tb.Fatalf("%d controllers are connected, want %d", h.next, n)
	}
}

var sizes = []int{100, 1000, 10000}

func perSize(b *testing.B, f func(b *testing.B, n int)) {
	for _, n := range sizes {
		b.Run("targets="+strconv.Itoa(n), func(b *testing.B) { f(b, n) })
	}
}

// BenchmarkTick is an event that changes nothing, and the question when the next timer is due.
func BenchmarkTick(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		h := connectedHost(b, n)
		for b.Loop() {
			h.m.Step(h.now, Tick{})
			h.m.Deadline()
		}
	})
}

// BenchmarkReconnect is the loss of one controller and everything until it is connected again.
func BenchmarkReconnect(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		h := connectedHost(b, n)
		lost := 0
		for b.Loop() {
			h.now = h.now.Add(31 * time.Second) // it has lived for long
			h.seq++
			h.step(DeviceRemoved{Name: "nvme" + strconv.Itoa(lost), Seq: h.seq})
			h.settle()
			lost++
		}
		h.mustHave(b, n+lost)
	})
}

// BenchmarkColdStart connects everything that is configured.
func BenchmarkColdStart(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		cfg := manySubsystems(n)
		for b.Loop() {
			h := newHost()
			h.start(cfg)
			h.mustHave(b, n)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/target")
	})
}

// BenchmarkDiscovery connects everything that twenty DCs name.
func BenchmarkDiscovery(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		for b.Loop() {
			h := newHost()
			h.start(h.discovered(n, 20))
			h.mustHave(b, n+20)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/target")
	})
}

// BenchmarkSave is what a new segment of the flight recorder costs the loop.
func BenchmarkSave(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		h := connectedHost(b, n)
		for b.Loop() {
			h.m.Save(nil)
		}
	})
}

// BenchmarkView is the view after a step that has changed one target.
func BenchmarkView(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		h := connectedHost(b, n)
		b.ReportAllocs()
		for b.Loop() {
			d := h.m.devices.byName["nvme0"].Device
			h.m.Step(h.now, DeviceSeen{Device: d})
			h.m.View()
		}
	})
}

// BenchmarkLogPage is a log page that is read again and has one new entry, of connections that are there.
func BenchmarkLogPage(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			h := newHost()
			cfg := h.discovered(n, 1)
			h.start(cfg)
			h.mustHave(b, n+1)
			dc := cfg.Connections[0].Wish.TID
			added := n
			h.spent = 0
			for b.Loop() {
				h.pages[dc] = append(h.pages[dc][:n:n], entryOf(added))
				added++
				h.step(LogChanged{Device: "nvme0"})
			}
			b.ReportMetric(float64(h.spent.Nanoseconds())/float64(b.N), "loop-ns/op") // the rest is judged off the loop
		})
	}
}
