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
	// patient are scenarios that wait most of the time and need next to no processor then: they share a boot of a
	// computer that has one.
	patient = regexp.MustCompile(`^Test(HungDisconnect|LinkUp|PortBackTooLate|SlowDisconnect|StopWhileBackingOff|StuckLogRead|WedgedControllers)$`)
	// crowded are scenarios of much that happens at one time: they share a boot of a computer that has two processors, always.
	crowded = regexp.MustCompile(`^Test(ArrayReboot|BusRestart|DeletedTwice|EventFlood|ExclusionEditBesideOthers|ExclusionRace|ForgedMessages|` +
		`KilledDuringConnects|LinkStorm|NoMoreProcesses|ReexecDuringConnects|RestartDuringLoss|StasAndLoss|StopWhileConnecting|` +
		`SubsystemsAddedAtOnce|VarlinkHostileClients)$`)
	// unpathed is the scenario that has a kernel whose own multipath is off.
	unpathed = regexp.MustCompile(`^TestShutdownMultipath_`)
	// remote is the boot with a root file system on a fabric.
	remote = regexp.MustCompile(`^TestRootOnFabric_1$`)
	// upgrade is the scenario that needs an earlier build of the programs.
	upgrade = regexp.MustCompile(`^TestUpgrade$`)
	// stage is one boot of a scenario that needs several, such as TestPowerOff_2. All but the last end by the machine's being
	// switched off, and all share one data drive.
	stage = regexp.MustCompile(`^(.+)_[1-9]$`)
)

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

// kernelOf returns the kernel that a scenario needs, and the words on its command line that it needs.
func kernelOf(scenario string) (kernel machine.Kernel, parameters []string) {
	switch {
	case remote.MatchString(scenario):
		return machine.Ordinary, []string{machine.RootOnFabric}
	case unpathed.MatchString(scenario):
		return machine.Cloud, []string{"nvme_core.multipath=N"}
	case ordinary.MatchString(scenario):
		return machine.Ordinary, nil
	}
	return machine.Cloud, nil
}

// plan lists the computers that the scenarios need: for those that wait, for those that crowd, for each kernel, for those that
// keep apart, then for each story, that count times.
func plan(scenarios []string, count int) []computer {
	usual := map[machine.Kernel][]string{}
	var alone, crowd, waiting []string
	var stories []computer
	for _, name := range slices.Sorted(slices.Values(scenarios)) {
		kernel, parameters := kernelOf(name)
		match := stage.FindStringSubmatch(name)
		switch {
		case match != nil:
			if n := len(stories); n == 0 || stories[n-1].name != match[1] {
				stories = append(stories, computer{name: match[1], processors: processors})
			}
			last := &stories[len(stories)-1]
			last.boots = append(last.boots, boot{name: name, kernel: kernel, parameters: parameters, scenarios: []string{name}})
		case apart.MatchString(name):
			alone = append(alone, name)
		case patient.MatchString(name):
			waiting = append(waiting, name)
		case crowded.MatchString(name):
			crowd = append(crowd, name)
		default:
			usual[kernel] = append(usual[kernel], name)
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
		all = append(all, divide(kernel, usual[kernel])...)
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

// divide spreads the scenarios of one kernel over as many computers as their number asks for. Neighbours, which often take
// equally long, come apart. Several computers have one processor each: they run side by side, and on a host with two processors
// they need a fifth less of its time that way.
func divide(kernel machine.Kernel, scenarios []string) []computer {
	n := (len(scenarios) + share - 1) / share
	parts := make([][]string, n)
	for i, name := range scenarios {
		parts[i%n] = append(parts[i%n], name)
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

// upgrades tells whether the computer needs an earlier build of the programs.
func (c computer) upgrades() bool {
	return slices.ContainsFunc(c.boots, func(b boot) bool { return slices.ContainsFunc(b.scenarios, upgrade.MatchString) })
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
