// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// connectTimeout is how long connecting a handful of controllers may take on two emulated CPUs of a busy host.
const connectTimeout = 2 * time.Minute

// Fixture is the scene that most scenarios begin with: one discovery controller with subsystems behind it, named in the
// service's configuration.
type Fixture struct {
	*Machine
	Target     *Target
	Port       *Port
	Subsystems []*Subsystem
}

// Scene builds the target with n subsystems and configures the service, which is not started yet.
func Scene(t T, n int) *Fixture {
	t.Helper()
	m := Begin(t)
	f := &Fixture{Machine: m, Target: NewTarget(m)}
	f.Port = f.Target.Port(8009)
	f.Subsystems = f.Target.Subsystems(n)
	f.Port.Link(f.Subsystems...)
	ConfigureDiscovery(m, f.Port)
	return f
}

// Connected builds the scene, starts the service and waits until everything is live; it returns device names by NQN.
func Connected(t T, n int) (*Fixture, map[string]string) {
	t.Helper()
	f := Scene(t, n)
	Start(f)
	return f, f.WaitAllLive()
}

// WaitAllLive waits until the discovery controller and every subsystem of the scene have one live controller each, and
// every unit has finished its start.
func (f *Fixture) WaitAllLive() map[string]string {
	f.Helper()
	devices := WaitLive(f, connectTimeout, f.NQNs()...)
	var units []string
	for _, nqn := range f.NQNs() {
		units = append(units, f.Unit(nqn))
	}
	eventually(f, follow.Units, connectTimeout, "all units active", func() (bool, string) {
		states := ActiveStates(f, units...)
		for _, unit := range units {
			if states[unit] != "active" {
				return false, unit + " " + states[unit]
			}
		}
		return true, ""
	})
	return devices
}

// NQNs lists the names of all that the scene wants connected.
func (f *Fixture) NQNs() []string { return NQNs(true, f.Subsystems...) }

// Unit is the name of the unit of the connection to an NQN.
func (f *Fixture) Unit(nqn string) string { return f.Port.TID(nqn).Unit() }

// WaitUnit waits until a unit is in the state given; a unit that systemd does not hold is inactive.
func (m *Machine) WaitUnit(unit, state string) {
	m.Helper()
	eventually(m, follow.Units, connectTimeout, unit+" "+state, func() (bool, string) {
		now := ActiveState(m, unit)
		return now == state, now
	})
}
