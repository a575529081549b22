// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
)

const recordings = "/run/nvme/discoverd/recordings/"

// left returns the one recording in the directory of those that daemons have left whose name has the word, and that was not there before.
func left(t *testing.T, word string, before []string) string {
	t.Helper()
	found := ""
	guest.Eventually(t, time.Minute, "a recording called "+word, func() (bool, string) {
		entries, err := os.ReadDir(recordings)
		if err != nil {
			return false, err.Error()
		}
		names := ""
		for _, e := range entries {
			names += " " + e.Name()
			if strings.Contains(e.Name(), word) && !strings.Contains(strings.Join(before, " "), e.Name()) {
				found = recordings + e.Name()
			}
		}
		return found != "", names
	})
	return found
}

// A target goes away, comes back, and its discovery log changes. The recording of that, taken from the running daemon, shows it; replayed, inside and
// on the outside, the same is decided. Then the daemon is frozen and killed by the watchdog, aborted, and stopped: each time its recording is
// there, and only the last three are kept. Nothing of that touches a controller.
func TestFlightRecorder(t *testing.T) {
	f := guest.Scene(t, 2)
	guest.Override(t, "[Service]\nWatchdogSec=10\n")
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	lost := f.Subsystems[0].NQN
	comeBack(f, lost)
	addSubsystem(f, "added")
	guest.WaitConsistent(t, connectTimeout, f.Wanted())

	file := t.TempDir() + "/taken.nvmerec"
	guest.Ctl(t, "record", "--output", file)
	guest.HandOut(t, "taken.nvmerec", file)
	recordingCost(t, file)
	text := guest.Ctl(t, "replay", file)
	for _, want := range []string{"was removed", "log page of", "has changed", "start nvme-discoverd-", lost} {
		if !strings.Contains(text, want) {
			t.Errorf("the replay does not have %q in\n%s", want, text)
		}
	}
	if text := guest.Ctl(t, "replay", file, "--target", "nothing is called so"); text != "" {
		t.Errorf("a replay of nothing: got\n%s", text)
	}

	devices := guest.Devices()
	var before []string
	for _, end := range []struct {
		name string
		do   func()
		left string
	}{
		{"frozen", func() { guest.Signal(t, "STOP") }, "unexpected-end"},
		{"killed", func() { guest.Signal(t, "KILL") }, "unexpected-end"},
		{"aborted", func() { guest.Signal(t, "ABRT") }, "unexpected-end"},
	} {
		restarts := guest.Restarts(t)
		end.do()
		guest.WaitRestart(t, 2*time.Minute, restarts)
		path := left(t, end.left, before)
		before = append(before, path)
		guest.HandOut(t, end.name+".nvmerec", path)
		if text := guest.Ctl(t, "replay", path); !strings.Contains(text, "comparison with the outside") {
			t.Errorf("%s: the replay has no comparison in\n%s", end.name, text)
		}
		guest.WaitConsistent(t, connectTimeout, f.Wanted())
	}
	guest.Stop(t)
	guest.HandOut(t, "stopped.nvmerec", left(t, "-stop", nil))
	entries, err := os.ReadDir(recordings)
	if err != nil || len(entries) != 3 {
		t.Errorf("recordings that were left: got %d, want 3; %v", len(entries), err)
	}
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	if ok, seen := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", seen, devices)
	}
}

// recordingCost records again what a daemon has recorded since its start, in the batches in which it did, and compares the processor time of
// that with all that the daemon has used: it is less than 2 %. What the recorder takes once, when it begins, is told beside it.
func recordingCost(t *testing.T, path string) {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + guest.MainPID(t) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):])) // proc_pid_stat(5); the first is that of field 2
	ticks := 0
	for _, field := range fields[12:14] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	used := time.Duration(ticks) * 10 * time.Millisecond

	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	type step struct {
		at      time.Time
		event   core.Event
		effects []core.Effect
	}
	var steps []step
	var replay recording.Replay
	if err := recording.Each(file, func(r recording.Record) error {
		effects, _ := replay.Step(r)
		if r.Event == nil {
			return nil
		}
		ev, err := recording.DecodeEvent(*r.Event)
		steps = append(steps, step{r.Time(), ev, effects})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	const rounds = 20
	m := replay.Machine()
	dir, err := os.MkdirTemp("/run", "recorder") // the file system of the daemon's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	before := processorTime(t)
	r := recording.NewRecorder("cost", dir+"/ring", dir+"/left", func(warning string) { t.Error(warning) })
	r.Resize(4 << 20)
	r.Offer(steps[0].at, m)
	r.Flush()
	start := processorTime(t) - before
	before = processorTime(t)
	for range rounds {
		var flushed time.Time
		for _, s := range steps {
			if s.at.Sub(flushed) > 250*time.Millisecond {
				r.Flush()
				flushed = s.at
			}
			r.Offer(s.at, m)
			r.Begin(s.at, s.event)
			r.End(s.effects)
		}
		r.Flush()
	}
	cost := (processorTime(t) - before) / rounds
	t.Logf("recording %d steps takes %v of processor time and its start %v, the daemon has used %v: %.2f %% and %.2f %%",
		len(steps), cost, start, used, 100*float64(cost)/float64(used), 100*float64(start)/float64(used))
	if len(steps) < 20 || cost > used/50 {
		t.Errorf("the recorder's share of the processor time: got %.2f %% over %d steps, want less than 2 %%", 100*float64(cost)/float64(used), len(steps))
	}
}

// processorTime is what this process has used.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// A target goes away and comes back; then a report is written, with names and without. Both have what those who help ask for. That without
// names has none of this host's, and its recording, replayed inside and on the outside, gives the same decisions.
func TestReport(t *testing.T) {
	f := guest.Scene(t, 2)
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	comeBack(f, f.Subsystems[0].NQN)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())

	var names []string // addresses of the loopback interface tell of nobody, and stay
	for _, subsystem := range f.Subsystems {
		names = append(names, subsystem.NQN, f.Unit(subsystem.NQN))
	}
	for _, path := range []string{"/etc/hostname", "/etc/nvme/hostnqn", "/etc/nvme/hostid"} {
		if data, err := os.ReadFile(path); err == nil && len(strings.TrimSpace(string(data))) > 2 {
			names = append(names, strings.TrimSpace(string(data)))
		}
	}
	for _, args := range [][]string{nil, {"--anonymize"}} {
		dir := t.TempDir()
		out := guest.Ctl(t, append([]string{"report", "--output", dir + "/report.tar.gz"}, args...)...)
		if strings.Contains(out, "missing: ") {
			t.Errorf("report %v: something is missing:\n%s", args, out)
		}
		guest.Run(t, "tar", "-C", dir, "--strip-components=1", "-xzf", dir+"/report.tar.gz")
		for name, want := range map[string]string{
			"README": "Report of nvme-discoverctl", "status.json": `"controllers"`, "status.txt": "nvme", "configuration.json": `"kind": "discovery"`, "registry.json": `"discoverd"`,
			"units.txt": "nvme-discoverd.service", "versions.txt": "systemd ", "controllers.txt": "subsysnqn: ", "journal.txt": "nvme-discoverd starts",
		} {
			data, err := os.ReadFile(dir + "/" + name)
			if err != nil || !strings.Contains(string(data), want) {
				t.Errorf("report %v: %s: %v, or it does not have %q in\n%.2000s", args, name, err, want, data)
			}
		}
		text := guest.Ctl(t, "replay", dir+"/now.nvmerec")
		if !strings.Contains(text, "was removed") {
			t.Errorf("report %v: the recording does not have the loss in\n%s", args, text)
		}
		if args == nil {
			continue
		}
		guest.HandOut(t, "anonymous.nvmerec", dir+"/now.nvmerec")
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(dir + "/" + file.Name())
			if err != nil || file.Name() == "report.tar.gz" {
				continue
			}
			content := string(data)
			if strings.HasSuffix(file.Name(), ".nvmerec") {
				content = text
			}
			for _, name := range names {
				if i := strings.Index(content, name); i >= 0 {
					t.Errorf("%s has %s: …%q", file.Name(), name, content[max(0, i-100):min(len(content), i+100)])
				}
			}
		}
	}
}

// There is no room for the recording below /run: it is in memory, which is told once, and all else is as ever. A recording that cannot be left
// is left out.
func TestFlightRecorderWithoutRoom(t *testing.T) {
	f := guest.Scene(t, 1)
	guest.NewSmallState(t)
	mark := f.Mark()
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	waitJournal(f, mark, "cannot keep the recording in /run/nvme/discoverd/flight-recorder", "no space left on device")
	comeBack(f, f.Subsystems[0].NQN)
	file := t.TempDir() + "/memory.nvmerec"
	guest.Ctl(t, "record", "--output", file)
	guest.HandOut(t, "memory.nvmerec", file)
	if text := guest.Ctl(t, "replay", file); !strings.Contains(text, "was removed") {
		t.Errorf("the replay does not have the loss in\n%s", text)
	}
	if n := lines(f, mark, "cannot keep the recording"); n != 1 {
		t.Errorf("lines about the recording: got %d, want 1", n)
	}
	devices := guest.Devices()
	guest.Stop(t)
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	if ok, seen := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", seen, devices)
	}
}
