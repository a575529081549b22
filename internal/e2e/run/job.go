package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/firmware"
	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/machine"
)

// errReported says that the output has told already what failed.
var errReported = errors.New("something failed, see above")

// programs are what can be run inside, by the name on the command line.
var programs = map[string]program{
	"scenarios": {build: []string{"test", "-c", "-tags", "e2e", "./internal/e2e/guest"}, scenarios: true, tables: firmware.Tables()},
	"demo":      {build: []string{"build", "-trimpath", "-tags", "e2e", "./internal/e2e/demo"}},
	"bench":     {build: []string{"build", "-trimpath", "-tags", "e2e", "./internal/e2e/bench"}},
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
	kernel  machine.Kernel // of programs other than the scenarios
	pattern string
	count   int // how often each scenario is run
	keep    string
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
	if err := command(ctx, nil, "make", "--no-print-directory", "install", "DESTDIR="+stage, "PREFIX=/usr"); err != nil {
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
	boots := []boot{{name: "console", kernel: j.kernel}}
	if j.program.scenarios {
		if boots, err = j.plan(ctx, path); err != nil {
			return err
		}
		if slices.ContainsFunc(boots, boot.upgrades) {
			out.host("building an earlier revision")
			if err := buildPrevious(ctx, filepath.Join(dir, "previous"), filepath.Join(stage, "usr/lib/e2e/previous")); err != nil {
				return err
			}
		}
	}
	m := &machine.Machine{
		Stage: stage, Program: path, Tables: j.program.tables, Dir: dir, Silence: 5 * time.Minute, Line: out.guest, Progress: out.host,
	}
	good := j.bootAll(ctx, m, boots, out)
	if j.keep != "" {
		if err := keepConsoles(m, j.keep); err != nil {
			out.host(err.Error())
			good = false
		}
	}
	if j.program.scenarios {
		good = out.summary(good)
	}
	if !good {
		return errReported
	}
	return nil
}

// plan asks the test binary what scenarios it has.
func (j job) plan(ctx context.Context, path string) ([]boot, error) {
	output, err := exec.CommandContext(ctx, path, "-test.list=.").Output()
	if err != nil {
		return nil, fmt.Errorf("cannot list scenarios: %w", err)
	}
	chosen, err := choose(strings.Fields(string(output)), j.pattern)
	return plan(chosen, j.count), err
}

// bootAll tells whether every boot ended well. A story ends with its first stage that does not.
func (j job) bootAll(ctx context.Context, m *machine.Machine, boots []boot, out *report) bool {
	allGood := true
	broken := "" // the story that ended early
	for _, b := range boots {
		if b.first || b.story != broken {
			broken = ""
		}
		if broken != "" || ctx.Err() != nil {
			out.host(b.name + " is left out: it needs what was to come before it")
			continue
		}
		if !j.boot(ctx, m, b, out) {
			allGood, broken = false, b.story
		}
	}
	return allGood
}

// boot tells whether the boot ended as it should.
func (j job) boot(ctx context.Context, m *machine.Machine, b boot, out *report) bool {
	spec := machine.Boot{Name: b.name, Kernel: b.kernel, Arguments: j.program.arguments}
	if j.program.scenarios {
		spec.Arguments = b.arguments(j.pattern, j.count)
	}
	var err error
	if b.story != "" {
		spec.Data = filepath.Join(m.Dir, b.story+".data")
		if b.first {
			err = machine.NewData(spec.Data)
		}
	}
	status := 0
	if err == nil {
		status, err = m.Run(ctx, spec)
	}
	if err != nil {
		if tail := m.ConsoleTail(spec, 40); tail != "" {
			out.host("the end of the machine's console:\n" + tail)
		}
		out.host(err.Error())
	} else if status != 0 {
		out.host(fmt.Sprintf("the program inside exited with status %d", status))
	}
	good := err == nil && status == 0
	out.booted(good)
	return good
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

// keepConsoles copies what the machine's boots printed on their consoles.
func keepConsoles(m *machine.Machine, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("cannot keep console: %w", err)
	}
	for _, file := range m.Consoles() {
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
