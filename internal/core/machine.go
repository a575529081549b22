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
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

const (
	auditInterval = 60 * time.Second // SPEC 7.10
	auditRetry    = 5 * time.Second
	probeFresh    = 3 * time.Second        // a peer that answered so recently is not probed again for its next wish
	shortLife     = 30 * time.Second       // SPEC 7.4: a connection that lived for less counts as a failed attempt
	ownersTurn    = time.Minute            // SPEC 7.4: hands off what another orchestrator has lost, until it had time to try
	lookAgain     = 2 * time.Second        // between looks at a unit on which somebody else's job runs
	unreadDelay   = 10 * time.Second       // until a unit is tried again whose controller cannot be read
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
	busLost    bool // and that was told
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

	names     map[nameKey]*name // connections whose controller is named, not addressed
	nameOrder []*name           // the same, in the order of their sources
	boot      boot
	fc        fibreChannel
	hostIDs   map[hostPair]string // in use instead of what a source says, as was told

	// noAutoconnect: nvme-cli's automatic connects are known not to be in force, so that what they connected is nobody's.
	noAutoconnect bool

	noConcat bool // the kernel is known to have no concat

	viewDirty bool
	full      bool              // log pages name more than may be wished for
	kicks     map[string]kicked // by transport

	audited    bool   // the first snapshot was compared: start-up is over
	busUp      uint64 // step of the last BusUp
	unitsKnown bool   // systemd was asked after that, and has answered
	snapToken  uint64 // step at which the snapshot under way was asked for, 0 is none
	snapAgain  string // why another one is due as soon as it is there
	reread     bool   // log pages may have changed unseen: read them at the next snapshot
	nextAudit  time.Time
	orphans    map[string]string // units that may explain nothing any more → nvmeN that they had, "" if unknown
	unread     map[string]bool   // units whose controller could not be read by the last comparison: it may be live
	stopping   map[string]bool   // units that an earlier daemon was stopping of its own accord
	snapErr    repeated          // why the comparison failed
	unitsErr   repeated          // why systemd could not be asked

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
		kicks:   map[string]kicked{},
		orphans: map[string]string{},
		unread:  map[string]bool{}, stopping: map[string]bool{},
		boot:    boot{anySource: map[tid.TID]bool{}, redundant: map[tid.TID]bool{}, refused: map[tid.TID]bool{}},
		hostIDs: map[hostPair]string{},
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
	case LogFailed:
		m.logFailed(ev)
	case FCDiscovered:
		m.fcDiscovered(ev)
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
	m.settle()
	return m.effects
}

// settle does what follows from the event: the view, what is due, what may start, what there is to say.
func (m *Machine) settle() {
	m.auditDue()
	if m.configured && !m.shutdown {
		m.kickstarts()
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

// reached tells whether a timer has come.
func (m *Machine) reached(at time.Time) bool { return at != never && !at.After(m.now) }

// auditDue compares with the outside when it is time to. It goes on while the system shuts down: that can be called off.
func (m *Machine) auditDue() {
	if m.configured && m.snapToken == 0 && (m.nextAudit == never || m.reached(m.nextAudit)) {
		m.audit("regular comparison")
	}
}

// due runs every timer that has come.
func (m *Machine) due() {
	if !m.audited {
		return
	}
	reached := m.reached
	m.runKicks()
	var attempts []*target
	for _, t := range m.targets {
		if t.phase == looking && reached(t.next) {
			m.look(t, t.lookFor)
		}
		if m.attemptDue(t) {
			attempts = append(attempts, t)
		}
		if reached(m.nextRead(t)) {
			m.readLog(t)
		}
	}
	slices.SortStableFunc(attempts, inLine)
	for _, t := range attempts {
		if m.attemptDue(t) {
			m.attempt(t)
		}
	}
	m.askNames()
	for key, p := range m.probes {
		if p.waiting == nil && m.now.Sub(p.answered) > probeFresh {
			delete(m.probes, key)
		}
	}
}

func (m *Machine) attemptDue(t *target) bool {
	return (t.state == Waiting && t.phase == idle || t.state == Parked) && m.reached(t.next)
}

// Deadline returns when Step wants a Tick at the latest; the zero time is never.
func (m *Machine) Deadline() time.Time {
	if !m.configured {
		return never
	}
	first := m.nextAudit
	if m.snapToken != 0 {
		first = never
	}
	if !m.audited || m.shutdown {
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
	for _, k := range m.kicks {
		sooner(k.at)
	}
	sooner(m.fc.closes)
	sooner(m.nextKickstart())
	for _, t := range m.targets {
		sooner(t.next)
		sooner(m.nextRead(t))
		sooner(t.retainUntil)
	}
	m.eachName(func(n *name) { sooner(n.next) })
	return first
}

func (m *Machine) configLoaded(ev ConfigLoaded) {
	reload := m.configured
	m.cfg, m.configured, m.viewDirty = ev.Config, true, true
	for _, w := range ev.Config.Warnings {
		m.log(slog.LevelWarn, KindConfigWarning, nil, w)
	}
	for _, line := range ev.Config.Errors {
		m.log(slog.LevelError, KindConfigRefused, nil, line)
	}
	if n := len(ev.Config.Errors); n > 0 {
		m.log(slog.LevelError, KindConfigRefused, nil, errorsIn(n)+": what is concerned is as it was when it was right, or not connected; the rest is in force")
	}
	if !reload {
		return
	}
	m.log(slog.LevelInfo, KindConfigLoaded, nil, "the configuration was loaded anew")
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

// errorsIn counts errors in words.
func errorsIn(n int) string {
	if n == 1 {
		return "1 error in the configuration"
	}
	return strconv.Itoa(n) + " errors in the configuration"
}

func (m *Machine) exclusionsLoaded(ev ExclusionsLoaded) {
	m.excluded = ev.List
	m.readmit()
	for _, t := range m.targets {
		if t.state != Parked && (t.state != Waiting || t.phase == looking) {
			continue
		}
		if where, excluded := m.excludedBy(t); excluded {
			m.transition(t, Waiting)
			m.exclude(t, where)
		}
	}
}

// readmit lets go of the targets that are not excluded any more.
func (m *Machine) readmit() {
	for _, t := range m.targets {
		if t.state != Excluded {
			continue
		}
		if _, excluded := m.excludedBy(t); !excluded {
			m.log(slog.LevelInfo, KindReadmitted, t, "no longer excluded")
			m.release(t)
		}
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

// release lets a target that was kept from connecting try again now.
func (m *Machine) release(t *target) {
	m.transition(t, Waiting)
	t.attempts, t.mute = 0, false
	t.next, t.notBefore = m.now, never
}

func (m *Machine) emit(e Effect) { m.effects = append(m.effects, e) }

// log writes about a target, or about the whole when t is nil.
func (m *Machine) log(level slog.Level, kind Kind, t *target, msg string) {
	line := Log{Level: level, Kind: kind, Msg: msg}
	if t != nil {
		line.TID, line.Device, line.Unit = t.wish.TID, t.device, t.unit
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
