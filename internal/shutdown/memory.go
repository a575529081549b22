// SPDX-License-Identifier: GPL-3.0-or-later

package shutdown

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// stayInMemory reads the whole program in and keeps it in memory, and all data that it ever uses: at the shutdown neither its file
// nor the swap may be within reach.
func stayInMemory(root paths.Root) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot stay in memory: %w", err)
	}
	own, err := os.ReadFile(root.Maps("self"))
	if err != nil {
		return fmt.Errorf("cannot stay in memory: %w", err)
	}
	for _, m := range mapped(string(own)) {
		if m.file != program {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MLOCK, m.from, m.to-m.from, 0); errno != 0 {
			return fmt.Errorf("cannot stay in memory: %w", errno)
		}
	}
	// Not all that is mapped: the runtime maps far more than it uses.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("cannot stay in memory: %w", err)
	}
	return nil
}

// keepSystemd keeps in memory what systemd itself needs to end the system, where the root file system is on a fabric: on a page that
// cannot be read it waits like everybody else. What it starts in other processes is not worth that: the shutdown goes on
// without.
func keepSystemd(root paths.Root) error {
	maps, err := os.ReadFile(root.Maps("1"))
	if err != nil {
		return fmt.Errorf("cannot keep systemd in memory: %w", err)
	}
	files := map[string]bool{root.SystemdShutdown(): true, root.SystemdExecutor(): true}
	for _, m := range mapped(string(maps)) {
		files[root.Join(m.file)] = true
	}
	var errs []error
	for file := range files {
		if err := keepFile(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("cannot keep %s in memory: %w", file, err))
		}
	}
	return errors.Join(errs...)
}

func keepFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 || !info.Mode().IsRegular() {
		return err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	return unix.Mlock(data) // and mapped it stays
}

// mapping is a file, or part of one, in the memory of a process.
type mapping struct {
	from, to uintptr
	file     string
}

// mapped returns the files in a list of what is in memory (proc_pid_maps(5)).
func mapped(maps string) []mapping {
	var all []mapping
	for line := range strings.Lines(maps) {
		words := strings.Fields(line)
		if len(words) < 6 || !strings.HasPrefix(words[5], "/") {
			continue
		}
		from, to, _ := strings.Cut(words[0], "-")
		first, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil {
			all = append(all, mapping{uintptr(first), uintptr(end), strings.Join(words[5:], " ")})
		}
	}
	return all
}
