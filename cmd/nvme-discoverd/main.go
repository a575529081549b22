// nvme-discoverd connects this host to the NVMe over Fabrics controllers that it should be connected to, each in a systemd
// unit of its own, and keeps it connected.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/daemon"
	"github.com/nvme-discoverd/nvme-discoverd/internal/journal"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

var version = "dev" // set by the linker

// Exit statuses. The service is not started again after the first: the same configuration would end it the same way.
const (
	exitConfig  = 1
	exitUsage   = 2
	exitRunning = 3 // something gave way that another start may find in order
)

func main() { os.Exit(run()) }

func run() int {
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
		fmt.Println("nvme-discoverd", version)
		return 0
	}
	level := &slog.LevelVar{}
	if *debug {
		level.Set(slog.LevelDebug)
	}
	log := slog.New(journal.NewHandler(os.Stderr, level, os.Getenv("JOURNAL_STREAM") != ""))
	cfg, err := config.Load(paths.Root(*root), *file)
	if err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			log.Error(line)
		}
		log.Error("not started and nothing touched: correct the configuration")
		return exitConfig
	}
	err = daemon.Run(context.Background(), daemon.Options{
		Root: paths.Root(*root), ConfigFile: *file, Config: cfg, Log: log, Level: level, Debug: *debug, Version: version,
	})
	if err != nil {
		log.Error(err.Error())
		return exitRunning
	}
	return 0
}
