package core

import (
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

var vol1 = wish.Wish{Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.vol1"}}

func configured(wishes ...wish.Wish) ConfigLoaded {
	c := config.Config{Settings: config.Defaults()}
	for _, w := range wishes {
		c.Connections = append(c.Connections, config.Connection{Wish: w, From: "discoverd.conf:3"})
	}
	return ConfigLoaded{c}
}

func deviceOf(w wish.Wish, name string, seq uint64) Device {
	d := Device{Owner: string(w.Owner), Unit: w.TID.UnitName(), Seq: seq}
	d.Name, d.Transport, d.Traddr, d.Trsvcid, d.NQN, d.State, d.Type = name, w.TID.Transport, w.TID.Traddr, w.TID.Trsvcid, w.TID.NQN, "live", "io"
	return d
}

func held(w wish.Wish) UnitInfo {
	return UnitInfo{Name: w.TID.UnitName(), Active: "active", Argv: argvOf(w)}
}

// snapshot answers the comparison that is under way, after the next one was asked for if need be.
func (s *stage) snapshot(snap Snapshot) []string {
	s.t.Helper()
	var before []string
	if s.m.snapToken == 0 {
		s.now = s.m.auditTimer.when
		before = s.step(Tick{})
	}
	snap.Token = s.m.snapToken
	return append(before, s.step(snap)...)
}

// At the start of the daemon a controller is stuck in the kernel and cannot be read. Its unit must not be touched: a
// restart would disconnect a controller that may be live.
func TestUnreadableControllerKeepsItsUnit(t *testing.T) {
	unit := vol1.TID.UnitName()
	s := &stage{t, New(1), time.Unix(1000, 0)}
	s.step(configured(vol1))
	s.step(BusUp{})
	stuck := Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol1)}, Devids: map[string]string{unit: "nvme1"}, Unreadable: []string{"nvme1"}}
	s.snapshot(stuck)
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.1")}))
	s.expect(s.step(ConfigLoaded{config.Config{Settings: config.Defaults()}}), // and when it is wanted no more
		"log info: the configuration was loaded anew",
		"log info: no longer wanted (tcp, 192.0.2.1, 4420, nqn.vol1)")
	s.step(configured(vol1))
	stuck.Unreadable, stuck.Devices = nil, []Device{deviceOf(vol1, "nvme1", 7)}
	for _, line := range s.snapshot(stuck) {
		if !strings.HasPrefix(line, "log ") && !strings.HasPrefix(line, "probe ") {
			t.Errorf("the controller can be read again: %s", line)
		}
	}
}

// A connect is done, but what it connected could not be read: nothing is known of it until the next comparison.
func TestUnreadAfterConnect(t *testing.T) {
	unit := vol1.TID.UnitName()
	s := newStage(t, configured(vol1))
	s.step(ProbeDone{Target: peer("192.0.2.1")})
	s.expect(s.step(JobDone{Unit: unit, Op: OpStart, Outcome: Done, Unread: true}))
	s.expect(s.snapshot(Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol1)}, Devids: map[string]string{unit: "nvme1"}, Unreadable: []string{"nvme1"}}),
		"ask about "+unit)
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: held(vol1), Unread: true}))
	d := deviceOf(vol1, "nvme1", 7)
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: held(vol1), Device: &d}), "log info: connected (tcp, 192.0.2.1, 4420, nqn.vol1)")
}

// systemd does not answer at the start: it is asked again soon, and the journal says why nothing is connected.
func TestUnitsUnknown(t *testing.T) {
	s := &stage{t, New(1), time.Unix(1000, 0)}
	s.step(configured())
	s.step(BusUp{})
	const why = "log warn: cannot ask systemd for the units, nothing is connected until it answers: timeout"
	s.expect(s.snapshot(Snapshot{UnitsErr: "timeout"}), why, "kickstart Fibre Channel") // the one that BusUp asked for follows at once
	s.snapshot(Snapshot{UnitsErr: "timeout"})
	if soon := s.m.auditTimer.when.Sub(s.now); soon != auditRetry {
		t.Errorf("systemd is asked again after %v", soon)
	}
}

// The daemon was restarted while its own stop of a unit was under way. That is no administrator's stop.
func TestOwnStopOfEarlierDaemon(t *testing.T) {
	unit := vol1.TID.UnitName()
	s := &stage{t, New(1), time.Unix(1000, 0)}
	s.step(configured(vol1))
	s.step(BusUp{})
	ending := UnitInfo{Name: unit, Active: "deactivating", Job: "stop", Argv: argvOf(vol1)}
	for s.m.snapToken != 0 {
		s.snapshot(Snapshot{UnitsKnown: true, Units: []UnitInfo{ending}, Stopping: []string{unit}})
	}
	s.step(ProbeDone{Target: peer("192.0.2.1")})
	s.expect(s.step(JobDone{Unit: unit, Op: OpStart, Outcome: Exists}), "ask about "+unit)
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: ending}))
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: UnitInfo{Name: unit, Active: "inactive"}}),
		"start --transport=tcp --traddr=192.0.2.1 --trsvcid=4420 --nqn=nqn.vol1")
}

// A stop that could not be written down is written down by the next comparison, and the other way round.
func TestStoppedIsMadeUpFor(t *testing.T) {
	s := newStage(t, configured())
	s.m.stopped["nvme-discoverd-000000000001.service"] = true
	s.expect(s.snapshot(Snapshot{UnitsKnown: true, Stopped: []string{"nvme-discoverd-000000000002.service"}}),
		"remember that an administrator stopped nvme-discoverd-000000000001.service",
		"forget that an administrator stopped nvme-discoverd-000000000002.service")
	s.expect(s.snapshot(Snapshot{UnitsKnown: true, NoStopped: true}))
}

// A peer that wants TLS answers nothing else: it is never asked in plain text, however it failed before.
func TestTLSPeerIsNotAskedInPlainText(t *testing.T) {
	w := vol1
	w.Params, _ = w.Params.With(param.TLS, "true")
	s := newStage(t, configured(w))
	s.step(ProbeDone{Target: peer("192.0.2.1")})
	s.step(JobDone{Unit: w.TID.UnitName(), Op: OpStart, Outcome: "failed", Failure: failure(muteErrno)})
	s.now = s.now.Add(probeFresh + time.Second)
	s.expect(s.step(Tick{}), "probe 192.0.2.1:4420")
}

// systemd is re-executed while a unit that nothing wants is being stopped, and the end of that is not heard. The next
// comparison finds the unit still there, and it is stopped again.
func TestStopThatWasNotHeard(t *testing.T) {
	unit := vol1.TID.UnitName()
	s := newStage(t, configured())
	s.step(DeviceSeen{Device: deviceOf(vol1, "nvme1", 7)})
	s.snapshot(Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol1)}, Devices: []Device{deviceOf(vol1, "nvme1", 7)}})
	stop := []string{
		"log info: stopping " + unit + ": its controller is gone and no longer wanted (tcp, 192.0.2.1, 4420, nqn.vol1)",
		"stop " + unit + ": its controller is gone and no longer wanted",
	}
	s.expect(s.step(DeviceRemoved{Name: "nvme1", Seq: 8}), append([]string{"forget nvme1 of " + unit}, stop...)...)
	s.expect(s.step(JobDone{Unit: unit, Op: OpStop, Outcome: Lost}))
	again := s.snapshot(Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol1)}})
	if len(again) != 2 || !strings.HasPrefix(again[1], "stop "+unit) {
		t.Errorf("a unit that is there still is left alone: %q", again)
	}
	s.expect(s.step(JobDone{Unit: unit, Op: OpStop, Outcome: Done}))
	s.expect(s.snapshot(Snapshot{UnitsKnown: true}))
}

// A unit that somebody restarts while the daemon starts is about to hold the controller of its TID: another wish which that
// serves finds it held, though nobody tells of the end of a job that began before the daemon listened.
func TestRestartBeforeTheDaemon(t *testing.T) {
	pinned := vol1
	pinned.TID.HostTraddr = "192.0.2.9"
	restarting := held(vol1)
	restarting.Active, restarting.Job = "deactivating", "restart"
	s := found(t, Snapshot{Units: []UnitInfo{restarting}})
	d := deviceOf(vol1, "nvme5", 7)
	d.SrcAddr = "192.0.2.9"
	s.step(DeviceSeen{Device: d})
	s.expect(s.step(configured(pinned)), "log info: the configuration was loaded anew",
		"log info: connected already, keeping it (tcp, 192.0.2.1, 4420, nqn.vol1, 192.0.2.9)")
}
