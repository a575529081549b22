// SPDX-License-Identifier: GPL-3.0-or-later

// Package core decides what the daemon does. It is a pure state machine: Step takes an event and the time and returns
// effects; the package opens no socket or file, starts no goroutine, reads no clock and writes no log, so that any
// incident can be replayed and years of faults simulated in seconds. docs/architecture.md has the picture.
package core

import (
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fc"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

const (
	auditInterval = 60 * time.Second // docs/design.md, "Resynchronisation"
	auditRetry    = 5 * time.Second
	probeFresh    = 3 * time.Second  // a peer that answered so recently is not probed again for its next wish
	shortLife     = 30 * time.Second // docs/design.md, "Loss": a connection that lived for less counts as a failed attempt
	ownersTurn    = time.Minute      // docs/design.md, "Loss": hands off what another orchestrator has lost, until it had time to try
	unreadDelay   = 10 * time.Second // until a unit is tried again whose controller cannot be read
	logRetryMax   = time.Minute      // cap of the back-off between reads of a log page
	remindEvery   = 10 * time.Minute // docs/design.md, "Failure": between lines about one and the same failure
)

// Machine is the state of the daemon. One goroutine calls Step. Its parts each have a file of their own, which says what
// always holds of them.
type Machine struct {
	random *rand.PCG // what rng draws from
	rng    *rand.Rand
	policy Backoff
	now    time.Time
	step   uint64 // counts calls of Step; what touched marks are made of

	cfg        config.Config
	configured bool
	excluded   exclusion.List
	bus        bool
	busLost    bool // and the journal says so
	shutdown   bool // the system is going down: nothing is begun any more

	timers  timers
	targets targets
	devices devices
	units   units
	desired desired
	names   names // connections whose controller is named, not addressed
	boot    boot
	fc      fibreChannel
	mdns    multicast
	kicks   map[string]*kicked // by transport
	probes  map[probeKey]*probeState
	queue   queue
	views   views
	stale   bool // something changed that the desired set is made of

	stops
	logPages
	auditing

	hostIDs map[hostPair]string // in use instead of what a source says, as was logged
	// noAutoconnect: nvme-cli's automatic connects are known not to be in force, so that what they connected is nobody's.
	noAutoconnect bool

	status  string
	told    counts // what status tells
	ready   bool
	effects []Effect

	work   int // how many targets, devices, units and the like the last Step looked at
	brakes int // timers that fired too often
}

// New returns a machine that knows nothing yet. seed makes the jitter of its back-off; equal seeds and equal events give
// equal effects.
func New(seed uint64) *Machine {
	random := rand.NewPCG(seed, 0)
	m := &Machine{
		random:  random,
		rng:     rand.New(random),
		policy:  FullJitter,
		targets: newTargets(), devices: newDevices(), units: newUnits(), desired: newDesired(), kicks: newKicks(),
		boot:     boot{anySource: map[tid.TID]bool{}, redundant: map[tid.TID]bool{}, refused: map[tid.TID]bool{}},
		fc:       fibreChannel{byName: map[fc.Announcement]*fcPort{}},
		probes:   map[probeKey]*probeState{},
		stops:    stops{stopped: map[string]bool{}, stopping: map[string]bool{}, since: map[string]bool{}},
		logPages: logPages{cut: map[*target]bool{}},
		auditing: auditing{orphans: map[string]string{}, unread: map[string]bool{}},
		hostIDs:  map[hostPair]string{},
	}
	m.auditTimer.owner = auditor{}
	m.fc.timer.owner = &m.fc
	m.mdns.timer.owner = &m.mdns
	return m
}

// Step takes one event in and returns what is to be done about it, in order. now never goes back.
func (m *Machine) Step(now time.Time, ev Event) []Effect {
	m.now = now
	m.step++
	m.effects, m.work = nil, 0
	clear(m.targets.changed) // dropped ones must not stay in memory
	m.targets.changed, m.targets.unlisted = m.targets.changed[:0], m.targets.unlisted[:0]
	m.names.changed = nil
	m.receive(ev)
	m.conclude()
	return m.effects
}

// receive takes one event in.
func (m *Machine) receive(ev Event) {
	switch ev := ev.(type) {
	case ConfigLoaded:
		m.configLoaded(ev)
	case NBFTLoaded:
		m.nbftLoaded(ev)
	case RetainedLoaded:
		m.desired.recalled = ev.List
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
	case DeviceNoticed:
		m.deviceNoticed(ev)
	case DeviceRemoved:
		m.deviceRemoved(ev)
	case EventsLost:
		if !m.reread { // one line for a burst of them
			m.log(slog.LevelWarn, KindEventsLost, nil, "events may have been lost, comparing everything: "+ev.Why)
		}
		m.reread = true
		m.audit(ev.Why)
		m.fc.lost = true
		m.kickstartIn(0)
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
	case Judged:
		m.judged(ev)
	case LogFailed:
		m.logFailed(ev)
	case FCDiscovered:
		m.fcDiscovered(ev)
	case MDNSReported:
		m.mdnsReported(ev)
	case Kickstarted:
		m.kickstarted(ev)
	case LogChanged:
		m.logChanged(ev)
	case Kick:
		m.kick(ev)
	case Request:
		m.request(ev)
	case BusUp:
		m.busUp = m.step
		if m.busLost {
			m.log(slog.LevelInfo, KindBusBack, nil, "systemd can be talked to again")
		}
		m.bus, m.busLost = true, false
		m.audit("systemd can be talked to")
	case BusDown:
		m.bus, m.busLost = false, true
		m.unitsKnown = false // what systemd holds may be another thing by the time it answers again
		m.log(slog.LevelWarn, KindBusLost, nil, "cannot talk to systemd, nothing is connected until the bus is back: "+ev.Err)
	case Tick:
	}
}

// conclude does what follows from the event: what is due, what the desired set is now, what may start, what there is to say.
// It is over when nothing is left that is due.
func (m *Machine) conclude() {
	for m.configured {
		if !m.running() { // the comparison goes on while the system shuts down: that can be called off
			if reached(m.auditTimer.when, m.now) {
				m.at(&m.auditTimer, never)
				m.auditTimer.owner.due(m)
			}
			break
		}
		due := m.timers.pop(m.now)
		first := slices.IndexFunc(due, func(t *timer) bool { kind, _, _ := t.owner.rank(); return kind > rankRetention })
		if first < 0 {
			first = len(due)
		}
		for _, t := range due[:first] {
			m.fire(t)
		}
		m.refresh()
		for _, t := range due[first:] {
			m.fire(t)
		}
		m.dropUnwanted()
		m.widenPages()
		m.decideOrphans()
		m.dispatch()
		if !m.timers.reached(m.now) && !m.stale && len(m.desired.leaving) == 0 {
			break
		}
	}
	if m.configured && m.audited && !m.ready {
		m.ready = true
		m.emit(Ready{})
	}
	m.keepRetained()
	m.report()
}

// running reports whether targets are looked after: not before the first comparison, nor while the system goes down.
func (m *Machine) running() bool { return m.audited && !m.shutdown }

func reached(when, now time.Time) bool { return when != never && !when.After(now) }

// Deadline returns when Step wants a Tick at the latest; the zero time is never. It is after the time of the last Step.
func (m *Machine) Deadline() time.Time {
	switch {
	case !m.configured:
		return never
	case !m.running():
		return m.auditTimer.when
	}
	return m.timers.next()
}

// Work is what the last Step did, for tests that hold the machine to a bound.
type Work struct {
	Touched   int  // targets, devices, units and the like that it looked at
	Changed   int  // targets that it changed
	Refreshed bool // it made the desired set anew
	Brakes    int  // timers that were put off because they fired too often, in all steps so far
}

// Work returns what the last Step did.
func (m *Machine) Work() Work {
	return Work{m.work, len(m.targets.changed), m.desired.refreshed == m.step, m.brakes}
}

func (m *Machine) configLoaded(ev ConfigLoaded) {
	reload := m.configured
	m.cfg, m.configured, m.stale = ev.Config, true, true
	for _, w := range ev.Config.Warnings {
		m.log(slog.LevelWarn, KindConfigWarning, nil, w)
	}
	for _, line := range ev.Config.Errors {
		m.log(slog.LevelError, KindConfigRefused, nil, line)
	}
	if n := len(ev.Config.Errors); n > 0 {
		m.log(slog.LevelError, KindConfigRefused, nil, errorsIn(n)+": what is concerned is as it was when it was right, or not connected; the rest is in force")
	}
	m.told = counts{} // which tells of errors in the configuration too
	m.preview()
	m.armKickstart()
	if !reload {
		m.at(&m.auditTimer, m.now)
		return
	}
	m.log(slog.LevelInfo, KindConfigLoaded, nil, "the configuration was loaded anew")
	m.all(func(t *target) {
		if t.state == Stopped {
			m.release(t)
		}
	})
	for _, unit := range sortedKeys(m.stopped) {
		delete(m.stopped, unit)
		m.emit(UnmarkStopped{Unit: unit})
	}
	m.kick(Kick{Why: "reload"})
}

// errorsIn counts errors in words.
func errorsIn(n int) string {
	if n == 1 {
		return "1 error in the configuration"
	}
	return strconv.Itoa(n) + " errors in the configuration"
}

func (m *Machine) exclusionsLoaded(ev ExclusionsLoaded) {
	m.excluded = ev.List
	m.all(m.readmit)
	m.all(func(t *target) {
		if t.state != Parked && (t.state != Waiting || t.is(inspecting)) {
			return
		}
		if where, excluded := m.excludedBy(t); excluded {
			m.transition(t, Waiting)
			m.exclude(t, where)
		}
	})
}

// readmit lets go of a target that is not excluded any more.
func (m *Machine) readmit(t *target) {
	if t.state != Excluded {
		return
	}
	if _, excluded := m.excludedBy(t); !excluded {
		m.log(slog.LevelInfo, KindReadmitted, t, "no longer excluded")
		m.release(t)
	}
}

// excludedBy returns the entry of the exclusion list that forbids t, as "file:line".
func (m *Machine) excludedBy(t *target) (where string, excluded bool) {
	entry, excluded := m.excluded.Match(t.wish.TID)
	if !excluded {
		entry, excluded = m.excluded.Match(m.identified(t.wish).TID)
	}
	return entry.File + ":" + strconv.Itoa(entry.Line), excluded
}

func (m *Machine) emit(e Effect) { m.effects = append(m.effects, e) }

// log writes about a target, or about the whole when t is nil.
func (m *Machine) log(level slog.Level, kind Kind, t *target, msg string) {
	line := Log{Level: level, Kind: kind, Msg: msg}
	if t != nil {
		line.TID, line.Unit = t.wish.TID, t.unit
		if t.device != nil {
			line.Device = t.device.Name
		}
	}
	m.emit(line)
}

// logEnd writes that a unit is stopped that no target has any more.
func (m *Machine) logEnd(unit, device, msg string) {
	m.emit(Log{Level: slog.LevelInfo, Kind: KindUnwanted, TID: tidOf(m.unitOf(unit).argv), Device: device, Unit: unit, Msg: msg})
}

// repeated is a message about the whole that may come again and again.
type repeated struct {
	text   string
	logged time.Time
}

// complainOf logs a failure that is no target's: a new one at once, the same again once in a while.
func (m *Machine) complainOf(r *repeated, level slog.Level, text string) {
	if text == r.text && m.now.Sub(r.logged) < remindEvery {
		return
	}
	*r = repeated{text, m.now}
	m.log(level, KindCompareFailed, nil, text)
}
