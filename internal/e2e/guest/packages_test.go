// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// The package is installed over a build that had both programs in sbin, upgraded, removed, installed again and purged, all with
// controllers connected: none is disconnected or connected anew. The service runs the new programs after each step, is not
// enabled by any, and what an earlier version started still disconnects. Purge leaves nothing of ours in /etc and /run.
//
//e2e:packages
//e2e:seldom
//e2e:everywhere
func TestPackage(t *testing.T) {
	f := guest.Scene(t, 2)
	guest.InstalledFromTree(f)
	guest.MoveCtlBack(t)
	guest.Start(t)
	devices := f.WaitAllLive()
	first, second := f.Unit(f.Subsystems[0].NQN), f.Unit(f.Subsystems[1].NQN)
	if argv := guest.Argv(t, first, "ExecStop"); argv[0] != "/usr/sbin/nvme-discoverctl" {
		t.Fatalf("the earlier layout: units run %q", argv)
	}
	config := read(t, "/etc/nvme/discoverd.conf")
	stays := func(what string) {
		t.Helper()
		guest.Always(t, quietSpan, what+": nothing is connected anew", unchanged(devices))
	}
	install := func(version string) {
		t.Helper()
		out := guest.Run(t, "dpkg", "--install", "--force-confold", guest.DebianPackage(t, version))
		t.Logf("dpkg --install %s:\n%s", version, out)
		stays("installing " + version)
		if got := guest.Ctl(t, "version"); got != "nvme-discoverctl "+version+"\n" {
			t.Errorf("nvme-discoverctl version: got %q, want %s", got, version)
		}
		if link, err := os.Readlink("/usr/sbin/nvme-discoverctl"); link != "../bin/nvme-discoverctl" {
			t.Errorf("the earlier place of nvme-discoverctl: got %q, %v", link, err)
		}
		if text := read(t, "/etc/nvme/discoverd.conf"); text != config {
			t.Errorf("the configuration is no more what it was:\n%s", text)
		}
		if state := strings.TrimSpace(guest.Try(t, "systemctl", "is-enabled", guest.Service).Stdout); state != "disabled" {
			t.Errorf("the service is %s", state)
		}
	}
	runs := func() {
		t.Helper()
		guest.WaitActive(t)
		if exe, err := os.Readlink("/proc/" + guest.Property(t, guest.Service, "MainPID") + "/exe"); exe != "/usr/sbin/nvme-discoverd" {
			t.Errorf("the service runs %q, %v", exe, err)
		}
		f.WaitAllLive()
	}

	install("1.0.0")
	runs()
	if argv := guest.Argv(t, first, "ExecStop"); argv[0] != "/usr/sbin/nvme-discoverctl" {
		t.Errorf("the unit of the earlier build: got %q", argv)
	}
	guest.Run(t, "systemctl", "stop", first)
	if left := guest.Controllers(); len(left) != len(devices)-1 {
		t.Errorf("what an earlier version started did not disconnect: %v", left)
	}
	guest.Ctl(t, "start", first)
	devices = f.WaitAllLive()
	if argv := guest.Argv(t, first, "ExecStop"); argv[0] != "/usr/bin/nvme-discoverctl" {
		t.Errorf("a unit of this version runs %q", argv)
	}
	install("1.0.1")
	runs()

	guest.Run(t, "dpkg", "--remove", "nvme-discoverd")
	stays("removal")
	if state := guest.ActiveState(t, guest.Service); state != "inactive" {
		t.Errorf("after removal the service is %s", state)
	}
	if left := guest.Named(t, "nvme-discover", "/usr/bin", "/usr/sbin", "/usr/lib/systemd", "/usr/lib/udev"); len(left) > 0 {
		t.Errorf("removal left %q", left)
	}
	if text := read(t, "/etc/nvme/discoverd.conf"); text != config {
		t.Errorf("removal changed the configuration:\n%s", text)
	}

	install("1.0.1")
	guest.Start(t)
	runs()
	stays("the next start")
	guest.Run(t, "systemctl", "stop", second)
	guest.Ctl(t, "start", second)
	devices = f.WaitAllLive()

	guest.Run(t, "systemctl", "enable", "--quiet", guest.Service)
	guest.Run(t, "dpkg", "--purge", "nvme-discoverd")
	stays("purge")
	if left := guest.Named(t, "discoverd*", "/etc", "/run/nvme"); len(left) > 0 {
		t.Errorf("purge left %q", left)
	}
	if entries := guest.RegistryEntries(); len(entries) > 0 {
		t.Errorf("purge left entries in the registry: %v", entries)
	}
	if load := guest.Property(t, guest.Service, "LoadState"); load != "not-found" {
		t.Errorf("after purge systemd has the service %s", load)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
