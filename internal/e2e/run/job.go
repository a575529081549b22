package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/firmware"
	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/machine"
)

// errReported says that the output has told already what failed.
var errReported = errors.New("something failed, see above")

// programs are what can be run inside, by the name on the command line.
var programs = map[string]program{
	"scenarios": {
		build:     []string{"test", "-c", "-tags", "e2e", "./internal/e2e/guest"},
		arguments: []string{"-test.v", "-test.timeout=0"},
		counted:   true,
		tables:    firmware.Tables(),
	},
	"demo":  {build: []string{"build", "-trimpath", "-tags", "e2e", "./internal/e2e/demo"}},
	"bench": {build: []string{"build", "-trimpath", "-tags", "e2e", "./internal/e2e/bench"}},
	"soak":  {build: []string{"build", "-trimpath", "-tags", "e2e", "./internal/e2e/soak"}, words: true},
}

// program is one thing to run inside.
type program struct {
	build     []string // go's arguments, the output file apart
	file      string   // instead of build: an executable that is there already
	arguments []string
	counted   bool     // prints `go test -v` lines, to be counted and summed up
	tables    [][]byte // of the computer's firmware
	words     bool     // takes the further words of the command line
}

// job is one run of the machine.
type job struct {
	program program
	pattern string
	count   int // how often each scenario is run
	timeout time.Duration
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

	arguments := j.program.arguments
	if j.pattern != "" {
		arguments = append(arguments, "-test.run="+j.pattern)
	}
	if j.program.counted && j.count > 1 {
		arguments = append(arguments, "-test.count="+strconv.Itoa(j.count))
	}
	m := &machine.Machine{
		Stage: stage, Program: path, Arguments: arguments, Tables: j.program.tables, Dir: dir,
		Timeout: j.timeout, Silence: 5 * time.Minute,
		Line: out.guest, Progress: out.host,
	}
	status, err := m.Run(ctx)
	if j.keep != "" {
		err = errors.Join(err, keepConsole(dir, j.keep))
	}
	if err != nil {
		if tail := m.ConsoleTail(40); tail != "" {
			out.host("the end of the machine's console:\n" + tail)
		}
		out.host(err.Error())
	} else if status != 0 {
		out.host(fmt.Sprintf("the program inside exited with status %d", status))
	}
	failed := err != nil || status != 0
	if j.program.counted {
		failed = !out.summary(!failed)
	}
	if failed {
		return errReported
	}
	return nil
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

func keepConsole(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("cannot keep console: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(from, "console.log"))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, "console.log"), text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot keep console: %w", err)
	}
	return nil
}
