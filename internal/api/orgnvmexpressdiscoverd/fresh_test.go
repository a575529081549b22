// SPDX-License-Identifier: GPL-3.0-or-later

package orgnvmexpressdiscoverd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The committed code is what `go generate` makes of the interface file.
func TestGeneratedCodeIsFresh(t *testing.T) {
	const file = "org.nvmexpress.discoverd.varlink"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	copied := filepath.Join(dir, file)
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "run", "github.com/varlink/go/cmd/varlink-go-interface-generator", copied).CombinedOutput()
	if err != nil {
		t.Fatalf("cannot generate: %v\n%s", err, out)
	}
	want, err := os.ReadFile(filepath.Join(dir, "orgnvmexpressdiscoverd.go"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("orgnvmexpressdiscoverd.go")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("the committed code is not that of the interface file: run go generate ./internal/api/...\n%s", diff)
	}
}
