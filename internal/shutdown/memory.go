package shutdown

import (
	"fmt"
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
	maps, err := os.ReadFile(root.Maps())
	if err != nil {
		return fmt.Errorf("cannot stay in memory: %w", err)
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(strings.TrimSpace(line), program) {
			continue
		}
		span, _, _ := strings.Cut(line, " ")
		from, to, _ := strings.Cut(span, "-")
		first, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MLOCK, uintptr(first), uintptr(end-first), 0); errno != 0 {
			return fmt.Errorf("cannot stay in memory: %w", errno)
		}
	}
	// Not all that is mapped: the runtime maps far more than it uses.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("cannot stay in memory: %w", err)
	}
	return nil
}
