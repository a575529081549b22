// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// atTerminal runs a command on a terminal, and checks how it ended and what the person saw.
func atTerminal(t *testing.T, typed string, status int, want string, args ...string) {
	t.Helper()
	out := guest.OnTerminal(t, typed, args...)
	if out.Status != status || !strings.Contains(out.Stdout, want) {
		t.Errorf("%s, answered %q: got status %d and\n%s\nwant %d and %q", strings.Join(args, " "), typed, out.Status, out.Stdout, status, want)
	}
}

// A person gives a controller of ours to another orchestrator, by the registry: the daemon lets go of it, stops nothing and
// says so. Nobody else's is taken by `disconnect-all --owner`; given back, it is ours as before.
func TestRegistrySetOwner(t *testing.T) {
	f, devices := guest.Shared(t, 2)
	nqn := f.Subsystems[0].NQN
	device := devices[nqn]
	refused := guest.TryCtl(t, "registry", "set", device, "owner", "stas")
	if refused.Status != 1 || !strings.Contains(refused.Stderr, "--yes says so") {
		t.Errorf("registry set without a yes: got status %d and %q, want a refusal", refused.Status, refused.Stderr)
	}
	atTerminal(t, "y\n", 0, "", "registry", "set", device, "owner", "stas")
	if got := strings.TrimSpace(guest.Ctl(t, "registry", "get", device, "owner")); got != "stas" {
		t.Errorf("registry get: got %q, want stas", got)
	}
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.WaitStatus(t, "1 of other owners")
	guest.Ctl(t, "disconnect-all", "--owner=somebody")
	guest.Ctl(t, "disconnect-all")
	guest.Always(t, quietSpan, "hands off", unchanged(devices))
	guest.Ctl(t, "registry", "set", device, "owner", "discoverd", "--yes")
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	if ok, seen := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", seen, devices)
	}
}

// At a terminal, what takes controllers from their owners asks, and nothing but the right answer goes on: `disconnect-all
// --force` and `--owner` want a typed yes, a change of the registry's owner a y. An exclusion is removed by its number.
func TestQuestionsAtTerminal(t *testing.T) {
	f, devices := guest.Shared(t, 2)
	device := devices[f.Subsystems[0].NQN]
	for _, answer := range []string{"\n", "y\n", "no\n"} {
		atTerminal(t, answer, 1, "nothing was changed", "disconnect-all", "--force")
	}
	atTerminal(t, "y\n", 1, "Type yes to go on:", "disconnect-all", "--owner=discoverd")
	atTerminal(t, "n\n", 1, "nothing was changed", "registry", "set", device, "owner", "stas")
	if ok, seen := unchanged(devices)(); !ok {
		t.Fatalf("controllers: %s\nwant %v", seen, devices)
	}
	if got := guest.RegistryAttribute(device, "owner"); got != "discoverd" {
		t.Errorf("owner of %s: got %q, want discoverd still", device, got)
	}

	guest.Ctl(t, "exclusion", "add", "--entry=nqn=nqn.2024-01.com.example:first")
	guest.Ctl(t, "exclusion", "add", "--entry=nqn=nqn.2024-01.com.example:second")
	atTerminal(t, "2\n", 0, "removed nqn=nqn.2024-01.com.example:second", "exclusion", "remove")
	if list := guest.Ctl(t, "exclusion", "list"); strings.Contains(list, "second") || !strings.Contains(list, "first") {
		t.Errorf("exclusion list: got\n%s\nwant the first entry alone", list)
	}

	atTerminal(t, "yes\n", 0, "disconnected "+device, "disconnect-all", "--force")
	guest.WaitConsistent(t, connectTimeout, f.Wanted()) // a loss like any other
}

// Somebody filled the registry's directory with odd names: files and links under the names of devices to come, names of no
// device. All is connected and recorded all the same; what is no entry stays, and `registry list` tells of it.
func TestRegistryJunk(t *testing.T) {
	f := guest.Scene(t, 2)
	guest.Run(t, "mkdir", "-p", "/run/nvme/registry/nvme", "/run/nvme/registry/nvme1n1", "/run/nvme/registry/\x1b[31m", "/run/nvme/registry/nvme9.tmp.1")
	for _, name := range []string{"nvme1", "nvme8", "nvme01x", "owner"} {
		if err := os.WriteFile("/run/nvme/registry/"+name, []byte("\x00\xff rubbish"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	guest.Run(t, "ln", "-s", "/nonexistent", "/run/nvme/registry/nvme2")
	junk := []string{"nvme", "nvme1n1", "\x1b[31m", "nvme9.tmp.1", "nvme01x", "owner"}
	mark := f.Mark()
	guest.Start(t)
	// The kernel chooses the names of the devices: what stands under one that no device got stays too.
	taken := slices.Collect(maps.Values(f.WaitAllLive()))
	for _, name := range []string{"nvme1", "nvme2", "nvme8"} {
		if !slices.Contains(taken, name) {
			junk = append(junk, name)
		}
	}
	guest.WaitConsistent(t, connectTimeout, f.Wanted(), junk...)
	for _, name := range junk {
		if !slices.Contains(guest.RegistryEntries(), name) {
			t.Errorf("%q was removed", name)
		}
	}
	out := guest.TryCtl(t, "registry", "list")
	if strings.ContainsAny(out.Stdout+out.Stderr, "\x1b\x00") {
		t.Errorf("registry list: what is no text reaches the terminal: %q", out.Stdout+out.Stderr)
	}
	for _, name := range []string{"nvme1n1", "nvme01x", `"\x1b[31m"`} {
		if !strings.Contains(out.Stderr, name) {
			t.Errorf("registry list: want a word about %s, got:\n%s", name, out.Stderr)
		}
	}
	if got := f.Complaints(mark, guest.Service, "nvme-discoverd-*.service"); got != "" {
		t.Errorf("complaints: got\n%s", got)
	}
}

// The directory of the exclusion lists cannot be read: that is told, nothing is excluded, all is connected. The same with a
// list of ten thousand entries, the last of which excludes a subsystem: it holds, and all else is connected.
func TestExclusionsUnreadableOrMany(t *testing.T) {
	f := guest.Scene(t, 2)
	guest.Run(t, "sh", "-c", "rm -rf /etc/nvme/exclusions && touch /etc/nvme/exclusions")
	mark := f.Mark()
	guest.Start(t)
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	if got, want := f.Complaints(mark, guest.Service), "cannot read the exclusion lists of /etc/nvme/exclusions, which exclude nothing now"; strings.Count(got, want) != 1 {
		t.Errorf("complaints: want once %q, got:\n%s", want, got)
	}
	guest.Stop(t)
	guest.Run(t, "rm", "/etc/nvme/exclusions")
	entries := make([]string, 9999)
	for i := range entries {
		entries[i] = fmt.Sprintf("transport=tcp;traddr=2001:db8::%x", i+1)
	}
	guest.Exclude(t, "many", append(entries, entryOf(f, f.Subsystems[0].NQN))...)
	guest.Delete(t, guest.Devices()[f.Subsystems[0].NQN])
	guest.Delete(t, guest.Devices()[f.Subsystems[1].NQN])
	guest.Start(t)
	wanted := slices.DeleteFunc(f.Wanted(), func(id guest.TID) bool { return id.NQN == f.Subsystems[0].NQN })
	guest.WaitConsistent(t, connectTimeout, wanted)
	guest.Always(t, quietSpan, "the last of many entries holds", func() (bool, string) { return guest.Consistent(t, wanted) })
}

// `exclusion edit` is open while somebody else adds an entry: what was added stays, the edit is kept beside the list and its
// path told. Without a terminal no editor is started. Without either, the edit is saved; the daemon goes by it at once.
//
//e2e:crowded
func TestExclusionEditBesideOthers(t *testing.T) {
	f, devices := guest.Connected(t, 1)
	nqn := f.Subsystems[0].NQN
	editor := func(script string) {
		guest.Replace(t, "/run/e2e/editor", "#!/bin/sh\nset -e\n"+script)
		guest.Run(t, "chmod", "+x", "/run/e2e/editor")
	}
	t.Setenv("EDITOR", "/run/e2e/editor")
	edit := func() guest.Outcome { return guest.OnTerminal(t, "", "exclusion", "edit") }
	mine := "echo 'exclusion = " + entryOf(f, nqn) + "' >> \"$1\"\n"
	editor(mine + "nvme-discoverctl exclusion add --entry=nqn=nqn.2024-01.com.example:theirs\n")
	out := edit()
	_, draft, told := strings.Cut(strings.TrimSpace(out.Stdout), "your edit is in ")
	if out.Status != 1 || !told || !strings.Contains(out.Stdout, "somebody else has changed it meanwhile") {
		t.Fatalf("exclusion edit: got status %d and %q, want a refusal", out.Status, out.Stdout)
	}
	if kept, err := os.ReadFile(draft); err != nil || !strings.Contains(string(kept), nqn) {
		t.Errorf("the edit that was kept: got %v and %q", err, kept)
	}
	if list := guest.Ctl(t, "exclusion", "list"); !strings.Contains(list, "theirs") || strings.Contains(list, nqn) {
		t.Errorf("exclusion list: want theirs alone, got:\n%s", list)
	}
	guest.Delete(t, devices[nqn])
	guest.WaitConsistent(t, connectTimeout, f.Wanted())

	editor(mine)
	noTerminal := guest.TryCtl(t, "exclusion", "edit")
	if noTerminal.Status != 1 || !strings.Contains(noTerminal.Stderr, "cannot edit exclusion list user without a terminal") {
		t.Errorf("exclusion edit without a terminal: got status %d and %q, want a refusal", noTerminal.Status, noTerminal.Stderr)
	}
	if out := edit(); out.Status != 0 {
		t.Fatalf("exclusion edit: got status %d and %q", out.Status, out.Stdout)
	}
	tested := guest.Ctl(t, "exclusion", "test", f.Unit(nqn))
	if !strings.HasPrefix(tested, "excluded: ") || !strings.Contains(tested, "/etc/nvme/exclusions/user.conf:") {
		t.Errorf("exclusion test of the unit: got\n%s", tested)
	}
	guest.Delete(t, guest.Devices()[nqn])
	only := map[string]string{guest.DiscoveryNQN: devices[guest.DiscoveryNQN]}
	f.WaitUnit(f.Unit(nqn), "inactive")
	guest.Always(t, quietSpan, "the saved edit holds", unchanged(only))
}
