// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/machine"
)

// told writes a plan down.
func told(computers []computer) string {
	var all []string
	for _, c := range computers {
		text := c.name
		for _, b := range c.boots {
			text += fmt.Sprintf(" %s=%s[%s]", strings.Join(append([]string{b.name}, b.parameters...), ","), b.kernel, strings.Join(b.scenarios, " "))
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

// known are the traits of the scenarios that the tests plan.
var known = map[string]traits{
	"TestRDMAReset": {ordinary: true}, "TestFCLoss": {apart: true}, "TestExclusionRace": {crowded: true}, "TestStuckLogRead": {patient: true},
	"TestRootOnFabric_1": {onFabric: true}, "TestShutdownMultipath_1": {parameters: []string{"nvme_core.multipath=N"}},
	"TestLong": {seldom: true}, "TestLongStory_2": {seldom: true},
}

func TestPlan(t *testing.T) {
	all := []string{"TestA", "TestRDMAReset", "TestPowerOff_1", "TestPowerOff_2", "TestB", "TestFCLoss", "TestFCBoot_1", "TestFCBoot_2", "TestLong", "TestLongStory_1", "TestLongStory_2"}
	const powerOff = "TestPowerOff TestPowerOff_1=cloud[TestPowerOff_1] TestPowerOff_2=cloud[TestPowerOff_2]"
	tests := []struct{ name, pattern, want string }{
		{
			"usual", "",
			"cloud cloud=cloud[TestA TestB]; ordinary ordinary=ordinary[TestRDMAReset]; apart apart=cloud[TestFCLoss]; " +
				"TestFCBoot TestFCBoot_1=cloud[TestFCBoot_1] TestFCBoot_2=cloud[TestFCBoot_2]; " + powerOff,
		},
		{"one kernel only", "RDMA", "ordinary ordinary=ordinary[TestRDMAReset]"},
		{"a stage brings the others", "Off_2$", powerOff},
		{"a story by its name", "^TestPowerOff", powerOff},
		{"subtests", "^TestA$/x", "cloud cloud=cloud[TestA]"},
		{"seldom, by name", "^TestLong$", "cloud cloud=cloud[TestLong]"},
		{"none", "TestZ", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			chosen, err := choose(all, known, test.pattern, false, false)
			if err != nil {
				t.Fatal(err)
			}
			if got := told(plan(chosen, known, 1)); got != test.want {
				t.Errorf("computers:\ngot  %s\nwant %s", got, test.want)
			}
		})
	}
}

// A selection for every release has the scenarios that say so, those too that seldom run, and whole stories.
func TestChooseSelection(t *testing.T) {
	of := map[string]traits{"TestA": {everywhere: true}, "TestB": {everywhere: true, seldom: true}, "TestD_1": {everywhere: true}, "TestE": {seldom: true}}
	chosen, err := choose([]string{"TestA", "TestB", "TestC", "TestD_1", "TestD_2", "TestE"}, of, "", false, true)
	if got := strings.Join(chosen, " "); err != nil || got != "TestA TestB TestD_1 TestD_2" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestOnSuite(t *testing.T) {
	of := map[string]traits{"TestB": {only: []string{"sid"}}, "TestC": {only: []string{"trixie", "sid"}}}
	for suite, want := range map[machine.Suite]string{machine.Bookworm: "TestA", machine.Trixie: "TestA TestC", machine.Sid: "TestA TestB TestC"} {
		if got := strings.Join(onSuite([]string{"TestA", "TestB", "TestC"}, of, suite), " "); got != want {
			t.Errorf("%s: got %q, want %q", suite, got, want)
		}
	}
}

func TestChooseAll(t *testing.T) {
	chosen, err := choose([]string{"TestA", "TestLong", "TestLongStory_1", "TestLongStory_2"}, known, "", true, false)
	if want := "TestA TestLong TestLongStory_1 TestLongStory_2"; err != nil || strings.Join(chosen, " ") != want {
		t.Errorf("got %v, %v, want %s", chosen, err, want)
	}
}

// What failed runs again alone on a computer like its own, stories whole; what a dead computer never began runs together.
func TestAgain(t *testing.T) {
	first := plan([]string{"TestA", "TestB", "TestC", "TestD", "TestRDMAReset", "TestFCBoot_1", "TestFCBoot_2", "TestPowerOff_1"}, known, 1)
	failed := map[string]bool{"TestB": true, "TestFCBoot": true, "TestRDMAReset": true}
	missed := map[string]bool{"TestC": true, "TestD": true}
	next := again(first, func(unit string) bool { return failed[unit] }, func(unit string) bool { return missed[unit] })
	want := "TestB TestB=cloud[TestB]; cloud-rest cloud=cloud[TestC TestD]; TestRDMAReset TestRDMAReset=ordinary[TestRDMAReset]; " +
		"TestFCBoot-again TestFCBoot_1=cloud[TestFCBoot_1] TestFCBoot_2=cloud[TestFCBoot_2]"
	if got := told(next); got != want {
		t.Errorf("computers:\ngot  %s\nwant %s", got, want)
	}
	for _, c := range next {
		if c.processors != processors {
			t.Errorf("%s: got %d processors, want those that it had, %d", c.name, c.processors, processors)
		}
	}
}

func TestPlanParameters(t *testing.T) {
	tests := []struct {
		scenarios []string
		want      string
		onFabric  bool
	}{
		{
			[]string{"TestRootOnFabric_1", "TestRootOnFabric_2"},
			"TestRootOnFabric TestRootOnFabric_1,e2e_root=fabric=ordinary[TestRootOnFabric_1] TestRootOnFabric_2=cloud[TestRootOnFabric_2]", true,
		},
		{
			[]string{"TestShutdownMultipath_1"},
			"TestShutdownMultipath TestShutdownMultipath_1,nvme_core.multipath=N=cloud[TestShutdownMultipath_1]", false,
		},
	}
	for _, test := range tests {
		computers := plan(test.scenarios, known, 1)
		if got := told(computers); got != test.want {
			t.Errorf("computers:\ngot  %s\nwant %s", got, test.want)
		}
		if got := computers[0].onFabric(); got != test.onFabric {
			t.Errorf("%s: a root file system on a fabric: got %t, want %t", test.scenarios[0], got, test.onFabric)
		}
	}
}

func TestPlanProcessors(t *testing.T) {
	computers := plan([]string{"TestA", "TestExclusionRace", "TestExclusionRaces", "TestStuckLogRead", "TestStuckLogReads"}, known, 1)
	got := told(computers)
	want := "patient patient=cloud[TestStuckLogRead]; crowded crowded=cloud[TestExclusionRace]; " +
		"cloud cloud=cloud[TestA TestExclusionRaces TestStuckLogReads]"
	if got != want {
		t.Errorf("computers:\ngot  %s\nwant %s", got, want)
	}
	for i, want := range []int{1, 2, 2} {
		if got := computers[i].processors; got != want {
			t.Errorf("%s: got %d processors, want %d", computers[i].name, got, want)
		}
	}
}

func TestDivide(t *testing.T) {
	var names []string
	for i := range 2*share + 1 {
		names = append(names, fmt.Sprintf("Test%03d", i))
	}
	sharers := []string{"Test001", "Test005", "Test006"}
	of := map[string]traits{}
	for _, name := range sharers {
		of[name] = traits{shares: true}
	}
	computers := divide(machine.Cloud, names, of)
	for _, name := range sharers {
		if !slices.Contains(computers[0].boots[0].scenarios, name) {
			t.Errorf("%s is not where the others are that share its scene", name)
		}
	}
	seen := map[string]int{}
	for i, c := range computers {
		scenarios := c.boots[0].scenarios
		if want := fmt.Sprintf("cloud-%d", i+1); c.name != want || len(scenarios) > share {
			t.Errorf("computer %d: got %s with %d scenarios, want %s with at most %d", i+1, c.name, len(scenarios), want, share)
		}
		if c.processors != 1 {
			t.Errorf("%s: got %d processors, want 1 beside the others", c.name, c.processors)
		}
		for _, name := range scenarios {
			seen[name]++
		}
	}
	for _, name := range names {
		if seen[name] != 1 {
			t.Errorf("%s: planned %d times, want once", name, seen[name])
		}
	}
}

func TestChooseBadPattern(t *testing.T) {
	_, err := choose(nil, nil, "(", false, false)
	if want := "cannot read -run: error parsing regexp: missing closing ): `(`"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestArguments(t *testing.T) {
	tests := []struct {
		name, pattern string
		boot          boot
		count         int
		want          string
	}{
		{"usual", "", boot{scenarios: []string{"TestA", "TestB"}}, 1, "-test.run=^(TestA|TestB)$"},
		{"subtests", "A|B/x", boot{scenarios: []string{"TestA", "TestB"}}, 1, "-test.run=^(TestA|TestB)$/x"},
		{"repeated", "", boot{name: "cloud", scenarios: []string{"TestA"}}, 3, "-test.run=^(TestA)$ -test.count=3"},
		{"a stage is repeated by more boots", "", boot{name: "TestA_1", scenarios: []string{"TestA_1"}}, 3, "-test.run=^(TestA_1)$"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, want := strings.Join(test.boot.arguments(test.pattern, test.count), " "), "-test.v -test.timeout=0 "+test.want
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestStoriesRepeated(t *testing.T) {
	const boots = " TestA_1=cloud[TestA_1] TestA_2=cloud[TestA_2]"
	if got, want := told(plan([]string{"TestA_1", "TestA_2"}, nil, 2)), "TestA"+boots+"; TestA-2"+boots; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
