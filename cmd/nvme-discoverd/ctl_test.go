// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFindCtl(t *testing.T) {
	for _, test := range []struct {
		name, daemon string
		there        []string // files
		path         string   // directory in PATH
		want         string   // "" for an error
	}{
		{"as installed", "usr/sbin", []string{"usr/bin/nvme-discoverctl"}, "", "usr/bin/nvme-discoverctl"},
		{"link of an earlier place", "usr/sbin", []string{"usr/bin/nvme-discoverctl", "usr/sbin/nvme-discoverctl"}, "", "usr/bin/nvme-discoverctl"},
		{"both in sbin", "usr/sbin", []string{"usr/sbin/nvme-discoverctl"}, "", "usr/sbin/nvme-discoverctl"},
		{"both in one build directory", "tree/bin", []string{"tree/bin/nvme-discoverctl"}, "", "tree/bin/nvme-discoverctl"},
		{"elsewhere", "usr/lib/nvme", []string{"opt/bin/nvme-discoverctl"}, "opt/bin", "opt/bin/nvme-discoverctl"},
		{"nowhere", "usr/sbin", nil, "opt/bin", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			t.Setenv("PATH", filepath.Join(root, test.path))
			for _, file := range test.there {
				path := filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, nil, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			got, err := findCtl(filepath.Join(root, test.daemon, "nvme-discoverd"))
			want := test.want
			if want != "" {
				want = filepath.Join(root, want)
			}
			if got != want || (err == nil) != (want != "") {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
}
