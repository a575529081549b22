// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

func main() {
	span := flag.Duration("time", 20*time.Minute, "how `long`")
	seed := flag.Uint64("seed", 0, "`number` that decides which faults come when; 0 is a new one")
	only := flag.String("faults", "", "play only faults whose names match this `regexp`")
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())%1_000_000 + 1
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintf(os.Stderr, "soak: cannot read -faults: %v\n", err)
		os.Exit(2)
	}
	guest.RunProgram("soak", func(t guest.T) { soak(t, *span, *seed, pattern) })
}
