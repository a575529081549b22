// SPDX-License-Identifier: GPL-3.0-or-later

package legacy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// host is a tree with what Debian's nvme-cli installs.
type host struct {
	*testing.T
	root paths.Root
}

func newHost(t *testing.T) host {
	h := host{t, paths.Root(t.TempDir())}
	h.write("usr/lib/udev/rules.d/70-nvmf-autoconnect.rules")
	h.write("usr/lib/udev/rules.d/70-nvmf-keys.rules")
	h.write("usr/lib/systemd/system/nvmf-connect@.service")
	h.write("usr/lib/systemd/system/nvmf-connect.target")
	h.write("usr/lib/systemd/system/nvmf-autoconnect.service")
	h.write("usr/lib/systemd/system/nvmefc-boot-connections.service")
	h.link("/usr/lib/systemd/system/nvmf-autoconnect.service", "etc/systemd/system/default.target.wants/nvmf-autoconnect.service")
	return h
}

func (h host) write(name string) {
	h.Helper()
	path := h.root.Join(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("# something\n"), 0o644); err != nil {
		h.Fatal(err)
	}
}

func (h host) link(target, name string) {
	h.Helper()
	path := h.root.Join(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		h.Fatal(err)
	}
}

// states returns what Status says, one line for each piece, without the root.
func (h host) states() []string {
	var all []string
	for _, p := range Status(h.root) {
		line := string(p.State) + " " + p.Name
		if p.Path != "" {
			line += " " + h.short(p.Path)
		}
		all = append(all, line)
	}
	return all
}

func (h host) short(path string) string { return strings.TrimPrefix(path, string(h.root)) }

func (h host) expect(what string, want, got []string) {
	h.Helper()
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], string(h.root), "")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// files returns everything below /etc.
func (h host) files() []string {
	var all []string
	filepath.WalkDir(h.root.Join("etc"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, h.short(path))
		}
		return nil
	})
	return all
}

func message(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestAbsent(t *testing.T) {
	h := host{t, paths.Root(t.TempDir())}
	h.expect("states", []string{
		"absent 70-nvmf-autoconnect.rules",
		"absent nvmf-connect@.service",
		"absent nvmf-connect.target",
		"absent nvmf-autoconnect.service",
		"absent nvmefc-boot-connections.service",
		"absent nvmf-connect-nbft.service",
	}, h.states())
	made, err := Disable(h.root)
	h.expect("masks", nil, made)
	h.expect("errors", nil, message(err))
	removed, err := Enable(h.root)
	h.expect("removed", nil, removed)
	h.expect("errors", nil, message(err))
	h.expect("in force", nil, Active(h.root))
}

func TestDisableAndEnable(t *testing.T) {
	h := newHost(t)
	before := []string{
		"in-force 70-nvmf-autoconnect.rules /usr/lib/udev/rules.d/70-nvmf-autoconnect.rules",
		"in-force nvmf-connect@.service /usr/lib/systemd/system/nvmf-connect@.service",
		"in-force nvmf-connect.target /usr/lib/systemd/system/nvmf-connect.target",
		"in-force nvmf-autoconnect.service /usr/lib/systemd/system/nvmf-autoconnect.service",
		"idle nvmefc-boot-connections.service /usr/lib/systemd/system/nvmefc-boot-connections.service",
		"absent nvmf-connect-nbft.service",
	}
	etc := h.files()
	h.expect("states", before, h.states())
	h.expect("in force", []string{
		"70-nvmf-autoconnect.rules", "nvmf-connect@.service", "nvmf-connect.target", "nvmf-autoconnect.service",
	}, Active(h.root))

	masks := []string{
		"/etc/udev/rules.d/70-nvmf-autoconnect.rules",
		"/etc/systemd/system/nvmf-connect@.service",
		"/etc/systemd/system/nvmf-connect.target",
		"/etc/systemd/system/nvmf-autoconnect.service",
		"/etc/systemd/system/nvmefc-boot-connections.service",
	}
	made, err := Disable(h.root)
	h.expect("masks", masks, made)
	h.expect("errors", nil, message(err))
	for _, mask := range masks {
		if target, err := os.Readlink(h.root.Join(mask)); target != "/dev/null" {
			t.Errorf("%s leads to %q, %v", mask, target, err)
		}
	}
	h.expect("states when masked", []string{
		"masked 70-nvmf-autoconnect.rules /etc/udev/rules.d/70-nvmf-autoconnect.rules",
		"masked nvmf-connect@.service /etc/systemd/system/nvmf-connect@.service",
		"masked nvmf-connect.target /etc/systemd/system/nvmf-connect.target",
		"masked nvmf-autoconnect.service /etc/systemd/system/nvmf-autoconnect.service",
		"masked nvmefc-boot-connections.service /etc/systemd/system/nvmefc-boot-connections.service",
		"absent nvmf-connect-nbft.service",
	}, h.states())
	h.expect("in force when masked", nil, Active(h.root))
	made, err = Disable(h.root)
	h.expect("masks the second time", nil, made)
	h.expect("errors the second time", nil, message(err))

	// A mask of anything else is somebody else's.
	h.link("/dev/null", "etc/systemd/system/nvme-discoverd.service")
	etc = append(etc, "/etc/systemd/system/nvme-discoverd.service")
	removed, err := Enable(h.root)
	h.expect("removed", masks, removed)
	h.expect("errors", nil, message(err))
	h.expect("states in the end", before, h.states())
	h.expect("files in the end", etc, h.files())
}

// TestAdministratorsOwn: what an administrator has put in place of a mask stays.
func TestAdministratorsOwn(t *testing.T) {
	h := newHost(t)
	h.write("etc/udev/rules.d/70-nvmf-autoconnect.rules")
	h.link("/opt/nvmf-autoconnect.service", "etc/systemd/system/nvmf-autoconnect.service")
	etc := h.files()
	made, err := Disable(h.root)
	h.expect("masks", []string{
		"/etc/systemd/system/nvmf-connect@.service",
		"/etc/systemd/system/nvmf-connect.target",
		"/etc/systemd/system/nvmefc-boot-connections.service",
	}, made)
	h.expect("errors", []string{
		"cannot mask 70-nvmf-autoconnect.rules: /etc/udev/rules.d/70-nvmf-autoconnect.rules is a file of this host's administrator: move it away",
		"cannot mask nvmf-autoconnect.service: /etc/systemd/system/nvmf-autoconnect.service is a file of this host's administrator: move it away",
	}, message(err))
	if _, err := Enable(h.root); err != nil {
		t.Error(err)
	}
	h.expect("files in the end", etc, h.files())
}

// TestOnlyTheRuleIsMasked, as many instructions have it: then the units behind it are idle.
func TestOnlyTheRuleIsMasked(t *testing.T) {
	h := newHost(t)
	h.link("/dev/null", "etc/udev/rules.d/70-nvmf-autoconnect.rules")
	h.expect("in force", []string{"nvmf-autoconnect.service"}, Active(h.root))
}

func TestUnwritable(t *testing.T) {
	h := newHost(t)
	h.write("etc/udev")
	_, err := Disable(h.root)
	h.expect("errors", []string{
		"cannot mask 70-nvmf-autoconnect.rules: mkdir /etc/udev: not a directory",
	}, strings.Split(strings.ReplaceAll(err.Error(), string(h.root), ""), "\n"))
}
