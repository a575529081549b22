// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The core is pure: it imports nothing by which it could touch the outside, so that any incident can be replayed.
func TestPure(t *testing.T) {
	forbidden := []string{"os", "io", "net", "sync", "syscall", "context", "os/exec", "golang.org/x/sys/unix", "github.com/godbus/dbus/v5"}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			if path, _ := strconv.Unquote(spec.Path.Value); slices.Contains(forbidden, path) {
				t.Errorf("%s imports %s", file.Name(), path)
			}
		}
		source, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"time.Now(", "go func", "chan "} {
			if strings.Contains(string(source), word) {
				t.Errorf("%s uses %q", file.Name(), word)
			}
		}
	}
}
