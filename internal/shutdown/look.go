package shutdown

import (
	"os"
	"path/filepath"
	"slices"
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
	subsystems, _ := os.ReadDir(root.SysClassNVMeSubsystem()) // none without native multipath
	for _, s := range subsystems {
		live := ""
		entries, _ := os.ReadDir(filepath.Join(root.SysClassNVMeSubsystem(), s.Name()))
		in := func(name string) bool {
			return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == name })
		}
		for _, c := range all {
			if c.State == "live" && in(c.Name) {
				live = c.Name
			}
		}
		for i := range all {
			if all[i].Name != live && in(all[i].Name) {
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
