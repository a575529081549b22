// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"slices"
	"sync"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
)

// stops are the records of the jobs of our own that stop a unit, RestartUnit among them (state.Dir, MarkStopping). A job
// outlives the daemon that asked for it; the next one learns from the records that it is not an administrator's.
type stops struct {
	state state.Dir

	mu    sync.Mutex
	own   map[string]bool // jobs that this process waits for
	asked bool            // earlier was read
	left  map[string]bool // records whose job nobody waits for: an earlier daemon's, or the bus went away
}

func newStops(dir state.Dir) *stops {
	return &stops{state: dir, own: map[string]bool{}, left: map[string]bool{}}
}

// begin records that unit is about to be stopped. An error costs no more than the record.
func (s *stops) begin(unit string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.read()
	s.own[unit] = true
	delete(s.left, unit)
	if markErr := s.state.MarkStopping(unit); markErr != nil {
		return markErr
	}
	return err
}

// end removes the record, unless it is unknown whether the job has ended.
func (s *stops) end(unit string, lost bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.own, unit)
	if lost {
		s.left[unit] = true
		return nil
	}
	return s.state.UnmarkStopping(unit)
}

// settle returns the units whose record nobody waits for, in the order of their names, and removes the records of those
// whose job is over, by what systemd says of them. They are told of this once more.
func (s *stops) settle(snap core.Snapshot) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.read(); err != nil {
		return nil, err
	}
	var units []string
	for unit := range s.left {
		units = append(units, unit)
	}
	slices.Sort(units)
	if !snap.UnitsKnown {
		return units, nil
	}
	for _, unit := range units {
		if !busy(snap.Units, unit) && s.state.UnmarkStopping(unit) == nil { // else the next snapshot tries again
			delete(s.left, unit)
		}
	}
	return units, nil
}

// busy tells whether a job that stops the unit is, or may be, under way. A restart that has come to its start has stopped it.
func busy(units []core.UnitInfo, name string) bool {
	for _, u := range units {
		if u.Name == name {
			return u.Job == "stop" || u.Job == "restart" || u.Active == "deactivating"
		}
	}
	return false
}

// read takes over, once, what earlier daemons left.
func (s *stops) read() error {
	if s.asked {
		return nil
	}
	units, err := s.state.Stopping()
	if err != nil {
		return err
	}
	s.asked = true
	for _, unit := range units {
		if !s.own[unit] {
			s.left[unit] = true
		}
	}
	return nil
}
