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

// Machine is one run: what is installed and run inside, and how long that may take.
type Machine struct {
	// Stage is a directory laid out like a root file system; its content is laid over the machine's. Run moves it away.
	Stage string
	// Program is a static executable that runs as root once the system is up.
	Program string
	// Arguments are the program's.
	Arguments []string
	// Tables are ACPI tables that the computer's firmware has besides its own, whole, with their headers.
	Tables [][]byte
	// Dir gets the drive, the tables and, as console.log, all that the kernel and PID 1 print. It must exist.
	Dir string
	// Timeout bounds the run of the program, boot included.
	Timeout time.Duration
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

// Run boots the machine, waits for the program to end and returns its exit status. An error means that there is none:
// the machine could not be built or booted, the kernel died, or time ran out.
func (m *Machine) Run(ctx context.Context) (int, error) {
	image, err := baseImage(m.Progress)
	if err != nil {
		return 0, err
	}
	emulator, err := findQEMU(m.Progress)
	if err != nil {
		return 0, err
	}
	drive, err := makeDrive(m.Dir, m.Stage, m.Program, m.Arguments)
	if err != nil {
		return 0, err
	}
	tables, err := m.writeTables()
	if err != nil {
		return 0, err
	}
	for attempt := 1; ; attempt++ {
		m.Progress("booting")
		status, err := m.boot(ctx, image, emulator, drive, tables)
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

// consolePath is where the console of the last boot is kept.
func (m *Machine) consolePath() string { return filepath.Join(m.Dir, "console.log") }

// ConsoleTail returns the last lines of the console of the last boot.
func (m *Machine) ConsoleTail(lines int) string {
	text, err := os.ReadFile(m.consolePath())
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
