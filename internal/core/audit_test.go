// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"slices"
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
	s.expect(s.step(DeviceRemoved{Name: "nvme1", Seq: 8}), "forget nvme1 of "+unit, "ask about "+unit)
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: held(vol1)}), stop...)
	s.expect(s.step(JobDone{Unit: unit, Op: OpStop, Outcome: Lost}))
	s.expect(s.snapshot(Snapshot{UnitsKnown: true, Units: []UnitInfo{held(vol1)}}), "ask about "+unit)
	again := s.step(UnitState{Unit: unit, Known: true, Info: held(vol1)})
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

// What an earlier daemon was stopping of its own accord is remembered until the stop is over, however that ended.
func TestStopOfEarlierDaemonIsOver(t *testing.T) {
	unit := vol1.TID.UnitName()
	info := func(active, job string) *UnitInfo {
		return &UnitInfo{Name: unit, Active: active, Job: job, Argv: argvOf(vol1)}
	}
	for _, test := range []struct {
		name   string
		wanted bool      // so that somebody waits for the end of the stop
		info   *UnitInfo // by the second comparison
		want   bool      // it is remembered still
	}{
		{"the unit is gone", false, nil, false},
		{"the unit is gone, for which its target waits", true, nil, true},
		{"it is still being stopped", false, info("deactivating", "stop"), true},
		{"it failed", false, info("failed", ""), true},
		{"it is active", false, info("active", ""), false},
		{"it is active and about to be stopped", false, info("active", "stop"), true},
		{"it is being started again", false, info("activating", "start"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var wishes []wish.Wish
			if test.wanted {
				wishes = append(wishes, vol1)
			}
			s := found(t, Snapshot{Units: []UnitInfo{*info("deactivating", "stop")}, Stopping: []string{unit}}, wishes...)
			if test.wanted {
				s.step(ProbeDone{Target: peer("192.0.2.1")})
				s.expect(s.step(JobDone{Unit: unit, Op: OpStart, Outcome: Exists}), "ask about "+unit)
			}
			snap := Snapshot{UnitsKnown: true}
			if test.info != nil {
				snap.Units = append(snap.Units, *test.info)
			}
			s.snapshot(snap)
			if got := s.m.stopping[unit]; got != test.want {
				t.Errorf("remembered: %v, want %v", got, test.want)
			}
		})
	}
}

// What an administrator stopped in the life of an earlier daemon stays stopped; where that could not be read, nothing is forgotten.
func TestStoppedOfEarlierDaemon(t *testing.T) {
	unit := vol1.TID.UnitName()
	s := found(t, Snapshot{Stopped: []string{unit}}, vol1)
	if got := s.m.targets.byTID[vol1.TID].state; got != Stopped {
		t.Errorf("it is %v, want stopped", got)
	}
	s = found(t, Snapshot{Stopped: []string{unit}, NoStopped: true}, vol1)
	if got := s.m.targets.byTID[vol1.TID].state; got == Stopped {
		t.Error("it is stopped, by a list that could not be read")
	}
}

// Answers to a comparison that nobody waits for are out of date; reasons for one that come during another have one more follow.
func TestOneComparisonAtATime(t *testing.T) {
	s := newStage(t, configured())
	asked := func(effects []Effect) (why []string) {
		for _, e := range effects {
			if e, ok := e.(TakeSnapshot); ok {
				why = append(why, e.Why)
			}
		}
		return why
	}
	step := func(ev Event, want ...string) {
		t.Helper()
		if got := asked(s.m.Step(s.now, ev)); !slices.Equal(got, want) {
			t.Errorf("%T: comparisons because of %q, want %q", ev, got, want)
		}
	}
	step(EventsLost{Why: "the first reason"}, "the first reason")
	first := s.m.snapToken
	step(EventsLost{Why: "the second reason"})
	step(EventsLost{Why: "the third reason"})
	step(Snapshot{Token: first - 1, UnitsKnown: true})
	step(SnapshotFailed{Token: first - 1, Err: "not this one"})
	step(Snapshot{Token: first, UnitsKnown: true}, "the third reason")
	second := s.m.snapToken
	step(Snapshot{Token: second, UnitsKnown: true})
	if second == first || s.m.snapToken != 0 {
		t.Errorf("comparisons %d and %d, now %d", first, second, s.m.snapToken)
	}
	begun := s.now
	s.now = s.now.Add(auditInterval - time.Second)
	step(Tick{})
	s.now = begun.Add(auditInterval)
	step(Tick{}, "regular comparison")
}

// The kernel cannot be looked at: that is told once, a new cause at once, and it is tried again soon.
func TestComparisonFails(t *testing.T) {
	s := newStage(t, configured())
	fail := func(err string) []string {
		t.Helper()
		s.now = s.m.auditTimer.when
		s.step(Tick{})
		got := s.step(SnapshotFailed{Token: s.m.snapToken, Err: err})
		if soon := s.m.auditTimer.when.Sub(s.now); soon != auditRetry {
			t.Errorf("tried again after %v, want %v", soon, auditRetry)
		}
		return got
	}
	const told = "log error: cannot compare with the kernel and systemd: "
	s.expect(fail("too many open files"), told+"too many open files")
	s.expect(fail("too many open files"))
	s.expect(fail("permission denied"), told+"permission denied")
	s.now = s.m.auditTimer.when
	s.snapshot(Snapshot{UnitsKnown: true})
	s.expect(fail("permission denied"), told+"permission denied")
}

// The end of our start was not heard, and the unit is still being started: it is asked about again, as often as it takes.
func TestStartThatGoesOnUnheard(t *testing.T) {
	unit := vol1.TID.UnitName()
	s := newStage(t, configured(vol1))
	s.step(ProbeDone{Target: peer("192.0.2.1")})
	s.step(JobDone{Unit: unit, Op: OpStart, Outcome: Lost})
	starting := held(vol1)
	starting.Active, starting.Job = "activating", "start"
	s.expect(s.snapshot(Snapshot{UnitsKnown: true, Units: []UnitInfo{starting}}), "ask about "+unit)
	s.step(UnitState{Unit: unit, Known: true, Info: starting})
	s.now = s.now.Add(inspectAgain)
	s.expect(s.step(Tick{}), "ask about "+unit)
	d := deviceOf(vol1, "nvme1", 7)
	s.expect(s.step(UnitState{Unit: unit, Known: true, Info: held(vol1), Device: &d}), "log info: connected (tcp, 192.0.2.1, 4420, nqn.vol1)")
}

// A connect by Fibre Channel is done before its controller has reached the target. Each comparison looks what has become of that.
func TestCompareAssociating(t *testing.T) {
	w := wish.Wish{Owner: wish.OwnerDiscoverd, TID: tid.TID{
		Transport: tid.FC, Traddr: "nn-0x1000000000000001:pn-0x2000000000000001", HostTraddr: "nn-0x1000000000000002:pn-0x2000000000000002", NQN: "nqn.vol1",
	}}
	unit := w.TID.UnitName()
	d := deviceOf(w, "nvme1", 7)
	d.HostTraddr, d.NQN, d.State, d.Type = w.TID.HostTraddr, "", "connecting", ""
	live, foreign := d, d
	live.NQN, live.State, live.Type = w.TID.NQN, "live", "io"
	foreign.Owner = "stas"
	snap := func(devices ...Device) Snapshot {
		return Snapshot{UnitsKnown: true, Units: []UnitInfo{held(w)}, Devids: map[string]string{unit: "nvme1"}, Devices: devices}
	}
	unread := snap()
	unread.Unreadable = []string{"nvme1"}
	for _, test := range []struct {
		name string
		snap Snapshot
		want State
		step step
	}{
		{"not yet", snap(d), Connecting, associating},
		{"it has", snap(live), Connected, idle},
		{"it cannot be read", unread, Connecting, associating},
		{"it is gone", snap(), Waiting, idle},
		{"it is another orchestrator's", snap(foreign), Foreign, idle},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, configured(w))
			s.step(JobDone{Unit: unit, Op: OpStart, Outcome: Done, Device: &d})
			got := s.m.targets.byTID[w.TID]
			if !got.is(associating) {
				t.Fatalf("it is %v, %v", got.state, got.attempt.step)
			}
			s.snapshot(test.snap)
			if got.state != test.want || !got.is(test.step) {
				t.Errorf("it is %v, %v, want %v, %v", got.state, got.attempt.step, test.want, test.step)
			}
		})
	}
}

// A comparison says nothing of what was touched after it was asked for.
func TestComparisonIsOlder(t *testing.T) {
	unit := vol1.TID.UnitName()
	d := deviceOf(vol1, "nvme1", 7)
	for _, test := range []struct {
		name  string
		event Event
		snap  Snapshot
	}{
		{"a controller appeared", DeviceSeen{Device: d}, Snapshot{UnitsKnown: true}},
		{"its unit's start ended", JobDone{Unit: unit, Op: OpStart, Outcome: Done, Device: &d}, Snapshot{UnitsKnown: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, configured(vol1))
			s.step(ProbeDone{Target: peer("192.0.2.1")})
			s.now = s.m.auditTimer.when
			s.step(Tick{})
			s.step(test.event)
			s.expect(s.snapshot(test.snap))
			if got := s.m.targets.byTID[vol1.TID]; got.state == Waiting {
				t.Errorf("it is %v", got.state)
			}
			if s.m.devices.byName["nvme1"] == nil {
				t.Error("the controller is forgotten")
			}
		})
	}
}
