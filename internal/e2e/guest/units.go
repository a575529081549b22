//go:build e2e

package guest

import (
	"slices"
	"strings"
)

// Service is the unit of the daemon.
const Service = "nvme-discoverd.service"

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
	output := Run(t, "systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", "nvme-discoverd-*.service")
	for line := range strings.Lines(output) {
		found = append(found, strings.Fields(line)[0])
	}
	slices.Sort(found)
	return found
}

// ActiveState is systemd's word for how a unit is.
func ActiveState(t T, unit string) string {
	t.Helper()
	return Property(t, unit, "ActiveState")
}

// ActiveStates asks for the states of several units at once: every call of systemctl costs a quarter of a second here.
func ActiveStates(t T, units ...string) map[string]string {
	t.Helper()
	states := map[string]string{}
	output := Run(t, "systemctl", append([]string{"show", "--property=Id,ActiveState"}, units...)...)
	for block := range strings.SplitSeq(output, "\n\n") {
		_, id, _ := strings.Cut("\n"+block, "\nId=")
		_, state, _ := strings.Cut("\n"+block, "\nActiveState=")
		id, _, _ = strings.Cut(id, "\n")
		states[id], _, _ = strings.Cut(state, "\n")
	}
	return states
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
