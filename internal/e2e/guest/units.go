// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"context"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// Service is the unit of the daemon.
const Service = "nvme-discoverd.service"

// WaitOnline is the service that waits until everything is connected. Its name looks like that of a connection's unit.
const WaitOnline = "nvme-discoverd-wait-online.service"

// Property asks systemd for one property of a unit.
func Property(t T, unit, name string) string {
	t.Helper()
	return strings.TrimSuffix(Run(t, "systemctl", "show", "--value", "--property="+name, unit), "\n")
}

// Properties asks systemd for several properties of a unit.
func Properties(t T, unit string, names ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	output := Run(t, "systemctl", "show", "--property="+strings.Join(names, ","), unit)
	for line := range strings.Lines(output) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		all[key] = value
	}
	return all
}

// Units lists the names of the connections' units that systemd holds, in whatever state.
func Units(t T) []string {
	t.Helper()
	var found []string
	for _, u := range listUnits(t, "ListUnitsByPatterns", []string{}, []string{"nvme-discoverd-*.service"}) {
		if u.Name != WaitOnline {
			found = append(found, u.Name)
		}
	}
	slices.Sort(found)
	return found
}

// ActiveState is systemd's word for how a unit is.
func ActiveState(t T, unit string) string {
	t.Helper()
	return ActiveStates(t, unit)[unit]
}

// ActiveStates asks for the states of several units at once.
func ActiveStates(t T, units ...string) map[string]string {
	t.Helper()
	states := map[string]string{}
	for _, u := range listUnits(t, "ListUnitsByNames", units) {
		states[u.Name] = u.ActiveState
	}
	return states
}

// unitStatus is one unit in the lists that PID 1 gives (org.freedesktop.systemd1(5)).
type unitStatus struct {
	Name, Description, LoadState, ActiveState, SubState, Following string

	Path    dbus.ObjectPath
	JobID   uint32
	JobType string
	JobPath dbus.ObjectPath
}

// listUnits calls one of PID 1's methods that list units, at its private socket, as systemctl does: that works without a bus,
// and costs a tenth of a call of systemctl, of which scenarios would make thousands. PID 1 hangs up when it executes itself
// anew, so a failure is tried again for a while.
func listUnits(t T, method string, args ...any) []unitStatus {
	t.Helper()
	var list []unitStatus
	eventually(t, follow.Units, commandTimeout, "an answer of PID 1", func() (bool, string) {
		conn, err := dbus.Dial("unix:path=/run/systemd/private")
		if err != nil {
			return false, err.Error()
		}
		defer conn.Close()
		if err := conn.Auth([]dbus.Auth{dbus.AuthExternal("0")}); err != nil {
			return false, err.Error()
		}
		ctx, cancel := context.WithTimeout(context.Background(), commandTimeout/2)
		defer cancel()
		manager := conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
		if err := manager.CallWithContext(ctx, "org.freedesktop.systemd1.Manager."+method, 0, args...).Store(&list); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	return list
}

// Argv returns the words of one of a unit's commands, such as ExecStart. None of ours has a space in it.
func Argv(t T, unit, property string) []string {
	t.Helper()
	value := Property(t, unit, property)
	_, rest, found := strings.Cut(value, "argv[]=")
	if !found {
		return nil
	}
	line, _, _ := strings.Cut(rest, " ;")
	return strings.Fields(line)
}

// Option returns the value of --name=value among the words of a command.
func Option(argv []string, name string) (string, bool) {
	for _, word := range argv {
		if word == "--"+name {
			return "", true
		}
		if value, found := strings.CutPrefix(word, "--"+name+"="); found {
			return value, true
		}
	}
	return "", false
}
