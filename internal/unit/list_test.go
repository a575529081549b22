// SPDX-License-Identifier: GPL-3.0-or-later

package unit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

// fleet gives systemd so many units, which connect each to its own place.
func (s *systemd) fleet(n int) {
	s.with(func(s *systemd) {
		for i := range n {
			name := fmt.Sprintf("nvme-discoverd-%012x.service", i)
			path := managerPath + dbus.ObjectPath(fmt.Sprintf("/unit/x%d", i))
			s.units = append(s.units, listed{Name: name, LoadState: "loaded", Active: "active", Sub: "exited", Path: path, JobPath: "/"})
			s.commands[path] = []string{"/sbin/ctl", "connect", fmt.Sprint(i)}
		}
	})
}

// reads returns how many times an ExecStart was asked for since the last time that this was.
func (s *systemd) reads() (n int) {
	s.with(func(s *systemd) { n, s.asked = s.asked, 0 })
	return n
}

// wantList expects that the manager lists what systemd has, with so many reads of an ExecStart.
func (f *fixture) wantList(what string, reads int) {
	f.t.Helper()
	got, err := f.manager.List(f.t.Context())
	if err != nil {
		f.t.Fatalf("%s: %v", what, err)
	}
	var want []Info
	f.systemd.with(func(s *systemd) {
		for _, u := range s.units {
			want = append(want, Info{Name: u.Name, ActiveState: u.Active, ExecStart: s.commands[u.Path]})
		}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("%s: other units (-want +got):\n%s", what, diff)
	}
	if n := f.systemd.reads(); n != reads {
		f.t.Errorf("%s: %d reads of ExecStart, want %d", what, n, reads)
	}
}

// A command is read once and again after what can change it: a job of its unit, a reload of systemd's configuration, another
// systemd. It is forgotten with its unit.
func TestListReadsCommandsOnce(t *testing.T) {
	const units = 1000
	f := newFixture(t)
	f.systemd.fleet(units)
	f.wantList("the first list", units)
	f.wantList("the second", 0)

	f.systemd.with(func(s *systemd) { s.commands[s.units[7].Path] = []string{"/sbin/ctl", "connect", "elsewhere"} })
	f.foreignJob(f.systemd.unit(7).Name)
	f.wantList("after a job", 1)

	f.systemd.with(func(s *systemd) { s.commands[s.units[9].Path] = []string{"/etc/drop-in"} })
	for _, begins := range []bool{true, false} {
		f.systemd.with(func(s *systemd) { s.emit(s.conn, "Reloading", begins) })
	}
	f.wantList("after a reload", units)

	var gone listed
	f.systemd.with(func(s *systemd) { gone, s.units = s.units[3], slices.Delete(slices.Clone(s.units), 3, 4) })
	f.wantList("one less", 0)
	f.systemd.with(func(s *systemd) { s.units = append(slices.Clone(s.units), gone) })
	f.wantList("it is back", 1)

	f.reexec()
	f.noEvents() // systemd's new place is known
	f.wantList("after a reexec", units)
}

// A systemd that does not tell of its jobs has every command read each time.
func TestListOfDeafSystemd(t *testing.T) {
	f := newFixture(t)
	f.systemd.fleet(3)
	f.wantList("the first list", 3)
	f.systemd.with(func(s *systemd) { s.deaf = dbus.NewError("org.freedesktop.DBus.Error.LimitsExceeded", nil) })
	f.reexec()
	f.noEvents()
	f.wantList("after a reexec", 3)
	f.wantList("the next list", 3)
}

// reexec has systemd take another place on the bus.
func (f *fixture) reexec() {
	f.t.Helper()
	var old *dbus.Conn
	f.systemd.with(func(s *systemd) { old = s.conn })
	if _, err := old.ReleaseName(systemdName); err != nil {
		f.t.Fatal(err)
	}
	old.Close()
	f.systemd.appear(f.bus)
}

// foreignJob runs a job of somebody else's on a unit.
func (f *fixture) foreignJob(name string) {
	f.t.Helper()
	path := f.systemd.newJob(name, "start")
	f.wantEvent(ForeignJob{Unit: name, Type: "start"})
	f.systemd.endJob(path, name, "done")
	f.wantEvent(ForeignJob{Unit: name, Type: "start", Removed: true})
}

// unit returns the one of fleet with a number.
func (s *systemd) unit(i int) (u listed) {
	s.with(func(s *systemd) { u = s.units[i] })
	return u
}

// The service that waits for connections is not one of their units.
func TestListWithoutWaitOnline(t *testing.T) {
	f := newFixture(t)
	f.systemd.with(func(s *systemd) {
		s.units = []listed{{Name: waitOnline, LoadState: "loaded", Active: "active", Sub: "exited", Path: managerPath + "/unit/wait", JobPath: "/"}}
	})
	if got, err := f.manager.List(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("got %v, %v, want no unit", got, err)
	}
}

// What was read before an answer fails to come need not be read again: a slow systemd is listed in the end.
func TestListGoesOn(t *testing.T) {
	const units, answered = 300, 200
	f := newFixture(t)
	f.systemd.fleet(units)
	f.systemd.with(func(s *systemd) { s.answers = answered })
	_, err := f.manager.List(t.Context())
	want := fmt.Sprintf("cannot list the units of connections: %d of %d could not be read, such as this: ", units-answered, units)
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want one line that begins with %q", err, want)
	}
	f.systemd.reads()
	f.systemd.with(func(s *systemd) { s.answers = units })
	f.wantList("the second try", units-answered)
}

// A job of a unit whose command is being read makes what is read out of date.
func TestListWhileUnitChanges(t *testing.T) {
	f := newFixture(t)
	f.systemd.fleet(1)
	u := f.systemd.unit(0)
	f.systemd.with(func(s *systemd) {
		s.onRead = func() {
			s.onRead = nil
			f.foreignJob(u.Name)
		}
	})
	if _, err := f.manager.List(context.Background()); err != nil {
		t.Fatal(err)
	}
	f.systemd.reads()
	f.systemd.with(func(s *systemd) { s.commands[u.Path] = []string{"/sbin/ctl", "connect", "elsewhere"} })
	f.wantList("after the change", 1)
}
