package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/machine"
)

// Which scenarios need a boot that is not the usual one is told by their names.
var (
	// ordinary are scenarios that need the ordinary kernel.
	ordinary = regexp.MustCompile(`^TestRDMA`)
	// apart are scenarios that leave in the kernel what cannot be taken out of it again: they share a boot with no others.
	apart = regexp.MustCompile(`^TestFC`)
	// upgrade is the scenario that needs an earlier build of the programs.
	upgrade = regexp.MustCompile(`^TestUpgrade$`)
	// stage is one boot of a scenario that needs several, such as TestPowerOff_2. All but the last end by the machine's being
	// switched off, and all share one data drive.
	stage = regexp.MustCompile(`^(.+)_[1-9]$`)
)

// boot is one start of the machine and the scenarios that run in it.
type boot struct {
	name      string
	kernel    machine.Kernel
	scenarios []string
	// story is the scenario of which this boot has one stage, "" where it has none.
	story string
	// first marks the story's first stage.
	first bool
}

// plan lists the boots that the scenarios need: one for each kernel, one for those that keep apart, then the stages of each
// story, those count times.
func plan(scenarios []string, count int) []boot {
	usual := map[machine.Kernel][]string{}
	alone := boot{name: "apart", kernel: machine.Cloud}
	var stages []boot
	for _, name := range slices.Sorted(slices.Values(scenarios)) {
		kernel := machine.Cloud
		if ordinary.MatchString(name) {
			kernel = machine.Ordinary
		}
		match := stage.FindStringSubmatch(name)
		switch {
		case match != nil:
		case apart.MatchString(name):
			alone.scenarios = append(alone.scenarios, name)
			continue
		default:
			usual[kernel] = append(usual[kernel], name)
			continue
		}
		first := len(stages) == 0 || stages[len(stages)-1].story != match[1]
		stages = append(stages, boot{name: name, kernel: kernel, scenarios: []string{name}, story: match[1], first: first})
	}
	var boots []boot
	for _, kernel := range []machine.Kernel{machine.Cloud, machine.Ordinary} {
		if names := usual[kernel]; len(names) > 0 {
			boots = append(boots, boot{name: string(kernel), kernel: kernel, scenarios: names})
		}
	}
	if len(alone.scenarios) > 0 {
		boots = append(boots, alone)
	}
	for range max(count, 1) {
		boots = append(boots, stages...)
	}
	return boots
}

// choose picks those of a test binary's scenarios whose names match, and their other stages. What follows a slash in the
// pattern is about subtests.
func choose(scenarios []string, pattern string) ([]string, error) {
	pattern, _, _ = strings.Cut(pattern, "/")
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("cannot read -run: %w", err)
	}
	matches := func(name string) bool { return wanted.MatchString(name) }
	return slices.DeleteFunc(slices.Clone(scenarios), func(name string) bool {
		story := stage.FindStringSubmatch(name)
		return !matches(name) && (story == nil || !slices.ContainsFunc(scenarios, func(other string) bool {
			return strings.HasPrefix(other, story[1]+"_") && matches(other)
		}))
	}), nil
}

// upgrades tells whether the boot needs an earlier build of the programs.
func (b boot) upgrades() bool { return slices.ContainsFunc(b.scenarios, upgrade.MatchString) }

// arguments make the test binary run the scenarios of this boot, a usual one's count times, and only the subtests that the
// pattern names.
func (b boot) arguments(pattern string, count int) []string {
	run := "-test.run=^(" + strings.Join(b.scenarios, "|") + ")$"
	if _, subtests, found := strings.Cut(pattern, "/"); found {
		run += "/" + subtests
	}
	words := []string{"-test.v", "-test.timeout=0", run}
	if b.story == "" && count > 1 {
		words = append(words, "-test.count="+strconv.Itoa(count))
	}
	return words
}
