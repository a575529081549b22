package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

var update = flag.Bool("update", false, "rewrite the golden files of imports; read the difference before you commit it")

// installed maps the files of other programs to where they are installed.
var installed = map[string]string{
	"discovery.conf": "etc/nvme/discovery.conf", "config.json": "etc/nvme/config.json",
	"stafd.conf": "etc/stas/stafd.conf", "stacd.conf": "etc/stas/stacd.conf",
}

// imported returns what becomes of files: what is lost, then the drop-ins. Every one of them must load.
func imported(t *testing.T, files map[string]string, from ...string) (string, error) {
	t.Helper()
	root := write(t, host(files))
	made, lost, err := Import(root, from)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, line := range lost {
		b.WriteString(line + "\n")
	}
	for _, m := range made {
		b.WriteString("\n==> " + m.Name + "\n" + m.Text)
		if err := os.MkdirAll(root.DaemonDropIns(), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := CheckWith(root, made); err != nil {
		t.Errorf("what is made does not load: %v", err)
	}
	count := 0
	for _, m := range made {
		count += m.Connections
		if err := os.WriteFile(filepath.Join(root.DaemonDropIns(), m.Name), []byte(m.Text), 0o644); err != nil {
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
		"a/stacd.conf.old": "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.4;subsysnqn=nqn.a",
		"a/finder":         "[Global]\n[Service Discovery]\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.5",
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
		{[]string{"stas.conf"}, "", `cannot import "stas.conf": it must be discovery.conf, config.json, stafd.conf, stacd.conf or the path of a file`},
		{[]string{root.Join("a/what")}, "", "cannot import /a/what: it is not clear what it is; let its name be discovery.conf, config.json, stafd.conf or stacd.conf"},
		{[]string{root.Join("a/cut.json")}, "", "cannot import /a/cut.json: line 2: it is no JSON: unexpected EOF"},
		{[]string{root.Join("a/x/config.json"), root.Join("a/y/config.json")}, "", `cannot import /a/x/config.json: line 1: it is no JSON: invalid character 'h' looking for beginning of value
cannot import /a/y/config.json: line 2: it is no list of hosts`},
		{[]string{root.Join("a/bytes.json")}, "", "cannot import /a/bytes.json: it is not UTF-8"},
	} {
		made, _, err := Import(root, test.from)
		message := ""
		if err != nil {
			message = strings.ReplaceAll(err.Error(), string(root), "")
		}
		var names []string
		for _, m := range made {
			names = append(names, m.Name)
		}
		diff(t, "error", test.err, message)
		diff(t, "drop-ins", test.names, strings.Join(names, " "))
	}
}

// TestCheckWith proves that a drop-in is checked against what is installed.
func TestCheckWith(t *testing.T) {
	root := write(t, host(map[string]string{
		"etc/nvme/discovery.conf": "-t tcp -a 192.0.2.1 -q nqn.red", mainFile: "[host]\nhostnqn = \"nqn.red\"", fabricsFile: "[Host]",
	}))
	made, _, err := Import(root, nil)
	diff(t, "error", nil, err)
	err = CheckWith(root, made)
	diff(t, "error", `/etc/nvme/discoverd.conf.d/imported-discovery.conf:4:1: cannot use hostnqn "nqn.red" in two files: it is at /etc/nvme/discoverd.conf:2 already; put what it connects into that file`,
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
		for _, line := range i.notes.places("f") {
			if strings.Contains(line, "\n") || !strings.HasPrefix(line, "f:") {
				t.Errorf("bad message %q", line)
			}
		}
		for n := range i.drafts {
			i.drafts[n].lost = i.notes.places("f")
		}
		if _, _, err := i.finish(); err != nil {
			t.Error(err)
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
