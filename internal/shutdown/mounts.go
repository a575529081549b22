// SPDX-License-Identifier: GPL-3.0-or-later

package shutdown

import (
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

const (
	// mountsPause is the least time between two looks at the list of mounts, which changes often on a host with containers.
	mountsPause = time.Second
	// mountsKept is how long a mount is remembered that is in the list no more.
	mountsKept = 30 * time.Second
)

// mounts remembers what was mounted a moment ago. An unmount takes the mount off the list at once and then writes, or hangs: when the
// Watcher learns of the shutdown, those of the shutdown may be off it already.
type mounts struct {
	mu   sync.Mutex
	now  []string
	gone map[string]time.Time // lines, and when they were first missed
}

// follow looks at the list whenever it changes, for as long as the process lives.
func (m *mounts) follow(root paths.Root) error {
	file, err := os.Open(root.MountInfo())
	if err != nil {
		return err
	}
	m.look(root, time.Now())
	go func() {
		defer file.Close()
		for {
			// The kernel reports a change as an exceptional condition: proc_pid_mounts(5).
			changed := []unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLPRI}}
			if _, err := unix.Poll(changed, -1); err != nil && err != unix.EINTR {
				return
			}
			m.look(root, time.Now())
			time.Sleep(mountsPause)
		}
	}()
	return nil
}

func (m *mounts) look(root paths.Root, at time.Time) {
	text, err := os.ReadFile(root.MountInfo())
	if err != nil {
		return
	}
	m.set(slices.Collect(strings.Lines(string(text))), at)
}

// set takes the lines of the list at one moment.
func (m *mounts) set(lines []string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	there := make(map[string]bool, len(lines))
	for _, line := range lines {
		there[line] = true
	}
	if m.gone == nil {
		m.gone = map[string]time.Time{}
	}
	for _, line := range m.now {
		if !there[line] {
			m.gone[line] = at
		}
	}
	for line, since := range m.gone {
		if there[line] || at.Sub(since) > mountsKept {
			delete(m.gone, line)
		}
	}
	m.now = lines
}

// recent returns the list with what was on it until a moment ago.
func (m *mounts) recent(at time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := strings.Join(m.now, "")
	for line, since := range m.gone {
		if at.Sub(since) <= mountsKept {
			text += line
		}
	}
	return text
}
