// SPDX-License-Identifier: GPL-3.0-or-later

package exclusion

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"user", "50-site", "a_b.c", strings.Repeat("x", 64)} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", ".hidden", "-N", "a/b", "a b", "a\n", "ä", strings.Repeat("x", 65)} {
		want := fmt.Sprintf("cannot use list name %q: it must be of up to 64 letters, digits, ., _ and -", name)
		if err := CheckName(name); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}

// TestAddAtOnce: no entry is lost when several commands add to one list.
func TestAddAtOnce(t *testing.T) {
	root := paths.Root(t.TempDir())
	var all sync.WaitGroup
	const many = 20
	for i := range many {
		all.Go(func() {
			if _, err := Add(root, User, fmt.Sprintf("nqn=%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	list, errs := Load(root)
	if len(list.rules) != many || errs != nil {
		t.Errorf("%d entries, want %d; errors %v", len(list.rules), many, errs)
	}
}

// TestAddNothingBad: of entries of which one is bad, none is added.
func TestAddNothingBad(t *testing.T) {
	root := paths.Root(t.TempDir())
	_, err := Add(root, User, "nqn=a", "nqn=")
	if want := `cannot use exclusion "nqn=": nqn has no value`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := os.Stat(root.Exclusions()); err == nil {
		t.Error("it was made all the same")
	}
}

// TestStore: a list that is a link stays one, and a list keeps its permissions.
func TestStore(t *testing.T) {
	root := paths.Root(t.TempDir())
	put(t, root, "site", "exclusion = nqn=a\n")
	put(t, root, "exclusions/README", "")
	target, link := root.Join("etc/nvme/site"), root.Join("etc/nvme/exclusions/user.conf")
	if err := os.Chmod(target, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Add(root, User, "nqn=b"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.Readlink(link); got != target {
		t.Errorf("the link leads to %q, %v", got, err)
	}
	if got, want := content(t, target), "[exclusions]\nexclusion = nqn=a\nexclusion = nqn=b\n"; got != want {
		t.Errorf("the list is %q, want %q", got, want)
	}
	if info, err := os.Stat(target); err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestAddUnderHeader: what is added stands where nvme-cli 3 reads it.
func TestAddUnderHeader(t *testing.T) {
	for name, test := range map[string]struct{ before, after string }{
		"new":      {"", header + "exclusion = nqn=b\n"},
		"empty":    {"# nothing", "# nothing\n[exclusions]\nexclusion = nqn=b\n"},
		"headed":   {"[exclusions]\nexclusion = nqn=a", "[exclusions]\nexclusion = nqn=a\nexclusion = nqn=b\n"},
		"headless": {"\ufeff# mine\nexclusion = nqn=a\n", "# mine\n[exclusions]\nexclusion = nqn=a\nexclusion = nqn=b\n"},
		"mark":     {"\ufeffexclusion = nqn=a\n", "[exclusions]\nexclusion = nqn=a\nexclusion = nqn=b\n"},
		"reserved": {"[exclusions]\nexclusion = nqn=a\n\n[policy]\nkey = value\n", "[exclusions]\nexclusion = nqn=a\nexclusion = nqn=b\n\n[policy]\nkey = value\n"},
		"only reserved": {
			"[policy]\nexclusion = nqn=b",
			"[policy]\nexclusion = nqn=b\n[exclusions]\nexclusion = nqn=b\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := paths.Root(t.TempDir())
			if test.before != "" {
				put(t, root, "exclusions/user.conf", test.before)
			}
			added, err := Add(root, User, "nqn=b")
			if err != nil || len(added) != 1 {
				t.Fatal(added, err)
			}
			text := content(t, root.Join("etc/nvme/exclusions/user.conf"))
			if diff := cmp.Diff(test.after, text); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if line := strings.Split(text, "\n")[added[0].Line-1]; line != "exclusion = nqn=b" {
				t.Errorf("line %d is said to be the entry: it is %q", added[0].Line, line)
			}
		})
	}
}

// TestAddAgain: an entry that only this project reads gets its header although the list has it already.
func TestAddAgain(t *testing.T) {
	root := paths.Root(t.TempDir())
	put(t, root, "exclusions/user.conf", "exclusion = nqn=a\n")
	if added, err := Add(root, User, "nqn=a"); err != nil || added != nil {
		t.Fatal(added, err)
	}
	if got, want := content(t, root.Join("etc/nvme/exclusions/user.conf")), "[exclusions]\nexclusion = nqn=a\n"; got != want {
		t.Errorf("the list is %q, want %q", got, want)
	}
}

// TestPlaces: where nvme-cli 3 has its places, lists are written there; what was written before is still found.
func TestPlaces(t *testing.T) {
	for _, place := range []string{"exclusions.conf", "exclusions.conf.d/README"} {
		root := paths.Root(t.TempDir())
		if _, err := Add(root, User, "nqn=old"); err != nil {
			t.Fatal(err)
		}
		put(t, root, place, "")
		if _, err := Add(root, User, "nqn=old", "nqn=new"); err != nil {
			t.Fatal(err)
		}
		shared, own := root.Join("etc/nvme/exclusions.conf.d/user.conf"), root.Join("etc/nvme/exclusions/user.conf")
		if got, want := content(t, shared), header+"exclusion = nqn=old\nexclusion = nqn=new\n"; got != want {
			t.Errorf("%s: it holds %q, want %q", place, got, want)
		}
		if got, want := content(t, own), header+"exclusion = nqn=old\n"; got != want {
			t.Errorf("%s: the older one holds %q, want %q", place, got, want)
		}
		edit, err := Begin(root, User)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{own}, edit.Other); diff != "" || edit.file != shared {
			t.Errorf("%s: %s is edited; others (-want +got):\n%s", place, edit.file, diff)
		}
		if err := os.WriteFile(edit.Draft, []byte("exclusion = nqn=old\nexclusion = nqn=edited\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := edit.Save(); err != nil {
			t.Fatal(err)
		}
		if got, want := content(t, shared), "[exclusions]\nexclusion = nqn=old\nexclusion = nqn=edited\n"; got != want {
			t.Errorf("%s: edited it holds %q, want %q", place, got, want)
		}
		if _, err := Create(root, User); err == nil || err.Error() != "cannot create exclusion list user: it exists" {
			t.Errorf("%s: create: %v", place, err)
		}
		removed, err := Remove(root, User, "nqn=old")
		if err != nil || len(removed) != 2 {
			t.Errorf("%s: removed %+v, %v, want both", place, removed, err)
		}
		if list, _ := Load(root); len(list.rules) != 1 {
			t.Errorf("%s: %d entries are left, want 1", place, len(list.rules))
		}
		if deleted, err := Delete(root, User); err != nil || len(deleted) != 2 {
			t.Errorf("%s: deleted %q, %v", place, deleted, err)
		}
	}
}

// TestEndless: what would be read for ever is not read.
func TestEndless(t *testing.T) {
	root := paths.Root(t.TempDir())
	put(t, root, "exclusions/b.conf", "exclusion = nqn="+nqnA+"\n")
	pipe, huge := root.Join("etc/nvme/exclusions/a.conf"), root.Join("etc/nvme/exclusions/c.conf")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(huge, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<40); err != nil {
		t.Skip(err) // a file system that has no such files
	}
	list, errs := Load(root)
	want := []string{
		"cannot read the exclusion list " + pipe + ", which excludes nothing now: it is not a file",
		"cannot read the exclusion list " + huge + ", which excludes nothing now: it has 1099511627776 bytes, at most 16777216 are allowed",
	}
	if diff := cmp.Diff(want, messages(errs)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if _, ok := list.Match(tid.TID{NQN: nqnA}); !ok {
		t.Error("the list that can be read does not exclude")
	}
}

func TestMatches(t *testing.T) {
	root := paths.Root(t.TempDir())
	put(t, root, "exclusions/a.conf", "exclusion = transport=tcp\nexclusion = transport=fc\nexclusion = nqn="+nqnA+"\n")
	list, _ := Load(root)
	var lines []int
	for _, e := range list.Matches(tid.TID{Transport: "tcp", NQN: nqnA}) {
		lines = append(lines, e.Line)
	}
	if diff := cmp.Diff([]int{1, 3}, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMeaning: entries are one exactly if they exclude the same.
func TestMeaning(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"transport=tcp;nqn=a", " nqn = a ; transport = tcp ;", true},
		{"traddr=::ffff:192.0.2.1", "traddr=192.0.2.1", true},
		{"trsvcid=04420", "trsvcid=4420", true},
		{"transport=fc;traddr=nn-0x000000000000000A:pn-0x000000000000000B", "transport=fc;traddr=nn-0x000000000000000a:pn-0x000000000000000b", true},
		{"hostid=F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", "hostid=f81d4fae-7dec-11d0-a765-00a0c91e6bf6", true},
		{"nqn=A", "nqn=a", false},
		{"traddr=fe80::1", "traddr=fe80::1%eth0", false},
		{"traddr=192.0.2.1", "host-traddr=192.0.2.1", false},
		{"nqn=a", "nqn=a;transport=tcp", false},
	} {
		a, errA := Parse(test.a)
		b, errB := Parse(test.b)
		if errA != nil || errB != nil {
			t.Fatalf("%v, %v", errA, errB)
		}
		if got := a.rules[0].meaning() == b.rules[0].meaning(); got != test.same {
			t.Errorf("%s and %s mean the same: %v, want %v", test.a, test.b, got, test.same)
		}
	}
}

// FuzzEntry: an entry that is accepted reads as itself when it stands in a list, and as one entry.
func FuzzEntry(f *testing.F) {
	f.Fuzz(func(t *testing.T, entry string) {
		list, err := Parse(entry)
		if err != nil {
			return
		}
		rules, problems := parse("list.conf", "exclusion = "+list.rules[0].entry.Text+"\n")
		if len(rules) != 1 || problems != nil {
			t.Fatalf("%q: %d entries, problems %v", entry, len(rules), problems)
		}
		if rules[0].meaning() != list.rules[0].meaning() {
			t.Errorf("%q: it means %+v, in the list %+v", entry, list.rules[0].want, rules[0].want)
		}
	})
}

// Reading a list of 10 000 entries is a part of every connect.
func BenchmarkLoad(b *testing.B) {
	root := paths.Root(b.TempDir())
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, "exclusion = transport=tcp;traddr=2001:db8::%x\n", i+2)
	}
	if err := os.MkdirAll(root.Exclusions(), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(root.Join("etc/nvme/exclusions/user.conf"), []byte(text.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if list, _ := Load(root); len(list.rules) != 10_000 {
			b.Fatal("lost some")
		}
	}
}
