//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/sched"
)

// traced is one cold start, recorded.
type traced struct {
	n           int // connections, or units
	first, cold time.Duration
	used        map[string]time.Duration // processor time by who, see who
}

// whos are the rows of the table of processor time, in their order.
var whos = []string{"nvme-discoverctl", "nvme-discoverd", "PID 1", "systemd-executor", "dbus-daemon", "journald", "udevd", "other kernel threads", "kernel threads of nvme", "this program", "all else"}

// who says whose processor time a task's is.
func who(task sched.Task) string {
	name := task.Name
	switch {
	case task.ID == 0:
		return "" // idle
	case task.ID == 1:
		return "PID 1"
	case strings.HasPrefix(name, "nvme-discoverct"):
		return "nvme-discoverctl"
	case strings.HasPrefix(name, "nvme-discoverd"):
		return "nvme-discoverd"
	case name == "systemd", strings.HasPrefix(name, "systemd-executo"), strings.HasPrefix(name, "("), name == "true":
		return "systemd-executor" // forked by PID 1, until it executes the unit's command
	case strings.HasPrefix(name, "dbus"):
		return "dbus-daemon"
	case strings.HasPrefix(name, "systemd-journal"):
		return "journald"
	case strings.HasPrefix(name, "systemd-udevd"), strings.HasPrefix(name, "(udev"):
		return "udevd"
	case strings.HasPrefix(name, "kworker") && strings.Contains(name, "nvme"):
		return "kernel threads of nvme"
	case strings.HasPrefix(name, "kworker"), strings.HasPrefix(name, "ksoftirqd"), strings.HasPrefix(name, "rcu"), strings.HasPrefix(name, "migration"), name == "kthreadd":
		return "other kernel threads"
	case name == filepath.Base(os.Args[0]):
		return "this program"
	}
	return "all else"
}

// trace measures one cold start of the service and both floors with n subsystems, all recorded, and prints where the time goes.
func trace(n int) {
	var units, writes, ours traced
	var steps []string
	guest.RunProgram("units of /bin/true", func(t guest.T) { units = traceUnits(t, n) })
	guest.RunProgram("bare connects", func(t guest.T) { writes = traceWrites(t, n) })
	guest.RunProgram("nvme-discoverd", func(t guest.T) { ours, steps = traceService(t, n) })

	fmt.Printf("\n%d subsystems, recorded; the host was shared, so compare within the table\n", n)
	fmt.Printf("%-34s %14s %14s %14s\n", "", "nvme-discoverd", "/bin/true", "bare connects")
	row := func(what string, value func(traced) string) {
		fmt.Printf("%-34s %14s %14s %14s\n", what, value(ours), value(units), value(writes))
	}
	floor := max(units.cold, writes.cold)
	row("start to all", func(t traced) string { return seconds(t.cold) })
	row("  of the larger floor", func(t traced) string { return fmt.Sprintf("%.2f", t.cold.Seconds()/floor.Seconds()) })
	row("start to first", func(t traced) string { return seconds(t.first) })
	row("per one after the first", func(t traced) string { return millis((t.cold - t.first) / time.Duration(t.n-1)) })
	fmt.Println("processor time per connection:")
	for _, who := range whos {
		row("  "+who, func(t traced) string { return millis(t.used[who] / time.Duration(t.n)) })
	}
	row("  all", func(t traced) string {
		var all time.Duration
		for _, used := range t.used {
			all += used
		}
		return millis(all / time.Duration(t.n))
	})
	fmt.Println(strings.Join(steps, "\n"))
	fmt.Println()
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

// finish reads what r recorded.
func (t *traced) finish(r *recorder) sched.Record {
	record := r.stop()
	t.used = map[string]time.Duration{}
	for task, used := range record.Used {
		if name := who(task); name != "" {
			t.used[name] += used
		}
	}
	return record
}

// traceService starts the service, and returns with it what is left to print.
func traceService(t guest.T, n int) (got traced, lines []string) {
	fmt.Printf("recording %s with %d subsystems\n", t.Name(), n)
	f := guest.Scene(t, n)
	guest.Run(t, "modprobe", "nvme-tcp")
	settle(t)
	census := guest.NewCensus()
	r := startRecorder(t)
	begin, begun := time.Now(), monotonic()
	wait := guest.Background(t, "systemctl", "start", guest.Service)
	got.n = n + 1
	got.first = untilLive(census, begin, 2, patience)
	got.cold = untilLive(census, begin, n+1, patience)
	f.WaitAllLive() // the last unit is active only now
	wait()
	record := got.finish(r)
	settle(t)
	lines = append(beginning(t, f, r, record, begun), steps(t, f, r, record)...)
	return got, append(lines, idle(t)...)
}

// moments are when what happened to one unit, zero for never.
type moments struct {
	unit                                            string
	job, forked, executed, added, connected, exited time.Duration
	active                                          time.Duration
}

// momentsOf puts together what systemd, the scheduler and the kernel's uevents say of units.
func momentsOf(t guest.T, f *guest.Fixture, r *recorder, record sched.Record) map[string]moments {
	t.Helper()
	began := map[int]time.Duration{} // processes that executed a program of ours
	for _, e := range record.Execs {
		if strings.Contains(e.File, "nvme-discover") {
			began[e.Process] = e.At
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]moments{}
	for _, nqn := range f.NQNs() {
		unit := f.Unit(nqn)
		said := guest.Properties(t, unit, "InactiveExitTimestampMonotonic", "ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic",
			"ActiveEnterTimestampMonotonic", "ExecMainPID")
		at := func(property string) time.Duration {
			usec, _ := strconv.ParseInt(said[property], 10, 64)
			return time.Duration(usec) * time.Microsecond
		}
		pid, _ := strconv.Atoi(said["ExecMainPID"])
		device, _ := os.ReadFile(guest.DevidFile(unit))
		name := strings.TrimSpace(string(device))
		all[nqn] = moments{
			unit: unit, job: at("InactiveExitTimestampMonotonic"), forked: at("ExecMainStartTimestampMonotonic"), executed: began[pid],
			added: r.first[name], connected: r.second[name], exited: at("ExecMainExitTimestampMonotonic"), active: at("ActiveEnterTimestampMonotonic"),
		}
	}
	return all
}

// beginning tells what the first connections wait for.
func beginning(t guest.T, f *guest.Fixture, r *recorder, record sched.Record, begun time.Duration) []string {
	t.Helper()
	all := momentsOf(t, f, r, record)
	service := guest.Properties(t, guest.Service, "InactiveExitTimestampMonotonic", "ExecMainPID", "ActiveEnterTimestampMonotonic")
	at := func(property string) time.Duration {
		usec, _ := strconv.ParseInt(service[property], 10, 64)
		return time.Duration(usec) * time.Microsecond
	}
	var executed time.Duration
	for _, e := range record.Execs {
		if strings.HasSuffix(e.File, "/nvme-discoverd") {
			executed = e.At
		}
	}
	dc := all[guest.DiscoveryNQN]
	delete(all, guest.DiscoveryNQN)
	first := moments{job: 1 << 62}
	for _, m := range all {
		if m.job < first.job {
			first = m
		}
	}
	lines := []string{"to the first connection, after `systemctl start`:"}
	for _, step := range []struct {
		what string
		at   time.Duration
	}{
		{"the service's job begins", at("InactiveExitTimestampMonotonic")},
		{"nvme-discoverd executed", executed},
		{"ready", at("ActiveEnterTimestampMonotonic")},
		{"DC: unit begins", dc.job},
		{"DC: nvme-discoverctl executed", dc.executed},
		{"DC: kernel begins to connect", dc.added},
		{"DC: connected", dc.connected},
		{"DC: process ended", dc.exited},
		{"DC: unit active", dc.active},
		{"first subsystem: unit begins", first.job},
		{"first subsystem: executed", first.executed},
		{"first subsystem: kernel begins", first.added},
		{"first subsystem: connected", first.connected},
	} {
		lines = append(lines, fmt.Sprintf("  %-32s %10s", step.what, millis(step.at-begun)))
	}
	return lines
}

// steps tells how long each step of a connection takes, the discovery controller's left out.
func steps(t guest.T, f *guest.Fixture, r *recorder, record sched.Record) []string {
	t.Helper()
	all := momentsOf(t, f, r, record)
	delete(all, guest.DiscoveryNQN)
	lines := []string{"steps of a connection: median, tenth, nine tenths"}
	for _, step := range []struct {
		what     string
		from, to func(moments) time.Duration
	}{
		{"unit begins → process forked", func(m moments) time.Duration { return m.job }, func(m moments) time.Duration { return m.forked }},
		{"→ nvme-discoverctl executed", func(m moments) time.Duration { return m.forked }, func(m moments) time.Duration { return m.executed }},
		{"→ kernel begins to connect", func(m moments) time.Duration { return m.executed }, func(m moments) time.Duration { return m.added }},
		{"→ connected", func(m moments) time.Duration { return m.added }, func(m moments) time.Duration { return m.connected }},
		{"→ process ended", func(m moments) time.Duration { return m.connected }, func(m moments) time.Duration { return m.exited }},
		{"→ unit active", func(m moments) time.Duration { return m.exited }, func(m moments) time.Duration { return m.active }},
		{"all", func(m moments) time.Duration { return m.job }, func(m moments) time.Duration { return m.active }},
	} {
		var took []time.Duration
		for _, m := range all {
			if step.from(m) > 0 && step.to(m) > 0 {
				took = append(took, step.to(m)-step.from(m))
			}
		}
		lines = append(lines, spread(step.what, took))
	}
	return append(lines, spread("one active → the next one begins", gaps(all)))
}

// gaps are how long a place stays empty: between the end of one job and the begin of the one that takes its place, where a
// limited number runs at a time.
func gaps(all map[string]moments) []time.Duration {
	var begins, ends, took []time.Duration
	for _, m := range all {
		begins, ends = append(begins, m.job), append(ends, m.active)
	}
	slices.Sort(begins)
	slices.Sort(ends)
	places := 0 // taken at the first end
	for places < len(begins) && begins[places] < ends[0] {
		places++
	}
	for i := places; i < len(begins); i++ {
		took = append(took, begins[i]-ends[i-places])
	}
	return took
}

func spread(what string, took []time.Duration) string {
	if len(took) == 0 {
		return fmt.Sprintf("  %-34s %10s", what, "-")
	}
	slices.Sort(took)
	return fmt.Sprintf("  %-34s %10s %10s %10s", what, millis(took[len(took)/2]), millis(took[len(took)/10]), millis(took[len(took)*9/10]))
}

// idleSpan is long enough for half an audit on the average, so one whole is waited for.
const idleSpan = 60 * time.Second

// idle tells what the service costs when nothing happens, one audit included.
func idle(t guest.T) []string {
	t.Helper()
	r := startRecorder(t)
	time.Sleep(idleSpan)
	record := r.stop()
	var used time.Duration
	turns := 0
	for task, time := range record.Used {
		if who(task) == "nvme-discoverd" {
			used, turns = used+time, turns+record.Turns[task]
		}
	}
	return []string{fmt.Sprintf("idle for %v: %s of processor time, %d times given a processor; resident memory %.1f MiB", idleSpan, millis(used), turns, float64(discoverd{}.rss(t))/1024)}
}
