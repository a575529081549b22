// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fc"
	"github.com/nvme-discoverd/nvme-discoverd/internal/mdns"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/probe"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// SavedVersion is the version of what Save returns. It grows with every change after which Restore of an earlier daemon would read
// the state wrongly; Restore reads all versions up to it.
const SavedVersion = 1

// Saved is all that a Machine knows between two steps: Restore makes a Machine of it that goes on in exactly the same way. What
// follows from the rest (indexes, views, what becomes of log page entries) is left out. It shares only what never changes with
// the Machine, and encodes as JSON for people. It holds no secret, only which secrets there are.
//
// Targets refer to one another by their Order; 0 stands for one that was dropped.
type Saved struct {
	Version int
	Random  []byte // of the source of all jitter
	Now     time.Time
	Step    uint64

	Config     config.Config
	Configured bool              `json:",omitzero"`
	Excluded   []exclusion.Entry `json:",omitzero"`
	Bus        bool              `json:",omitzero"`
	BusLost    bool              `json:",omitzero"`
	Shutdown   bool              `json:",omitzero"`
	Stale      bool              `json:",omitzero"`
	Ready      bool              `json:",omitzero"`
	Status     string            `json:",omitzero"`

	TargetsMade uint64
	Targets     []SavedTarget        `json:",omitzero"` // in their order
	Groups      []SavedContest       `json:",omitzero"`
	Collisions  map[string][]uint64  `json:",omitzero"` // by unit: targets that wait for its name
	Devices     []SavedDevice        `json:",omitzero"` // in the order in which they were last read
	Removed     map[string]uint64    `json:",omitzero"` // number of the last remove uevent of a name
	Units       []SavedUnit          `json:",omitzero"`
	Stopped     []string             `json:",omitzero"`
	Stopping    []string             `json:",omitzero"`
	Since       []string             `json:",omitzero"` // stops of others that began before the first comparison
	StopsUnread bool                 `json:",omitzero"` // what an earlier daemon left of stops could not be read yet, after the first comparison
	Probes      []SavedProbe         `json:",omitzero"`
	Queue       SavedQueue           `json:",omitzero"`
	Names       []SavedName          `json:",omitzero"`
	Boot        SavedBoot            `json:",omitzero"`
	FC          SavedFC              `json:",omitzero"`
	MDNS        SavedMDNS            `json:",omitzero"`
	Kicks       map[string]SavedKick `json:",omitzero"` // by transport
	Desired     SavedDesired         `json:",omitzero"`
	Audit       SavedAudit           `json:",omitzero"`
	HostIDs     []SavedHostID        `json:",omitzero"`
	Roomier     bool                 `json:",omitzero"`
	NoConcat    bool                 `json:",omitzero"`
	NotAuto     bool                 `json:",omitzero"` // nvme-cli's automatic connects are known not to be in force
	Brakes      int                  `json:",omitzero"`
}

// SavedTimer is a timer. Place is its place in the heap of all timers, which decides between those that are due at one moment.
type SavedTimer struct {
	When  time.Time `json:",omitzero"` // zero: it is off
	Place int       `json:",omitzero"`
}

// SavedTarget is a target.
type SavedTarget struct {
	Order    uint64
	Wish     wish.Wish
	Unit     string
	UsesUnit bool     `json:",omitzero"`
	Sources  []string `json:",omitzero"`
	Desired  bool     `json:",omitzero"`

	State        string
	Phase        string    // its step
	Why          int       `json:",omitzero"`
	Probe        *probeRef `json:",omitzero"`
	Ticket       uint64    `json:",omitzero"`
	Inspected    bool      `json:",omitzero"`
	BlockedSince time.Time `json:",omitzero"`

	Since       time.Time
	Timer       SavedTimer `json:",omitzero"`
	Touched     uint64     `json:",omitzero"`
	Device      string     `json:",omitzero"`
	Via         string     `json:",omitzero"`
	ConnectedAt time.Time  `json:",omitzero"`
	Begun       uint64     `json:",omitzero"`
	Attempts    int        `json:",omitzero"`
	NotBefore   time.Time  `json:",omitzero"`

	Unresponsive bool                 `json:",omitzero"`
	LastError    string               `json:",omitzero"`
	ErrorSince   time.Time            `json:",omitzero"`
	ErrorLogged  time.Time            `json:",omitzero"`
	ErrorCount   int                  `json:",omitzero"`
	Causes       map[string]time.Time `json:",omitzero"`

	Page            *SavedPage         `json:",omitzero"`
	PageRead        time.Time          `json:",omitzero"`
	Judging         *SavedOrigin       `json:",omitzero"` // a page is being judged anew by it …
	JudgingPage     bool               `json:",omitzero"` // … and that is Page, not one before it
	Found           config.Discovered  `json:",omitzero"`
	Heard           bool               `json:",omitzero"`
	ReadError       string             `json:",omitzero"`
	ReadErrorLogged time.Time          `json:",omitzero"`
	Persistence     config.Persistence `json:",omitzero"`
	Missed          bool               `json:",omitzero"`
	EPCSD           bool               `json:",omitzero"`
	EPCSDRead       bool               `json:",omitzero"`
	Unended         bool               `json:",omitzero"`
	Ended           []time.Time        `json:",omitzero"`
	Retention       SavedTimer         `json:",omitzero"`
	Sourced         bool               `json:",omitzero"`
	Static          bool               `json:",omitzero"`
	Announced       bool               `json:",omitzero"`
}

type probeRef struct {
	Target probe.Target
	Mute   bool `json:",omitzero"`
}

// SavedOrigin is an Origin.
type SavedOrigin struct {
	TID     tid.TID
	Found   config.Discovered
	Concats bool `json:",omitzero"`
}

// SaveOrigin returns what an Origin consists of.
func SaveOrigin(o Origin) SavedOrigin { return SavedOrigin{o.tid, o.found, o.concats} }

// Origin returns what was saved.
func (o SavedOrigin) Origin() Origin { return Origin{o.TID, o.Found, o.Concats} }

// SavedPage is a log page, of which everything else follows by Origin.
type SavedPage struct {
	Entries []discoverylog.Entry `json:",omitzero"`
	Flaws   []string             `json:",omitzero"`
	Dropped int                  `json:",omitzero"`
	Origin  SavedOrigin
}

// SavePage returns what a page consists of.
func SavePage(p *Page) SavedPage {
	saved := SavedPage{Flaws: p.Flaws, Dropped: p.Dropped, Origin: SaveOrigin(p.origin)}
	for _, e := range p.Entries {
		saved.Entries = append(saved.Entries, e.Entry)
	}
	return saved
}

// Page returns what was saved.
func (s SavedPage) Page() *Page {
	p := judgePage(s.Origin.Origin(), slices.Values(s.Entries), len(s.Entries))
	p.Flaws, p.Dropped = s.Flaws, s.Dropped
	return p
}

// SavedContest is the wishes of one group while one of them connects.
type SavedContest struct {
	Holder  uint64
	Waiting []uint64 `json:",omitzero"`
}

// SavedDevice is a controller, and how far its log page is read.
type SavedDevice struct {
	Device      Device
	Down        time.Time  `json:",omitzero"`
	Back        time.Time  `json:",omitzero"`
	Touched     uint64     `json:",omitzero"`
	OwnerLogged time.Time  `json:",omitzero"`
	Reading     uint64     `json:",omitzero"` // token
	Keep        int        `json:",omitzero"`
	Again       bool       `json:",omitzero"`
	Failed      int        `json:",omitzero"`
	Readers     []uint64   `json:",omitzero"`
	Timer       SavedTimer `json:",omitzero"`
}

// SavedUnit is what systemd holds under one name. Secrets are hidden in its command.
type SavedUnit struct {
	Name    string
	Active  bool          `json:",omitzero"`
	Begins  bool          `json:",omitzero"`
	Argv    []string      `json:",omitzero"`
	Ended   bool          `json:",omitzero"`
	Unsure  bool          `json:",omitzero"`
	Op      Op            `json:",omitzero"`
	Had     bool          `json:",omitzero"`
	Failure *state.Result `json:",omitzero"`
	Leaving *leaving      `json:",omitzero"`
	Foreign string        `json:",omitzero"`
	Jobbed  uint64        `json:",omitzero"`
	Touched uint64        `json:",omitzero"`
}

// SavedProbe is a question to a peer.
type SavedProbe struct {
	Target   probe.Target
	Mute     bool       `json:",omitzero"`
	Waiting  []uint64   `json:",omitzero"`
	Answered time.Time  `json:",omitzero"`
	Timer    SavedTimer `json:",omitzero"`
}

// SavedQueue is who waits for one of the places of max-parallel-connects.
type SavedQueue struct {
	Tickets uint64
	Urgent  []uint64 `json:",omitzero"`
	Others  []uint64 `json:",omitzero"`
}

// SavedName is a connection whose controller is named.
type SavedName struct {
	Host   string
	Wish   wish.Wish
	From   string
	Since  time.Time
	Answer Resolved   `json:",omitzero"`
	At     int        `json:",omitzero"`
	Asking bool       `json:",omitzero"`
	Timer  SavedTimer `json:",omitzero"`
	Failed int        `json:",omitzero"`
	Err    string     `json:",omitzero"`
	ErrAt  time.Time  `json:",omitzero"`
	Errs   int        `json:",omitzero"`
	Round  []string   `json:",omitzero"`
}

// SavedBoot is what the boot firmware's tables wish for.
type SavedBoot struct {
	Connections []nbft.Connection `json:",omitzero"`
	AnySource   []tid.TID         `json:",omitzero"`
	Redundant   []tid.TID         `json:",omitzero"`
	Refused     []tid.TID         `json:",omitzero"`
}

// SavedFC is what Fibre Channel has announced.
type SavedFC struct {
	Ports    []SavedPort `json:",omitzero"`
	Timer    SavedTimer  `json:",omitzero"`
	Round    uint64      `json:",omitzero"`
	Closes   time.Time   `json:",omitzero"`
	Carried  bool        `json:",omitzero"`
	Lost     bool        `json:",omitzero"`
	Settled  bool        `json:",omitzero"`
	Asked    time.Time   `json:",omitzero"`
	WantedAt time.Time   `json:",omitzero"`
	News     uint64      `json:",omitzero"`
}

// SavedMDNS is what mDNS announces.
type SavedMDNS struct {
	Service  string              `json:",omitzero"`
	Problem  string              `json:",omitzero"`
	Ignored  int                 `json:",omitzero"`
	Example  string              `json:",omitzero"`
	Beside   bool                `json:",omitzero"`
	Complete bool                `json:",omitzero"`
	There    []mdns.Announcement `json:",omitzero"`
	Timer    SavedTimer          `json:",omitzero"`
	Logged   time.Time           `json:",omitzero"`
	Lines    int                 `json:",omitzero"`
}

// SavedPort is a remote port with a discovery controller.
type SavedPort struct {
	Announcement fc.Announcement
	Heard        uint64
}

// SavedKick is the retry of what waits on one transport.
type SavedKick struct {
	Timer SavedTimer `json:",omitzero"`
	Why   string     `json:",omitzero"`
	Links []Kick     `json:",omitzero"`
	Last  time.Time  `json:",omitzero"`
	Told  time.Time  `json:",omitzero"`
}

// SavedDesired is the desired set, as far as it does not follow from the log pages.
type SavedDesired struct {
	Static   []SavedWanted    `json:",omitzero"`
	Secured  []SavedSecured   `json:",omitzero"`
	DCs      []SavedReachable `json:",omitzero"` // in the order in which their pages count
	Full     bool             `json:",omitzero"`
	Leaving  []uint64         `json:",omitzero"`
	Recalled []Retained       `json:",omitzero"`
	Unkept   bool             `json:",omitzero"`
}

// SavedWanted is a connection that is configured, announced, or in the boot firmware's tables.
type SavedWanted struct {
	Wish        wish.Wish
	Sources     []string           `json:",omitzero"`
	Sourced     bool               `json:",omitzero"`
	Static      bool               `json:",omitzero"`
	Announced   bool               `json:",omitzero"`
	Found       config.Discovered  `json:",omitzero"`
	Persistence config.Persistence `json:",omitzero"`
}

// SavedSecured is the security that static wishes ask for, of one group.
type SavedSecured struct {
	Transport, Traddr, Trsvcid, NQN, HostNQN string

	Wish wish.Wish
}

// SavedReachable is a discovery controller whose page counts.
type SavedReachable struct {
	TID     tid.TID
	Sourced bool              `json:",omitzero"`
	Found   config.Discovered `json:",omitzero"`
}

// SavedAudit is the comparison with the outside.
type SavedAudit struct {
	Audited    bool              `json:",omitzero"`
	BusUp      uint64            `json:",omitzero"`
	UnitsKnown bool              `json:",omitzero"`
	Timer      SavedTimer        `json:",omitzero"`
	Asked      time.Time         `json:",omitzero"`
	Token      uint64            `json:",omitzero"`
	Again      string            `json:",omitzero"`
	Reread     bool              `json:",omitzero"`
	Orphans    map[string]string `json:",omitzero"`
	Unread     []string          `json:",omitzero"`
	SnapErr    SavedRepeated     `json:",omitzero"`
	UnitsErr   SavedRepeated     `json:",omitzero"`
}

// SavedRepeated is a message that may come again and again.
type SavedRepeated struct {
	Text   string
	Logged time.Time
}

// SavedHostID is a host ID in use instead of what a source says.
type SavedHostID struct{ NQN, Own, Used string }

// Save returns what the machine knows. It looks at everything. moment is applied to every time: the daemon takes the reading of
// the monotonic clock out with it, which cannot be written down; nil keeps them as they are.
func (m *Machine) Save(moment func(time.Time) time.Time) *Saved {
	if moment == nil {
		moment = func(t time.Time) time.Time { return t }
	}
	at := func(t time.Time) time.Time {
		if t == never {
			return never
		}
		return moment(t)
	}
	timerOf := func(t *timer) SavedTimer {
		if t.when == never {
			return SavedTimer{}
		}
		return SavedTimer{at(t.when), t.place}
	}
	random, err := m.random.MarshalBinary()
	if err != nil {
		panic(err) // it never fails
	}
	s := &Saved{
		Version: SavedVersion, Random: random, Now: at(m.now), Step: m.step,
		Config: m.cfg, Configured: m.configured, Excluded: m.excluded.Entries(), Bus: m.bus, BusLost: m.busLost, Shutdown: m.shutdown,
		Stale: m.stale, Ready: m.ready, Status: m.status, TargetsMade: m.targets.made,
		Stopped: sortedKeys(m.stopped), Stopping: sortedKeys(m.stopping), Since: sortedKeys(m.since), StopsUnread: m.audited && !m.stopsRead,
		Roomier: m.roomier, NoConcat: m.noConcat, NotAuto: m.noAutoconnect, Brakes: m.brakes,
	}
	s.Targets = slices.Grow(s.Targets, len(m.targets.list))
	for _, t := range m.targets.list {
		if t != nil {
			s.Targets = append(s.Targets, m.saveTarget(t, at, timerOf))
		}
	}
	if len(s.Targets) == 0 { // the list has holes only
		s.Targets = nil
	}
	for _, c := range m.targets.groups {
		s.Groups = append(s.Groups, SavedContest{c.holder.ref(), refs(slices.SortedFunc(keysOf(c.waiting), byOrder))})
	}
	slices.SortFunc(s.Groups, func(a, b SavedContest) int { return cmp.Compare(a.Holder, b.Holder) })
	for unit, list := range m.targets.collide {
		if list = slices.DeleteFunc(slices.Clone(list), func(t *target) bool { return t.dropped }); len(list) > 0 {
			setKey(&s.Collisions, unit, refs(list))
		}
	}
	devices := slices.SortedFunc(maps.Values(m.devices.byName), func(a, b *device) int { return cmp.Compare(a.entered, b.entered) })
	s.Devices = slices.Grow(s.Devices, len(devices))
	for _, d := range devices {
		s.Devices = append(s.Devices, SavedDevice{
			Device: d.Device, Down: at(d.down), Back: at(d.back), Touched: d.touched, OwnerLogged: at(d.ownerLogged),
			Reading: d.reading.token, Keep: d.reading.keep, Again: d.reading.again, Failed: d.reading.failed, Readers: refs(d.reading.to),
			Timer: timerOf(&d.reading.timer),
		})
	}
	for name, seq := range m.devices.removed {
		setKey(&s.Removed, name, seq)
	}
	s.Units = slices.Grow(s.Units, len(m.units.byName))
	for _, name := range sortedKeys(m.units.byName) {
		u := m.units.byName[name]
		s.Units = append(s.Units, SavedUnit{
			u.name, u.active, u.begins, secret.HideInArgs(u.argv), u.ended, u.unsure, u.op, u.had, u.failure, u.leaving, u.foreign, u.jobbed, u.touched,
		})
	}
	for key, p := range m.probes {
		s.Probes = append(s.Probes, SavedProbe{key.target, key.mute, refs(p.waiting), at(p.answered), timerOf(&p.timer)})
	}
	slices.SortFunc(s.Probes, func(a, b SavedProbe) int {
		return cmp.Or(cmp.Compare(a.Target.Traddr, b.Target.Traddr), cmp.Compare(a.Target.Trsvcid, b.Target.Trsvcid), cmp.Compare(a.Target.HostTraddr, b.Target.HostTraddr),
			cmp.Compare(a.Target.HostIface, b.Target.HostIface), falseFirst(a.Mute, b.Mute))
	})
	s.Queue = SavedQueue{m.queue.tickets, line(m.queue.urgent), line(m.queue.others)}
	for _, n := range m.names.list {
		s.Names = append(s.Names, SavedName{
			n.key.host, n.key.wish, n.from, at(n.since), n.answer, n.at, n.asking, timerOf(&n.timer), n.failed, n.err, at(n.errAt), n.errs, slices.Clone(n.round),
		})
	}
	s.Boot = SavedBoot{m.boot.connections, sortedTIDs(m.boot.anySource), sortedTIDs(m.boot.redundant), sortedTIDs(m.boot.refused)}
	s.FC = SavedFC{
		nil, timerOf(&m.fc.timer), m.fc.round, at(m.fc.closes), m.fc.carried, m.fc.lost, m.fc.settled, at(m.fc.asked), at(m.fc.wantedAt), m.fc.news,
	}
	for _, p := range m.fc.ports {
		s.FC.Ports = append(s.FC.Ports, SavedPort{p.Announcement, p.heard})
	}
	c := &m.mdns
	s.MDNS = SavedMDNS{c.service, c.problem, c.ignored, c.example, c.beside, c.complete, c.there, timerOf(&c.timer), at(c.logged), c.lines}
	for transport, k := range m.kicks {
		setKey(&s.Kicks, transport, SavedKick{timerOf(&k.timer), k.why, slices.Clone(k.links), at(k.last), at(k.told)})
	}
	s.Desired = m.saveDesired(at)
	s.Audit = SavedAudit{
		m.audited, m.busUp, m.unitsKnown, timerOf(&m.auditTimer), at(m.auditAsked), m.snapToken, m.snapAgain, m.reread, nil,
		sortedKeys(m.unread),
		SavedRepeated{m.snapErr.text, at(m.snapErr.logged)},
		SavedRepeated{m.unitsErr.text, at(m.unitsErr.logged)},
	}
	for unit, device := range m.orphans {
		setKey(&s.Audit.Orphans, unit, device)
	}
	for pair, used := range m.hostIDs {
		s.HostIDs = append(s.HostIDs, SavedHostID{pair.nqn, pair.id, used})
	}
	slices.SortFunc(s.HostIDs, func(a, b SavedHostID) int { return cmp.Or(cmp.Compare(a.NQN, b.NQN), cmp.Compare(a.Own, b.Own)) })
	return s
}

func (m *Machine) saveTarget(t *target, at func(time.Time) time.Time, timerOf func(*timer) SavedTimer) SavedTarget {
	s := SavedTarget{
		Order: t.order, Wish: t.wish, Unit: t.unit, UsesUnit: m.user(t.unit) == t, Sources: t.sources, Desired: t.desired,
		State: t.state.String(), Phase: t.attempt.step.String(), Why: int(t.attempt.why), Ticket: t.attempt.ticket, Inspected: t.attempt.inspected,
		BlockedSince: at(t.attempt.since), Since: at(t.since), Timer: timerOf(&t.timer), Touched: t.touched, Via: t.via,
		ConnectedAt: at(t.connectedAt), Begun: t.begun, Attempts: t.attempts, NotBefore: at(t.notBefore), Unresponsive: t.unresponsive,
		LastError: t.lastErr, ErrorSince: at(t.errSince), ErrorLogged: at(t.errLogged), ErrorCount: t.errRepeated,
		PageRead: at(t.pageRead), Found: t.found, Heard: t.heard, ReadError: t.readErr, ReadErrorLogged: at(t.readErrLogged),
		Persistence: t.persistence, Missed: t.missed, EPCSD: t.epcsd, EPCSDRead: t.epcsdRead, Unended: t.unended, Retention: timerOf(&t.retention),
		Sourced: t.sourced, Static: t.static, Announced: t.announced,
	}
	if p := t.attempt.probe; p != nil {
		s.Probe = &probeRef{p.key.target, p.key.mute}
	}
	if t.device != nil {
		s.Device = t.device.Name
	}
	for cause, named := range t.causes {
		setKey(&s.Causes, cause, at(named))
	}
	if t.page != nil {
		page := SavePage(t.page)
		s.Page = &page
	}
	if t.judging != (Origin{}) {
		o := SaveOrigin(t.judging)
		s.Judging, s.JudgingPage = &o, t.judged == t.page
	}
	for _, ended := range t.ended {
		s.Ended = append(s.Ended, at(ended))
	}
	return s
}

func (m *Machine) saveDesired(at func(time.Time) time.Time) SavedDesired {
	d := &m.desired
	s := SavedDesired{Full: d.full, Unkept: d.unkept}
	s.Static = slices.Grow(s.Static, len(d.static))
	for _, w := range slices.SortedFunc(maps.Values(d.static), func(a, b *wanted) int { return compareTIDs(&a.wish.TID, &b.wish.TID) }) {
		s.Static = append(s.Static, SavedWanted{w.wish, w.sources, w.sourced, w.static, w.announced, w.found, w.persistence})
	}
	s.Secured = slices.Grow(s.Secured, len(d.secured))
	for _, g := range slices.SortedFunc(maps.Keys(d.secured), compareGroups) {
		s.Secured = append(s.Secured, SavedSecured{g.transport, g.traddr, g.trsvcid, g.nqn, g.hostnqn, d.secured[g]})
	}
	for id, dc := range d.dcs {
		s.DCs = append(s.DCs, SavedReachable{id, dc.sourced, dc.found})
	}
	slices.SortFunc(s.DCs, func(a, b SavedReachable) int { return cmp.Compare(d.dcs[a.TID].order, d.dcs[b.TID].order) })
	for _, t := range d.leaving {
		if !t.dropped {
			s.Leaving = append(s.Leaving, t.order)
		}
	}
	for _, r := range d.recalled {
		s.Recalled = append(s.Recalled, Retained{r.TID, at(r.Until), r.Announced})
	}
	return s
}

// ref is how other things refer to a target.
func (t *target) ref() uint64 {
	if t.dropped {
		return 0
	}
	return t.order
}

func refs(list []*target) []uint64 {
	var all []uint64
	for _, t := range list {
		all = append(all, t.ref())
	}
	return all
}

// line are the targets of a queue that still have their ticket.
func line(tickets []ticket) []uint64 {
	var all []uint64
	for _, k := range tickets {
		if k.target != nil && !k.target.dropped && k.target.attempt.ticket == k.number {
			all = append(all, k.target.order)
		}
	}
	return all
}

func keysOf(s map[*target]bool) func(func(*target) bool) {
	return func(yield func(*target) bool) {
		for t := range s {
			if !yield(t) {
				return
			}
		}
	}
}

// setKey sets a key of a map that is made when it is first needed.
func setKey[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// compareTIDs stops at the first field that differs: the loop waits for the state.
func compareTIDs(a, b *tid.TID) int {
	switch {
	case a.Transport != b.Transport:
		return cmp.Compare(a.Transport, b.Transport)
	case a.Traddr != b.Traddr:
		return cmp.Compare(a.Traddr, b.Traddr)
	case a.Trsvcid != b.Trsvcid:
		return cmp.Compare(a.Trsvcid, b.Trsvcid)
	case a.NQN != b.NQN:
		return cmp.Compare(a.NQN, b.NQN)
	}
	return cmp.Or(cmp.Compare(a.HostTraddr, b.HostTraddr), cmp.Compare(a.HostIface, b.HostIface), cmp.Compare(a.HostNQN, b.HostNQN), cmp.Compare(a.HostID, b.HostID))
}

func compareGroups(a, b group) int {
	switch {
	case a.transport != b.transport:
		return cmp.Compare(a.transport, b.transport)
	case a.traddr != b.traddr:
		return cmp.Compare(a.traddr, b.traddr)
	}
	return cmp.Or(cmp.Compare(a.trsvcid, b.trsvcid), cmp.Compare(a.nqn, b.nqn), cmp.Compare(a.hostnqn, b.hostnqn))
}

func sortedTIDs(s map[tid.TID]bool) []tid.TID {
	var all []tid.TID
	for id, in := range s {
		if in {
			all = append(all, id)
		}
	}
	slices.SortFunc(all, func(a, b tid.TID) int { return compareTIDs(&a, &b) })
	return all
}

// JudgedBy returns what the entries of the page were judged by.
func (p *Page) JudgedBy() Origin { return p.origin }
