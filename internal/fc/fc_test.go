// SPDX-License-Identifier: GPL-3.0-or-later

package fc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

const (
	there = "nn-0x20000000000000cc:pn-0x10000000000000cc"
	here  = "nn-0x20000000000000dd:pn-0x10000000000000dd"
)

func TestParse(t *testing.T) {
	event := func(what, traddr, host string) map[string]string {
		return map[string]string{"SUBSYSTEM": "fc", "FC_EVENT": what, "NVMEFC_TRADDR": traddr, "NVMEFC_HOST_TRADDR": host}
	}
	wrong := func(name, value, why string) string {
		return "cannot use " + name + ` of a Fibre Channel event: cannot use Fibre Channel address "` + value + `": ` + why +
			"; it must be like nn-0x20000090fa942779:pn-0x10000090fa942779"
	}
	const noNumber = " is not a World Wide Name of 16 hexadecimal digits"
	for _, test := range []struct {
		name string
		vars map[string]string
		want Announcement
		ok   bool
		err  string
	}{
		{"as the kernel sends it", event("nvmediscovery", there, here), Announcement{there, here}, true, ""},
		{"in another spelling", event("nvmediscovery", "nn-0x20000000000000CC,pn-0x10000000000000CC", "nn-20:00:00:00:00:00:00:dd:pn-10:00:00:00:00:00:00:dd"), Announcement{there, here}, true, ""},
		{"something else", event("linkup", there, here), Announcement{}, false, ""},
		{"no event", nil, Announcement{}, false, ""},
		{"no remote port", map[string]string{"FC_EVENT": "nvmediscovery", "NVMEFC_HOST_TRADDR": here}, Announcement{}, false, wrong("NVMEFC_TRADDR", "", "it does not begin with nn-")},
		{"no port of the host", map[string]string{"FC_EVENT": "nvmediscovery", "NVMEFC_TRADDR": there}, Announcement{}, false, wrong("NVMEFC_HOST_TRADDR", "", "it does not begin with nn-")},
		{"cut off", event("nvmediscovery", there[:40], here), Announcement{}, false, wrong("NVMEFC_TRADDR", "nn-0x20000000000000cc:pn-0x1000000000000", `"0x1000000000000"`+noNumber)},
		{"an option smuggled in", event("nvmediscovery", "nn-0x20000000000000cc:pn-0x100000000000,dup", here), Announcement{}, false, wrong("NVMEFC_TRADDR", "nn-0x20000000000000cc:pn-0x100000000000,dup", `"0x100000000000,dup"`+noNumber)},
		{"no separator", event("nvmediscovery", there, "nn-0x20000000000000dd_pn-0x10000000000000dd"), Announcement{}, false, wrong("NVMEFC_HOST_TRADDR", "nn-0x20000000000000dd_pn-0x10000000000000dd", "it has no :pn- after the name of the node")},
		{"no node name", event("nvmediscovery", there, "nm-0x20000000000000dd:pn-0x10000000000000dd"), Announcement{}, false, wrong("NVMEFC_HOST_TRADDR", "nm-0x20000000000000dd:pn-0x10000000000000dd", "it does not begin with nn-")},
		{"a node name of no number", event("nvmediscovery", there, "nn-0x2000000000000 dd:pn-0x10000000000000dd"), Announcement{}, false, wrong("NVMEFC_HOST_TRADDR", "nn-0x2000000000000 dd:pn-0x10000000000000dd", `"0x2000000000000 dd"`+noNumber)},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok, err := Parse(test.vars)
			said := ""
			if err != nil {
				said = err.Error()
			}
			if got != test.want || ok != test.ok || said != test.err {
				t.Errorf("got %v, %v, %q, want %v, %v, %q", got, ok, said, test.want, test.ok, test.err)
			}
		})
	}
}

// What is accepted is an address that a connect can carry.
func FuzzParse(f *testing.F) {
	f.Add("nvmediscovery", there, here)
	f.Add("nvmediscovery", there+",host_iface=x", here)
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, event, traddr, host string) {
		a, ok, err := Parse(map[string]string{"FC_EVENT": event, "NVMEFC_TRADDR": traddr, "NVMEFC_HOST_TRADDR": host})
		if !ok {
			if a != (Announcement{}) || err != nil && event != "nvmediscovery" {
				t.Fatalf("refused and yet %v, %v", a, err)
			}
			return
		}
		id, err := tid.New(tid.TID{Transport: tid.FC, Traddr: a.Traddr, HostTraddr: a.HostTraddr}, tid.Discovery)
		if err != nil || id.Traddr != a.Traddr || id.HostTraddr != a.HostTraddr || !tid.SameAddr(tid.FC, id.Traddr, traddr) || !tid.SameAddr(tid.FC, id.HostTraddr, host) {
			t.Fatalf("%v makes %v, %v", a, id, err)
		}
	})
}

func TestKickstart(t *testing.T) {
	root := paths.Root(t.TempDir())
	err := Kickstart(root)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no Fibre Channel: got %v, want one that wraps %v", err, fs.ErrNotExist)
	}
	file := root.FCDiscovery()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o200); err != nil {
		t.Fatal(err)
	}
	if err := Kickstart(root); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "add" {
		t.Errorf("written: %q, %v", got, err)
	}
}
