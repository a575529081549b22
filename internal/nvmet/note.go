// SPDX-License-Identifier: GPL-3.0-or-later

package nvmet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/atomicfile"
)

// note writes down what the port shall show: its address in the first line, then an NQN in each.
func (h Healer) note(p Port) error {
	file := h.Root.Unlinked(p.ID)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(file, []byte(strings.Join(append([]string{p.place()}, p.Subsystems...), "\n")+"\n"), 0o600)
}

// forget removes the note.
func (h Healer) forget(p Port) error {
	if err := os.Remove(h.Root.Unlinked(p.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot forget what %s had to show: %w", p, err)
	}
	return nil
}

// withUnlinked is what the port shows, and what an earlier run has taken off and not linked again. A note of a port that has
// been given another address since, and subsystems that are gone, do not count.
func (h Healer) withUnlinked(p Port) []string {
	text, err := os.ReadFile(h.Root.Unlinked(p.ID))
	place, nqns, _ := strings.Cut(string(text), "\n")
	if err != nil || place != p.place() {
		return p.Subsystems
	}
	all := slices.Clone(p.Subsystems)
	for nqn := range strings.Lines(nqns) {
		nqn = strings.TrimSuffix(nqn, "\n")
		if nqn == "" || nqn != filepath.Base(nqn) || nqn == "." || nqn == ".." || slices.Contains(all, nqn) {
			continue
		}
		if _, err := os.Stat(filepath.Join(h.Root.NVMeT(), "subsystems", nqn)); err == nil {
			all = append(all, nqn)
		}
	}
	slices.Sort(all)
	return all
}
