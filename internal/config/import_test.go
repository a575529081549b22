// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

var update = flag.Bool("update", false, "rewrite the golden files of imports; read the difference before you commit it")

// installed maps the files of other programs to where they are installed.
var installed = map[string]string{
	"discovery.conf": "etc/nvme/discovery.conf", "config.json": "etc/nvme/config.json",
	"discoverd.conf": mainFile, "nvme-discoverd.conf": "etc/nvme/nvme-discoverd.conf", "nvme-stas.conf": "etc/nvme/nvme-stas.conf",
	"stafd.conf": "etc/stas/stafd.conf", "stacd.conf": "etc/stas/stacd.conf",
}

// imported returns what becomes of files: what is lost, then the drop-ins. Every one of them must load.
func imported(t *testing.T, files map[string]string, from ...string) (string, error) {
	t.Helper()
	root := write(t, host(files))
	out, err := ImportFiles(root, from)
	if err != nil {
		return "", err
	}
	made := out.DropIns
	var b strings.Builder
	for _, line := range out.Lost {
		if slices.Contains(out.Refused, line) {
			line = "! " + line
		}
		b.WriteString(line + "\n")
	}
	if len(out.Exclusions) > 0 {
		b.WriteString("\n==> exclusions\n" + strings.Join(out.Exclusions, "\n") + "\n")
	}
	if out.Main != "" {
		b.WriteString("\n==> discoverd.conf\n" + out.Main)
	}
	for _, m := range made {
		b.WriteString("\n==> " + m.Name + "\n" + m.Text)
		if err := os.MkdirAll(root.DaemonDropIns(), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := CheckWith(root, out); err != nil {
		t.Errorf("what is made does not load: %v", err)
	}
	count := 0
	for _, m := range made {
		count += m.Connections
		if err := os.WriteFile(filepath.Join(root.DaemonDropIns(), m.Name), []byte(m.Text), m.Mode); err != nil {
			t.Fatal(err)
		}
	}
	config, err := Load(root, "")
	if err != nil || len(config.Connections) != count || len(config.Warnings) > 0 {
		t.Errorf("it loads as %d connections of %d, warnings %q, error %v", len(config.Connections), count, config.Warnings, err)
	}
	return strings.ReplaceAll(b.String(), string(root), ""), nil
}

// TestImport compares with testdata/import/<case>/golden.
func TestImport(t *testing.T) {
	cases, err := filepath.Glob("testdata/import/*")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, dir := range cases {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			files := map[string]string{}
			for name, path := range installed {
				if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
					files[path] = string(data)
				}
			}
			got, err := imported(t, files)
			diff(t, "error", nil, err)
			if strings.Contains(got, "c2VjcmV0") || strings.Contains(got, "super-secret") {
				t.Error("a secret was copied")
			}
			golden := filepath.Join(dir, "golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "import", string(want), got)
		})
	}
}

func TestImportFrom(t *testing.T) {
	root := write(t, host(map[string]string{
		"etc/nvme/discovery.conf": "-t tcp -a 192.0.2.1", "etc/stas/stafd.conf": "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.2",
		"a/old.json": "[]", "a/what": "# nothing", "a/bytes.json": "[\xff]", "a/cut.json": "[\n{", "a/x/config.json": "hello", "a/y/config.json": "\n\"hello\"", "a/lines": "-t tcp -a 192.0.2.3",
		"a/stacd.conf.old":      "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.4;subsysnqn=nqn.2024-01.a",
		"a/host/nvme-stas.conf": "[host]\nkxchap-secret = x\n[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=tcp;traddr=192.0.2.1\n",
		"a/line/nvme-stas.conf": "[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=tcp;traddr=192.0.2.1\ntls\n",
		"a/finder":              "[Global]\n[Service Discovery]\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.5",
	}))
	for _, test := range []struct {
		from  []string
		names string
		err   string
	}{
		{nil, "imported-discovery.conf imported-stas.conf", ""},
		{[]string{"stafd.conf"}, "imported-stas.conf", ""},
		{[]string{root.Join("a/old.json")}, "", ""},
		{[]string{root.Join("a/lines"), root.Join("a/stacd.conf.old"), root.Join("a/finder")}, "imported-discovery.conf imported-stas.conf", ""},
		{[]string{"stacd.conf", "config.json"}, "", `cannot import /etc/stas/stacd.conf: no such file or directory
cannot import /etc/nvme/config.json: no such file or directory`},
		{[]string{"stas.conf"}, "", `cannot import "stas.conf": it must be discovery.conf, config.json, nvme-discoverd.conf, stafd.conf, stacd.conf, nvme-stas.conf, nvme-fabrics.conf or the path of a file`},
		{[]string{root.Join("a/what")}, "", "cannot import /a/what: it is not clear what it is; let its name be discovery.conf, config.json, nvme-discoverd.conf, stafd.conf, stacd.conf, nvme-stas.conf or nvme-fabrics.conf"},
		{[]string{root.Join("a/cut.json")}, "", "cannot import /a/cut.json: line 2: it is no JSON: unexpected EOF"},
		{[]string{root.Join("a/x/config.json"), root.Join("a/y/config.json")}, "", `cannot import /a/x/config.json: line 1: it is no JSON: invalid character 'h' looking for beginning of value
cannot import /a/y/config.json: line 2: it is no list of hosts`},
		{[]string{root.Join("a/host/nvme-stas.conf")}, "", "cannot import /a/host/nvme-stas.conf: line 2: cannot use kxchap-secret in [host]: that section is unknown, and nothing of the file is connected without what it asks for"},
		{[]string{root.Join("a/line/nvme-stas.conf")}, "", "cannot import /a/line/nvme-stas.conf: line 4: cannot parse this line: it must be a [section] or key = value"},
		{[]string{root.Join("a/bytes.json")}, "", "cannot import /a/bytes.json: it is not UTF-8"},
	} {
		out, err := ImportFiles(root, test.from)
		message := ""
		if err != nil {
			message = strings.ReplaceAll(err.Error(), string(root), "")
		}
		var names []string
		for _, m := range out.DropIns {
			names = append(names, m.Name)
		}
		diff(t, "error", test.err, message)
		diff(t, "drop-ins", test.names, strings.Join(names, " "))
	}
}

// TestCheckWith proves that a drop-in is checked against what is installed.
func TestCheckWith(t *testing.T) {
	root := write(t, host(map[string]string{
		"etc/nvme/discovery.conf": "-t tcp -a 192.0.2.1 -q nqn.2024-01.red", mainFile: "[host]\nhostnqn = \"nqn.2024-01.red\"", fabricsFile: "[Host]",
	}))
	out, err := ImportFiles(root, nil)
	diff(t, "error", nil, err)
	err = CheckWith(root, out)
	diff(t, "error", `/etc/nvme/discoverd.conf.d/imported-discovery.conf:4:1: cannot use hostnqn "nqn.2024-01.red" in two files: it is at /etc/nvme/discoverd.conf:2 already; put what it connects into that file`,
		strings.ReplaceAll(err.Error(), string(root), ""))
}

// fuzzImport proves that whatever a file holds, what is made of it loads and says where each lost thing was.
func fuzzImport(f *testing.F, read func(*importer, string)) {
	f.Fuzz(func(t *testing.T, text string) {
		text, ok := plain(text, &findings{})
		if !ok {
			return
		}
		i := importer{root: paths.Root("/nowhere"), known: identity{nqn: testNQN, id: testID}, seen: map[connectionKey]string{}, name: "f", path: "f"}
		read(&i, text)
		if i.wrong != nil {
			return // nothing of it is imported
		}
		for _, line := range i.notes.places("f") {
			if strings.Contains(line, "\n") || !strings.HasPrefix(line, "f:") {
				t.Errorf("bad message %q", line)
			}
		}
		for n := range i.drafts {
			i.drafts[n].lost = i.notes.places("f")
		}
		out, err := i.finish()
		if err != nil {
			t.Error(err)
		}
		if out.Main != "" {
			if s := parse(mainFile, out.Main, importedMode, tomlDialect, false); s.found.errors != nil {
				t.Errorf("discoverd.conf: %v\n%s", s.found.errors, out.Main)
			}
		}
		for _, entry := range out.Exclusions {
			if _, err := exclusion.Parse(entry); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzImportDiscovery(f *testing.F) { fuzzImport(f, (*importer).discoveryConf) }

func FuzzImportJSON(f *testing.F) { fuzzImport(f, (*importer).configJSON) }

func FuzzImportStas(f *testing.F) {
	fuzzImport(f, func(i *importer, text string) {
		i.stas(text, tid.Discovery)
		i.stas(text, tid.IO)
	})
}

func FuzzImportFabrics(f *testing.F) { fuzzImport(f, (*importer).fabricsConf) }

func FuzzImportDiscoverd(f *testing.F) { fuzzImport(f, (*importer).discoverdConf) }

// TestImportNeighbours imports the samples of all packages.
func TestImportNeighbours(t *testing.T) {
	sample := func(name string) string {
		data, err := os.ReadFile("../../testdata/neighbours/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	root := write(t, host(map[string]string{
		"etc/nvme/nvme-discoverd.conf": sample("nvme-discoverd.conf"), "etc/nvme/nvme-stas.conf": sample("nvme-stas.conf"),
		"etc/stas/stafd.conf": sample("stafd.conf"), "etc/nvme/discovery.conf": sample("discovery.conf"),
	}))
	out, err := ImportFiles(root, nil)
	diff(t, "error", nil, err)
	diff(t, "refused", []string(nil), out.Refused)
	diff(t, "exclusions", []string{"transport=tcp;traddr=192.0.2.66"}, out.Exclusions)
	diff(t, "settings", []string{"nbft = false", `log-level = "info"`, "fc-kickstart-interval-minutes = 7", "epcsd-poll-interval-minutes = 15", `discovery-retention-time = "48h"`}, out.Global)
	var names []string
	for _, m := range out.DropIns {
		names = append(names, m.Name)
		if err := os.MkdirAll(root.DaemonDropIns(), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root.DaemonDropIns(), m.Name), []byte(m.Text), m.Mode); err != nil {
			t.Fatal(err)
		}
	}
	diff(t, "drop-ins", []string{"imported-discovery.conf", "imported-stas.conf", "imported-nvme-stas.conf"}, names)
	if err := os.WriteFile(root.DaemonConfig(), []byte(out.Main), 0o644); err != nil {
		t.Fatal(err)
	}
	config, err := Load(root, "")
	diff(t, "error", nil, err)
	if s := config.Settings; s.NBFT || s.FCKickstartInterval != 7*time.Minute || s.DiscoveryRetention != 48*time.Hour {
		t.Errorf("settings: %+v", s)
	}
	var addresses []string
	for _, c := range config.Connections {
		addresses = append(addresses, c.Wish.TID.Traddr+" "+string(c.Persistence))
	}
	diff(t, "connections", []string{"192.0.2.30 always", "192.0.2.10 ", "192.0.2.11 "}, addresses)
}

// TestImportExclusions: what nvme-stas excludes is not lost; a line that cannot be used has nothing of its file imported.
func TestImportExclusions(t *testing.T) {
	for _, test := range []struct{ exclude, err string }{
		{"transport=tcp;traddr=array.example.com", `line 3: cannot use exclusion "transport=tcp;traddr=array.example.com": traddr "array.example.com" is not an address; a host name cannot be excluded`},
		{"transport=tcp;adr=192.0.2.66", `line 3: cannot use exclusion "transport=tcp;adr=192.0.2.66": unknown key "adr", the keys are transport, traddr, trsvcid, nqn, host-traddr, host-iface, hostnqn, hostid`},
		{"192.0.2.66", "line 3: a part of exclude is not key=value"},
	} {
		root := write(t, host(map[string]string{"etc/stas/stafd.conf": "[Controllers]\ncontroller = transport=tcp;traddr=192.0.2.10\nexclude = " + test.exclude + "\n"}))
		out, err := ImportFiles(root, nil)
		message := ""
		if err != nil {
			message = strings.ReplaceAll(err.Error(), string(root), "")
		}
		diff(t, "error", "cannot import /etc/stas/stafd.conf: "+test.err, message)
		diff(t, "drop-ins", 0, len(out.DropIns))
	}
}

// TestImportMisspeltExclusions: what was meant to exclude something is not passed over.
func TestImportMisspeltExclusions(t *testing.T) {
	for line, want := range map[string]string{
		"excludes = transport=tcp;traddr=192.0.2.66": "line 2: excludes seems to exclude something: the key for that is exclude",
		"exclude transport=tcp;traddr=192.0.2.66":    `line 2: "exclude transport" seems to exclude something: the key for that is exclude`,
		"exclude 192.0.2.66":                         "line 2: it seems to exclude something, and is not key = value",
	} {
		_, err := ImportFiles(write(t, host(map[string]string{"etc/stas/stafd.conf": "[Controllers]\n" + line + "\n"})), nil)
		if err == nil || !strings.HasSuffix(err.Error(), "/etc/stas/stafd.conf: "+want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

// TestImportTLSOfOneLine: what a discovery controller of discovery.conf names is not connected without the TLS of its line.
func TestImportTLSOfOneLine(t *testing.T) {
	got, err := ImportFiles(write(t, host(map[string]string{"etc/nvme/discovery.conf": "-t tcp -a 192.0.2.1 --tls\n-t tcp -a 192.0.2.2\n"})), nil)
	if err != nil || len(got.Refused) != 1 || !strings.HasSuffix(got.Refused[0], "/etc/nvme/discovery.conf:1: controller is not imported: what it names would be connected without tls, since other lines differ, and [io-controller-defaults] would hold for all") {
		t.Fatal(got.Refused, err)
	}
	diff(t, "connections", 1, got.DropIns[0].Connections)
}

// TestImportGuarded: what all that a file connects is to have of security, and nothing here is like, has nothing of it imported.
func TestImportGuarded(t *testing.T) {
	const controller = "[Controllers]\ncontroller = transport=tcp;traddr=192.0.2.10\n"
	for _, test := range []struct{ file, text, err string }{
		{"etc/stas/stafd.conf", "[Global]\ndhchap-secret = super-secret\n" + controller, "line 2: nothing in discoverd.conf is like dhchap-secret, and without it all would be connected with less security"},
		{"etc/stas/stafd.conf", "[Global]\ntls = perhaps\n" + controller, `line 2: cannot set tls to "perhaps": it must be true or false`},
		{"etc/nvme/config.json", `{"keyring": 1, "hosts": []}`, "line 1: nothing in discoverd.conf is like keyring, and without it all would be connected with less security"},
		{"etc/nvme/nvme-stas.conf", "[Host]\ndhchap-sekret = super-secret\n[Discovery Controller]\ncontroller = transport=tcp;traddr=192.0.2.10\n", "line 2: nothing in discoverd.conf is like dhchap-sekret, which could say over which path or how it is to be connected"},
	} {
		_, err := ImportFiles(write(t, host(map[string]string{test.file: test.text})), nil)
		if err == nil || !strings.HasSuffix(err.Error(), "/"+test.file+": "+test.err) {
			t.Errorf("%s: %v, want %s", test.file, err, test.err)
		}
	}
}

// TestNotRead: files of neighbours that an administrator could take for ours.
func TestNotRead(t *testing.T) {
	root := write(t, host(map[string]string{"etc/nvme/nvme-stas.conf": "", "etc/nvme/nvme-discoverd.conf": ""}))
	var got []string
	for _, sentence := range NotRead(root) {
		got = append(got, strings.ReplaceAll(sentence, string(root), ""))
	}
	diff(t, "sentences", []string{
		"/etc/nvme/nvme-discoverd.conf is there and is not read: it is of another program; `nvme-discoverctl config import --from=nvme-discoverd.conf` turns it into configuration of this service",
		"/etc/nvme/nvme-stas.conf is there and is not read: it is of another program; `nvme-discoverctl config import --from=nvme-stas.conf` turns it into configuration of this service",
	}, got)
	diff(t, "sentences", 0, len(NotRead(write(t, host(map[string]string{})))))
}
