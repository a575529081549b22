// Package core decides what the daemon does. It is a pure state machine: Step takes an event and the time and returns
// effects; the package opens no socket or file, starts no goroutine, reads no clock and writes no log, so that any
// incident can be replayed and years of faults simulated in seconds. docs/architecture.md has the picture.
package core

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

const (
	auditInterval = 60 * time.Second // SPEC 7.10
	auditRetry    = 5 * time.Second
	kickDelay     = 200 * time.Millisecond // SPEC 7.3
	probeFresh    = 3 * time.Second        // a peer that answered so recently is not probed again for its next wish
	shortLife     = 30 * time.Second       // SPEC 7.4: a connection that lived for less counts as a failed attempt
	ownersTurn    = time.Minute            // SPEC 7.4: hands off what another orchestrator has lost, until it had time to try
	lookAgain     = 2 * time.Second        // between looks at a unit on which somebody else's job runs
	logRetryMax   = time.Minute            // cap of the back-off between reads of a log page
	remindEvery   = 10 * time.Minute       // SPEC 7.2: between lines about one and the same failure
)

// never is the zero time: no timer.
var never time.Time

// Machine is the state of the daemon. One goroutine calls Step.
type Machine struct {
	rng  *rand.Rand
	now  time.Time
	step uint64 // counts calls of Step; what touched marks are made of

	cfg        config.Config
	configured bool
	excluded   exclusion.List
	bus        bool
	shutdown   bool // the system is going down: nothing is begun any more

	targets []*target // in the order in which they were first wished for, so that a replay is exact
	byTID   map[tid.TID]*target
	byUnit  map[string]*target // who may use a unit name
	groups  map[group]*target  // which wish of a group is connecting
	queue   []*target          // wait for a place, in order
	stopped map[string]bool    // units that an administrator stopped

	devices map[string]*device
	removed map[string]uint64 // number of the last remove uevent of a device name
	units   map[string]*unit
	probes  map[probeKey]*probeState

	names map[nameKey]*name // configured connections whose controller is named, not addressed
	boot  boot

	viewDirty bool
	kicks     map[string]time.Time // transport → when its waiting targets are retried

	audited    bool   // the first snapshot was compared: start-up is over
	unitsKnown bool   // systemd has answered at least once
	snapToken  uint64 // step at which the snapshot under way was asked for, 0 is none
	snapAgain  string // why another one is due as soon as it is there
	reread     bool   // log pages may have changed unseen: read them at the next snapshot
	nextAudit  time.Time
	orphans    map[string]string // units whose controller was lost while the daemon was away → nvmeN

	status  string
	ready   bool
	effects []Effect
}

// New returns a machine that knows nothing yet. seed makes the jitter of its back-off; equal seeds and equal events give
// equal effects.
func New(seed uint64) *Machine {
	return &Machine{
		rng:     rand.New(rand.NewPCG(seed, 0)),
		byTID:   map[tid.TID]*target{},
		byUnit:  map[string]*target{},
		groups:  map[group]*target{},
		stopped: map[string]bool{},
		devices: map[string]*device{},
		removed: map[string]uint64{},
		units:   map[string]*unit{},
		probes:  map[probeKey]*probeState{},
		kicks:   map[string]time.Time{},
		orphans: map[string]string{},
		boot:    boot{anySource: map[tid.TID]bool{}, redundant: map[tid.TID]bool{}},
	}
}

// Step takes one event in and returns what is to be done about it, in order. now never goes back.
func (m *Machine) Step(now time.Time, ev Event) []Effect {
	m.now = now
	m.step++
	m.effects = nil
	switch ev := ev.(type) {
	case ConfigLoaded:
		m.configLoaded(ev)
	case ConfigFailed:
		m.log(slog.LevelError, nil, "keeping the last good configuration: "+ev.Err)
	case NBFTLoaded:
		m.nbftLoaded(ev)
	case Resolved:
		m.resolved(ev)
	case ExclusionsLoaded:
		m.exclusionsLoaded(ev)
	case Snapshot:
		m.snapshot(ev)
	case SnapshotFailed:
		m.snapshotFailed(ev)
	case DeviceSeen:
		m.deviceSeen(ev)
	case DeviceRemoved:
		m.deviceRemoved(ev)
	case EventsLost:
		if !m.reread { // one line for a burst of them
			m.log(slog.LevelWarn, nil, "events may have been lost, comparing everything: "+ev.Why)
		}
		m.reread = true
		m.audit(ev.Why)
	case ProbeDone:
		m.probeDone(ev)
	case JobDone:
		m.jobDone(ev)
	case ForeignJob:
		m.foreignJob(ev)
	case UnitState:
		m.unitState(ev)
	case LogRead:
		m.logRead(ev)
	case LogFailed:
		m.logFailed(ev)
	case Kick:
		m.kick(ev)
	case Request:
		m.request(ev)
	case BusUp:
		m.bus = true
		m.audit("systemd can be talked to")
	case BusDown:
		m.bus = false
		m.log(slog.LevelWarn, nil, "cannot talk to systemd, nothing is connected until the bus is back: "+ev.Err)
	case Tick:
	}
	m.settle()
	return m.effects
}

// settle does what follows from the event: the view, what is due, what may start, what there is to say.
func (m *Machine) settle() {
	if m.configured && !m.shutdown {
		m.refreshView()
		m.due()
		m.decideOrphans()
		m.dispatch()
	}
	if m.configured && m.audited && !m.ready {
		m.ready = true
		m.emit(Ready{})
	}
	m.report()
}

// due runs every timer that has come.
func (m *Machine) due() {
	reached := func(at time.Time) bool { return at != never && !at.After(m.now) }
	if m.snapToken == 0 && (m.nextAudit == never || reached(m.nextAudit)) {
		m.audit("regular comparison")
	}
	if !m.audited {
		return
	}
	for _, t := range m.targets {
		if kicked := m.kicks[t.wish.TID.Transport]; reached(kicked) && t.state == Waiting && t.phase == idle {
			t.attempts = 0
			t.next = m.now
		}
		if t.phase == looking && reached(t.next) {
			m.look(t, t.lookFor)
		}
		if (t.state == Waiting && t.phase == idle || t.state == Parked) && reached(t.next) {
			m.attempt(t)
		}
		if t.state == Connected && reached(t.nextRead) {
			m.readLog(t)
		}
	}
	m.askNames()
	for transport, at := range m.kicks {
		if reached(at) {
			delete(m.kicks, transport)
		}
	}
	for key, p := range m.probes {
		if p.waiting == nil && m.now.Sub(p.answered) > probeFresh {
			delete(m.probes, key)
		}
	}
}

// Deadline returns when Step wants a Tick at the latest; the zero time is never.
func (m *Machine) Deadline() time.Time {
	if !m.configured || m.shutdown {
		return never
	}
	first := m.nextAudit
	if m.snapToken != 0 {
		first = never
	}
	if !m.audited {
		return first
	}
	if m.viewDirty {
		return m.now
	}
	sooner := func(at time.Time) {
		if at != never && (first == never || at.Before(first)) {
			first = at
		}
	}
	for _, at := range m.kicks {
		sooner(at)
	}
	for _, t := range m.targets {
		sooner(t.next)
		sooner(t.nextRead)
		sooner(t.retainUntil)
	}
	m.eachName(func(n *name) { sooner(n.next) })
	return first
}

func (m *Machine) configLoaded(ev ConfigLoaded) {
	reload := m.configured
	m.cfg, m.configured, m.viewDirty = ev.Config, true, true
	for _, w := range ev.Config.Warnings {
		m.log(slog.LevelWarn, nil, w)
	}
	if !reload {
		return
	}
	m.log(slog.LevelInfo, nil, "the configuration was loaded anew")
	for _, t := range m.targets {
		if t.state == Stopped {
			m.release(t)
		}
	}
	for _, unit := range sortedKeys(m.stopped) {
		delete(m.stopped, unit)
		m.emit(UnmarkStopped{Unit: unit})
	}
	m.kick(Kick{Why: "reload"})
}

func (m *Machine) exclusionsLoaded(ev ExclusionsLoaded) {
	m.excluded = ev.List
	for _, t := range m.targets {
		if t.state != Excluded {
			continue
		}
		if _, still := m.excluded.Match(t.wish.TID); !still {
			m.log(slog.LevelInfo, t, "no longer excluded")
			m.release(t)
		}
	}
}

// release lets a target that was kept from connecting try again now.
func (m *Machine) release(t *target) {
	m.transition(t, Waiting)
	t.attempts = 0
	t.next = m.now
}

// kick schedules one retry of everything that waits on a transport, however many reasons come within the delay.
func (m *Machine) kick(ev Kick) {
	transports := []string{ev.Transport}
	if ev.Transport == "" {
		transports = []string{tid.TCP, tid.RDMA, tid.FC, tid.Loop}
	}
	for _, transport := range transports {
		if m.kicks[transport] == never {
			m.kicks[transport] = m.now.Add(kickDelay)
		}
	}
}

func (m *Machine) emit(e Effect) { m.effects = append(m.effects, e) }

// log writes about a target, or about the whole when t is nil.
func (m *Machine) log(level slog.Level, t *target, msg string) {
	line := Log{Level: level, Msg: msg}
	if t != nil {
		line.TID, line.Device, line.Unit = t.wish.TID, t.device, t.unit
	}
	m.emit(line)
}

// backoff returns how long to wait after attempt number n (from 1): 1 s, 2 s, 4 s … up to max, ±10 %.
func (m *Machine) backoff(n int, limit time.Duration) time.Duration {
	d := limit
	if n <= 32 {
		d = min(limit, time.Second<<(n-1))
	}
	return time.Duration(float64(d) * (0.9 + 0.2*m.rng.Float64()))
}

// urgent targets get a place before others: the log page of a DC brings more wishes, the boot depends on the NBFT. One that
// has failed waits its turn: dead DCs must not keep the rest from being tried.
func (t *target) urgent() bool {
	return t.attempts == 0 && (t.wish.Kind == tid.Discovery || t.wish.Owner == wish.OwnerNBFT)
}
