// SPDX-License-Identifier: GPL-3.0-or-later

// Package docs_test holds the pages about faults and threats to what the tests are called.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that a page names is there.
func TestNamedTests(t *testing.T) {
	declared := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range declaration.FindAllSubmatch(text, -1) {
			declared[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*…?`)
	script := regexp.MustCompile("`(internal/[^` ]+\\.txt)`")
	for _, page := range []string{"faults.md", "security.md", "threat-model.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range name.FindAllString(string(text), -1) {
			if !declared[test] && !strings.HasSuffix(test, "…") {
				t.Errorf("%s: there is no test %s", page, test)
			}
		}
		for _, match := range script.FindAllSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("..", string(match[1]))); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}
