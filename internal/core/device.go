package core

import (
	"log/slog"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// device is a controller of this host as it was last read.
type device struct {
	Device
	touched uint64
	reading reading // of its log page

	ownerLogged time.Time // when its missing owner was logged last
}

// foreign tells whether another orchestrator owns a controller, as far as is known.
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
	for _, d := range m.devices {
		if !d.Serves(t) {
			continue
		}
		if best == nil || rank(d) < rank(best) || rank(d) == rank(best) && d.Name < best.Name {
			best = d
		}
	}
	return best
}

// held tells whether a unit of ours holds the device, as far as is known.
func (m *Machine) held(d *device) bool {
	return d.Unit != "" && (m.unitHolds(d.Unit) || !m.unitsKnown || m.holder(d) != nil)
}

// holder is the target that a device's own unit connects, if it has it. Should that unit have gone, it is that target's to
// claim the controller anew.
func (m *Machine) holder(d *device) *target {
	if t := m.byUnit[d.Unit]; t != nil && t.state == Connected && t.device == d.Name {
		return t
	}
	return nil
}

// hasDevice tells whether a unit holds a controller, or may hold one that could not be read.
func (m *Machine) hasDevice(unit string) bool {
	if m.unread[unit] {
		return true
	}
	for _, d := range m.devices {
		if d.Unit == unit {
			return true
		}
	}
	return false
}

// record takes a reading of a device in, and returns nil for one that is out of date.
func (m *Machine) record(r Device) *device {
	if removed, ok := m.removed[r.Name]; ok && r.Seq < removed {
		return nil
	}
	if !m.plausible(r) {
		r.Unit = ""
	}
	d := m.devices[r.Name]
	switch {
	case d == nil:
		d = &device{}
		m.devices[r.Name] = d
	case r.Seq < d.Seq:
		return nil
	}
	d.Device, d.touched = r, m.step
	if u := m.units[r.Unit]; u != nil {
		u.had = true
	}
	if m.foreign(d) {
		for _, t := range m.targets {
			if t.state == Connected && t.device == d.Name {
				m.log(slog.LevelInfo, KindForeign, t, d.Name+" belongs to "+d.Owner+" now: hands off")
				m.transition(t, Foreign)
				t.device = d.Name
			}
		}
	}
	return d
}

// plausible tells whether the unit on record for a device may have connected it. Names are given out again at once: a
// record that outlived its controller, because no daemon ran when that went, seems to be about the next one of the name.
func (m *Machine) plausible(r Device) bool {
	u := m.units[r.Unit]
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
	t := m.byUnit[d.Unit]
	if d.Unit == "" || t == nil || m.foreign(d) || !d.Serves(t.wish.TID) {
		return
	}
	switch {
	case t.state != Waiting && t.state != Connecting || t.phase == clearing:
	case d.State == "live":
		m.connected(t, d)
	case t.phase == job:
		t.phase = settling
	}
}

func (m *Machine) deviceSeen(ev DeviceSeen) {
	d := m.record(ev.Device)
	if d == nil {
		return
	}
	for _, t := range m.targets {
		switch {
		case t.state != Connected || t.device != d.Name:
		case d.State == "live" && !d.Serves(t.wish.TID): // the name was recycled unseen
			m.compareTarget(t, m.unitsKnown)
		case t.wish.Kind == tid.Discovery:
			if ev.Reconnected && m.byUnit[d.Unit] == t {
				m.countEnd(t)
			}
			m.readLog(t)
		}
	}
	m.bind(d)
}

func (m *Machine) deviceRemoved(ev DeviceRemoved) {
	m.removed[ev.Name] = max(m.removed[ev.Name], ev.Seq)
	if d := m.devices[ev.Name]; d != nil && ev.Seq > d.Seq {
		m.gone(d)
	}
}

// gone handles that a controller exists no more.
func (m *Machine) gone(d *device) {
	delete(m.devices, d.Name)
	claimed := false
	for _, t := range m.targets {
		switch {
		case t.device != d.Name:
		case t.state == Foreign:
			m.log(slog.LevelInfo, KindForeignLost, t, "lost by "+d.Owner+", which has the first try")
			m.transition(t, Waiting)
			t.attempts, t.next = 0, m.now.Add(ownersTurn)
			t.notBefore = t.next
		case t.state == Connected:
			m.lose(t, d)
		}
	}
	if t := m.byUnit[d.Unit]; t != nil {
		claimed = true // the target's own states see to the unit
		if t.phase == settling {
			m.emit(ForgetState{Unit: d.Unit, Device: d.Name})
			m.fail(t, "the kernel gave up before the association came up", 0)
		}
	}
	m.hostFreed(d)
	if d.Unit == "" || m.foreign(d) || claimed {
		return
	}
	m.emit(ForgetState{Unit: d.Unit, Device: d.Name})
	if u := m.units[d.Unit]; u == nil || u.foreign != "stop" {
		m.abandon(d.Unit, d.Name, "its controller is gone and no longer wanted")
	}
}

// lose begins the life of a target after its controller: SPEC 7.4. What to do about it depends on the unit, so systemd is
// asked first; deciding without it would cancel an administrator's stop job.
func (m *Machine) lose(t *target, d *device) {
	lived := m.now.Sub(t.connectedAt)
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
	if m.byUnit[d.Unit] != t { // its connection was another target's, whose unit is looked at
		t.next = m.now
		if t.attempts > 0 {
			m.shortLived(t)
		}
		return
	}
	m.emit(ForgetState{Unit: t.unit, Device: d.Name})
	m.countEnd(t)
	switch {
	case t.parking:
		m.park(t)
	case m.unitOf(t.unit).op != OpNone: // its end tells
		t.phase = looking
		t.lookFor = afterLoss
	default:
		m.look(t, afterLoss)
	}
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
			t.next = m.now.Add(m.backoff(1, m.cfg.Settings.ReconnectMaxDelay))
		}
	default:
		m.attempt(t)
	}
}

// shortLived lets a target back off whose connections do not live long.
func (m *Machine) shortLived(t *target) {
	delay := m.backoff(t.attempts, m.cfg.Settings.ReconnectMaxDelay)
	t.next = m.now.Add(delay)
	m.log(slog.LevelInfo, KindShortLived, t, "it did not live long; next attempt in "+delay.Round(100*time.Millisecond).String())
}
