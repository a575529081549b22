// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package main

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// usage is what the whole machine has used since it booted.
type usage struct {
	cpu       time.Duration
	processes int
}

// readUsage reads /proc/stat, whose times are in hundredths of a second.
func readUsage(t guest.T) usage {
	t.Helper()
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatalf("cannot read processor time: %v", err)
	}
	var got usage
	for line := range strings.Lines(string(stat)) {
		words := strings.Fields(line)
		switch words[0] {
		case "cpu":
			for i, word := range words[1:] {
				ticks, _ := strconv.Atoi(word)
				if i != 3 && i != 4 { // idle, waiting for a disk
					got.cpu += time.Duration(ticks) * 10 * time.Millisecond
				}
			}
		case "processes":
			got.processes, _ = strconv.Atoi(words[1])
		}
	}
	return got
}

// settle waits until the machine has nothing left to do, so that one measurement does not disturb the next.
func settle(t guest.T) {
	t.Helper()
	const calm = 200 * time.Millisecond // of processor time in a second, on two processors
	guest.Eventually(t, patience, "machine is calm", func() (bool, string) {
		before := readUsage(t)
		for range 10 {
			guest.Pause()
		}
		used := readUsage(t).cpu - before.cpu
		return used < calm, used.String()
	})
}
