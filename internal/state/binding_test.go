// SPDX-License-Identifier: GPL-3.0-or-later

package state

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// controllerFixture is a fixture with controllers in sysfs.
type controllerFixture struct {
	fixture
	sysfs string
}

func newControllerFixture(t *testing.T) *controllerFixture {
	root := paths.Root(t.TempDir())
	f := &controllerFixture{fixture: fixture{t, New(root), root.State()}, sysfs: root.SysClassNVMe()}
	f.must(os.MkdirAll(f.sysfs, 0o755))
	return f
}

// create has the kernel make a controller. Earlier directories stay elsewhere, so that no inode number comes again.
func (f *controllerFixture) create(device string) {
	f.Helper()
	f.must(os.Mkdir(filepath.Join(f.sysfs, device), 0o755))
}

func (f *controllerFixture) remove(device string) {
	f.Helper()
	f.must(os.Rename(filepath.Join(f.sysfs, device), filepath.Join(f.TempDir(), device)))
}

func (f *controllerFixture) wantUnit(device, want string) {
	f.Helper()
	if got, err := f.UnitOf(device); err != nil || got != want {
		f.Errorf("%s belongs to %q, %v; want %q", device, got, err, want)
	}
}

// A controller went while no daemon looked, and somebody else's has its number: it is not the unit's.
func TestBindingOfAnEarlierController(t *testing.T) {
	f := newControllerFixture(t)
	f.create("nvme3")
	f.must(f.Bind("nvme3", unitA))
	f.wantUnit("nvme3", unitA)
	f.remove("nvme3")
	f.wantUnit("nvme3", unitA) // there is nothing that it could be taken for
	f.create("nvme3")
	f.wantUnit("nvme3", "")
	f.must(f.Bind("nvme3", unitB))
	f.wantUnit("nvme3", unitB)
	f.must(f.Bind("nvme3", unitA))
	f.wantUnit("nvme3", unitA)
	f.must(f.Forget("nvme3", unitA))
	f.wantFiles(map[string]string{})
	if _, err := os.Stat(filepath.Join(f.base, "controllers/nvme3")); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// What is recorded of a later controller stays, its instance too.
func TestForgetLeavesTheInstance(t *testing.T) {
	f := newControllerFixture(t)
	f.create("nvme3")
	f.must(f.Bind("nvme3", unitB))
	f.must(f.Forget("nvme3", unitA))
	f.wantUnit("nvme3", unitB)
	if _, err := os.Stat(filepath.Join(f.base, "controllers/nvme3/instance")); err != nil {
		t.Error(err)
	}
}

// A record without an instance, which earlier builds wrote, is believed; it gets one with the next Bind.
func TestBindingWithoutInstance(t *testing.T) {
	f := newControllerFixture(t)
	f.create("nvme3")
	f.put("controllers/nvme3/unit", unitA+"\n")
	f.wantUnit("nvme3", unitA)
	f.must(f.Bind("nvme3", unitA))
	f.remove("nvme3")
	f.create("nvme3")
	f.wantUnit("nvme3", "")
}

// A process that died between the files of Bind leaves a record that says nothing wrong.
func TestBindCutShort(t *testing.T) {
	for _, files := range []map[string]string{
		{},                  // the unit of the earlier controller is removed
		{"instance": "new"}, // the instance is written, the unit is not
	} {
		f := newControllerFixture(t)
		f.create("nvme3")
		f.must(f.Bind("nvme3", unitA))
		f.remove("nvme3")
		f.create("nvme3")
		f.must(os.Remove(filepath.Join(f.base, "controllers/nvme3/unit")))
		if files["instance"] != "" {
			now, err := f.Instance("nvme3")
			f.must(err)
			f.put("controllers/nvme3/instance", now+"\n")
		}
		f.wantUnit("nvme3", "")
		f.must(f.Bind("nvme3", unitB))
		f.wantUnit("nvme3", unitB)
	}
}

// A damaged instance makes its controller nobody's problem: the record holds as one of a build that wrote no instances.
func TestBadInstance(t *testing.T) {
	f := newControllerFixture(t)
	f.create("nvme3")
	f.must(f.Bind("nvme3", unitA))
	f.put("controllers/nvme3/instance", "x\n")
	f.wantUnit("nvme3", unitA)
	f.must(f.Bind("nvme3", unitA))
	f.wantUnit("nvme3", unitA)
	f.put("controllers/nvme3/instance", "x\n")
	f.must(f.Forget("nvme3", unitA))
	f.wantFiles(map[string]string{})
}

// A controller is read, goes, and the next one of its name is bound before the record of the first one is looked up.
func TestUnitOfInstance(t *testing.T) {
	f := newControllerFixture(t)
	f.create("nvme3")
	f.must(f.Bind("nvme3", unitA))
	read, err := f.Instance("nvme3")
	f.must(err)
	f.remove("nvme3")
	f.create("nvme3")
	f.must(f.Bind("nvme3", unitB))
	if unit, err := f.UnitOfInstance("nvme3", read); unit != "" || err != nil {
		t.Errorf("got %q, %v: a later controller's unit for an earlier one", unit, err)
	}
	f.wantUnit("nvme3", unitB)
}
