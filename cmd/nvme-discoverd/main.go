// SPDX-License-Identifier: GPL-3.0-or-later

// nvme-discoverd connects this host to the NVMe over Fabrics controllers that it should be connected to, each in a systemd
// unit of its own, and keeps it connected.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/credential"
	"github.com/nvme-discoverd/nvme-discoverd/internal/daemon"
	"github.com/nvme-discoverd/nvme-discoverd/internal/journal"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

var version = "dev" // set by the linker

// Exit statuses. The service is not started again after the first: another start would end the same way.
const (
	exitConfig  = 1 // the configuration file that was named is not there, another daemon runs, or the version cannot be printed
	exitUsage   = 2
	exitRunning = 3 // something gave way that another start may find in order
)

func main() { os.Exit(run()) }

func run() int {
	// First of all: until then, a SIGHUP ends the process.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	file := flag.String("config", "", "read this `FILE` instead of /etc/nvme/discoverd.conf")
	root := flag.String("root", "", "look for every other file below this `DIR`")
	debug := flag.Bool("debug", false, "log everything, whatever log-level says")
	showVersion := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "nvme-discoverd: unexpected argument %q, see --help\n", flag.Arg(0))
		return exitUsage
	}
	if *showVersion {
		if _, err := fmt.Println("nvme-discoverd", version); err != nil {
			fmt.Fprintln(os.Stderr, "cannot write the output:", err)
			return exitConfig
		}
		return 0
	}
	dumps := secret.NoDumps() // before any secret is read
	level := &slog.LevelVar{}
	if *debug {
		level.Set(slog.LevelDebug)
	}
	service := journal.LeadsHere(os.Stderr, os.Getenv("JOURNAL_STREAM"))
	// The first and the last words go down standard error: of one who ends at once, the journal may not find out any more
	// which unit's they were.
	stderr := slog.New(journal.NewHandler(os.Stderr, level, service))
	if dumps != nil {
		stderr.Warn(dumps.Error())
	}
	if _, err := os.Stat(*file); *file != "" && errors.Is(err, fs.ErrNotExist) {
		stderr.Error(fmt.Sprintf("not started and nothing touched: there is no %s, which --config names", *file))
		return exitConfig
	}
	loader := config.NewLoader(paths.Root(*root), *file)
	loader.Credentials = credential.Directory(paths.Root(*root), os.Getenv("CREDENTIALS_DIRECTORY"))
	cfg, _ := loader.Load() // its errors are logged with what comes of it
	ctl, err := ctlOfThis()
	if err != nil {
		stderr.Error(err.Error())
		return exitRunning
	}
	log := stderr
	if service {
		fields, err := journal.Connect(level)
		if err != nil {
			stderr.Warn(err.Error() + ": log lines carry no fields")
		} else {
			defer fields.Close()
			log = slog.New(fields)
		}
	}
	err = daemon.Run(context.Background(), daemon.Options{
		Root: paths.Root(*root), Loader: loader, Config: cfg, Log: log, Level: level, Debug: *debug, Version: version, Hangups: hangups,
		Ctl: ctl,
	})
	switch {
	case errors.Is(err, daemon.ErrRunning):
		stderr.Error(err.Error())
		return exitConfig
	case err != nil:
		stderr.Error(err.Error())
		return exitRunning
	}
	return 0
}
