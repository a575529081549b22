// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Reload reloads the service's configuration.
func Reload(t T) {
	t.Helper()
	Run(t, "systemctl", "reload", Service)
}

// Signal sends a signal to the daemon itself.
func Signal(t T, name string) {
	t.Helper()
	Run(t, "systemctl", "kill", "--signal="+name, "--kill-whom=main", Service)
}

// MainPID is the daemon's process.
func MainPID(t T) string {
	t.Helper()
	return Property(t, Service, "MainPID")
}

// Memory is what the daemon holds of memory, in KiB.
func Memory(pid string) int { return memory(pid, "VmRSS:") }

// MostMemory is the most that the daemon has held of memory so far, in KiB.
func MostMemory(pid string) int { return memory(pid, "VmHWM:") }

func memory(pid, field string) int {
	for line := range strings.Lines(read(filepath.Join("/proc", pid, "status"))) {
		if rest, found := strings.CutPrefix(line, field); found {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kib
		}
	}
	return 0
}

// OpenFiles is how many file descriptors the daemon has open.
func OpenFiles(pid string) int { return len(names(filepath.Join("/proc", pid, "fd"))) }

// Exclude writes one list of exclusions, an entry on each line.
func Exclude(t T, name string, entries ...string) {
	t.Helper()
	text := ""
	for _, entry := range entries {
		text += "exclusion = " + entry + "\n"
	}
	put(t, exclusionFile(name), text)
}

// Unexclude removes a list of exclusions.
func Unexclude(t T, name string) {
	t.Helper()
	if err := os.Remove(exclusionFile(name)); err != nil {
		t.Fatalf("cannot remove list of exclusions: %v", err)
	}
}

func exclusionFile(name string) string { return "/etc/nvme/exclusions/" + name + ".conf" }

// TryDelete disconnects a controller if that can be done now: the kernel refuses it for one on its way up.
func TryDelete(device string) bool {
	return os.WriteFile(filepath.Join(fabricsDevices, device, "delete_controller"), []byte("1"), 0o200) == nil
}

// Own writes into the registry that a controller belongs to somebody.
func Own(t T, device, owner string) {
	t.Helper()
	dir := filepath.Join(registryDir, device)
	put(t, filepath.Join(dir, "seqnum"), read("/sys/kernel/uevent_seqnum")+"\n")
	put(t, filepath.Join(dir, "owner"), owner+"\n")
}

// StopUdev stops the service that answers to uevents, until the scenario ends: it needs more time for thousands of them
// than anybody wants to wait.
func StopUdev(t T) {
	t.Helper()
	units := []string{"systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udevd.service"}
	Run(t, "systemctl", append([]string{"stop"}, units...)...)
	t.Cleanup(func() { Run(t, "systemctl", append([]string{"start"}, units...)...) })
}

// Overrun makes the kernel send uevents of the largest size, about a device that nobody minds, until it has to throw some
// away that the process, which does not read, should get; it returns how many were sent.
func Overrun(t T, pid string) int {
	t.Helper()
	const quiet, most = "/sys/devices/virtual/mem/null/uevent", 100_000
	text := "change 11111111-2222-3333-4444-555555555555 FILL=" + strings.Repeat("x", 1500)
	for sent := 1; sent < most; sent++ {
		write(t, quiet, text)
		if sent%100 == 0 && droppedUevents(pid) > 0 {
			return sent
		}
	}
	t.Fatalf("cannot overrun the socket of process %s with %d events", pid, most)
	return 0
}

// droppedUevents is how many uevents the kernel threw away for want of room in the socket of a process.
func droppedUevents(pid string) int {
	const protocol, port, drops = 1, 2, 8 // columns
	for line := range strings.Lines(read("/proc/net/netlink")) {
		words := strings.Fields(line)
		if len(words) > drops && words[protocol] == "15" && words[port] == pid {
			n, _ := strconv.Atoi(words[drops])
			return n
		}
	}
	return 0
}

// TracedMatches counts the recorded calls that match.
func TracedMatches(pattern string) int {
	return len(matchingLines(read(straceFile), regexp.MustCompile(pattern)))
}

// Starts counts how often systemd started units of connections since the mark, failed starts included.
func (m *Machine) Starts(since Mark) int {
	m.Helper()
	return len(matchingLines(m.Journal(since), regexp.MustCompile(`^Starting nvme-discoverd-[0-9a-f]+\.service`)))
}

// explain is the disagreements found by a look at the machine, one per line.
func explain(found []string) string {
	if len(found) > 20 {
		found = append(found[:20:20], fmt.Sprintf("and %d more", len(found)-20))
	}
	return "\n\t" + strings.Join(found, "\n\t")
}
