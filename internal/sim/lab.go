// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
)

// rules are the lines that an administrator may put on the exclusion list.
var rules = [...]string{
	"traddr=192.0.2.20",
	"nqn=nqn.2024-01.com.example:s1",
	"transport=tcp;traddr=192.0.2.10;trsvcid=8009",
	"host-iface=eth1",
	"traddr=192.0.2.22;nqn=nqn.2024-01.com.example:s2",
	"nqn=nqn.2014-08.org.nvmexpress.discovery;traddr=192.0.2.11",
	"traddr=" + hugeAddress, // it is in force from the beginning and stays
}

// Lab holds what all runs share and none changes.
type Lab struct {
	exclusions []exclusion.List // by the bits of the rules that are in force

	// Ignore names invariants that may be broken: to look behind a fault that is known and not mended yet.
	Ignore map[string]bool
	// Replays has a replay of every run follow the one before, where else there is one of each.
	Replays bool
	// Record returns what records a life of the daemon, nil for none.
	Record func(life int) *recording.Recorder
	// Change returns another event in place of one that is about to reach the core.
	Change func(core.Event) core.Event
}

// NewLab prepares runs. dir is an empty directory that is only needed meanwhile: lists are read from files, as always.
func NewLab(dir string) (*Lab, error) {
	l := &Lab{}
	root := paths.Root(dir)
	if err := os.MkdirAll(root.Exclusions(), 0o755); err != nil {
		return nil, err
	}
	for set := range 1 << len(rules) {
		var text strings.Builder
		for _, rule := range excluded(set) {
			fmt.Fprintf(&text, "exclusion = %s\n", rule)
		}
		if err := os.WriteFile(filepath.Join(root.Exclusions(), "sim.conf"), []byte(text.String()), 0o644); err != nil {
			return nil, err
		}
		list, errs := exclusion.Load(root)
		if len(errs) > 0 {
			return nil, errs[0]
		}
		l.exclusions = append(l.exclusions, list)
	}
	return l, nil
}

func excluded(set int) []string {
	var in []string
	for i, rule := range rules {
		if set&(1<<i) != 0 {
			in = append(in, rule)
		}
	}
	return in
}
