// SPDX-License-Identifier: GPL-3.0-or-later

package packaging

import (
	"debug/buildinfo"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// top is the top of the tree, where the Makefile is.
const top = "../.."

// makeTarget calls a target and returns what it printed.
func makeTarget(t *testing.T, words ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), "make", append([]string{"--no-print-directory", "-C", top}, words...)...)
	// The outer make of `make test` hands its options down by these.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") || strings.HasPrefix(v, "LDFLAGS=")
	})
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func mustMake(t *testing.T, words ...string) string {
	t.Helper()
	output, err := makeTarget(t, words...)
	if err != nil {
		t.Fatalf("make %s: %v\n%s", strings.Join(words, " "), err, output)
	}
	return output
}

// builds makes a directory with stand-ins for what `make build` leaves.
func builds(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"nvme-discoverd", "nvme-discoverctl", "completion.bash", "completion.zsh", "completion.fish"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tree returns every path below dir, directories with a slash at the end.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		if entry.IsDir() {
			name += "/"
		}
		all = append(all, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Each setting moves what it names, texts name the places of this installation, and uninstall leaves nothing.
func TestInstall(t *testing.T) {
	for _, test := range []struct {
		name, sbin, bin, doc, units string
		words                       []string
	}{
		{"usual", "/usr/sbin", "/usr/bin", "/usr/share/doc/nvme-discoverd", "/usr/lib/systemd/system", nil},
		{
			"local", "/usr/local/sbin", "/usr/local/bin", "/usr/local/share/doc/nvme-discoverd", "/usr/local/lib/systemd/system",
			[]string{"PREFIX=/usr/local"},
		},
		{
			"one directory", "/usr/bin", "/usr/bin", "/usr/share/doc/packages/nvme-discoverd", "/lib/systemd/system",
			[]string{"SBINDIR=/usr/bin", "DOCDIR=/usr/share/doc/packages/nvme-discoverd", "UNITDIR=/lib/systemd/system"},
		},
		{
			"far apart", "/opt/nvme/libexec", "/opt/nvme/commands", "/opt/nvme/share/doc/nvme-discoverd", "/etc/systemd/system",
			[]string{"PREFIX=/opt/nvme", "SBINDIR=/opt/nvme/libexec", "BINDIR=/opt/nvme/commands", "UNITDIR=/etc/systemd/system"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			dest := filepath.Join(t.TempDir(), "dest")
			words := append([]string{"BIN=" + builds(t), "DESTDIR=" + dest}, test.words...)
			mustMake(t, append([]string{"install"}, words...)...)

			daemon, ctl := test.sbin+"/nvme-discoverd", test.bin+"/nvme-discoverctl"
			for path, want := range map[string]string{
				test.units + "/nvme-discoverd.service":             "\nExecStart=" + daemon + "\n",
				test.units + "/nvme-discoverd-wait-online.service": "\nExecStart=" + ctl + " wait ",
				test.units + "/nvme-fabrics-shutdown.service":      "\nExecStart=@" + ctl + " @",
				test.doc + "/examples/70-nvmet-heal.rules":         " " + ctl + " nvmet heal",
				test.doc + "/metrics.md":                           "'" + ctl + " metrics >",
				test.doc + "/filesystems.md":                       test.doc + "/examples/blk-availability.conf",
				"/etc/nvme/discoverd.conf":                         "[global]",
				daemon:                                             "nvme-discoverd",
				ctl:                                                "nvme-discoverctl",
				test.sbin + "/nvme-discoverctl":                    "nvme-discoverctl", // a link, or the program itself
			} {
				text, err := os.ReadFile(filepath.Join(dest, path))
				if err != nil || !strings.Contains(string(text), want) {
					t.Errorf("%s: %q is not in it (%v)", path, want, err)
				}
			}
			checkTexts(t, dest, test.sbin, test.bin, test.doc)

			mustMake(t, append([]string{"install"}, words...)...) // over what is there
			mustMake(t, append([]string{"uninstall"}, words...)...)
			if left := tree(t, dest); len(left) > 0 {
				t.Errorf("uninstall left:\n%s", strings.Join(left, "\n"))
			}
		})
	}
}

// checkTexts looks for places of ours in everything that is installed: each is the one of this installation, and there.
func checkTexts(t *testing.T, dest, sbin, bin, doc string) {
	t.Helper()
	for _, name := range tree(t, dest) {
		if strings.HasSuffix(name, "/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dest, name))
		if err != nil {
			t.Fatal(err)
		}
		words := strings.FieldsFunc(strings.ReplaceAll(string(text), `\-`, "-"), func(r rune) bool {
			return strings.ContainsRune(" \t\n'\"`@=()[]", r)
		})
		for _, word := range words {
			ours := strings.HasSuffix(word, "/nvme-discoverd") || strings.HasSuffix(word, "/nvme-discoverctl") ||
				strings.Contains(word, "/doc/")
			if !strings.HasPrefix(word, "/") || !ours || strings.HasPrefix(word, "/run/") {
				continue
			}
			if dir := filepath.Dir(word); dir != sbin && dir != bin && !strings.HasPrefix(word, doc) {
				t.Errorf("%s: names %s", name, word)
			}
			if _, err := os.Stat(filepath.Join(dest, word)); err != nil {
				t.Errorf("%s: names what is not there: %v", name, err)
			}
		}
	}
}

// The place that nvme-discoverctl had in earlier versions still leads to it: units that they started run it from there.
func TestInstallLeavesEarlierPlace(t *testing.T) {
	dest, bin := t.TempDir(), builds(t)
	old := filepath.Join(dest, "usr/sbin/nvme-discoverctl")
	if err := os.MkdirAll(filepath.Dir(old), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, []byte("an earlier version"), 0o755); err != nil {
		t.Fatal(err)
	}
	mustMake(t, "install", "BIN="+bin, "DESTDIR="+dest)
	if target, err := os.Readlink(old); err != nil || target != "../bin/nvme-discoverctl" {
		t.Errorf("the earlier place: got %q, %v, want a link to ../bin/nvme-discoverctl", target, err)
	}
	// A host on which sbin is a link to bin.
	merged := t.TempDir()
	if err := os.MkdirAll(filepath.Join(merged, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("bin", filepath.Join(merged, "usr/sbin")); err != nil {
		t.Fatal(err)
	}
	mustMake(t, "install", "BIN="+bin, "DESTDIR="+merged)
	if info, err := os.Lstat(filepath.Join(merged, "usr/bin/nvme-discoverctl")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("where sbin is bin, nvme-discoverctl is no file: %v, %v", info, err)
	}
}

// An administrator's configuration outlives install and uninstall, and so do files that are none of ours.
func TestInstallKeepsConfiguration(t *testing.T) {
	dest, bin := t.TempDir(), builds(t)
	own := map[string]string{"/etc/nvme/discoverd.conf": "[global]\nnbft = false\n", "/usr/share/man/man8/other.8": "another's\n"}
	for name, text := range own {
		if err := os.MkdirAll(filepath.Join(dest, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dest, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, dest)
	for _, target := range []string{"install", "uninstall"} {
		mustMake(t, target, "BIN="+bin, "DESTDIR="+dest)
		for name, want := range own {
			if text, err := os.ReadFile(filepath.Join(dest, name)); err != nil || string(text) != want {
				t.Errorf("after %s, %s: got %q, %v", target, name, text, err)
			}
		}
	}
	if after := tree(t, dest); !slices.Equal(after, before) {
		t.Errorf("after install and uninstall there is\n%s\nwant\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
}

// install builds nothing: what is missing, it names.
func TestInstallDoesNotBuild(t *testing.T) {
	bin, dest := t.TempDir(), t.TempDir()
	output, err := makeTarget(t, "install", "BIN="+bin, "DESTDIR="+dest)
	if err == nil || !strings.Contains(output, "cannot install: there is no "+bin+"/nvme-discoverd: call 'make build' first") {
		t.Errorf("got %v and\n%s", err, output)
	}
	if left := append(tree(t, bin), tree(t, dest)...); len(left) > 0 {
		t.Errorf("it made %q", left)
	}
}

// build hands a packager's options on to Go, and strips nothing if LDFLAGS says nothing of it.
func TestBuildOptions(t *testing.T) {
	bin := t.TempDir()
	mustMake(t, "build", "BIN="+bin, "VERSION=1.2.3", "GOFLAGS=-tags=packager", "LDFLAGS=-X main.other=x -Wl,-z,relro")
	for _, name := range []string{"nvme-discoverd", "nvme-discoverctl"} {
		program := filepath.Join(bin, name)
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		settings := map[string]string{}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		for key, want := range map[string]string{"-tags": "packager", "CGO_ENABLED": "0", "-trimpath": "true"} {
			if settings[key] != want {
				t.Errorf("%s: built with %s=%q, want %q", name, key, settings[key], want)
			}
		}
		file, err := elf.Open(program)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if file.Section(".symtab") == nil {
			t.Errorf("%s: stripped", name)
		}
		argument := "--version"
		if name == "nvme-discoverctl" {
			argument = "version"
		}
		if out, err := exec.CommandContext(t.Context(), program, argument).CombinedOutput(); err != nil || string(out) != name+" 1.2.3\n" {
			t.Errorf("%s: calls itself %q, %v", name, out, err)
		}
	}
	for shell, want := range map[string]string{"bash": "complete -o default", "zsh": "#compdef nvme-discoverctl", "fish": "complete -c nvme-discoverctl"} {
		text, err := os.ReadFile(filepath.Join(bin, "completion."+shell))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("completion of %s: %q is not in it (%v)", shell, want, err)
		}
	}
}
