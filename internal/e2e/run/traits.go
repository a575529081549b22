// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
)

// scenarioSources are the files whose scenarios the test binary holds.
const scenarioSources = "internal/e2e/guest/*_test.go"

// traits say what a scenario needs of its computer. They stand in directives below the scenario's comment, such as
// //e2e:patient.
type traits struct {
	patient    bool     // waits most of the time and needs next to no processor then: shares a boot of a computer that has one
	crowded    bool     // much happens at one time: shares a boot of a computer that has two processors, always
	apart      bool     // leaves in the kernel what cannot be taken out of it again: shares a boot with no usual scenario
	ordinary   bool     // needs Debian's ordinary kernel; all others run under the cloud kernel, which boots quickest
	onFabric   bool     // boots from a root file system on a fabric
	previous   bool     // needs an earlier build of the programs
	shares     bool     // calls guest.Shared, no directive: shares a boot with all such scenarios, for they have one scene
	packages   bool     // needs this tree as packages, of two versions
	only       []string // the Debian releases that it can run on, if not all
	everywhere bool     // `make matrix` runs it on every Debian release
	seldom     bool     // runs in `make check-all` and when it is asked for by name, not in `make check`
	parameters []string // words for the kernel's command line
}

// readTraits reads the directives of all scenarios in the files that match the pattern. A scenario without any is not in
// the map.
func readTraits(pattern string) (map[string]traits, error) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("cannot find scenarios: no file matches %s (run this from the top of the tree)", pattern)
	}
	all := map[string]traits{}
	for _, file := range files {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("cannot read scenarios: %w", err)
		}
		for _, declaration := range parsed.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok || function.Doc == nil || !strings.HasPrefix(function.Name.Name, "Test") {
				continue
			}
			t := traits{shares: callsShared(function)}
			found := t.shares
			for _, comment := range function.Doc.List {
				directive, is := strings.CutPrefix(comment.Text, "//e2e:")
				if !is {
					continue
				}
				if err := t.set(directive); err != nil {
					return nil, fmt.Errorf("%s: %w", set.Position(comment.Pos()), err)
				}
				found = true
			}
			if name := function.Name.Name; (t.onFabric || t.parameters != nil) && unitOf(name) == name {
				return nil, fmt.Errorf("cannot give %s a boot of its own: only stages, whose names end in _1, _2 and so on, have one", name)
			}
			if found {
				all[function.Name.Name] = t
			}
		}
	}
	return all, nil
}

// callsShared reports whether a scenario calls guest.Shared itself.
func callsShared(function *ast.FuncDecl) bool {
	calls := false
	ast.Inspect(function, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok && selector.Sel.Name == "Shared" {
			of, _ := selector.X.(*ast.Ident)
			calls = calls || of != nil && of.Name == "guest"
		}
		return true
	})
	return calls
}

// set takes one directive, without its prefix.
func (t *traits) set(directive string) error {
	word, argument, _ := strings.Cut(directive, " ")
	switch word {
	case "patient":
		t.patient = true
	case "crowded":
		t.crowded = true
	case "apart":
		t.apart = true
	case "ordinary":
		t.ordinary = true
	case "on-fabric":
		t.onFabric = true
	case "previous":
		t.previous = true
	case "packages":
		t.packages = true
	case "everywhere":
		t.everywhere = true
	case "seldom":
		t.seldom = true
	case "only":
		t.only = append(t.only, argument)
	case "parameter":
		t.parameters = append(t.parameters, argument)
	default:
		return fmt.Errorf("cannot read directive //e2e:%s: the words are patient, crowded, apart, ordinary, on-fabric, previous, packages, everywhere, seldom, only and parameter", directive)
	}
	if (word == "parameter" || word == "only") != (argument != "") {
		return fmt.Errorf("cannot read directive //e2e:%s: only and parameter have a value each, and need one", directive)
	}
	return nil
}
