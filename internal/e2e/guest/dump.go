// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// dump prints all that there is to know about a scenario that failed, right after it.
func (m *Machine) dump() {
	m.Helper()
	section := func(title, text string) {
		fmt.Printf("=== %s of %s\n%s\n", title, m.Name(), strings.TrimRight(text, "\n"))
	}
	section("description", Describe(m.Name()))
	section("journal", journalText(m))
	section("controllers", controllersText())
	section("state files", treeText(registryDir)+treeText(stateDir))
	section("configuration", read(configFile))
	section("units", commandText(m, "systemctl", "list-units", "--all", "--full", "--no-pager", "nvme-discoverd*"))
	section("service", commandText(m, "systemctl", "status", "--full", "--no-pager", Service))
	section("kernel log", kernelTail(40))
	fmt.Printf("=== end of what is known about %s\n", m.Name())
}

func journalText(m *Machine) string {
	Run(m, "journalctl", "--sync")
	since := "--after-cursor=" + m.journal.Cursor
	if m.journal.Cursor == "" { // the scenario never began
		since = "--lines=200"
	}
	return commandText(m, "journalctl", "--quiet", "--output=short-precise", since)
}

func commandText(t T, name string, args ...string) string {
	out := Try(t, name, args...)
	return out.Stdout + out.Stderr
}

// controllersText shows every attribute of the controllers over fabrics that an administrator would look at.
func controllersText() string {
	var text strings.Builder
	for _, c := range Controllers() {
		fmt.Fprintln(&text, c)
		for _, name := range []string{"address", "hostnqn", "hostid", "kato", "ctrl_loss_tmo", "reconnect_delay", "queue_count"} {
			if value := read(filepath.Join(fabricsDevices, c.Name, name)); value != "" {
				fmt.Fprintf(&text, "\t%s: %s\n", name, value)
			}
		}
	}
	return text.String()
}

// treeText shows every file below dir with what is in it.
func treeText(dir string) string {
	var text strings.Builder
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintln(&text, err)
			return nil
		}
		if entry.Type().IsRegular() {
			fmt.Fprintf(&text, "%s %s\n", mode(path), path)
			content, _ := os.ReadFile(path)
			for line := range strings.Lines(string(content)) {
				fmt.Fprintf(&text, "\t%s\n", strings.TrimRight(line, "\n"))
			}
		}
		return nil
	})
	return text.String()
}

// Sources are the scenarios' own source files, for their descriptions.
var Sources fs.FS

// Describe returns the doc comment of a scenario.
func Describe(name string) string {
	if Sources == nil {
		return ""
	}
	files, _ := fs.Glob(Sources, "*_test.go")
	for _, file := range files {
		source, err := fs.ReadFile(Sources, file)
		if err != nil {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ParseComments)
		if err != nil {
			continue
		}
		for _, declaration := range parsed.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Name.Name == name && function.Doc != nil {
				return function.Doc.Text()
			}
		}
	}
	return ""
}
