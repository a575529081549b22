// SPDX-License-Identifier: GPL-3.0-or-later

package shutdown

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/registry"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// controllers looks at all fabrics controllers. It reads only attributes that the kernel answers without waiting for the
// controller, which "address" is not.
func controllers(root paths.Root) ([]Controller, error) {
	names, err := sysfs.NewReader(root).Names()
	if err != nil {
		return nil, err
	}
	owners := registry.New(root)
	var all []Controller
	for _, name := range names {
		dir := filepath.Join(root.SysClassNVMe(), name)
		c := Controller{Name: name, NQN: word(dir, "subsysnqn"), State: word(dir, "state")}
		// An entry that cannot be read may be anybody's. The registry is in memory: reading it does not hang.
		switch owner, err := owners.Owner(name); {
		case err != nil:
			c.Owner = "somebody whom the registry does not tell"
		case owner != "" && !wish.Owner(owner).Ours():
			c.Owner = owner
		}
		all = append(all, c)
	}
	if word(root.NVMeCoreParameters(), "multipath") == "Y" {
		livePaths(root, all)
	}
	return all, nil
}

// livePaths finds the live path beside each controller. The kernel's subsystems count, not NQNs: every discovery controller has
// a subsystem of its own.
func livePaths(root paths.Root, all []Controller) {
	index := map[string]int{}
	for i, c := range all {
		index[c.Name] = i
	}
	subsystems, _ := os.ReadDir(root.SysClassNVMeSubsystem())
	for _, s := range subsystems {
		entries, _ := os.ReadDir(filepath.Join(root.SysClassNVMeSubsystem(), s.Name()))
		live := ""
		var paths []int
		for _, e := range entries {
			if i, is := index[e.Name()]; is {
				paths = append(paths, i)
				if all[i].State == "live" {
					live = e.Name()
				}
			}
		}
		for _, i := range paths {
			if all[i].Name != live {
				all[i].LivePath = live
			}
		}
	}
}

// word is the content of a file in sysfs, "" if it has none.
func word(dir, name string) string {
	data, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(data))
}
