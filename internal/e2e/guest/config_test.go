// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// The configuration cannot be used when the service starts: it says file, line and column and what is wrong, in the status too,
// and touches nothing: the controllers of its last run stay connected.
func TestBadConfiguration(t *testing.T) {
	f, devices := guest.Shared(t, 2)
	guest.Stop(t)
	tests := []struct{ name, text, where, what string }{
		{"syntax", "[global]\nnbft = \n", `discoverd\.conf:2:\d+`, ""},
		{"wrong type", "[global]\nnbft = true\nmax-parallel-connects = \"many\"\n", `discoverd\.conf:3:\d+`, "max-parallel-connects"},
		{"bad address", "[[discovery-controller]]\ncontroller = [\n  { transport = \"tcp\", traddr = \"127.0.0.256\" },\n]\n", `discoverd\.conf:3:\d+`, "127.0.0.256"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			guest.Configure(t, test.text)
			mark := f.Mark()
			guest.Start(t)
			journal := f.Journal(mark)
			if !regexp.MustCompile(test.where).MatchString(journal) {
				t.Errorf("journal: want a message with %s, got:\n%s", test.where, journal)
			}
			if !strings.Contains(journal, test.what) {
				t.Errorf("journal: want a message with %q, got:\n%s", test.what, journal)
			}
			if ok, seen := unchanged(devices)(); !ok {
				t.Errorf("controllers: %s\nwant %v", seen, devices)
			}
			if status := guest.Ctl(t, "status"); !strings.Contains(status, "1 error in the configuration") {
				t.Errorf("the status does not tell of it:\n%s", status)
			}
			guest.Stop(t)
		})
	}
	guest.ConfigureDiscovery(t, f.Port)
	guest.Start(t)
	guest.Always(t, quietSpan, "adopted after all", unchanged(devices))
}

// A reload finds a configuration that does not parse: the service says where the mistake is and carries on with the last good
// one, as a whole.
//
//e2e:everywhere
func TestReloadOfBadConfiguration(t *testing.T) {
	f, devices := guest.Shared(t, 2)
	mark := f.Mark()
	guest.Configure(t, "[global]\nnbft = maybe\n")
	begin := time.Now()
	guest.Try(t, "systemctl", "reload", guest.Service)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("systemctl reload took %v", took)
	}
	f.WaitLogged(connectTimeout, "the journal names the mistake", func(text string) bool {
		return strings.Contains(text, "discoverd.conf:2:")
	}, mark)
	guest.WaitActive(t)
	if ok, seen := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", seen, devices)
	}
	guest.Delete(t, devices[f.Subsystems[0].NQN])
	guest.WaitOneLive(t, f.Subsystems[0].NQN, "the last good configuration is in force")
	f.WaitAllLive()
}

// A subsystem is added to the configuration: `systemctl reload` returns at once, and the subsystem is connected. One is taken
// out: it stays connected.
//
//e2e:everywhere
func TestReload(t *testing.T) {
	f := guest.Scene(t, 2)
	first, second := f.Subsystems[0].NQN, f.Subsystems[1].NQN
	guest.Configure(t, subsystemConfig(f.Port, first, ""))
	guest.Start(t)
	before := guest.WaitLive(t, connectTimeout, first)
	guest.Configure(t, subsystemConfig(f.Port, second, ""))
	begin := time.Now()
	guest.Run(t, "systemctl", "reload", guest.Service)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("systemctl reload took %v", took)
	}
	after := guest.WaitLive(t, connectTimeout, first, second)
	if after[first] != before[first] {
		t.Errorf("device of %s: got %s, want the same as before, %s", first, after[first], before[first])
	}
	if got := guest.ActiveState(t, guest.Service); got != "active" {
		t.Errorf("service: got %s, want active", got)
	}
}

// The configuration file that is installed parses, with nothing to warn of, and starts a service with nothing to do. One with
// a misspelt section is valid, and config check says what of it is ignored and what was meant; --strict refuses it.
func TestInstalledConfiguration(t *testing.T) {
	guest.Begin(t)
	if got, want := guest.Ctl(t, "config", "check", "--strict"), "The configuration is valid: 0 connections, 0 warnings.\n"; got != want {
		t.Errorf("config check of what is installed: got %q, want %q", got, want)
	}
	const odd = "/run/e2e/odd.conf"
	guest.Replace(t, odd, "[[discovery-controler]]\n[[discovery-controller]]\nport = 8009\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]\n")
	for _, args := range [][]string{{"config", "check", odd}, {"config", "check", "--strict", odd}} {
		out := guest.TryCtl(t, args...)
		if want := "The configuration is valid, but 1 section and 1 key were ignored: 1 connection, 2 warnings.\n"; out.Status != len(args)-3 || out.Stdout != want ||
			!strings.Contains(out.Stderr, "did you mean discovery-controller?") || !strings.Contains(out.Stderr, "did you mean trsvcid?") {
			t.Errorf("%v: got status %d, %q and %q, want %d and %q", args, out.Status, out.Stdout, out.Stderr, len(args)-3, want)
		}
	}
	guest.Start(t)
	if got := len(guest.Units(t)); got != 0 {
		t.Errorf("units: got %d, want none", got)
	}
	guest.Always(t, quietSpan, "nothing is connected, the service stays active", func() (bool, string) {
		state := guest.ActiveState(t, guest.Service)
		return state == "active" && len(guest.Controllers()) == 0, state
	})
}
