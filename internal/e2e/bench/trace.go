// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
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
	unnamed     map[string]time.Duration // what is all else of that, by the name of the task
}

// whos are the rows of the table of processor time, in their order.
var whos = []string{"nvme-discoverctl", "nvme-discoverd", "PID 1", "systemd-executor", "dbus-daemon", "journald", "udevd", "modprobe by the kernel", "kernel threads", "this program", "all else"}

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
	case strings.HasPrefix(name, "systemd-udevd"), strings.HasPrefix(name, "(udev"):
		return "udevd"
	case name == "9", name == "systemd", strings.HasPrefix(name, "systemd-executo"), strings.HasPrefix(name, "("), strings.HasPrefix(name, "sd-"), name == "true":
		return "systemd-executor" // forked by PID 1, which executes it by a descriptor, hence the 9, until it executes the unit's command
	case strings.HasPrefix(name, "dbus"):
		return "dbus-daemon"
	case name == "modprobe":
		return "modprobe by the kernel" // at every connect (drivers/nvme/host/fabrics.c, nvmf_create_ctrl)
	case strings.HasPrefix(name, "systemd-journal"):
		return "journald"
	case strings.HasPrefix(name, "kworker"), strings.HasPrefix(name, "ksoftirqd"), strings.HasPrefix(name, "rcu"), strings.HasPrefix(name, "migration"), name == "kthreadd":
		return "kernel threads"
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
	fmt.Println("  all else of nvme-discoverd's: " + most(ours.unnamed, 6, ours.n))
	fmt.Println(strings.Join(steps, "\n"))
	fmt.Println()
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

// most names those who used most processor time, and how much for each of n.
func most(used map[string]time.Duration, count, n int) string {
	names := slices.SortedFunc(maps.Keys(used), func(a, b string) int { return cmp.Compare(used[b], used[a]) })
	var said []string
	for _, name := range names[:min(count, len(names))] {
		said = append(said, name+" "+millis(used[name]/time.Duration(n)))
	}
	return strings.Join(said, ", ")
}

// finish reads what r recorded.
func (t *traced) finish(r *recorder) sched.Record {
	record := r.stop()
	t.used = record.Used(0, forever, who)
	delete(t.used, "")
	t.unnamed = record.Used(0, forever, func(task sched.Task) string {
		if who(task) != "all else" {
			return ""
		}
		return task.Name
	})
	delete(t.unnamed, "")
	return record
}

// forever is later than every moment of a recording.
const forever = time.Duration(math.MaxInt64)

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
	for _, program := range []string{"nvme-discoverd", "nvme-discoverctl"} {
		lines = append(lines, "system calls of "+program+" per connection: "+calls(record, program, got.n))
	}
	return got, append(lines, idle(t)...)
}

// callNames are the names of the calls that matter, by their numbers on amd64.
var callNames = map[int]string{
	0: "read", 1: "write", 3: "close", 4: "stat", 5: "fstat", 8: "lseek", 9: "mmap", 10: "mprotect", 13: "rt_sigaction", 14: "rt_sigprocmask",
	15: "rt_sigreturn", 16: "ioctl", 17: "pread64", 18: "pwrite64", 24: "sched_yield", 28: "madvise", 35: "nanosleep", 39: "getpid", 41: "socket",
	42: "connect", 44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 49: "bind", 54: "setsockopt", 55: "getsockopt", 56: "clone",
	59: "execve", 72: "fcntl", 73: "flock", 74: "fsync", 77: "ftruncate", 82: "rename", 87: "unlink", 89: "readlink", 91: "fchmod", 131: "sigaltstack",
	186: "gettid", 202: "futex", 204: "sched_getaffinity", 217: "getdents64", 228: "clock_gettime", 233: "epoll_ctl", 234: "tgkill", 257: "openat",
	258: "mkdirat", 262: "newfstatat", 263: "unlinkat", 264: "renameat", 267: "readlinkat", 268: "fchmodat", 281: "epoll_pwait", 288: "accept4",
}

// calls tells which system calls a program makes most often, for each of n connections.
func calls(record sched.Record, program string, n int) string {
	count, all := map[string]int{}, 0
	for _, c := range record.Calls {
		if who(sched.Task{ID: 2, Name: c.Name}) == program {
			all++
			count[cmp.Or(callNames[c.Number], strconv.Itoa(c.Number))]++
		}
	}
	said := []string{fmt.Sprintf("%.0f", float64(all)/float64(n))}
	names := slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Compare(count[b], count[a]) })
	for _, name := range names[:min(14, len(names))] {
		said = append(said, fmt.Sprintf("%s %.1f", name, float64(count[name])/float64(n)))
	}
	return strings.Join(said, ", ")
}

// moments are when what happened to one unit, zero for never.
type moments struct {
	forked, executed, added, connected, exited, active time.Duration
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
		said := guest.Properties(t, unit, "ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic",
			"ActiveEnterTimestampMonotonic", "ExecMainPID")
		at := func(property string) time.Duration {
			usec, _ := strconv.ParseInt(said[property], 10, 64)
			return time.Duration(usec) * time.Microsecond
		}
		pid, _ := strconv.Atoi(said["ExecMainPID"])
		device, _ := os.ReadFile(guest.DevidFile(unit))
		name := strings.TrimSpace(string(device))
		all[nqn] = moments{
			forked: at("ExecMainStartTimestampMonotonic"), executed: began[pid],
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
	first := moments{forked: forever}
	for _, m := range all {
		if m.forked < first.forked {
			first = m
		}
	}
	lines := []string{"to the first connection, after `systemctl start`, and who used the processors since the step before:"}
	before := begun
	for _, step := range []struct {
		what string
		at   time.Duration
	}{
		{"the service's job begins", at("InactiveExitTimestampMonotonic")},
		{"nvme-discoverd executed", executed},
		{"ready", at("ActiveEnterTimestampMonotonic")},
		{"DC: process forked", dc.forked},
		{"DC: nvme-discoverctl executed", dc.executed},
		{"DC: kernel begins to connect", dc.added},
		{"DC: connected", dc.connected},
		{"DC: process ended", dc.exited},
		{"DC: unit active", dc.active},
		{"first subsystem: process forked", first.forked},
		{"first subsystem: executed", first.executed},
		{"first subsystem: kernel begins", first.added},
		{"first subsystem: connected", first.connected},
	} {
		used := record.Used(before, step.at, who)
		delete(used, "")
		lines = append(lines, fmt.Sprintf("  %-32s %10s   %s", step.what, millis(step.at-begun), most(used, 4, 1)))
		before = max(before, step.at)
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
		{"forked → nvme-discoverctl executed", func(m moments) time.Duration { return m.forked }, func(m moments) time.Duration { return m.executed }},
		{"→ kernel begins to connect", func(m moments) time.Duration { return m.executed }, func(m moments) time.Duration { return m.added }},
		{"→ connected", func(m moments) time.Duration { return m.added }, func(m moments) time.Duration { return m.connected }},
		{"→ process ended", func(m moments) time.Duration { return m.connected }, func(m moments) time.Duration { return m.exited }},
		{"→ unit active", func(m moments) time.Duration { return m.exited }, func(m moments) time.Duration { return m.active }},
		{"all", func(m moments) time.Duration { return m.forked }, func(m moments) time.Duration { return m.active }},
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
		begins, ends = append(begins, m.forked), append(ends, m.active)
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
	turns := 0
	for _, turn := range record.Turns {
		if who(turn.Task) == "nvme-discoverd" {
			turns++
		}
	}
	used := record.Used(0, forever, who)["nvme-discoverd"]
	return []string{fmt.Sprintf("idle for %v: %s of processor time, %d times given a processor; resident memory %.1f MiB", idleSpan, millis(used), turns, float64(discoverd{}.rss(t))/1024)}
}
