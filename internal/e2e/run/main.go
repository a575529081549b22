// SPDX-License-Identifier: GPL-3.0-or-later

// Command run boots the end-to-end machine with this tree installed in it and runs one of the programs made for the
// inside: the scenarios, the demonstration, the benchmark or the soak. It is what `make e2e`, `make demo`, `make bench` and
// `make soak` call.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/machine"
)

func main() {
	pattern := flag.String("run", "", "run only the scenarios whose names match this `regexp`")
	all := flag.Bool("all", false, "run the scenarios too that seldom run")
	matrix := flag.Bool("matrix", false, "run only the scenarios that run on every Debian release")
	repeat := flag.Bool("repeat", false, "run a scenario that fails once more, alone on a fresh machine")
	count := flag.Int("count", 1, "run each scenario this `number` of times")
	timeout := flag.Duration("timeout", time.Hour, "give up after this `time`, boots included")
	keep := flag.String("keep", "", "keep the consoles in this `directory`")
	kernel := flag.String("kernel", string(machine.Cloud), "boot this `kernel`, cloud or ordinary; scenarios choose theirs themselves")
	suiteName := flag.String("suite", string(machine.Trixie), "boot this Debian `suite`: bookworm, trixie or sid")
	flag.Usage = usage
	flag.Parse()
	program, ok := programs[flag.Arg(0)]
	if flag.Arg(0) == "exec" && flag.NArg() == 2 {
		program.file, ok = flag.Arg(1), true
	} else {
		ok = ok && (flag.NArg() == 1 || program.words)
	}
	if !ok {
		usage()
		os.Exit(2)
	}
	suite, err := machine.ParseSuite(*suiteName)
	if err != nil {
		fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
		os.Exit(2)
	}
	if program.words {
		program.arguments = flag.Args()[1:]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, *timeout, fmt.Errorf("cannot go on: not finished after %v", *timeout))
	defer cancel()
	job := job{program: program, suite: suite, kernel: machine.Kernel(*kernel), pattern: *pattern, all: *all, matrix: *matrix, count: *count, repeat: *repeat, keep: *keep}
	if err := job.run(ctx); err != nil {
		stop()
		if !errors.Is(err, errReported) {
			fmt.Fprintf(os.Stderr, "e2e: %s\n", strings.TrimRight(err.Error(), "\n"))
		}
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintf(flag.CommandLine.Output(), "usage: run [-run REGEXP] [-all] [-matrix] [-count NUMBER] [-repeat] [-timeout TIME] [-keep DIR] [-suite SUITE] scenarios|demo\n"+
		"       run [-timeout TIME] [-keep DIR] [-suite SUITE] soak [-time TIME] [-seed NUMBER] [-faults REGEXP]\n"+
		"       run [-timeout TIME] [-keep DIR] [-suite SUITE] bench [-n NUMBERS] [-trace]\n"+
		"       run [-timeout TIME] [-keep DIR] [-suite SUITE] [-kernel KERNEL] exec FILE   (a script or static executable of your own)\n")
	flag.PrintDefaults()
}
