// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/machine"
)

// stage is one boot of a scenario that needs several, such as TestPowerOff_2. All but the last end by the machine's being
// switched off, and all share one data drive.
var stage = regexp.MustCompile(`^(.+)_[1-9]$`)

// unitOf names what is chosen, repeated and judged as one: a scenario, or the story that a stage belongs to.
func unitOf(scenario string) string {
	if match := stage.FindStringSubmatch(scenario); match != nil {
		return match[1]
	}
	return scenario
}

// share is how many scenarios one usual boot has at most: machines that run side by side are to end at about one time, and a
// boot costs as much as two scenarios, more beside others.
const share = 40

// processors is how many a computer has, unless it is one of many or next to idle.
const processors = 2

// computer is what one emulated computer is for: one boot, or all those of a story, one after the other.
type computer struct {
	name       string
	boots      []boot
	processors int
}

// boot is one start of a computer and the scenarios that run in it.
type boot struct {
	name       string
	kernel     machine.Kernel
	parameters []string
	scenarios  []string
}

// story tells whether the computer's boots are the stages of one scenario, which share a data drive.
func (c computer) story() bool { return stage.MatchString(c.boots[0].name) }

// onFabric tells whether one of the computer's boots has its root file system on a fabric.
func (c computer) onFabric() bool {
	return slices.ContainsFunc(c.boots, func(b boot) bool { return slices.Contains(b.parameters, machine.RootOnFabric) })
}

// boot is the boot of a scenario by itself.
func (t traits) boot(scenario string) boot {
	b := boot{name: scenario, kernel: machine.Cloud, parameters: t.parameters, scenarios: []string{scenario}}
	if t.onFabric {
		b.parameters = append(slices.Clone(b.parameters), machine.RootOnFabric)
	}
	if t.ordinary || t.onFabric {
		b.kernel = machine.Ordinary
	}
	return b
}

// plan lists the computers that the scenarios need: for those that wait, for those that crowd, for each kernel, for those that
// keep apart, then for each story, that count times.
func plan(scenarios []string, of map[string]traits, count int) []computer {
	usual := map[machine.Kernel][]string{}
	var alone, crowd, waiting []string
	var stories []computer
	for _, name := range slices.Sorted(slices.Values(scenarios)) {
		t := of[name]
		own := t.boot(name)
		story := unitOf(name)
		switch {
		case story != name:
			if n := len(stories); n == 0 || stories[n-1].name != story {
				stories = append(stories, computer{name: story, processors: processors})
			}
			last := &stories[len(stories)-1]
			last.boots = append(last.boots, own)
		case t.apart:
			alone = append(alone, name)
		case t.patient:
			waiting = append(waiting, name)
		case t.crowded:
			crowd = append(crowd, name)
		default:
			usual[own.kernel] = append(usual[own.kernel], name)
		}
	}
	var all []computer
	if len(waiting) > 0 {
		all = append(all, single("patient", machine.Cloud, 1, waiting))
	}
	if len(crowd) > 0 {
		all = append(all, single("crowded", machine.Cloud, processors, crowd))
	}
	for _, kernel := range []machine.Kernel{machine.Cloud, machine.Ordinary} {
		all = append(all, divide(kernel, usual[kernel], of)...)
	}
	if len(alone) > 0 {
		all = append(all, single("apart", machine.Cloud, processors, alone))
	}
	for i := range max(count, 1) {
		for _, story := range stories {
			if i > 0 {
				story.name += "-" + strconv.Itoa(i+1)
			}
			all = append(all, story)
		}
	}
	return all
}

// again lists the computers of the next round: each scenario that failed runs alone on a computer like the one that it had,
// stories whole, and what a computer that died never began runs together on another one.
func again(computers []computer, failed, missed func(unit string) bool) []computer {
	var next []computer
	for _, c := range computers {
		if c.story() {
			if unit := unitOf(c.boots[0].name); failed(unit) || missed(unit) {
				c.name += "-again"
				next = append(next, c)
			}
			continue
		}
		b := c.boots[0]
		var left []string
		for _, scenario := range b.scenarios {
			switch {
			case failed(scenario):
				own := b
				own.name, own.scenarios = scenario, []string{scenario}
				next = append(next, computer{name: scenario, processors: c.processors, boots: []boot{own}})
			case missed(scenario):
				left = append(left, scenario)
			}
		}
		if len(left) > 0 {
			b.scenarios = left
			next = append(next, computer{name: c.name + "-rest", processors: c.processors, boots: []boot{b}})
		}
	}
	return next
}

// divide spreads the scenarios of one kernel over as many computers as their number asks for. Neighbours, which often take
// equally long, come apart, but for those that share a scene. Several computers have one processor each: they run side by side, and on a host with two processors
// they need a fifth less of its time that way.
func divide(kernel machine.Kernel, scenarios []string, of map[string]traits) []computer {
	n := (len(scenarios) + share - 1) / share
	parts := make([][]string, n)
	for _, name := range scenarios {
		if of[name].shares {
			parts[0] = append(parts[0], name)
		}
	}
	for _, name := range scenarios {
		if !of[name].shares {
			least := 0
			for i := range parts {
				if len(parts[i]) < len(parts[least]) {
					least = i
				}
			}
			parts[least] = append(parts[least], name)
		}
	}
	var computers []computer
	for i, part := range parts {
		name, has := string(kernel), processors
		if n > 1 {
			name, has = name+"-"+strconv.Itoa(i+1), 1
		}
		computers = append(computers, single(name, kernel, has, part))
	}
	return computers
}

// single is a computer that has so many processors and boots once.
func single(name string, kernel machine.Kernel, has int, scenarios []string) computer {
	return computer{name: name, processors: has, boots: []boot{{name: name, kernel: kernel, scenarios: scenarios}}}
}

// needs tells whether one of the computer's scenarios has a trait.
func (c computer) needs(trait func(traits) bool, of map[string]traits) bool {
	return slices.ContainsFunc(c.boots, func(b boot) bool {
		return slices.ContainsFunc(b.scenarios, func(scenario string) bool { return trait(of[scenario]) })
	})
}

// onSuite leaves out scenarios that are not for the suite.
func onSuite(scenarios []string, of map[string]traits, suite machine.Suite) []string {
	return slices.DeleteFunc(slices.Clone(scenarios), func(name string) bool {
		only := of[name].only
		return only != nil && !slices.Contains(only, string(suite))
	})
}

// choose picks those of a test binary's scenarios whose names match, and their other stages. What follows a slash in the
// pattern is about subtests. Of a selection, only those are picked that run everywhere. Without a pattern, the scenarios that seldom
// run are left out unless all are asked for.
func choose(scenarios []string, of map[string]traits, pattern string, all, selection bool) ([]string, error) {
	pattern, _, _ = strings.Cut(pattern, "/")
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("cannot read -run: %w", err)
	}
	chosen := map[string]bool{}
	for _, name := range scenarios {
		if wanted.MatchString(name) && (!selection || of[name].everywhere) {
			chosen[unitOf(name)] = true
		}
	}
	if pattern == "" && !all && !selection {
		for _, name := range scenarios {
			if of[name].seldom {
				delete(chosen, unitOf(name))
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(scenarios), func(name string) bool { return !chosen[unitOf(name)] }), nil
}

// arguments make the test binary run the scenarios of this boot, count times unless it is one of a story, and only the
// subtests that the pattern names.
func (b boot) arguments(pattern string, count int) []string {
	run := "-test.run=^(" + strings.Join(b.scenarios, "|") + ")$"
	if _, subtests, found := strings.Cut(pattern, "/"); found {
		run += "/" + subtests
	}
	words := []string{"-test.v", "-test.timeout=0", run}
	if count > 1 && !stage.MatchString(b.name) {
		words = append(words, "-test.count="+strconv.Itoa(count))
	}
	return words
}
