// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestReadTraits(t *testing.T) {
	tests := []struct {
		name, source string
		want         map[string]traits
		err          string
	}{
		{"none", "// TestA does.\nfunc TestA(t *testing.T) {}", map[string]traits{}, ""},
		{
			"several", "// TestA does.\n//\n//e2e:crowded\n//e2e:seldom\nfunc TestA(t *testing.T) {}\n\n//e2e:parameter nvme_core.multipath=N\nfunc TestB_1(t *testing.T) {}",
			map[string]traits{"TestA": {crowded: true, seldom: true}, "TestB_1": {parameters: []string{"nvme_core.multipath=N"}}},
			"",
		},
		{
			"a shared scene", "// TestA does.\nfunc TestA(t *testing.T) {\n\tf, _ := guest.Shared(t, 2)\n}\n\n// TestB does.\nfunc TestB(t *testing.T) { Shared(t) }",
			map[string]traits{"TestA": {shares: true}},
			"",
		},
		{
			"unknown", "//e2e:patiently\nfunc TestA(t *testing.T) {}", nil,
			"x_test.go:3:1: cannot read directive //e2e:patiently: the words are patient, crowded, apart, ordinary, on-fabric, previous, packages, everywhere, seldom, only and parameter",
		},
		{
			"value missing", "//e2e:parameter\nfunc TestA_1(t *testing.T) {}", nil,
			"x_test.go:3:1: cannot read directive //e2e:parameter: only and parameter have a value each, and need one",
		},
		{
			"shared boot", "//e2e:on-fabric\nfunc TestA(t *testing.T) {}", nil,
			"cannot give TestA a boot of its own: only stages, whose names end in _1, _2 and so on, have one",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x_test.go")
			if err := os.WriteFile(file, []byte("package guest_test\n\n"+test.source+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := readTraits(file)
			text := ""
			if err != nil {
				text = strings.TrimPrefix(err.Error(), filepath.Dir(file)+"/")
			}
			if text != test.err || test.err == "" && !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, %q, want %v, %q", got, text, test.want, test.err)
			}
		})
	}
}

// The scenarios' own directives are read by every run; a wrong one is found here first.
func TestScenariosTraits(t *testing.T) {
	all, err := readTraits("../guest/*_test.go")
	if err != nil || len(all) == 0 {
		t.Errorf("got %d scenarios with traits, %v", len(all), err)
	}
}
