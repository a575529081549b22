// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// shutdownBegins is the line on the console before everything that a shutdown prints.
const shutdownBegins = "e2e: the shutdown begins"

// ShutDown ends a stage by an orderly power-off, of which all that is logged by whomever goes to the console.
func ShutDown(t T) {
	t.Helper()
	ShutDownBy(t, "poweroff")
}

// ShutDownBy does the same by another command of systemctl's.
func ShutDownBy(t T, command string) {
	t.Helper()
	MirrorJournal(t)
	BeginShutdown(t)
	SwitchOff(t, "systemctl", command)
}

// BeginShutdown marks the begin of a shutdown on the console, by way of the kernel, which says at what time.
func BeginShutdown(t T) {
	t.Helper()
	if err := os.WriteFile("/dev/kmsg", []byte(shutdownBegins+"\n"), 0o644); err != nil {
		t.Fatalf("cannot write to the console: %v", err)
	}
}

// Shutdown is what the machine printed on its console while it shut down.
type Shutdown struct {
	t     T
	begin float64 // by the kernel's clock, in seconds
	lines []string
}

// ReadShutdown returns the shutdown in which an earlier stage ended. A scenario that fails shows it.
func ReadShutdown(t T, stage string) *Shutdown {
	t.Helper()
	before, console, found := strings.Cut(Console(t, stage), shutdownBegins)
	if !found {
		t.Fatalf("the shutdown of %s never began", stage)
	}
	s := &Shutdown{t: t, lines: strings.Split(strings.ReplaceAll(console, "\r", ""), "\n")}
	s.begin = kernelTime(before[strings.LastIndex(before, "\n")+1:])
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the console of the shutdown:\n%s", strings.Join(s.lines, "\n"))
		}
	})
	return s
}

// kernelTime is the time at which the kernel printed a line, in seconds since the boot, 0 if it does not say.
func kernelTime(line string) float64 {
	match := regexp.MustCompile(`^\[ *([0-9.]+)\]`).FindStringSubmatch(line)
	if match == nil {
		return 0
	}
	seconds, _ := strconv.ParseFloat(match[1], 64)
	return seconds
}

// isEnd is the last that a kernel says, of whatever kind the end is.
var isEnd = regexp.MustCompile(`reboot: |kexec_core: Starting new kernel`)

// Took is the time from the request to the end of the machine.
func (s *Shutdown) Took() time.Duration {
	s.t.Helper()
	for _, line := range s.lines {
		if end := kernelTime(line); end > 0 && s.begin > 0 && isEnd.MatchString(line) {
			return time.Duration((end - s.begin) * float64(time.Second))
		}
	}
	s.t.Fatalf("the machine does not tell when it ended")
	return 0
}

// InOrder fails the scenario unless there is a line for each pattern, in this order.
func (s *Shutdown) InOrder(patterns ...string) {
	s.t.Helper()
	from := 0
	for _, pattern := range patterns {
		expr := regexp.MustCompile(pattern)
		for from < len(s.lines) && !expr.MatchString(s.lines[from]) {
			from++
		}
		if from == len(s.lines) {
			s.t.Errorf("not on the console, or too early: %s\nin the order %q", pattern, patterns)
			return
		}
		from++
	}
}

// Never fails the scenario for every line that matches.
func (s *Shutdown) Never(pattern string) {
	s.t.Helper()
	expr := regexp.MustCompile(pattern)
	for _, line := range s.lines {
		if expr.MatchString(line) {
			s.t.Errorf("on the console: %s", line)
		}
	}
}

// disconnects is what a unit says that disconnects, or leaves connected what is in use.
const disconnects = `disconnected nvme\d+: |nvme\d+ stays connected`

// DaemonFirst fails the scenario unless the daemon has ended before the first unit disconnects, or finds what is in use.
func (s *Shutdown) DaemonFirst() {
	s.t.Helper()
	const ended = `Stopped nvme-discoverd\.service`
	s.InOrder(ended, disconnects)
	end, expr := regexp.MustCompile(ended), regexp.MustCompile(disconnects)
	for _, line := range s.lines {
		if end.MatchString(line) {
			return
		}
		if expr.MatchString(line) {
			s.t.Errorf("on the console before the end of the daemon: %s", line)
		}
	}
}

// faults are what must not be on the console of a shutdown: errors, waits in vain, a talkative daemon, and disconnects of what
// is in use.
var faults = regexp.MustCompile(`(?i)I/O error|timed out|timeout|error recovery|aborted journal|EXT4-fs (error|warning)|failed|nvme-discoverd\[\d+\]:|although`)

// noFault is all that the daemon says, the former only if it happens to look at its units meanwhile; and what multipathd says when
// its devices are taken apart beside it.
var noFault = regexp.MustCompile(`\]: (the system is shutting down: nothing is connected any more|nvme-discoverd ends, the connections stay)$|` +
	`multipathd\[\d+\]: `)

// keepAliveOvertaken is what the kernel says of a keep-alive that was not sent yet when the delete of its controller closed the admin
// queue: the block layer's BLK_STS_TRANSPORT (drivers/nvme/host/core.c, include/linux/blk_types.h). One of 23 deletes on a busy
// machine does it, where a keep-alive is due twice a second.
var keepAliveOvertaken = regexp.MustCompile(`nvme (nvme\d+): failed nvme_keep_alive_end_io error=4$`)

// Faultless fails the scenario for every line that tells of a fault.
func (s *Shutdown) Faultless() {
	s.t.Helper()
	for i, line := range s.lines {
		if faults.MatchString(line) && !noFault.MatchString(line) && !s.overtaken(i) {
			s.t.Errorf("on the console: %s", line)
		}
	}
}

// overtaken tells whether the line is of a keep-alive of a controller whose disconnect is done afterwards.
func (s *Shutdown) overtaken(line int) bool {
	match := keepAliveOvertaken.FindStringSubmatch(s.lines[line])
	return match != nil && slices.ContainsFunc(s.lines[line:], func(later string) bool {
		return strings.Contains(later, "]: disconnected "+match[1]+": ")
	})
}

// CheckFileSystem checks that the ext4 file system on a device, which is not mounted, was unmounted in order.
func CheckFileSystem(t T, device string) {
	t.Helper()
	super := Run(t, "dumpe2fs", "-h", device)
	if !regexp.MustCompile(`Filesystem state: +clean\n`).MatchString(super) || strings.Contains(super, "needs_recovery") {
		t.Errorf("%s was not unmounted as it should be:\n%s", device, super)
	}
	if check := Try(t, "e2fsck", "-f", "-n", device); check.Status != 0 {
		t.Errorf("e2fsck of %s: exit status %d\n%s%s", device, check.Status, check.Stdout, check.Stderr)
	}
}

// lastWords is what LastWriter writes.
const lastWords = "the last word\n"

// LastWriter starts a service that uses the file system on /mnt/NAME until it is stopped, runs a shell command then, and
// writes once more, without a sync.
func LastWriter(t T, name, before string) {
	t.Helper()
	InstallUnit(t, "e2e-"+name+".service", `[Unit]
RequiresMountsFor=/mnt/`+name+`
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c '`+before+` echo the last word >/mnt/`+name+`/last && echo `+name+`: written at stop'
`)
}

// CheckLastWords checks the file system in order on a device, and that it has what LastWriter wrote.
func CheckLastWords(t T, device string) {
	t.Helper()
	CheckFileSystem(t, device)
	checkLastWrite(t, device)
}

// CheckRecovered checks that the file system on a device, which nothing could unmount, is in order once its journal is replayed,
// and that it has what LastWriter wrote.
func CheckRecovered(t T, device string) {
	t.Helper()
	checkLastWrite(t, device)
	CheckFileSystem(t, device)
}

func checkLastWrite(t T, device string) {
	t.Helper()
	Run(t, "mount", "--options", "ro", device, "/mnt")
	defer Run(t, "umount", "/mnt")
	if last := Try(t, "cat", "/mnt/last").Stdout; last != lastWords {
		t.Errorf("the last write to %s: got %q", device, last)
	}
}

// NetworkOrder has the far network's link go down when systemd takes the network down.
func NetworkOrder(t T) {
	t.Helper()
	InstallUnit(t, "e2e-network.service", `[Unit]
Before=network.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'echo the network goes; ip link set `+FarLink+` down'
`)
}
