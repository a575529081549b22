// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// key names a connection as far as the scenes have different ones.
func (id TID) key() string { return id.Traddr + ":" + id.Trsvcid + " " + id.NQN }

// Wanted lists the connections that the scene wants.
func (f *Fixture) Wanted() []TID {
	var all []TID
	for _, nqn := range f.NQNs() {
		all = append(all, f.Port.TID(nqn))
	}
	return all
}

// Consistent tells whether all that can be seen from outside agrees: every wanted connection has exactly one controller,
// live; it has a unit of its own, active; state files and registry join the two; and there is nothing else, but for the
// controllers of others, named by device.
func Consistent(t T, wanted []TID, others ...string) (bool, string) {
	t.Helper()
	var found []string
	complain := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }

	want := map[string]TID{}
	for _, id := range wanted {
		want[id.key()] = id
	}
	device := map[string]string{} // by unit
	for _, c := range Controllers() {
		if slices.Contains(others, c.Name) {
			continue
		}
		id, ok := want[TID{Traddr: c.Traddr, Trsvcid: c.Trsvcid, NQN: c.NQN}.key()]
		switch {
		case !ok:
			complain("%s: nobody wants it", c)
			continue
		case c.State != "live":
			complain("%s", c)
		case device[id.Unit()] != "":
			complain("%s: connected twice, %s too", c, device[id.Unit()])
		}
		device[id.Unit()] = c.Name
	}
	for _, id := range wanted {
		if device[id.Unit()] == "" {
			complain("%s: no controller", id.key())
		}
	}
	if len(found) > 0 { // the rest is dear to ask and cannot agree
		return false, explain(found)
	}

	units := slices.Sorted(maps.Keys(device))
	if got := Units(t); !slices.Equal(got, units) {
		complain("units: got %v, want %v", got, units)
	}
	states := ActiveStates(t, append([]string{Service}, units...)...)
	for _, unit := range append([]string{Service}, units...) {
		if states[unit] != "active" {
			complain("%s: %s", unit, states[unit])
		}
	}
	for unit, name := range device {
		short := strings.TrimSuffix(unit, ".service")
		if got := read(DevidFile(unit)); got != name {
			complain("devid file of %s: got %q, want %s", unit, got, name)
		}
		if got := read(UnitFile(name)); strings.TrimSuffix(got, ".service") != short {
			complain("unit file of %s: got %q, want %s", name, got, unit)
		}
		if got := RegistryAttribute(name, "owner"); got != "discoverd" {
			complain("owner of %s: got %q, want discoverd", name, got)
		}
	}
	devids, _ := filepath.Glob(filepath.Join(stateDir, "units", "*.devid"))
	if len(devids) != len(device) {
		complain("devid files: got %d, want %d", len(devids), len(device))
	}
	if got := names(filepath.Join(stateDir, "controllers")); len(got) != len(device) {
		complain("controllers with a unit file: got %v, want %d", got, len(device))
	}
	for _, name := range RegistryEntries() {
		if !slices.Contains(others, name) && !slices.Contains(slices.Collect(maps.Values(device)), name) {
			complain("registry entry of %s: there is no such controller", name)
		}
	}
	return len(found) == 0, explain(found)
}

// WaitConsistent waits until all that can be seen from outside agrees, and returns how long that took.
func WaitConsistent(t T, timeout time.Duration, wanted []TID, others ...string) time.Duration {
	t.Helper()
	begin := time.Now()
	Eventually(t, timeout, fmt.Sprintf("%d connections, each once and whole", len(wanted)), func() (bool, string) {
		return Consistent(t, wanted, others...)
	})
	return time.Since(begin)
}
