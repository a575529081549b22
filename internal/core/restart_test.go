// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// What a new daemon finds in the middle of what an earlier one began.

// found is a new machine with wishes, after its first comparisons have found snap.
func found(t *testing.T, snap Snapshot, wishes ...wish.Wish) *stage {
	t.Helper()
	s := &stage{t, New(1), time.Unix(1000, 0)}
	s.step(configured(wishes...))
	s.step(BusUp{})
	snap.UnitsKnown = true
	for s.m.snapToken != 0 {
		snap.Token = s.m.snapToken
		s.step(snap)
	}
	return s
}

// holding is a snapshot in which the unit of vol1 is active and on record for nvme5.
func holding(d Device) Snapshot {
	return Snapshot{Units: []UnitInfo{held(vol1)}, Devids: map[string]string{vol1.TID.UnitName(): "nvme5"}, Devices: []Device{d}}
}

// The unit is active, and the controller was read before it was on record as its: nothing is restarted without another look.
func TestActiveUnitOfUnboundController(t *testing.T) {
	for _, argv := range [][]string{held(vol1).Argv, {"/usr/sbin/nvme-discoverctl", "connect"}} {
		unbound := deviceOf(vol1, "nvme5", 7)
		unbound.Unit, unbound.Owner = "", ""
		snap := holding(unbound)
		snap.Units[0].Argv = argv
		s := found(t, snap, vol1)
		s.now = s.now.Add(time.Second)
		bound := deviceOf(vol1, "nvme5", 8)
		info := held(vol1)
		info.Argv = argv
		s.expect(s.step(UnitState{Unit: info.Name, Known: true, Info: info, Device: &bound}),
			"log info: connected (tcp, 192.0.2.1, 4420, nqn.vol1)")
		if target := s.m.targets.list[0]; target.state != Connected || target.device.Name != "nvme5" {
			t.Errorf("target: got %v with %q, want connected with nvme5", target.state, target.device.Name)
		}
	}
}

// Where the other look finds no record either, the unit is restarted after all: that claims the controller.
func TestActiveUnitOfSomebodysController(t *testing.T) {
	unbound := deviceOf(vol1, "nvme5", 7)
	unbound.Unit, unbound.Owner = "", ""
	s := found(t, holding(unbound), vol1)
	s.expect(s.step(UnitState{Unit: vol1.TID.UnitName(), Known: true, Info: held(vol1)}), "restart "+vol1.TID.UnitName())
}

// A unit that is being started may have a record and not yet a controller: that is no loss.
func TestStartingUnitIsNoOrphan(t *testing.T) {
	starting := held(vol1)
	starting.Active, starting.Job = "activating", "start"
	s := found(t, Snapshot{Units: []UnitInfo{starting}, Devids: map[string]string{starting.Name: "nvme5"}})
	s.expect(s.step(Kickstarted{Token: s.m.fc.round, NoFC: true}))
}

// An earlier daemon's own stop is over: what stops the unit now is an administrator.
func TestEarlierStopIsOver(t *testing.T) {
	unit := vol1.TID.UnitName()
	device := deviceOf(vol1, "nvme5", 7)
	snap := holding(device)
	snap.Stopping = []string{unit}
	s := found(t, snap, vol1)
	s.step(ForeignJob{Unit: unit, Type: "stop"})
	info := held(vol1)
	info.Active, info.Job = "deactivating", "stop"
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: info, Device: &device}), "remember that an administrator stopped "+unit,
		"log info: an administrator stopped "+unit+": it stays stopped until a reload or a start (tcp, 192.0.2.1, 4420, nqn.vol1)")
}

// An administrator stops it before the first comparison arrives, which was asked for earlier and tells of the earlier daemon's stop.
func TestEarlierStopIsOverBeforeTheFirstComparison(t *testing.T) {
	unit := vol1.TID.UnitName()
	device := deviceOf(vol1, "nvme5", 7)
	s := &stage{t, New(1), time.Unix(1000, 0)}
	s.step(configured(vol1))
	s.step(BusUp{})
	s.step(ForeignJob{Unit: unit, Type: "stop"})
	first := holding(device)
	first.Stopping, first.Token = []string{unit}, s.m.snapToken
	s.step(first)
	info := held(vol1)
	info.Active, info.Job = "deactivating", "stop"
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: info, Device: &device}), "remember that an administrator stopped "+unit,
		"log info: an administrator stopped "+unit+": it stays stopped until a reload or a start (tcp, 192.0.2.1, 4420, nqn.vol1)")
}

// The unit of an adopted controller is gone after a stop: the next daemon knows the target by its own.
func TestStopOfAdoptedUnitIsRemembered(t *testing.T) {
	const other = "nvme-discoverd-0123456789ab.service"
	device := deviceOf(vol1, "nvme5", 7)
	device.Unit = other
	info := held(vol1)
	info.Name = other
	s := found(t, Snapshot{Units: []UnitInfo{info}, Devids: map[string]string{other: "nvme5"}, Devices: []Device{device}}, vol1)
	s.step(ForeignJob{Unit: other, Type: "stop"})
	info.Active, info.Job = "deactivating", "stop"
	s.expect(s.step(UnitState{Unit: other, Known: true, Info: info, Device: &device}),
		"remember that an administrator stopped "+other, "remember that an administrator stopped "+vol1.TID.UnitName(),
		"log info: an administrator stopped "+other+": it stays stopped until a reload or a start (tcp, 192.0.2.1, 4420, nqn.vol1)")
	s.step(DeviceRemoved{Name: "nvme5", Seq: 9})
	s.expect(s.step(Request{ID: 1, Op: RequestStart, Target: vol1.TID.NQN})[:2],
		"forget that an administrator stopped "+other, "forget that an administrator stopped "+vol1.TID.UnitName())
}

// A stop by request is carried out or refused, and repeated when its end was not heard.
func TestStopByRequest(t *testing.T) {
	unit := vol1.TID.UnitName()
	snap := holding(deviceOf(vol1, "nvme5", 7))
	s := found(t, snap, vol1)
	s.step(BusDown{Err: "gone"})
	stop := Request{ID: 1, Op: RequestStop, Target: vol1.TID.NQN}
	s.expect(s.step(stop), "answer 1: cannot stop (tcp, 192.0.2.1, 4420, nqn.vol1): systemd cannot be reached: try again when it can")
	s.step(BusUp{})
	snap.UnitsKnown = true
	s.snapshot(snap)
	for s.m.snapToken != 0 {
		s.snapshot(snap)
	}
	if got := strings.Join(s.step(stop), "\n"); !strings.Contains(got, "stop "+unit) || !strings.Contains(got, "answer 1: done for 1") {
		t.Errorf("effects of the stop: %s", got)
	}
	s.step(JobDone{Unit: unit, Op: OpStop, Outcome: Lost})
	snap.Stopped = []string{unit}
	again := "stop " + unit + ": an administrator asked for it, and the end of the stop was not heard"
	s.expect(s.snapshot(snap), again)
	s.step(JobDone{Unit: unit, Op: OpStop, Outcome: Done})
	s.expect(s.step(stop), "answer 1: cannot stop (tcp, 192.0.2.1, 4420, nqn.vol1): it is stopped already")
}

// The name of a controller that was lost unseen is another's: that is noticed as soon as it is seen, and nothing is read of it.
func TestNameRecycledUnseen(t *testing.T) {
	s := found(t, holding(deviceOf(vol1, "nvme5", 7)), vol1)
	other := deviceOf(vol1, "nvme5", 20)
	other.NQN, other.Unit, other.Owner = "nqn.other", "", ""
	s.expect(s.step(DeviceSeen{Device: other}), "log info: lost (tcp, 192.0.2.1, 4420, nqn.vol1)",
		"forget nvme5 of "+vol1.TID.UnitName(), "ask about "+vol1.TID.UnitName())
}
