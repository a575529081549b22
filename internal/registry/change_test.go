// SPDX-License-Identifier: GPL-3.0-or-later

package registry

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnset(t *testing.T) {
	f := newFixture(t)
	f.put("nvme3/owner", "discoverd\n")
	f.put("nvme3/note", "x\n")
	for _, test := range []struct {
		device  string
		removed bool
	}{{"nvme3", true}, {"nvme3", false}, {"nvme4", false}} {
		removed, err := f.Unset(test.device, "note")
		if f.must(err); removed != test.removed {
			t.Errorf("%s: removed %t, want %t", test.device, removed, test.removed)
		}
	}
	f.wantFiles(map[string]string{"nvme3/owner": "discoverd\n"})
	for _, test := range []struct{ device, attr, want string }{
		{"nvme", "owner", `cannot use device name "nvme": it must be nvme and a number, such as nvme3`},
		{"nvme3", "../../x", `cannot use attribute name "../../x": it must be of letters, digits, - and _`},
		{"nvme3", "", `cannot use attribute name "": it must be of letters, digits, - and _`},
	} {
		if _, err := f.Unset(test.device, test.attr); err == nil || err.Error() != test.want {
			t.Errorf("%q %q: %v, want %s", test.device, test.attr, err, test.want)
		}
	}
}

// TestSeqnumIsANumber, or the entry would never be pruned.
func TestSeqnumIsANumber(t *testing.T) {
	f := newFixture(t)
	const want = `cannot set seqnum to "-1": it must be the number of an event`
	if err := f.Set("nvme3", Seqnum, "-1"); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	f.must(f.Set("nvme3", Seqnum, "18446744073709551615"))
}

// TestStrays: what is no entry is told apart from temporary names, and an attribute that cannot be read hides no other.
func TestStrays(t *testing.T) {
	f := newFixture(t)
	f.put("nvme3/owner", "discoverd\n")
	f.put("nvme3/odd/file", "")
	f.put("nvme3.tmp.1/owner", "discoverd\n")
	f.put("nvme03x", "")
	f.put("lost+found/x", "")
	strays, err := f.Strays()
	f.must(err)
	if diff := cmp.Diff([]string{"lost+found", "nvme03x"}, strays); diff != "" {
		t.Errorf("strays (-want +got):\n%s", diff)
	}
	attrs, err := f.Entry("nvme3")
	if diff := cmp.Diff(map[string]string{"owner": "discoverd"}, attrs); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if want := "cannot read " + f.root.Registry() + "/nvme3/odd: read " + f.root.Registry() + "/nvme3/odd: is a directory"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestNoEntry: a file or a link that leads nowhere under the name of a device owns nothing, and gives way to an entry.
func TestNoEntry(t *testing.T) {
	f := newFixture(t)
	f.put("nvme3", "rubbish")
	f.must(os.Symlink("/nonexistent", f.entryPath("nvme4")))
	for _, device := range []string{"nvme3", "nvme4"} {
		owner, err := f.Owner(device)
		f.must(err)
		if owner != "" {
			t.Errorf("owner of %s: %q, want none", device, owner)
		}
		f.must(f.Create(device, map[string]string{Owner: "discoverd"}))
	}
	f.wantFiles(map[string]string{"nvme3/owner": "discoverd\n", "nvme4/owner": "discoverd\n"})
	f.put("nvme5", "rubbish")
	f.must(f.Set("nvme5", Owner, "stas"))
	f.put("nvme6", "rubbish")
	removed, err := f.Prune("nvme6", 1)
	f.must(err)
	if !removed {
		t.Error("what is no entry outlives the device of its name")
	}
	f.wantFiles(map[string]string{"nvme3/owner": "discoverd\n", "nvme4/owner": "discoverd\n", "nvme5/owner": "stas\n"})
}

// TestNoRegistry: a file in the place of the registry is not taken for one in which nobody owns anything.
func TestNoRegistry(t *testing.T) {
	f := newFixture(t)
	f.must(os.MkdirAll(filepath.Dir(f.root.Registry()), 0o755))
	f.must(os.WriteFile(f.root.Registry(), nil, 0o644))
	_, err := f.Owner("nvme3")
	wantError(t, err, "cannot read "+f.root.Registry()+"/nvme3/owner: open "+f.root.Registry()+"/nvme3/owner: not a directory")
}
