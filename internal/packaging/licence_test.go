// SPDX-License-Identifier: GPL-3.0-or-later

package packaging

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var addLicence = flag.Bool("licence", false, "add the licence to source files that do not name it")

const spdx = "SPDX-License-Identifier: GPL-3.0-or-later"

// licenceLine is the line by which a source file names its licence, "" for a file that is none or that is generated.
func licenceLine(name string, content []byte) string {
	base := filepath.Base(name)
	switch {
	case strings.Contains(name, "testdata/"), strings.HasSuffix(base, ".json"), bytes.Contains(content, []byte("\n// Code generated ")), bytes.HasPrefix(content, []byte("// Code generated ")):
		return ""
	case strings.HasSuffix(base, ".go"):
		return "// " + spdx + "\n"
	case strings.HasPrefix(name, "docs/man/"):
		return `.\" ` + spdx + "\n"
	case bytes.HasPrefix(content, []byte("#!")), base == "Makefile", strings.HasPrefix(name, "systemd/"), strings.HasPrefix(name, "udev/"),
		strings.HasPrefix(name, "docs/examples/"), strings.HasPrefix(name, "internal/packaging/rpm/"), strings.HasPrefix(name, "internal/e2e/machine/initrd/"):
		return "# " + spdx + "\n"
	}
	switch filepath.Ext(base) {
	case ".yaml", ".toml", ".service", ".timer":
		return "# " + spdx + "\n"
	}
	return ""
}

// Every source file names its licence: in its first line, or in the second one where the first names the interpreter. With -licence
// the test adds it.
func TestSourcesNameLicence(t *testing.T) {
	list := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard")
	list.Dir = top
	out, err := list.Output()
	if err != nil {
		t.Skip("this is no clone: ", err)
	}
	sources := 0
	for _, name := range strings.Fields(string(out)) {
		content, err := os.ReadFile(filepath.Join(top, name))
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		line := licenceLine(name, content)
		if line == "" {
			continue
		}
		sources++
		interpreter, rest := []byte(nil), content
		if bytes.HasPrefix(content, []byte("#!")) {
			end := bytes.IndexByte(content, '\n') + 1
			interpreter, rest = content[:end], content[end:]
		}
		switch {
		case bytes.HasPrefix(rest, []byte(line)):
		case !*addLicence:
			t.Errorf("%s: does not say %q (go test ./internal/packaging -run TestSourcesNameLicence -licence adds it)", name, strings.TrimSpace(line))
		default:
			if strings.HasSuffix(name, ".go") {
				line += "\n" // or the line would be part of the package's documentation
			}
			if err := os.WriteFile(filepath.Join(top, name), []byte(string(interpreter)+line+string(rest)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if sources < 100 {
		t.Errorf("found %d source files only", sources)
	}
}
