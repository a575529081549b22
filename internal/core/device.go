// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/timespan"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// device is a controller of this host as it was last read.
type device struct {
	Device
	entered uint64 // counts readings taken in: the indexes have devices in this order
	touched uint64
	users   []*target // bound to it, in their order; Machine.setDevice alone changes it
	reading reading   // of its log page

	ownerLogged time.Time // when its missing owner was last logged

	down time.Time // since when it has been seen not to be live; zero while it is
	back time.Time // when it was seen live again after that; zero if it has always been

	changed bool // Machine.View has to look at it
	gone    bool
}

// devices are all controllers and their indexes, which put and remove alone change.
type devices struct {
	byName  map[string]*device
	entered uint64               // how many readings were taken in
	removed map[string]uint64    // number of the last remove uevent of a name
	at      map[place][]*device  // by what they may serve
	ofUnit  map[string][]*device // by the unit on record
	ofPair  map[string][]pairUse // by folded host NQN: the host IDs that controllers have with it

	changed []*device
}

func newDevices() devices {
	return devices{
		byName: map[string]*device{}, removed: map[string]uint64{}, at: map[place][]*device{}, ofUnit: map[string][]*device{},
		ofPair: map[string][]pairUse{},
	}
}

// place is what a controller and a wish must have in common for the one to serve the other; sysfs.Controller.Serves
// decides. nqn is folded.
type place struct{ transport, traddr, trsvcid, nqn string }

func placeOf(transport, traddr, trsvcid, nqn string) place {
	p := place{transport, traddr, "", tid.FoldNQN(nqn)}
	switch transport {
	case tid.TCP, tid.RDMA:
		p.trsvcid = trsvcid
		if addr, err := netip.ParseAddr(traddr); err == nil {
			p.traddr = addr.Unmap().WithZone("").String()
		}
	case tid.FC:
		if addr, err := tid.FCAddr(traddr); err == nil {
			p.traddr = addr
		}
	}
	return p
}

// places are where a controller is found: by its NQN, and a discovery controller by the well-known one too.
func (d *device) places() []place {
	var places []place
	if d.NQN != "" {
		places = append(places, placeOf(d.Transport, d.Traddr, d.Trsvcid, d.NQN))
	}
	if d.Type == "discovery" && d.NQN != tid.DiscoveryNQN {
		places = append(places, placeOf(d.Transport, d.Traddr, d.Trsvcid, tid.DiscoveryNQN))
	}
	return places
}

// put takes a reading of a device in.
func (ds *devices) put(d *device, r Device) {
	if d.Name != "" {
		ds.unlist(d)
	}
	d.Device = r
	ds.entered++
	d.entered = ds.entered
	ds.byName[d.Name] = d
	for _, p := range d.places() {
		ds.at[p] = append(ds.at[p], d)
	}
	if d.Unit != "" {
		ds.ofUnit[d.Unit] = append(ds.ofUnit[d.Unit], d)
	}
	ds.usePair(d, 1)
}

// remove forgets a device.
func (ds *devices) remove(d *device) {
	d.gone = true
	delete(ds.byName, d.Name)
	ds.unlist(d)
}

func (ds *devices) unlist(d *device) {
	for _, p := range d.places() {
		take(ds.at, p, d)
	}
	if d.Unit != "" {
		take(ds.ofUnit, d.Unit, d)
	}
	ds.usePair(d, -1)
}

// take takes a device out of an index.
func take[K comparable](index map[K][]*device, key K, d *device) {
	rest := slices.DeleteFunc(index[key], func(o *device) bool { return o == d })
	if len(rest) == 0 {
		delete(index, key)
		return
	}
	index[key] = rest
}

// pairUse is how many controllers have a host ID with a host NQN.
type pairUse struct {
	id string
	n  int
}

func (ds *devices) usePair(d *device, n int) {
	nqn := tid.FoldNQN(d.HostNQN)
	uses := ds.ofPair[nqn]
	i := slices.IndexFunc(uses, func(u pairUse) bool { return strings.EqualFold(u.id, d.HostID) })
	if i < 0 {
		ds.ofPair[nqn] = append(uses, pairUse{d.HostID, n})
		return
	}
	if uses[i].n += n; uses[i].n == 0 {
		uses = slices.Delete(uses, i, i+1)
	}
	if ds.ofPair[nqn] = uses; len(uses) == 0 {
		delete(ds.ofPair, nqn)
	}
}

// deviceChanged notes that a device, or who uses it, changed: Machine.View looks at it again.
func (m *Machine) deviceChanged(d *device) {
	if !d.changed {
		d.changed = true
		m.devices.changed = append(m.devices.changed, d)
	}
}

// foreign reports whether another orchestrator owns a controller, as far as is known.
func (m *Machine) foreign(d *device) bool { return wish.Owner(d.Owner).Foreign(!m.noAutoconnect) }

// serving returns the device that a wish is served by: ours before anybody else's, and before one that nobody owns another
// orchestrator's, over which nothing is connected.
func (m *Machine) serving(t tid.TID) *device {
	var best *device
	rank := func(d *device) int {
		switch {
		case m.foreign(d):
			return 1
		case !m.held(d):
			return 2
		}
		return 0
	}
	for _, d := range m.devices.at[placeOf(t.Transport, t.Traddr, t.Trsvcid, t.NQN)] {
		m.work++
		if !d.Serves(t) {
			continue
		}
		if best == nil || rank(d) < rank(best) || rank(d) == rank(best) && d.Name < best.Name {
			best = d
		}
	}
	return best
}

// held reports whether a unit of ours holds the device, as far as is known.
func (m *Machine) held(d *device) bool {
	return d.Unit != "" && (m.unitHolds(d.Unit) || !m.unitsKnown || m.holder(d) != nil)
}

// holder is the target that a device's own unit connects, if it has it. Should that unit have gone, it is that target's to
// claim the controller anew.
func (m *Machine) holder(d *device) *target {
	if t := m.user(d.Unit); t != nil && t.state == Connected && t.device == d {
		return t
	}
	return nil
}

// hasDevice reports whether a unit holds a controller, or may hold one that could not be read.
func (m *Machine) hasDevice(unit string) bool {
	return m.unread[unit] || len(m.devices.ofUnit[unit]) > 0
}

// record takes a reading of a device in, and returns nil for one that is out of date.
func (m *Machine) record(r Device) *device {
	if removed, ok := m.devices.removed[r.Name]; ok && r.Seq < removed {
		return nil
	}
	d := m.devices.byName[r.Name]
	switch {
	case d == nil:
		d = &device{}
		d.reading.timer.owner = d
	case r.Seq < d.Seq:
		return nil
	}
	if !m.plausible(r) { // a stop of the unit goes by what is on record
		m.emit(ForgetState{Unit: r.Unit, Device: r.Name})
		r.Unit = ""
	}
	before := d.Device
	m.devices.put(d, r)
	d.touched = m.step
	m.deviceChanged(d)
	m.unitChanged(before.Unit)
	m.unitChanged(d.Unit)
	if u := m.units.byName[r.Unit]; u != nil {
		u.had = true
	}
	m.noteState(d)
	if before.Owner != d.Owner || before.State != d.State || before.LossTimeout != d.LossTimeout {
		for _, t := range d.users {
			m.change(t) // views show these
		}
	}
	if m.foreign(d) {
		users := slices.Clone(d.users)
		if t := m.user(d.Unit); t != nil && t.is(associating) {
			users = append(users, t)
		}
		for _, t := range users {
			if t.state != Foreign {
				m.log(slog.LevelInfo, KindForeign, t, d.Name+" belongs to "+d.Owner+" now: hands off")
				m.leaveTo(t, d)
			}
		}
	}
	return d
}

// noteState notes since when a controller has not been live. One that is being deleted or has died is about to go: the kernel does not
// reconnect it.
func (m *Machine) noteState(d *device) {
	switch {
	case d.State != "live" && d.down == never:
		if d.down = m.now; d.State != "connecting" && d.State != "resetting" {
			return
		}
		m.logUsers(d, KindReconnecting, "the connection is broken, the kernel reconnects it"+d.patience())
	case d.State == "live" && d.down != never:
		took := ""
		if down := m.now.Sub(d.down).Round(time.Second); down > 0 {
			took = " after " + down.String()
		}
		m.logUsers(d, KindReconnected, "the kernel has reconnected it"+took)
		d.down, d.back = never, m.now
	}
}

// logUsers writes about each target that is connected by a controller.
func (m *Machine) logUsers(d *device, kind Kind, msg string) {
	for _, t := range d.users {
		if t.state == Connected {
			m.log(slog.LevelInfo, kind, t, msg)
		}
	}
}

// reconnectUntil returns when the kernel gives a controller up that is not live, about; never where ctrl_loss_tmo is off or
// unknown.
func (d *device) reconnectUntil() time.Time {
	if d.down == never || d.LossTimeout <= 0 {
		return never
	}
	return d.down.Add(d.LossTimeout)
}

// patience is how long the kernel reconnects a controller, in words.
func (d *device) patience() string {
	switch {
	case d.LossTimeout > 0:
		return " for up to " + timespan.Format(d.LossTimeout)
	case d.LossTimeout < 0:
		return " until it succeeds"
	}
	return ""
}

// plausible reports whether the unit on record for a device may have connected it. Names are given out again at once: a
// record that outlived its controller, because no daemon ran when that went, seems to be about the next one of the name.
func (m *Machine) plausible(r Device) bool {
	u := m.units.byName[r.Unit]
	if u == nil {
		return true
	}
	want := tidOf(u.argv)
	if want == (tid.TID{}) {
		return true
	}
	c := r.Controller
	c.State = "live" // whatever becomes of it
	if c.NQN == "" {
		c.NQN = want.NQN
	}
	return c.Serves(want)
}

// bind connects the target whose unit a device names, if it waits for that.
func (m *Machine) bind(d *device) {
	t := m.user(d.Unit)
	if d.Unit == "" || t == nil || m.foreign(d) || !d.Serves(t.wish.TID) {
		return
	}
	switch {
	case t.state != Waiting && t.state != Connecting || t.is(clearing):
	case d.State == "live":
		m.connected(t, d)
	case t.is(job):
		m.proceed(t, associating)
	}
}

func (m *Machine) deviceSeen(ev DeviceSeen) {
	d := m.record(ev.Device)
	if d == nil {
		return
	}
	for _, t := range slices.Clone(d.users) {
		switch {
		case t.state != Connected:
		case d.State == "live" && (!d.Serves(t.wish.TID) || d.Unit == ""): // it is another one than it seemed to be
			m.compareTarget(t, m.unitsKnown)
		case t.wish.Kind == tid.Discovery:
			if ev.Reconnected && m.user(d.Unit) == t {
				m.countEnd(t)
			}
			m.readLog(t)
		}
	}
	m.bind(d)
}

// deviceNoticed takes in what a look at a controller found that no uevent told of.
func (m *Machine) deviceNoticed(ev DeviceNoticed) {
	if d := m.record(ev.Device); d != nil {
		m.bind(d)
	}
}

func (m *Machine) deviceRemoved(ev DeviceRemoved) {
	m.devices.removed[ev.Name] = max(m.devices.removed[ev.Name], ev.Seq)
	if d := m.devices.byName[ev.Name]; d != nil && ev.Seq > d.Seq {
		m.gone(d)
	}
}

// gone handles that a controller exists no more.
func (m *Machine) gone(d *device) {
	m.devices.remove(d)
	m.endReading(d)
	m.deviceChanged(d)
	m.unitChanged(d.Unit)
	forgotten := d.Unit == "" // what is on record of a controller that is gone must not seem to be of the next one of its name
	for _, t := range slices.Clone(d.users) {
		switch {
		case t.state == Foreign:
			m.log(slog.LevelInfo, KindForeignLost, t, "lost by "+d.Owner+", which has the first try")
			m.transition(t, Waiting)
			t.attempts, t.notBefore = 0, m.now.Add(ownersTurn)
			m.at(&t.timer, t.notBefore)
		case t.state == Connected:
			forgotten = m.lose(t, d) || forgotten
		}
	}
	if !forgotten {
		m.emit(ForgetState{Unit: d.Unit, Device: d.Name})
	}
	t := m.user(d.Unit)
	if t != nil && t.is(associating) {
		m.fail(t, "the kernel gave up before the association came up", 0)
	}
	m.hostFreed(d)
	if d.Unit == "" || m.foreign(d) || t != nil { // a target's own states see to its unit
		return
	}
	m.abandon(d.Unit, leaving{Device: d.Name, Why: "its controller is gone and no longer wanted"})
}

// lose begins the life of a target after its controller: docs/design.md, "Loss". What to do about it depends on the unit, so systemd is
// asked first; deciding without it would cancel an administrator's stop job. It reports whether the records of d are forgotten.
func (m *Machine) lose(t *target, d *device) (forgotten bool) {
	lived, parked := m.now.Sub(t.connectedAt), t.is(parking)
	m.log(slog.LevelInfo, KindLost, t, "lost")
	m.transition(t, Waiting)
	if lived >= shortLife {
		t.attempts = 0
	} else {
		t.attempts++
	}
	if t.wish.TID.Transport == tid.FC {
		m.kickstartIn(kickstartDelay)
	}
	if m.user(d.Unit) != t { // its connection was another target's, whose unit is inspected
		m.at(&t.timer, m.now)
		if t.attempts > 0 {
			m.shortLived(t)
		}
		return false
	}
	m.emit(ForgetState{Unit: t.unit, Device: d.Name})
	if !parked && m.unitOf(t.unit).foreign == "" { // else an administrator's job ended it, as far as is known
		m.countEnd(t)
	}
	switch {
	case parked:
		m.park(t)
	case m.unitOf(t.unit).op != OpNone: // the end of our job tells
		m.await(t, afterLoss)
	case m.unitOf(t.unit).ended: // by us, for a target that went
		m.at(&t.timer, m.now)
	default:
		m.inspect(t, afterLoss)
	}
	return true
}

// decide goes on after a loss for which nobody is to blame: the unit is still active.
func (m *Machine) decide(t *target) {
	where, excluded := m.excludedBy(t)
	switch {
	case !t.desired:
		m.drop(t)
	case excluded:
		m.exclude(t, where)
	case m.endsItself(t):
		m.end(t.unit, endedItself)
		m.park(t)
	case t.wish.TID.Transport == tid.FC || t.attempts > 0:
		if t.wish.TID.Transport == tid.FC {
			m.end(t.unit, "it is connected anew when its port answers")
		}
		m.transition(t, Waiting)
		if t.attempts > 0 {
			m.shortLived(t)
		} else {
			m.in(&t.timer, kickstartDelay+m.backoff(1, m.cfg.Settings.ReconnectMaxDelay)) // after the kickstart
		}
	default:
		m.connect(t)
	}
}

// shortLived lets a target back off whose connections do not live long.
func (m *Machine) shortLived(t *target) {
	delay := m.backoff(t.attempts, m.cfg.Settings.ReconnectMaxDelay)
	m.in(&t.timer, delay)
	m.log(slog.LevelInfo, KindShortLived, t, "it did not live long; next attempt in "+delay.Round(100*time.Millisecond).String())
}
