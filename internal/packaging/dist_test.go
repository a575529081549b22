// SPDX-License-Identifier: GPL-3.0-or-later

package packaging

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The tarball is the same each time, knows its version, and has every module: without a network and without Go's cache of modules
// everything in it is found.
func TestDist(t *testing.T) {
	if _, err := os.Stat(filepath.Join(top, ".git")); err != nil {
		t.Skip("this is no clone: ", err)
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip(err)
	}
	var made [][]byte
	var file string
	for range 2 {
		dir := t.TempDir()
		mustMake(t, "dist", "DIST="+dir)
		files, err := filepath.Glob(filepath.Join(dir, "nvme-discoverd-*.tar.gz"))
		if err != nil || len(files) != 1 {
			t.Fatalf("make dist made %q, %v", files, err)
		}
		file = files[0]
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, content)
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Error("two tarballs of one commit differ")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", dir, "-xf", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	inside := filepath.Join(dir, strings.TrimSuffix(filepath.Base(file), ".tar.gz"))
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-test", "./...")
	list.Dir, list.Env = inside, append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off", "GOMODCACHE="+t.TempDir())
	if out, err := list.CombinedOutput(); err != nil {
		t.Errorf("something is missing in the tarball: %v\n%s", err, out)
	}
	version, err := os.ReadFile(filepath.Join(inside, ".version"))
	if words := strings.Fields(string(version)); err != nil || len(words) != 2 || !strings.HasSuffix(inside, "-"+strings.TrimPrefix(words[0], "v")) {
		t.Errorf(".version of %s: got %q, %v", inside, version, err)
	}
}
