// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/firmware"
	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/machine"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
)

// errReported says that the output has told already what failed.
var errReported = errors.New("something failed, see above")

// programs are what can be run inside, by the name on the command line.
var programs = map[string]program{
	"scenarios": {build: []string{"test", "-c", "-tags", "e2e", "./internal/e2e/guest"}, scenarios: true, tables: firmware.Tables()},
	"demo":      {build: []string{"build", "-trimpath", "-tags", "e2e", "./internal/e2e/demo"}},
	"bench":     {build: []string{"build", "-trimpath", "-tags", "e2e", "./internal/e2e/bench"}, words: true},
	"soak":      {build: []string{"build", "-trimpath", "-tags", "e2e", "./internal/e2e/soak"}, words: true},
}

// program is one thing to run inside.
type program struct {
	build     []string // go's arguments, the output file apart
	file      string   // instead of build: an executable that is there already
	arguments []string
	scenarios bool     // is a test binary, whose tests may need several boots and are counted and summed up
	tables    [][]byte // of the computer's firmware
	words     bool     // takes the further words of the command line
}

// job is one run of the machine.
type job struct {
	program program
	suite   machine.Suite
	kernel  machine.Kernel // of programs other than the scenarios
	pattern string
	all     bool   // scenarios that seldom run too
	matrix  bool   // only scenarios that run on every Debian release
	count   int    // how often each scenario is run
	repeat  bool   // a scenario that fails gets a second chance
	keep    string // the directory for consoles, "" for none
}

func (j job) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "nvme-discoverd-e2e-")
	if err != nil {
		return fmt.Errorf("cannot make work directory: %w", err)
	}
	defer os.RemoveAll(dir)
	out := newReport(os.Stdout)

	out.host("building and installing the tree")
	stage, path := filepath.Join(dir, "stage"), filepath.Join(dir, "program")
	if err := command(ctx, nil, "make", "--no-print-directory", "build", "install", "DESTDIR="+stage, "PREFIX=/usr"); err != nil {
		return err
	}
	if j.program.file != "" {
		path = j.program.file
	} else {
		build := append([]string{j.program.build[0], "-o", path}, j.program.build[1:]...)
		if err := command(ctx, []string{"CGO_ENABLED=0"}, "go", build...); err != nil {
			return err
		}
	}
	computers := []computer{{name: "machine", processors: processors, boots: []boot{{name: "console", kernel: j.kernel}}}}
	like := machine.Machine{Suite: j.suite, Stage: stage, Program: path, Tables: j.program.tables, Dir: dir, Silence: 12 * time.Minute}
	if !j.program.scenarios {
		if !j.runAll(ctx, computers, out, like) {
			return errReported
		}
		return nil
	}
	of, err := readTraits(scenarioSources)
	if err != nil {
		return err
	}
	if computers, err = j.plan(ctx, path, of); err != nil {
		return err
	}
	if slices.ContainsFunc(computers, func(c computer) bool { return c.needs(func(t traits) bool { return t.previous }, of) }) {
		out.host("building an earlier revision")
		if err := buildPrevious(ctx, filepath.Join(dir, "previous"), filepath.Join(stage, "usr/lib/e2e/previous")); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(computers, func(c computer) bool { return c.needs(func(t traits) bool { return t.packages }, of) }) {
		out.host("building packages")
		if err := buildPackages(ctx, filepath.Join(stage, "usr/lib/e2e/packages")); err != nil {
			return err
		}
	}
	out.plan(computers)
	good := j.runAll(ctx, computers, out, like)
	for round := 2; j.repeat && round <= mostRounds && ctx.Err() == nil; round++ {
		next := out.nextRound(computers)
		if len(next) == 0 {
			break
		}
		like.Dir = filepath.Join(dir, "round-"+strconv.Itoa(round))
		if err := os.Mkdir(like.Dir, 0o755); err != nil {
			return fmt.Errorf("cannot make work directory: %w", err)
		}
		out.host(fmt.Sprintf("round %d: what failed runs once more, each scenario on a fresh machine", round))
		good = j.runAll(ctx, next, out, like)
	}
	if !out.summary(good) {
		return errReported
	}
	return nil
}

// mostRounds bounds how often scenarios are repeated: once for what failed, and once more for what fails of the scenarios
// that a machine that died left to the second round.
const mostRounds = 3

// plan asks the test binary what scenarios it has.
func (j job) plan(ctx context.Context, path string, of map[string]traits) ([]computer, error) {
	output, err := exec.CommandContext(ctx, path, "-test.list=.").Output()
	if err != nil {
		return nil, fmt.Errorf("cannot list scenarios: %w", err)
	}
	chosen, err := choose(onSuite(strings.Fields(string(output)), of, j.suite), of, j.pattern, j.all, j.matrix)
	return plan(chosen, of, j.count), err
}

// mostProcessors bounds the emulated processors of the computers that run side by side on a host with many: each computer takes
// 2 GiB of memory at most.
const mostProcessors = 8

// runAll runs the computers, so many at a time that they have two processors for each of the host's, and tells whether all ended
// well. Each is like the given machine, in a directory of its own.
func (j job) runAll(ctx context.Context, computers []computer, out *report, like machine.Machine) bool {
	var group sync.WaitGroup
	var bad atomic.Bool
	places := make(chan struct{}, min(2*runtime.NumCPU(), mostProcessors))
	for _, c := range computers {
		for range c.processors {
			places <- struct{}{}
		}
		if ctx.Err() != nil {
			out.host(c.name + " is left out: " + context.Cause(ctx).Error())
			bad.Store(true)
			break
		}
		voice := out.voice(c.name)
		if len(computers) == 1 {
			voice = out.voice("")
		}
		m := like
		m.Dir, m.Processors, m.Line, m.Progress = filepath.Join(like.Dir, c.name), c.processors, voice.guest, voice.host
		group.Go(func() {
			defer func() {
				for range c.processors {
					<-places
				}
			}()
			if err := j.runComputer(ctx, &m, c, voice); err != nil {
				voice.host(err.Error())
				bad.Store(true)
			}
		})
	}
	group.Wait()
	return !bad.Load()
}

// runComputer ends with the first boot that does not end well, which the error is about.
func (j job) runComputer(ctx context.Context, m *machine.Machine, c computer, out *voice) error {
	if err := os.Mkdir(m.Dir, 0o755); err != nil {
		return fmt.Errorf("cannot make directory of machine: %w", err)
	}
	data := ""
	var err error
	switch {
	case c.onFabric():
		data = filepath.Join(m.Dir, "data")
		err = m.CopyRoot(data)
	case c.story():
		data = filepath.Join(m.Dir, "data")
		err = machine.NewData(data)
	}
	if err != nil {
		return err
	}
	for _, b := range c.boots {
		out.boots()
		spec := machine.Boot{Name: b.name, Kernel: b.kernel, Parameters: b.parameters, Arguments: j.program.arguments, Data: data}
		if j.program.scenarios {
			spec.Arguments = b.arguments(j.pattern, j.count)
		}
		if err = start(ctx, m, spec, out); err != nil {
			break
		}
	}
	err = errors.Join(err, replayRecordings(m, out))
	if j.keep != "" {
		to := filepath.Join(j.keep, c.name)
		err = errors.Join(err, keepConsoles(m, to))
		out.keptIn(to)
	}
	return err
}

// start boots a computer once and waits for the end of that.
func start(ctx context.Context, m *machine.Machine, spec machine.Boot, out *voice) error {
	status, err := m.Run(ctx, spec)
	if err != nil {
		if tail := m.ConsoleTail(spec, 40); tail != "" {
			out.host("the end of the machine's console:\n" + tail)
		}
	} else if status != 0 {
		err = fmt.Errorf("the program inside exited with status %d", status)
	}
	out.booted(err)
	return err
}

// command runs a build step; its output is shown only if it fails, or is a warning.
func command(ctx context.Context, environment []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), environment...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("cannot run %s %s: %w\n%s", name, args[0], err, output)
	}
	return nil
}

// replayRecordings replays, on the outside, the recordings that scenarios have handed out: each has to give the recorded decisions.
func replayRecordings(m *machine.Machine, out *voice) error {
	var all error
	for _, file := range m.Files("*" + recording.Suffix) {
		name := filepath.Base(file)
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("cannot replay: %w", err)
		}
		timeline, err := recording.NewTimeline(data)
		if err != nil {
			all = errors.Join(all, fmt.Errorf("cannot replay %s: %w", name, err))
			continue
		}
		for _, line := range timeline.Lines {
			if line.Difference != nil {
				all = errors.Join(all, fmt.Errorf("replay of %s differs at %q: %s", name, line.What, strings.Join(line.Difference.Words(), "; ")))
			}
		}
		out.host(fmt.Sprintf("%s replayed on the outside: %d bytes, %d events", name, len(data), timeline.Steps))
	}
	return all
}

// keepConsoles copies what the machine's boots printed on their consoles, and what scenarios have handed out.
func keepConsoles(m *machine.Machine, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("cannot keep console: %w", err)
	}
	for _, file := range append(m.Consoles(), m.Files("*")...) {
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(file)), text, 0o644)
		}
		if err != nil {
			return fmt.Errorf("cannot keep console: %w", err)
		}
	}
	return nil
}
