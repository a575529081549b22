// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// keptEntries returns how many entries of too large log pages are kept, by the port of their discovery controllers, as the
// journal tells since the mark. What is told last counts.
func keptEntries(f *guest.Fixture, since guest.Mark) map[string]int {
	f.Helper()
	kept := map[string]int{}
	told := regexp.MustCompile(`\(tcp, 127\.0\.0\.1, (\d+), .*log page: it has \d+ entries, and the first (\d+) are kept: too many for one host`)
	for _, found := range told.FindAllStringSubmatch(f.Journal(since), -1) {
		kept[found[1]], _ = strconv.Atoi(found[2])
	}
	return kept
}

// slowSteps is how often the daemon's loop was busy with one event for more than so many seconds, a bound of the metric.
func slowSteps(t guest.T, bound string) int {
	t.Helper()
	text := guest.Ctl(t, "metrics")
	number := func(name string) int {
		_, rest, found := strings.Cut(text, "\n"+name+" ")
		line, _, _ := strings.Cut(rest, "\n")
		n, err := strconv.Atoi(line)
		if !found || err != nil {
			t.Fatalf("cannot find %s in\n%s", name, text)
		}
		return n
	}
	const steps = "nvme_discoverd_loop_step_duration_seconds"
	return number(steps+"_count") - number(steps+`_bucket{le="`+bound+`"}`)
}

// Nine discovery controllers show log pages of 65536 entries each at one time, half of which lead nowhere. The daemon keeps as many
// entries as one host can have, some of each page, and tells of each what is left out; it holds little memory and is not killed. While
// the pages are read a lost controller and an added subsystem are connected. A daemon that is restarted bears the same pages in the same way.
//
//e2e:crowded
func TestHugeLogPages(t *testing.T) {
	const (
		controllers, records = 9, 65536
		budget, least        = 32768, 1024 // entries of all pages, and of each in any case
		memory               = 128 << 10   // KiB, a quarter of what the service may have
		patience             = 5 * time.Minute
	)
	f := guest.Scene(t, 2)
	config, wanted := discoveryConfig(f.Port), f.Wanted()
	var fakes []*guest.FakeDC
	for i := range controllers {
		dc := guest.NewFakeDC(f, 8011+i)
		fakes = append(fakes, dc)
		config += discoveryConfig(dc.Port())
		wanted = append(wanted, dc.Port().TID(guest.DiscoveryNQN))
	}
	guest.Configure(f, config)
	guest.Start(f)
	guest.WaitConsistent(f, connectTimeout, wanted)
	small := entries(f, f.Subsystems...)
	huge := guest.LogPage{Generation: 2, Entries: entries(f, f.Subsystems...)}
	for i := len(huge.Entries); i < records; i++ {
		entry := small[i%2] // the same connection once more
		if i%4 > 1 {
			entry = guest.LogEntry{Transport: "loop", NQN: fmt.Sprintf("nqn.2024-01.com.example:nowhere%d", i)}
		}
		huge.Entries = append(huge.Entries, entry)
	}

	bounded := func() {
		t.Helper()
		pid := guest.MainPID(f)
		t.Logf("memory: %d KiB now, %d KiB at most", guest.Memory(pid), guest.MostMemory(pid))
		if got := guest.MostMemory(pid); got > memory {
			t.Errorf("memory: got %d KiB, want at most %d", got, memory)
		}
	}
	mark, reads := f.Mark(), fakes[0].Reads()
	for _, dc := range fakes {
		dc.Show(huge)
	}
	fakes[0].WaitRead(connectTimeout, reads)
	comeBack(f, f.Subsystems[0].NQN)
	wanted = append(wanted, f.Port.TID(addSubsystem(f, "added").NQN))
	guest.WaitConsistent(f, connectTimeout, wanted)
	t.Logf("entries kept by the time that others were connected: %v", keptEntries(f, mark))
	guest.Eventually(f, patience, "all log pages are read and cut", func() (bool, string) {
		kept := keptEntries(f, mark)
		sum, large := 0, 0
		for _, n := range kept {
			if sum += n; n > least {
				large++
			}
		}
		return len(kept) == controllers && large == 1 && sum > budget-controllers*least && sum <= budget+controllers*least, fmt.Sprint(kept)
	})
	bounded()
	t.Logf("events that the loop was busy with for more than half a second: %d", slowSteps(f, "0.5"))

	devices := guest.Devices()
	delete(devices, guest.DiscoveryNQN) // there are ten
	mark = f.Mark()
	guest.Run(f, "systemctl", "restart", guest.Service)
	guest.Eventually(f, patience, "all log pages but the one with the most room are read and cut", func() (bool, string) {
		kept := keptEntries(f, mark)
		return len(kept) >= controllers-1, fmt.Sprint(kept)
	})
	bounded()
	guest.WaitConsistent(f, connectTimeout, wanted)
	checkStay(t, devices)
	if got := guest.Restarts(f); got != "0" {
		t.Errorf("restarts of the service: got %s, want none of its own", got)
	}
}
