// SPDX-License-Identifier: GPL-3.0-or-later

// Package golden holds scripts with traces in them to what they are now: files of testdata that tests play.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write the traces of testdata/*.txt anew; only commit the changes if you understand what caused them")

// Scripts plays each script testdata/*.txt in a test of its own: play returns it with the traces as they are now. A script begins with a
// comment that says what it shows. With the flag -rewrite the scripts are written anew.
func Scripts(t *testing.T, play func(t *testing.T, script string) string) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := string(text)
			if !strings.HasPrefix(want, "# ") {
				t.Errorf("%s does not begin with a comment that says what it shows", file)
			}
			got := play(t, want)
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s: another trace (-file +now):\n%s", file, diff)
			}
		})
	}
}
