// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Machine is the computer of one run: what is installed and run inside. It may boot several times.
type Machine struct {
	// Suite is the Debian release inside.
	Suite Suite
	// Stage is a directory laid out like a root file system; its content is laid over the machine's.
	Stage string
	// Program is a static executable that runs as root once the system is up.
	Program string
	// Tables are ACPI tables that the computer's firmware has besides its own, whole, with their headers.
	Tables [][]byte
	// Processors is how many the computer has, 1 or more.
	Processors int
	// Dir gets the drive, the tables and, in a file for each boot, all that the kernel and PID 1 print. It must exist.
	Dir string
	// Silence bounds the time without a line from the program.
	Silence time.Duration
	// Line gets every line that the program prints, as it comes.
	Line func(string)
	// Progress gets what the host side is doing.
	Progress func(string)
}

// ErrBootDied says that the emulator stopped or hung before PID 1 ran: nothing of what was to be tested had begun.
var ErrBootDied = errors.New("cannot boot machine: it died before PID 1")

// maxBoots bounds how often a boot that died before PID 1 is repeated.
const maxBoots = 3

// exitMarker precedes the program's exit status in the last line from inside.
const exitMarker = "e2e: program exited with status "

// LeaveMarker is the line after which the machine may go off without an exit status: the program sees to it.
const LeaveMarker = "e2e: program switches the machine off"

// Run boots the machine once, waits for the program to end and returns its exit status, 0 if it switched the machine off
// and had said so before. An error means that there is none: the machine could not be built or booted, the kernel died, or the
// context ended.
func (m *Machine) Run(ctx context.Context, b Boot) (int, error) {
	image, err := baseImage(m.Suite, m.Progress)
	if err != nil {
		return 0, err
	}
	emulator, err := findQEMU(m.Progress)
	if err != nil {
		return 0, err
	}
	drive, err := m.makeDrive(b.Arguments)
	if err != nil {
		return 0, err
	}
	tables, err := m.writeTables()
	if err != nil {
		return 0, err
	}
	for attempt := 1; ; attempt++ {
		m.Progress(fmt.Sprintf("booting the %s kernel", b.Kernel))
		status, err := m.boot(ctx, b, emulator, image, drive, tables)
		if !errors.Is(err, ErrBootDied) || attempt == maxBoots || ctx.Err() != nil {
			return status, err
		}
		m.Progress(fmt.Sprintf("boot %d of %d: %v; again", attempt, maxBoots, err))
	}
}

// writeTables puts the ACPI tables into files, for QEMU.
func (m *Machine) writeTables() ([]string, error) {
	var files []string
	for i, table := range m.Tables {
		file := filepath.Join(m.Dir, fmt.Sprintf("table-%d", i+1))
		if err := os.WriteFile(file, table, 0o644); err != nil {
			return nil, fmt.Errorf("cannot write ACPI table: %w", err)
		}
		files = append(files, file)
	}
	return files, nil
}

// consoleSuffix ends the names of the files with consoles.
const consoleSuffix = ".console"

func (m *Machine) consolePath(b Boot) string { return filepath.Join(m.Dir, b.Name+consoleSuffix) }

// Consoles lists the files with the consoles of the boots so far.
func (m *Machine) Consoles() []string {
	found, _ := filepath.Glob(filepath.Join(m.Dir, "*"+consoleSuffix))
	return found
}

// ConsoleTail returns the last lines of a boot's console.
func (m *Machine) ConsoleTail(b Boot, lines int) string {
	text, err := os.ReadFile(m.consolePath(b))
	if err != nil {
		return ""
	}
	return lastLines(strings.ReplaceAll(string(text), "\r", ""), lines)
}

// exitStatus reads the last line from inside.
func exitStatus(line string) (int, bool) {
	rest, found := strings.CutPrefix(line, exitMarker)
	if !found {
		return 0, false
	}
	status, err := strconv.Atoi(strings.TrimSpace(rest))
	return status, err == nil
}
