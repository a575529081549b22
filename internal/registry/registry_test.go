// SPDX-License-Identifier: GPL-3.0-or-later

package registry

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

type fixture struct {
	*testing.T
	Registry
	root paths.Root
}

func newFixture(t *testing.T) fixture {
	root := paths.Root(t.TempDir())
	return fixture{t, New(root), root}
}

func (f fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f fixture) put(name, content string) {
	f.Helper()
	path := filepath.Join(f.root.Registry(), name)
	f.must(os.MkdirAll(filepath.Dir(path), 0o755))
	f.must(os.WriteFile(path, []byte(content), 0o644))
}

// device makes the device node of a controller.
func (f fixture) device(name string) {
	f.Helper()
	f.must(os.MkdirAll(filepath.Dir(f.root.Device(name)), 0o755))
	f.must(os.WriteFile(f.root.Device(name), nil, 0o600))
}

// wantFiles compares the whole registry, leftovers included.
func (f fixture) wantFiles(want map[string]string) {
	f.Helper()
	got := map[string]string{}
	f.must(filepath.WalkDir(f.root.Registry(), func(path string, e os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		name := strings.TrimPrefix(path, f.root.Registry()+"/")
		if err != nil || e.IsDir() {
			if strings.Contains(name, ".tmp.") {
				f.Errorf("%s was left behind", name)
			}
			return err
		}
		data, err := os.ReadFile(path)
		got[name] = string(data)
		return err
	}))
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("files (-want +got):\n%s", diff)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestEntry(t *testing.T) {
	f := newFixture(t)
	f.must(f.Create("nvme3", map[string]string{"owner": "stas", "comment": "by hand", "seqnum": "1"}))
	f.must(f.Create("nvme3", map[string]string{"owner": "discoverd", "seqnum": "4711"})) // nothing of the old one stays
	f.must(f.Set("nvme3", "owner", "nbft"))
	f.must(f.Set("nvme10", "owner", "stas"))
	f.wantFiles(map[string]string{
		"nvme3/owner": "nbft\n", "nvme3/seqnum": "4711\n",
		"nvme10/owner": "stas\n",
	})
	for path, want := range map[string]os.FileMode{"": 0o755, "nvme3": 0o755, "nvme10": 0o755, "nvme3/owner": 0o644, "nvme3/seqnum": 0o644} {
		info, err := os.Stat(filepath.Join(f.root.Registry(), path))
		f.must(err)
		if info.Mode().Perm() != want {
			t.Errorf("%q has mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}

	owner, err := f.Owner("nvme3")
	f.must(err)
	seqnum, err := f.Get("nvme3", Seqnum)
	f.must(err)
	absent, err := f.Get("nvme3", "comment")
	f.must(err)
	if owner != "nbft" || seqnum != "4711" || absent != "" {
		t.Errorf("got %q, %q, %q; want nbft, 4711 and nothing", owner, seqnum, absent)
	}
	f.put("nvme3/owner.tmp.123", "half")
	entry, err := f.Entry("nvme3")
	f.must(err)
	if diff := cmp.Diff(map[string]string{"owner": "nbft", "seqnum": "4711"}, entry); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}

	f.must(f.Create("nvme5", nil))
	f.must(f.Create("nvme4", nil))
	f.put("nvme2.tmp.123/owner", "half")
	f.put("lost+found/x", "")
	f.put(".nvme6/owner", "hidden")
	devices, err := f.List()
	f.must(err)
	if diff := cmp.Diff([]string{"nvme3", "nvme4", "nvme5", "nvme10"}, devices); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	strays, err := f.Strays()
	f.must(err)
	if diff := cmp.Diff([]string{"lost+found"}, strays); diff != "" {
		t.Errorf("strays (-want +got):\n%s", diff)
	}
}

// The owner that another program removed is written again; one that somebody wrote meanwhile stays.
func TestRestore(t *testing.T) {
	for _, test := range []struct {
		name     string
		attrs    map[string]string // nil: there is no entry
		instead  string
		restored bool
		want     map[string]string
	}{
		{"no entry", nil, "", true, map[string]string{"nvme3/owner": "discoverd\n", "nvme3/seqnum": "120\n"}},
		{"an empty entry", map[string]string{}, "", true, map[string]string{"nvme3/owner": "discoverd\n", "nvme3/seqnum": "120\n"}},
		{
			"no owner",
			map[string]string{"seqnum": "100", "note": "x"},
			"", true,
			map[string]string{"nvme3/owner": "discoverd\n", "nvme3/seqnum": "120\n", "nvme3/note": "x\n"},
		},
		{"another owner", map[string]string{"owner": "stas"}, "", false, map[string]string{"nvme3/owner": "stas\n"}},
		{"ours", map[string]string{"owner": "nbft", "seqnum": "100"}, "", false, map[string]string{"nvme3/owner": "nbft\n", "nvme3/seqnum": "100\n"}},
		{
			"one that has no say",
			map[string]string{"owner": "autoconnect"},
			"autoconnect", true,
			map[string]string{"nvme3/owner": "discoverd\n", "nvme3/seqnum": "120\n"},
		},
		{"another one than that", map[string]string{"owner": "stas"}, "autoconnect", false, map[string]string{"nvme3/owner": "stas\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			if test.attrs != nil {
				f.must(f.Create("nvme3", test.attrs))
			}
			restored, err := f.Restore("nvme3", "discoverd", test.instead, 120)
			if f.must(err); restored != test.restored {
				t.Errorf("restored %t, want %t", restored, test.restored)
			}
			f.wantFiles(test.want)
		})
	}
	t.Run("a file in the way", func(t *testing.T) {
		f := newFixture(t)
		f.must(f.Create("nvme4", map[string]string{"owner": "stas"}))
		f.put("nvme3", "")
		restored, err := f.Restore("nvme3", "discoverd", "", 120)
		if f.must(err); !restored {
			t.Error("not restored")
		}
		f.wantFiles(map[string]string{"nvme3/owner": "discoverd\n", "nvme3/seqnum": "120\n", "nvme4/owner": "stas\n"})
	})
	if _, err := newFixture(t).Restore("../nvme3", "discoverd", "", 120); err == nil {
		t.Error("../nvme3: no error")
	}
}

func TestNothingThere(t *testing.T) {
	f := newFixture(t)
	owner, err := f.Owner("nvme1")
	f.must(err)
	devices, err := f.List()
	f.must(err)
	entry, err := f.Entry("nvme1")
	f.must(err)
	f.remove("nvme1", false)
	removed, err := f.Prune("nvme1", 1)
	f.must(err)
	if owner != "" || len(devices) != 0 || len(entry) != 0 || removed {
		t.Errorf("got %q %v %v %v, want nothing", owner, devices, entry, removed)
	}
	f.wantFiles(map[string]string{})
}

// remove removes an entry; removed is whether it must have been there.
func (f fixture) remove(device string, removed bool) {
	f.Helper()
	got, err := f.Remove(device)
	if f.must(err); got != removed {
		f.Errorf("%s: removed %t, want %t", device, got, removed)
	}
}

func TestRemove(t *testing.T) {
	f := newFixture(t)
	f.must(f.Create("nvme3", map[string]string{"owner": "stas"}))
	f.must(f.Create("nvme4", map[string]string{"owner": "discoverd"}))
	f.remove("nvme3", true)
	f.remove("nvme3", false)
	f.wantFiles(map[string]string{"nvme4/owner": "discoverd\n"})
}

func TestRefuses(t *testing.T) {
	f := newFixture(t)
	_, errGet := f.Get("nvme1", "a/b")
	_, errDevice := f.Get("../x", "owner")
	_, errEntry := f.Entry("nvme1.tmp.1")
	_, errPrune := f.Prune("", 1)
	_, errRemove := f.Remove(".")
	for _, test := range []struct {
		err  error
		want string
	}{
		{f.Create("nvme0n1", nil), `cannot use device name "nvme0n1": it must be nvme and a number, such as nvme3`},
		{f.Create("nvme1", map[string]string{"..": "x"}), `cannot use attribute name "..": it must be of letters, digits, - and _`},
		{f.Create("nvme1", map[string]string{"owner": "a\nb"}), `cannot set owner to "a\nb": it must be one line of text`},
		{f.Set("nvme1", "owner.tmp.1", "x"), `cannot use attribute name "owner.tmp.1": it must be of letters, digits, - and _`},
		{f.Set("nvme1", "owner", ""), `cannot set owner to nothing: an attribute has a value or is absent`},
		{f.Set("nvme1", "owner", "\xff"), `cannot set owner to "\xff": it must be one line of text`},
		{f.Set("nvme1/..", "owner", "x"), `cannot use device name "nvme1/..": it must be nvme and a number, such as nvme3`},
		{errRemove, `cannot use device name ".": it must be nvme and a number, such as nvme3`},
		{errGet, `cannot use attribute name "a/b": it must be of letters, digits, - and _`},
		{errDevice, `cannot use device name "../x": it must be nvme and a number, such as nvme3`},
		{errEntry, `cannot use device name "nvme1.tmp.1": it must be nvme and a number, such as nvme3`},
		{errPrune, `cannot use device name "": it must be nvme and a number, such as nvme3`},
	} {
		wantError(t, test.err, test.want)
	}
	f.wantFiles(map[string]string{})
}

func TestPrune(t *testing.T) {
	for _, test := range []struct {
		name    string
		seqnum  string // of the entry
		device  bool   // there is one in /dev
		event   uint64
		removed bool
		err     string // after the root
	}{
		{name: "gone", seqnum: "100\n", event: 101, removed: true},
		{name: "the event that the entry was written at", seqnum: "100\n", event: 100},
		{name: "an event from before the entry", seqnum: "100\n", event: 99},
		{name: "the device is back", seqnum: "100\n", device: true, event: 101},
		{name: "an entry without a number", event: 101, removed: true},
		{name: "an entry without a number, the device is back", device: true, event: 101},
		{name: "the largest number", seqnum: "18446744073709551614\n", event: 18446744073709551615, removed: true},
		{
			name: "no number", seqnum: "1e2\n", event: 101,
			err: `/run/nvme/registry/nvme3/seqnum: "1e2" is no event number; remove the entry with nvme-discoverctl registry delete nvme3`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			want := map[string]string{"nvme3/owner": "discoverd\n"}
			f.put("nvme3/owner", "discoverd\n")
			if test.seqnum != "" {
				f.put("nvme3/seqnum", test.seqnum)
				want["nvme3/seqnum"] = test.seqnum
			}
			if test.device {
				f.device("nvme3")
			}
			removed, err := f.Prune("nvme3", test.event)
			if test.err != "" {
				test.err = "cannot read " + string(f.root) + test.err
			}
			wantError(t, err, test.err)
			if removed != test.removed {
				t.Errorf("removed: %v, want %v", removed, test.removed)
			}
			if test.removed {
				want = map[string]string{}
			}
			f.wantFiles(want)
		})
	}
}

// The kernel gives the name to a new controller while the remove event of the old one is handled. Whatever the order, the
// entry of the new one survives.
func TestPruneRace(t *testing.T) {
	f := newFixture(t)
	for range 200 {
		f.must(f.Create("nvme3", map[string]string{"owner": "stas", "seqnum": "100"}))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := f.Prune("nvme3", 101); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := f.Create("nvme3", map[string]string{"owner": "discoverd", "seqnum": "103"}); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		owner, err := f.Owner("nvme3")
		f.must(err)
		if owner != "discoverd" {
			t.Fatalf("nvme3 belongs to %q, want discoverd", owner)
		}
	}
	f.wantFiles(map[string]string{"nvme3/owner": "discoverd\n", "nvme3/seqnum": "103\n"})
}

// The same, step by step: the entry became the new controller's just before it was moved away.
func TestPrunePutsBack(t *testing.T) {
	f := newFixture(t)
	prune := func(meanwhile func()) {
		t.Helper()
		f.must(f.Create("nvme3", map[string]string{"seqnum": "103"}))
		moved, err := f.moveAway("nvme3")
		f.must(err)
		meanwhile()
		removed, err := f.finishPrune("nvme3", moved, 101)
		f.must(err)
		if removed {
			t.Error("the entry of the new controller was removed")
		}
	}
	prune(func() {})
	f.wantFiles(map[string]string{"nvme3/seqnum": "103\n"})
	prune(func() { f.must(f.Create("nvme3", map[string]string{"seqnum": "105"})) })
	f.wantFiles(map[string]string{"nvme3/seqnum": "105\n"})
	prune(func() { f.device("nvme3") }) // it is the number that counts
	f.wantFiles(map[string]string{"nvme3/seqnum": "103\n"})
}

func TestRule(t *testing.T) {
	data, err := os.ReadFile("../../udev/70-nvme-discoverd-registry.rules")
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "#") && strings.Contains(line, "/usr/bin/nvme-discoverctl") {
			rules = append(rules, strings.TrimSpace(line))
		}
	}
	root := paths.Root("")
	want := []string{
		`ACTION=="remove", SUBSYSTEM=="nvme", KERNEL=="nvme[0-9]*", TEST=="` + root.Registry() + `/%k", ` +
			`RUN+="/usr/bin/nvme-discoverctl registry prune %k"`,
	}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

func FuzzAttribute(f *testing.F) {
	f.Fuzz(func(t *testing.T, attr, value string) {
		fx := newFixture(t)
		if fx.Set("nvme3", attr, value) != nil {
			fx.wantFiles(map[string]string{})
			return
		}
		got, err := fx.Entry("nvme3")
		fx.must(err)
		if diff := cmp.Diff(map[string]string{attr: value}, got); diff != "" {
			t.Errorf("entry (-want +got):\n%s", diff)
		}
	})
}
