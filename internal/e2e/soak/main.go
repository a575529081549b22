//go:build e2e

package main

import (
	"flag"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

func main() {
	span := flag.Duration("time", 20*time.Minute, "how `long`")
	seed := flag.Uint64("seed", 0, "`number` that decides which faults come when; 0 is a new one")
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())%1_000_000 + 1
	}
	guest.RunProgram("soak", func(t guest.T) { soak(t, *span, *seed) })
}
