// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"strings"
	"testing"
)

// TestPersistent: a discovery controller's own persistent, in both formats, for all of its paths. It changes nothing in what
// is connected, and shows in `config show`.
func TestPersistent(t *testing.T) {
	root := write(t, host(map[string]string{
		mainFile: `[global]
discovery-persistence = "epcsd"
[[discovery-controller]]
controller = [{ transport = "tcp", traddr = "192.0.2.1" }]
[[discovery-controller]]
persistent = "no"
controller = [
  { transport = "tcp", traddr = "192.0.2.2" },
  { transport = "tcp", traddr = "array.example.com" },
]
[[discovery-controller]]
persistent = "auto"
controller = [{ transport = "tcp", traddr = "192.0.2.3" }]
[[subsystem]]
nqn = "nqn.2024-01.a"
controller = [{ transport = "tcp", traddr = "192.0.2.1" }]
`,
		fabricsFile: `[Discovery Controller]
persistent = force
controller = transport=tcp;traddr=192.0.2.10;trsvcid=8009
[Discovery Controller]
persistent =
controller = transport=tcp;traddr=192.0.2.11
`,
	}))
	got, err := loadRoot(t, root)
	diff(t, "error", "", err)
	diff(t, "warnings", []string(nil), got.Warnings)
	var kept []Persistence
	for _, c := range got.Connections {
		kept = append(kept, c.Persistence)
		if args := strings.Join(c.Wish.Args(), " "); strings.Contains(args, "persistent") {
			t.Errorf("the unit's command has it: %s", args)
		}
	}
	diff(t, "persistence", []Persistence{"", PersistenceNever, PersistenceNever, PersistenceAuto, "", PersistenceAlways, ""}, kept)
	diff(t, "global default", PersistenceEPCSD, got.Settings.DiscoveryPersistence)

	var shown []Value // with the paths below the root
	for _, c := range explained(t, root).Values {
		for _, v := range c.Own {
			if v.Key == persistentKey {
				v.From = strings.TrimPrefix(v.From, string(root))
				shown = append(shown, v)
			}
		}
	}
	diff(t, "shown", []Value{
		{"persistent", "no", "/etc/nvme/discoverd.conf:6"},
		{"persistent", "no", "/etc/nvme/discoverd.conf:6"},
		{"persistent", "auto", "/etc/nvme/discoverd.conf:12"},
		{"persistent", "force", "/etc/nvme/nvme-fabrics.conf:2"},
	}, shown)
}

func TestPersistentErrors(t *testing.T) {
	for _, test := range []struct{ name, file, text, want string }{
		{"value", mainFile, "[[discovery-controller]]\n  persistent = \"always\"\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]", `2:3: cannot set persistent to "always": it must be no, auto or force`},
		{"truth value", mainFile, "[[discovery-controller]]\npersistent = false\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]", `2:1: cannot set persistent to "false": it must be no, auto or force`},
		{"list", mainFile, "[[discovery-controller]]\npersistent = [\"no\"]\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]", `2:1: cannot set persistent to an array: it must be a string, an integer or a truth value`},
		{"in other sections", mainFile, "[global]\npersistent = \"no\"\n[discovery-controller-defaults]\npersistent = \"no\"\n[[subsystem]]\nnqn = \"nqn.2024-01.a\"\npersistent = \"no\"\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\", persistent = \"no\" }]", `2:1: cannot use persistent in [global]: it belongs in [[discovery-controller]]
4:1: cannot use persistent in [discovery-controller-defaults]: it belongs in [[discovery-controller]]
7:1: cannot use persistent in [[subsystem]]: it belongs in [[discovery-controller]]
8:58: cannot use persistent in a controller table: it belongs in [[discovery-controller]]`},
		{"value in nvme-fabrics.conf", fabricsFile, "[Discovery Controller]\npersistent = Force\ncontroller = transport=tcp;traddr=192.0.2.1", `2:1: cannot set persistent to "Force": it must be no, auto or force`},
		{"controller line", fabricsFile, "[Discovery Controller]\ncontroller = transport=tcp;traddr=192.0.2.1;persistent=no", `2:45: cannot use persistent in a controller line: it belongs in [Discovery Controller]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, got := loadRoot(t, write(t, host(map[string]string{test.file: test.text})))
			file := "/" + strings.TrimPrefix(test.file, "/") + ":"
			diff(t, "error", file+strings.ReplaceAll(test.want, "\n", "\n"+file), got)
		})
	}
}
