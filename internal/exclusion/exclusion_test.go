// SPDX-License-Identifier: GPL-3.0-or-later

package exclusion

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

const (
	nqnA    = "nqn.2024-01.com.example:a"
	nqnHost = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"
)

func put(t *testing.T, root paths.Root, name, content string) {
	t.Helper()
	path := root.Join("etc/nvme", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func messages(errs []error) []string {
	var all []string
	for _, err := range errs {
		all = append(all, err.Error())
	}
	return all
}

func TestLoad(t *testing.T) {
	root := paths.Root(t.TempDir())
	if list, errs := Load(root); list.rules != nil || errs != nil {
		t.Errorf("without lists: %v, %v; want nothing and no error", list, errs)
	}

	put(t, root, "exclusions/b.conf", "[exclusions]\n\n# a comment\n\texclusion = transport=tcp;traddr=192.0.2.1 \r\nexclusion=nqn="+nqnA+"#1 # not that one")
	put(t, root, "exclusions/a.conf", "exclusion = host-iface = eth0 ; \n")
	put(t, root, "exclusions/a.conf.tmp.1", "exclusion = nqn=half\n")
	put(t, root, "exclusions/README", "exclusion = nqn=prose\n")
	put(t, root, "exclusions.conf", "exclusion = transport=fc\n")
	put(t, root, "exclusions.conf.d/z.conf", "exclusion = hostid=11111111-2222-3333-4444-555555555555\n")
	list, errs := Load(root)
	if diff := cmp.Diff([]string(nil), messages(errs)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	var got []Entry
	for _, r := range list.rules {
		got = append(got, r.entry)
	}
	want := []Entry{
		{root.Join("etc/nvme/exclusions/a.conf"), 1, "host-iface = eth0 ;"},
		{root.Join("etc/nvme/exclusions/b.conf"), 4, "transport=tcp;traddr=192.0.2.1"},
		{root.Join("etc/nvme/exclusions/b.conf"), 5, "nqn=" + nqnA + "#1"},
		{root.Join("etc/nvme/exclusions.conf"), 1, "transport=fc"},
		{root.Join("etc/nvme/exclusions.conf.d/z.conf"), 1, "hostid=11111111-2222-3333-4444-555555555555"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// A list that cannot be read excludes nothing, and the others hold all the same.
func TestLoadUnreadable(t *testing.T) {
	root := paths.Root(t.TempDir())
	put(t, root, "exclusions/a.conf/directory", "")
	put(t, root, "exclusions/b.conf", "exclusion = nqn="+nqnA+"\n")
	put(t, root, "exclusions.conf.d", "")
	list, errs := Load(root)
	want := []string{
		"cannot read the exclusion list " + root.Join("etc/nvme/exclusions/a.conf") + ", which excludes nothing now: read " +
			root.Join("etc/nvme/exclusions/a.conf") + ": is a directory",
		"cannot read the exclusion lists of " + root.Join("etc/nvme/exclusions.conf.d") + ", which exclude nothing now: open " +
			root.Join("etc/nvme/exclusions.conf.d") + ": not a directory",
	}
	if diff := cmp.Diff(want, messages(errs)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if _, ok := list.Match(tid.TID{NQN: nqnA}); !ok {
		t.Error("the list that can be read does not exclude")
	}
}

func TestBadLines(t *testing.T) {
	const keys = "transport, traddr, trsvcid, nqn, host-traddr, host-iface, hostnqn, hostid"
	for _, test := range []struct{ line, want string }{
		{"exclusion", `cannot use "exclusion": a line is exclusion = key=value;key=value…`},
		{"[exclusions", `cannot use "[exclusions": a line is exclusion = key=value;key=value…`},
		{"exclude = nqn=x", `cannot use "exclude = nqn=x": a line is exclusion = key=value;key=value…`},
		{"exclusion =", `cannot use exclusion "": it is empty`},
		{"exclusion = ;;", `cannot use exclusion ";;": it is empty`},
		{"exclusion = nqn", `cannot use exclusion "nqn": "nqn" is not key=value`},
		{"exclusion = nqn=", `cannot use exclusion "nqn=": nqn has no value`},
		{"exclusion = nqn=a;nqn=b", `cannot use exclusion "nqn=a;nqn=b": nqn is there twice`},
		{"exclusion = host_iface=eth0", `cannot use exclusion "host_iface=eth0": unknown key "host_iface", the keys are ` + keys},
		{"exclusion = nqn=a;color=red", `cannot use exclusion "nqn=a;color=red": unknown key "color", the keys are ` + keys},
		{"exclusion = transport=pcie", `cannot use exclusion "transport=pcie": transport "pcie" must be tcp, rdma, fc or loop`},
		{
			"exclusion = transport=tcp,traddr=192.0.2.1",
			`cannot use exclusion "transport=tcp,traddr=192.0.2.1": transport "tcp,traddr=192.0.2.1" must be tcp, rdma, fc or loop`,
		},
		{"exclusion = traddr=192.0.2", `cannot use exclusion "traddr=192.0.2": traddr "192.0.2" is not an address; a host name cannot be excluded`},
		{
			"exclusion = transport=fc;traddr=nn-0x1:pn-0x2",
			`cannot use exclusion "transport=fc;traddr=nn-0x1:pn-0x2": traddr: cannot use Fibre Channel address "nn-0x1:pn-0x2": "0x1" is not a World Wide Name of 16 hexadecimal digits; it must be like nn-0x20000090fa942779:pn-0x10000090fa942779`,
		},
		{
			"exclusion = transport=tcp;traddr=nn-0x0000000000000001:pn-0x0000000000000002",
			`cannot use exclusion "transport=tcp;traddr=nn-0x0000000000000001:pn-0x0000000000000002": traddr "nn-0x0000000000000001:pn-0x0000000000000002" is not an address; a host name cannot be excluded`,
		},
		{
			"exclusion = nqn=a;host-traddr=array.example",
			`cannot use exclusion "nqn=a;host-traddr=array.example": host-traddr "array.example" is not an address; a host name cannot be excluded`,
		},
		{"exclusion = trsvcid=0", `cannot use exclusion "trsvcid=0": trsvcid "0" must be a number from 1 to 65535`},
		{"exclusion = trsvcid=nvme", `cannot use exclusion "trsvcid=nvme": trsvcid "nvme" must be a number from 1 to 65535`},
		{"exclusion = hostid=xyz", `cannot use exclusion "hostid=xyz": hostid "xyz" must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6`},
		{"exclusion = nqn=a,b", `cannot use exclusion "nqn=a,b": cannot use NQN "a,b": it contains a comma`},
		{
			"exclusion = hostnqn=" + strings.Repeat("x", 224),
			`cannot use exclusion "hostnqn=` + strings.Repeat("x", 224) + `": cannot use NQN "` + strings.Repeat("x", 40) +
				`"…: it has 224 bytes, at most 223 are allowed`,
		},
	} {
		rules, errs := parse("list.conf", "# a comment\n"+test.line+"\nexclusion = nqn="+nqnA)
		want := []string{"list.conf:2: " + test.want + "; the line excludes nothing"}
		if diff := cmp.Diff(want, messages(errs)); diff != "" {
			t.Errorf("%s: errors (-want +got):\n%s", test.line, diff)
		}
		if len(rules) != 1 || rules[0].entry.Line != 3 {
			t.Errorf("%s: the line below it was not read: %+v", test.line, rules)
		}
	}
}

// TestForm: an entry whose NQN is none in form holds, is in doubt, and passes a check only if something is known to have the name.
func TestForm(t *testing.T) {
	root := paths.Root(t.TempDir())
	put(t, root, "exclusions/user.conf", "exclusion = nqn="+nqnA+"\nexclusion = nqn=vol1\nexclusion = transport=tcp;hostnqn=red\n")
	list, errs := Load(root)
	if _, ok := list.Match(tid.TID{NQN: "vol1"}); !ok || len(errs) > 0 {
		t.Errorf("the entry does not hold, %v", errs)
	}
	const form = " is not an NQN: it must begin as nqn.2024-01.com.example does, with nqn, a year and month, and a domain name in reverse"
	file := root.Join("etc/nvme/exclusions/user.conf")
	want := []Problem{
		{file, 2, file + `:2: exclusion "nqn=vol1" excludes nothing but what has just this name: nqn "vol1"` + form},
		{file, 3, file + `:3: exclusion "transport=tcp;hostnqn=red" excludes nothing but what has just this name: hostnqn "red"` + form},
	}
	if diff := cmp.Diff(want, Sources(root)[0].Doubts); diff != "" {
		t.Errorf("doubts (-want +got):\n%s", diff)
	}
	known := func(names ...string) func(string) bool {
		return func(nqn string) bool { return slices.Contains(names, nqn) }
	}
	if err := list.CheckForm(known("vol1")); err == nil || err.Error() != `cannot use exclusion "transport=tcp;hostnqn=red": hostnqn "red"`+form {
		t.Errorf("with vol1 known: %v", err)
	}
	if err := list.CheckForm(known("vol1", "red")); err != nil {
		t.Errorf("with both known: %v", err)
	}
}

func TestMatch(t *testing.T) {
	tcp := tid.TID{
		Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqnA, HostTraddr: "192.0.2.100", HostIface: "eth0",
		HostNQN: nqnHost, HostID: "11111111-2222-3333-4444-55555555555a",
	}
	v6 := tcp
	v6.Traddr, v6.HostTraddr = "::1", "fe80::1%eth0"
	fc := tid.TID{Transport: "fc", Traddr: "nn-0x20000090fa942779:pn-0x10000090fa942779", NQN: nqnA}
	bare := tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqnA}
	const (
		small    = "nqn.2014-08.org.nvmexpress:uuid:1111abcd-2222-3333-4444-555555555555"
		capitals = "nqn.2014-08.org.nvmexpress:uuid:1111ABCD-2222-3333-4444-555555555555"
	)

	for _, test := range []struct {
		exclusion string
		t         tid.TID
		want      bool
	}{
		{"transport=tcp", tcp, true},
		{"transport=rdma", tcp, false},
		{"traddr=192.0.2.1", tcp, true},
		{"traddr=192.0.2.2", tcp, false},
		{"traddr=::ffff:192.0.2.1", tcp, true},
		{"trsvcid=4420", tcp, true},
		{"trsvcid=04420", tcp, true},
		{"trsvcid=8009", tcp, false},
		{"trsvcid=4420", tid.TID{Transport: "tcp", Trsvcid: "04420"}, true},
		{"trsvcid=4420", tid.TID{Transport: "fc", Trsvcid: "none"}, false},
		{"nqn=" + nqnA, tcp, true},
		{"nqn=" + strings.ToUpper(nqnA), tcp, false},
		{"nqn=" + nqnA[:len(nqnA)-1], tcp, false},
		{"host-traddr=192.0.2.100", tcp, true},
		{"host-traddr=192.0.2.101", tcp, false},
		{"host-iface=eth0", tcp, true},
		{"host-iface=eth", tcp, false},
		{"hostnqn=" + nqnHost, tcp, true},
		{"hostnqn=" + nqnA, tcp, false},
		{"hostnqn=" + small, tid.TID{Transport: "loop", NQN: nqnA, HostNQN: capitals}, true},
		{"hostnqn=" + capitals, tid.TID{Transport: "loop", NQN: nqnA, HostNQN: small}, true},
		{"nqn=" + capitals, tid.TID{Transport: "loop", NQN: small}, true},
		{"hostid=11111111-2222-3333-4444-55555555555A", tcp, true},
		{"hostid=11111111-2222-3333-4444-55555555555b", tcp, false},

		{tcp.Canonical(), tcp, true},
		{"host-iface=eth0; transport=tcp ;nqn = " + nqnA, tcp, true},
		{"transport=tcp;host-iface=eth1", tcp, false},
		{"transport=rdma;traddr=192.0.2.1", tcp, false},

		{"host-traddr=192.0.2.100", bare, false}, // unset in the connection
		{"host-iface=eth0", bare, false},
		{"hostnqn=" + nqnHost, bare, false},
		{"hostid=11111111-2222-3333-4444-555555555555", bare, false},
		{"transport=tcp;hostid=11111111-2222-3333-4444-555555555555", bare, false},
		{"traddr=192.0.2.1", tid.TID{Transport: "loop", NQN: nqnA}, false},

		{"traddr=0:0:0:0:0:0:0:1", v6, true},
		{"traddr=::2", v6, false},
		{"host-traddr=FE80::1%eth0", v6, true},
		{"host-traddr=fe80::1%eth1", v6, false},
		{"host-traddr=fe80::1", v6, true}, // in every zone

		{"transport=fc;traddr=nn-0x20000090FA942779:pn-0x10000090FA942779", fc, true},
		{"traddr=NN-0x20000090fa942779:pn-0x10000090fa942779", fc, true},
		{"transport=fc;traddr=nn-0x20000090fa942779,pn-0x10000090fa942779", fc, true},
		{"traddr=nn-20000090fa942779:pn-10000090fa942779", fc, true},
		{"traddr=nn-20:00:00:90:FA:94:27:79,pn-10:00:00:90:FA:94:27:79", fc, true},
		{"traddr=nn-20:00:00:90:FA:94:27:79,pn-10:00:00:90:FA:94:27:70", fc, false},
		{"transport=fc;traddr=nn-0x20000090fa942779:pn-0x10000090fa942770", fc, false},
		{"transport=fc;trsvcid=none", fc, false},
		{"transport=loop;traddr=1", tid.TID{Transport: "loop", Traddr: "1", NQN: nqnA}, true},
	} {
		rules, errs := parse("list.conf", "exclusion = "+test.exclusion)
		if errs != nil {
			t.Errorf("%s: %v", test.exclusion, errs)
			continue
		}
		got, ok := List{rules}.Match(test.t)
		if ok != test.want {
			t.Errorf("%s excludes %s: %v, want %v", test.exclusion, test.t.Canonical(), ok, test.want)
		}
		if want := (Entry{"list.conf", 1, test.exclusion}); ok && got != want {
			t.Errorf("entry is %+v, want %+v", got, want)
		}
	}
	if entry, ok := (List{}).Match(tcp); ok {
		t.Errorf("an empty list excludes: %+v", entry)
	}
}

// Entries count under [exclusions] and before any section header. Other sections are kept for later use.
func TestSections(t *testing.T) {
	for _, test := range []struct {
		name, text string
		entries    []int // lines
		problems   []string
	}{
		{"mark", "\ufeffexclusion = nqn=a\n", []int{1}, nil},
		{"mark and header", "\ufeff[exclusions]\r\nexclusion = nqn=a\r\n", []int{2}, nil},
		{"mark within", "exclusion = nqn=a\n\ufeffexclusion = nqn=b\n", []int{1}, []string{
			`list.conf:2: cannot use "\ufeffexclusion = nqn=b": a line is exclusion = key=value;key=value…; the line excludes nothing`,
		}},
		{"reserved", "exclusion = nqn=a\n[exclusions] # ours\nexclusion = nqn=b\n[policy]\nexclusion = nqn=c\nrubbish\n[ exclusions ]\nexclusion = nqn=d\n", []int{1, 3, 8}, nil},
		{"reserved only", "[policy]\nexclusion = nqn=c", nil, nil},
		{"misspelt", "[Exclusions]\nexclusion = nqn=a\n[exclusion]\n[exclusions]\nexclusion = nqn=b\n", []int{5}, []string{
			`list.conf:1: cannot use section "[Exclusions]": entries count under [exclusions] only; what stands below excludes nothing`,
			`list.conf:3: cannot use section "[exclusion]": entries count under [exclusions] only; what stands below excludes nothing`,
		}},
	} {
		rules, errs := parse("list.conf", test.text)
		var got []int
		for _, r := range rules {
			got = append(got, r.entry.Line)
		}
		if diff := cmp.Diff(test.entries, got); diff != "" {
			t.Errorf("%s: lines of entries (-want +got):\n%s", test.name, diff)
		}
		if diff := cmp.Diff(test.problems, messages(errs)); diff != "" {
			t.Errorf("%s: problems (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestNeighbour: what nvme-cli 3 has beside its entries, from the samples of all packages.
func TestNeighbour(t *testing.T) {
	text, err := os.ReadFile("../../testdata/neighbours/exclusions.conf")
	if err != nil {
		t.Fatal(err)
	}
	rules, errs := parse("exclusions.conf", string(text))
	if errs != nil || len(rules) != 2 {
		t.Fatalf("%d entries, problems %v, want 2 and none", len(rules), errs)
	}
	list := List{rules}
	for addr, want := range map[string]bool{"192.0.2.66": true, "192.0.2.67": false} {
		if _, ok := list.Match(tid.TID{Transport: "tcp", Traddr: addr, Trsvcid: "8009"}); ok != want {
			t.Errorf("%s is excluded: %v, want %v", addr, ok, want)
		}
	}
	if _, ok := list.Match(tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "04420", HostID: "abcdef01-2222-4333-8444-555555555555"}); !ok {
		t.Error("the host ID in capitals and the port with a zero do not exclude")
	}
}

// An entry excludes the connection that it spells out, and nothing that is unset.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		rules, errs := parse("list.conf", text)
		lines := strings.Count(text, "\n") + 1
		if len(rules)+len(errs) > lines {
			t.Errorf("%q: %d entries and %d errors of %d lines", text, len(rules), len(errs), lines)
		}
		for _, r := range rules {
			if r.entry.Line < 1 || r.entry.Line > lines || !strings.Contains(text, r.entry.Text) {
				t.Errorf("%q: the entry names what is not there: %+v", text, r.entry)
			}
			if r.want == (tid.TID{}) {
				t.Errorf("%q: %+v excludes everything", text, r.entry)
			}
			if _, ok := (List{[]rule{r}}).Match(r.want); !ok {
				t.Errorf("%q: %+v does not exclude itself", text, r.want)
			}
			if _, ok := (List{[]rule{r}}).Match(tid.TID{}); ok {
				t.Errorf("%q: %+v excludes what has nothing set", text, r.want)
			}
		}
	})
}

// A list of 10 000 entries is to be searched in less than 1 ms.
func BenchmarkMatch(b *testing.B) {
	for _, kind := range []string{"nqn", "traddr", "transport"} {
		var text strings.Builder
		for i := range 10_000 {
			switch kind {
			case "nqn":
				fmt.Fprintf(&text, "exclusion = nqn=nqn.2024-01.com.example:%05d\n", i)
			case "traddr":
				fmt.Fprintf(&text, "exclusion = transport=tcp;traddr=2001:db8::%x\n", i+2)
			case "transport":
				fmt.Fprintf(&text, "exclusion = transport=tcp;hostid=11111111-2222-3333-4444-5555555%05d\n", i)
			}
		}
		rules, errs := parse("list.conf", text.String())
		if errs != nil {
			b.Fatal(errs[0])
		}
		list := List{rules}
		t := tid.TID{Transport: "tcp", Traddr: "2001:db8::1", Trsvcid: "4420", NQN: "nqn.2024-01.com.example:99999", HostID: "99999"}
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				if _, ok := list.Match(t); ok {
					b.Fatal("excluded")
				}
			}
		})
	}
}

// A list can be made again of its entries, as recordings have them.
func TestOf(t *testing.T) {
	root := paths.Root(t.TempDir())
	put(t, root, "exclusions/a.conf", "exclusion = traddr=::ffff:192.0.2.1\nexclusion = nqn="+nqnA+"\n")
	list, errs := Load(root)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	again, err := Of(list.Entries())
	if err != nil {
		t.Fatal(err)
	}
	if entry, excluded := again.Match(tid.TID{Transport: tid.TCP, Traddr: "192.0.2.1"}); !excluded || entry.Line != 1 {
		t.Errorf("matches %+v, %v", entry, excluded)
	}
	if _, err := Of([]Entry{{File: "x", Line: 3, Text: "color=red"}}); err == nil || !strings.Contains(err.Error(), "x:3") {
		t.Errorf("a bad entry: %v", err)
	}
}
