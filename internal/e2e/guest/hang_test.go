// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// lines counts the lines of the journal since the mark that have all the words.
func lines(f *guest.Fixture, mark guest.Mark, words ...string) int {
	f.Helper()
	count := 0
next:
	for line := range strings.Lines(f.Journal(mark)) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		count++
	}
	return count
}

// checkStay fails the scenario unless controllers are those of before: neither connected again nor twice.
func checkStay(t *testing.T, before map[string]string) {
	t.Helper()
	for nqn, device := range before {
		if live := guest.Live(nqn); len(live) != 1 || live[0] != device {
			t.Errorf("live controllers of %s: got %v, want %s", nqn, live, device)
		}
	}
}

// comeBack disconnects a controller behind the service's back and waits for another one in its place.
func comeBack(f *guest.Fixture, nqn string) {
	f.Helper()
	device := guest.Live(nqn)[0]
	guest.Delete(f, device)
	guest.Eventually(f, connectTimeout, "another controller of "+nqn, func() (bool, string) {
		live := guest.Live(nqn)
		return len(live) == 1 && guest.Devices()[nqn] == live[0] && guest.RegistryAttribute(live[0], "owner") == "discoverd", ""
	})
}

// The kernel does not answer to who reads the discovery controller in sysfs, and answers with an error to who reads one of the two
// paths to a subsystem. Each is told once, and neither is connected again. Meanwhile a lost controller, the other path,
// another discovery controller and a new subsystem are connected. A new daemon, which starts while a thread of the old one is
// still stuck, so that it did not end although it was killed, does not connect them again either; what only the discovery
// controller names, and was lost before, comes back when the kernel answers.
//
//e2e:patient
func TestWedgedControllers(t *testing.T) {
	f := guest.Scene(t, 2)
	twoPaths, other := f.Subsystems[0].NQN, f.Subsystems[1].NQN
	second := f.Target.Port(8010)
	second.Link(f.Subsystems[0])
	guest.ConfigureDiscovery(t, f.Port, second)
	guest.Start(t)
	wanted := append(f.Wanted(), second.TID(guest.DiscoveryNQN), second.TID(twoPaths))
	guest.WaitConsistent(t, connectTimeout, wanted)
	dc, path := guest.At(f.Port, guest.DiscoveryNQN), guest.At(f.Port, twoPaths)
	stay := func() {
		t.Helper()
		if gotDC, gotPath := guest.At(f.Port, guest.DiscoveryNQN), guest.At(f.Port, twoPaths); gotDC != dc || gotPath != path {
			t.Errorf("wedged controllers: got %s and %s, want %s and %s as before", gotDC, gotPath, dc, path)
		}
	}

	mark := f.Mark()
	hangs := guest.WedgeAttribute(t, dc, "address", 0)
	fails := guest.WedgeAttribute(t, path, "subsysnqn", syscall.EIO)
	for _, lost := range []string{guest.At(f.Port, other), guest.At(second, twoPaths), guest.At(second, guest.DiscoveryNQN)} {
		guest.Delete(t, lost)
	}
	guest.WaitConsistent(t, connectTimeout, wanted)
	wanted = append(wanted, f.Port.TID(addSubsystem(f, "added").NQN)) // the wedged discovery controller names it
	guest.WaitConsistent(t, connectTimeout, wanted)
	stay()
	waitJournal(f, mark, "cannot read the attributes of "+dc+": sysfs does not answer", path+"/subsysnqn: input/output error")
	for _, device := range []string{dc, path} {
		if told := lines(f, mark, "cannot read", device); told != 1 {
			t.Errorf("lines about %s: got %d, want 1", device, told)
		}
	}

	// Neither takes two minutes, or the scenario fails: no command may.
	begin := time.Now()
	guest.Run(t, "systemctl", "kill", "--kill-whom=main", "--signal=SIGKILL", guest.Service)
	guest.Try(t, "systemctl", "stop", guest.Service)
	t.Logf("the service, of which a thread stays in the kernel, was killed and stopped after %v", time.Since(begin).Round(time.Second))
	guest.Delete(t, guest.At(f.Port, other))
	guest.Start(t)
	guest.Eventually(t, connectTimeout, "the new daemon's read waits too", func() (bool, string) {
		stuck := hangs.Stuck()
		return stuck > 1, fmt.Sprint(stuck)
	})
	guest.Always(t, quietSpan, "nothing is connected again", func() (bool, string) {
		stay()
		return !t.Failed(), ""
	})
	hangs.TakeOut()
	fails.TakeOut()
	guest.WaitConsistent(t, connectTimeout, wanted)
	stay()
}

// A command that reads the log page of one discovery controller does not come back from the kernel. Another one's change
// is read and connected meanwhile, and what the first one's last page named is looked after. After five minutes the read counts as
// failed, which is told; when the command comes back, the page is read anew. As if that were not enough, all controllers but one
// hang in sysfs for a while, which keeps neither the loop nor the regular comparisons.
//
//e2e:patient
func TestStuckLogRead(t *testing.T) {
	f := guest.Scene(t, 3)
	second := f.Target.Port(8010)
	late, soon := f.Target.Subsystem("nqn.2024-01.com.example:late"), f.Target.Subsystem("nqn.2024-01.com.example:soon")
	there := f.Target.Subsystem("nqn.2024-01.com.example:there")
	second.Link(there)
	guest.ConfigureDiscovery(t, f.Port, second)
	guest.Start(t)
	wanted := append(f.Wanted(), second.TID(guest.DiscoveryNQN), second.TID(there.NQN))
	guest.WaitConsistent(t, connectTimeout, wanted)
	pid, dc := guest.MainPID(t), guest.At(f.Port, guest.DiscoveryNQN)

	mark := f.Mark()
	commands := guest.HoldCommands(t, dc)
	f.Port.Link(late)
	commands.WaitHeld()

	second.Link(soon)
	wanted = append(wanted, second.TID(soon.NQN))
	guest.WaitConsistent(t, connectTimeout, wanted)
	comeBack(f, f.Subsystems[0].NQN)
	guest.WaitConsistent(t, connectTimeout, wanted)
	if page := guest.Ctl(t, "logs", dc); !strings.Contains(page, f.Subsystems[0].NQN) || strings.Contains(page, late.NQN) {
		t.Errorf("log page: want that of before in\n%s", page)
	}
	guest.Ctl(t, "rescan")

	well := f.Subsystems[1].NQN
	devices := guest.Devices()
	delete(devices, guest.DiscoveryNQN)
	var wedges []*guest.Wedge
	for nqn, device := range maps.Clone(devices) {
		if nqn == well {
			delete(devices, nqn)
			continue
		}
		wedges = append(wedges, guest.WedgeAttribute(t, device, "address", 0))
	}
	compared := resyncs(t)
	guest.Eventually(t, 5*time.Minute, "two more regular comparisons", func() (bool, string) {
		now := resyncs(t)
		return now >= compared+2, fmt.Sprint(now)
	})
	for _, w := range wedges {
		w.WaitStuck()
	}
	comeBack(f, well)
	checkStay(t, devices)
	if status := guest.Ctl(t, "status"); !strings.Contains(status, "controllers connected") {
		t.Errorf("status: got\n%s", status)
	}
	for _, device := range devices {
		if n := lines(f, mark, device, "sysfs does not answer"); n != 1 {
			t.Errorf("lines about %s: got %d, want 1", device, n)
		}
	}
	for _, w := range wedges {
		w.TakeOut()
	}
	guest.WaitConsistent(t, connectTimeout, wanted)
	checkStay(t, devices)

	guest.Eventually(t, 8*time.Minute, "the read counts as failed", func() (bool, string) {
		return lines(f, mark, dc, "no answer within 5m0s") == 1, ""
	})
	if held := commands.Held(); held != 1 {
		t.Errorf("commands held: got %d, want 1", held)
	}
	commands.LetGo()
	wanted = append(wanted, f.Port.TID(late.NQN))
	guest.WaitConsistent(t, connectTimeout, wanted)
	if got := guest.At(f.Port, guest.DiscoveryNQN); got != dc {
		t.Errorf("discovery controller: got %s, want %s as before", got, dc)
	}
	if got := guest.MainPID(t); got != pid {
		t.Errorf("process of the daemon: got %s, want the same as before, %s", got, pid)
	}
}

// resyncs is how often the daemon has begun to compare everything; it begins one when the one before has ended.
func resyncs(t *testing.T) int {
	t.Helper()
	text := guest.Ctl(t, "metrics")
	_, rest, found := strings.Cut(text, "\nnvme_discoverd_resyncs_total ")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line)
	if !found || err != nil {
		t.Fatalf("cannot find the number of comparisons in\n%s", text)
	}
	return n
}
