// SPDX-License-Identifier: GPL-3.0-or-later

package packaging

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var tryPackages = flag.Bool("packages", false, "build packages, check them with lintian and rpmlint, and install those with RPM in a directory; needs these tools and root")

// packages builds this tree's packages as the versions given, or skips the test if nobody asked for that.
func packages(t *testing.T, arch string, versions ...string) string {
	t.Helper()
	if !*tryPackages {
		t.Skip("takes a minute: make test-packages")
	}
	dir := t.TempDir()
	for _, version := range versions {
		mustMake(t, "packages", "VERSION="+version, "ARCHS="+arch, "PACKAGES="+dir)
	}
	return dir
}

// checker runs a program that finds fault with packages.
func checker(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// The tools of both families of distributions find nothing but what lintian-overrides and rpmlint.toml explain.
func TestPackagesLint(t *testing.T) {
	dir := packages(t, "amd64 arm64 ppc64le s390x", "1.0.0")
	for _, kind := range []string{"deb", "rpm"} {
		if files, err := filepath.Glob(dir + "/*." + kind); err != nil || len(files) != 4 {
			t.Fatalf("packages: got %q, %v", files, err)
		}
	}
	debs, _ := filepath.Glob(dir + "/*.deb")
	said := checker(t, "lintian", append([]string{"--display-info", "--tag-display-limit=0", "--allow-root"}, debs...)...)
	found := regexp.MustCompile(`(?m)^[EWIP]: .*`).FindAllString(said, -1)
	// Words that machine code happens to hold, other ones on each architecture and in each version of Go.
	found = slices.DeleteFunc(found, func(line string) bool { return strings.Contains(line, "spelling-error-in-binary") })
	if len(found) > 0 {
		t.Errorf("lintian says\n%s", strings.Join(found, "\n"))
	}
	rpms, _ := filepath.Glob(dir + "/*.rpm")
	said = checker(t, "rpmlint", append([]string{"--config", "rpmlint.toml"}, rpms...)...)
	if !strings.Contains(said, "4 packages and 0 specfiles checked; 0 errors, 0 warnings") {
		t.Errorf("rpmlint says\n%s", said)
	}
}

// The package with RPM is installed over a build that had nvme-discoverctl in sbin, upgraded and removed, in a directory that the
// scripts take for the root: what they ask of systemd, udev and the journal is written down. Nothing but a changed configuration
// is left.
func TestRPM(t *testing.T) {
	dir := packages(t, "amd64", "1.0.0", "1.0.1")
	root := chroot(t)
	ctl, config := root+"/usr/sbin/nvme-discoverctl", root+"/etc/nvme/discoverd.conf"
	write(t, ctl, "an earlier version", 0o755)
	before := tree(t, root)
	run := func(want []string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "rpm", append([]string{"--root", root, "--nodeps"}, args...)...)
		out, err := cmd.CombinedOutput()
		// Debian's rpm says each time that its own way to install is another one; a removal says that it keeps what was changed.
		if said := regexp.MustCompile(`(?m)^(rpm: RPM should not be used|rpm: However assuming|warning: .* saved as .*\.rpmsave$).*\n`).ReplaceAllString(string(out), ""); err != nil || said != "" {
			t.Fatalf("rpm %v: %v\n%s", args, err, said)
		}
		text, err := os.ReadFile(root + "/called")
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if got := strings.Split(strings.TrimSpace(string(text)), "\n"); !slices.Equal(got, want) {
			t.Errorf("rpm %v had called\n%s\nwant\n%s", args, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		_ = os.Remove(root + "/called")
	}
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}

	known := []string{"journalctl --update-catalog", "udevadm control --reload"}
	started := []string{"systemctl daemon-reload", "systemctl try-restart nvme-discoverd.service nvme-fabrics-shutdown.service"}
	run(slices.Concat(known, []string{"systemctl --no-reload preset nvme-discoverd.service nvme-discoverd-wait-online.service"}, started), "-i", dir+"/nvme-discoverd-1.0.0-1.x86_64.rpm")
	if target, err := os.Readlink(ctl); target != "../bin/nvme-discoverctl" {
		t.Errorf("the earlier place of nvme-discoverctl: %q, %v", target, err)
	}
	changed := read(config) + "# ours\n"
	write(t, config, changed, 0o644)
	run(slices.Concat(known, started), "-U", dir+"/nvme-discoverd-1.0.1-1.x86_64.rpm")
	if got := read(config); got != changed {
		t.Errorf("the upgrade changed the configuration:\n%s", got)
	}
	if _, err := os.Stat(root + "/usr/bin/nvme-discoverctl"); err != nil {
		t.Errorf("after the upgrade: %v", err)
	}
	if _, err := os.Readlink(ctl); err != nil {
		t.Errorf("the earlier place of nvme-discoverctl after the upgrade: %v", err)
	}
	run([]string{
		"systemctl --no-reload disable nvme-discoverd.service nvme-discoverd-wait-online.service", "systemctl stop nvme-discoverd-wait-online.service nvme-discoverd.service nvme-fabrics-shutdown.service",
		"systemctl daemon-reload", "journalctl --update-catalog", "udevadm control --reload",
	}, "-e", "nvme-discoverd")
	left := slices.DeleteFunc(tree(t, root), func(path string) bool { return slices.Contains(before, path) || !strings.Contains(path, "nvme") })
	if got := strings.Join(left, " "); got != "/etc/nvme/ /etc/nvme/discoverd.conf.rpmsave" {
		t.Errorf("removal left %s", got)
	}
}

// chroot makes a root for the scripts of a package, with a running system by what they can tell.
func chroot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, program := range []string{"/bin/sh", "/usr/bin/readlink", "/usr/bin/ln", "/usr/bin/rm"} {
		libraries, err := exec.CommandContext(t.Context(), "ldd", program).Output()
		if err != nil {
			t.Fatalf("ldd %s: %v", program, err)
		}
		for _, file := range append(regexp.MustCompile(`/\S+`).FindAllString(string(libraries), -1), program) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, root+file, string(content), 0o755)
		}
	}
	for _, name := range []string{"systemctl", "udevadm", "journalctl"} {
		write(t, root+"/usr/bin/"+name, fmt.Sprintf("#!/bin/sh\necho \"%s $*\" >>/called\n", name), 0o755)
	}
	write(t, root+"/run/udev/control", "", 0o600)
	for _, dir := range []string{"/dev", "/run/systemd/system", "/etc", "/var/lib/rpm", "/var/tmp", "/usr/lib", "/usr/share"} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mknod(root+"/dev/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatalf("cannot make /dev/null: %v", err)
	}
	return root
}

// write makes a file, with the directories above it.
func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
