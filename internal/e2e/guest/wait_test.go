// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// absentScene is connected to two subsystems, and configured for a third one whose target is not up yet.
func absentScene(t *testing.T) (f *guest.Fixture, absent string) {
	f = guest.Scene(t, 2)
	absent = "nqn.2024-01.com.example:absent"
	guest.Configure(t, discoveryConfig(f.Port)+fmt.Sprintf(
		"[[subsystem]]\nnqn = %q\ncontroller = [{ transport = \"tcp\", traddr = \"127.0.0.1\", trsvcid = 8010 }]\n", absent))
	guest.Start(t)
	return f, absent
}

// arrive brings the target of the absent subsystem up and tries it at once.
func arrive(t *testing.T, f *guest.Fixture, absent string) {
	port := f.Target.Port(8010)
	port.Link(f.Target.Subsystem(absent))
	guest.Ctl(t, "retry")
}

// One of three targets is down: wait gives up and says which one, status --check fails, and explain tells why and what to look at.
// When the target is up, a wait that has begun ends, and everything says so. What is excluded is not waited for.
func TestWaitForTargets(t *testing.T) {
	f, absent := absentScene(t)
	there := f.Subsystems[0].NQN
	guest.Ctl(t, "wait", "--timeout=2min", there, f.Subsystems[1].NQN, guest.DiscoveryNQN)
	if got := guest.Ctl(t, "wait", "--for=ready"); !strings.Contains(got, "controllers connected") {
		t.Errorf("wait --for=ready: got %q", got)
	}
	late := guest.TryCtl(t, "wait", "--timeout=2s")
	if late.Status != 1 || !strings.Contains(late.Stderr, "gave up after 2s: 1 controller is missing\n"+absent+" @ 127.0.0.1:8010: ") {
		t.Errorf("wait: got status %d, %q and %q", late.Status, late.Stdout, late.Stderr)
	}
	checked := guest.TryCtl(t, "status", "--check")
	if checked.Status != 1 || !strings.Contains(checked.Stderr, "not connected: 1 of 4 controllers that should be") ||
		!strings.Contains(checked.Stdout, absent) || strings.Contains(checked.Stdout, there) {
		t.Errorf("status --check: got status %d, %q and %q", checked.Status, checked.Stdout, checked.Stderr)
	}
	explained := func(what, target string, wanted ...string) { // in the end: what fails is tried again and again
		t.Helper()
		guest.Eventually(t, connectTimeout, "explain of one that "+what, func() (bool, string) {
			text := guest.Ctl(t, "explain", target)
			for _, want := range wanted {
				if !strings.Contains(text, want) {
					return false, fmt.Sprintf("want %q, got\n%s", want, text)
				}
			}
			return true, ""
		})
	}
	explained("fails", absent,
		"waiting for", "  history  ", " waiting: ", "connection refused", "/etc/nvme/discoverd.conf:", "its next attempt", "systemd has none", "  journal  ", "cannot connect", "nothing listens at 127.0.0.1:8010")
	explained("is connected", there,
		"connected for", "the log page of discovery controller 127.0.0.1:8009", "entry ", f.Unit(there)+": active (exited)", ": live, owner discoverd", "queues ", "  journal  ")

	waited := guest.Background(t, "/usr/bin/nvme-discoverctl", "wait", "--timeout=90s")
	arrive(t, f, absent)
	waited()
	if checked := guest.TryCtl(t, "status", "--check"); checked.Status != 0 {
		t.Errorf("status --check: got status %d, %q and %q", checked.Status, checked.Stdout, checked.Stderr)
	}

	guest.Ctl(t, "exclusion", "add", "--entry=nqn="+absent)
	guest.Delete(t, guest.Devices()[absent])
	guest.WaitStatus(t, "1 excluded")
	guest.Ctl(t, "wait", "--timeout=1min")
	guest.Ctl(t, "status", "--check")
	explained("is excluded", absent,
		"excluded for", "/etc/nvme/exclusions/user.conf:", "exclusion remove --name=user --entry='nqn="+absent+"'")
}

// The service that waits for connections fails when something is missing in time, is active when all is there, is ordered before
// remote-fs.target and enabled for the boot; and the daemon does not take it for a connection's unit.
func TestWaitOnline(t *testing.T) {
	f, absent := absentScene(t)
	guest.OverrideConnections(t, guest.WaitOnline, "[Service]\nExecStart=\nExecStart=/usr/bin/nvme-discoverctl wait --timeout=10s\n")
	t.Cleanup(func() { guest.Run(t, "systemctl", "stop", guest.WaitOnline) })
	if out := guest.Try(t, "systemctl", "start", guest.WaitOnline); out.Status == 0 || guest.ActiveState(t, guest.WaitOnline) != "failed" {
		t.Errorf("start with one missing: got status %d, state %s", out.Status, guest.ActiveState(t, guest.WaitOnline))
	}
	if said := guest.Run(t, "journalctl", "--no-pager", "--boot", "--unit="+guest.WaitOnline); !strings.Contains(said, absent+" @ 127.0.0.1:8010") {
		t.Errorf("the journal does not say what is missing:\n%s", said)
	}
	arrive(t, f, absent)
	guest.Ctl(t, "wait", "--timeout=1min")
	guest.Run(t, "systemctl", "start", guest.WaitOnline)
	if got := guest.ActiveState(t, guest.WaitOnline); got != "active" {
		t.Errorf("start with all there: %s", got)
	}
	guest.Ctl(t, "rescan") // compares the units too
	if status := guest.Ctl(t, "status"); strings.Contains(status, "nothing accounts for") {
		t.Errorf("the daemon does not know the service:\n%s", status)
	}
	guest.Run(t, "systemctl", "enable", "--quiet", guest.WaitOnline)
	t.Cleanup(func() { guest.Run(t, "systemctl", "disable", "--quiet", guest.WaitOnline) })
	for key, want := range map[string]string{
		"Before": "remote-fs.target", "After": guest.Service, "Wants": guest.Service, "WantedBy": "multi-user.target", "UnitFileState": "enabled",
	} {
		if got := guest.Property(t, guest.WaitOnline, key); !strings.Contains(got, want) {
			t.Errorf("%s=%s, want %s in it", key, got, want)
		}
	}
	// Neither a restart nor a crash of the daemon touches it, once it has waited and while it does.
	entered := func() string { return guest.Property(t, guest.WaitOnline, "ActiveEnterTimestampMonotonic") }
	since := entered()
	guest.Run(t, "systemctl", "restart", guest.Service)
	if now := entered(); guest.ActiveState(t, guest.WaitOnline) != "active" || now != since {
		t.Errorf("after a restart of the daemon: %s since %s, want it active since %s", guest.ActiveState(t, guest.WaitOnline), now, since)
	}
	guest.Replace(t, "/run/systemd/system/"+guest.WaitOnline+".d/e2e.conf",
		"[Service]\nExecStart=\nExecStart=/usr/bin/nvme-discoverctl wait --timeout=2min "+guest.DiscoveryNQN+" nqn.2024-01.com.example:late\n")
	guest.Run(t, "systemctl", "daemon-reload")
	guest.Run(t, "systemctl", "stop", guest.WaitOnline)
	guest.Run(t, "systemctl", "start", "--no-block", guest.WaitOnline)
	guest.Run(t, "systemctl", "restart", guest.Service)
	f.Port.Link(f.Target.Subsystem("nqn.2024-01.com.example:late"))
	f.WaitUnit(guest.WaitOnline, "active")
}

// A person watches while the daemon restarts: the watch says that it is gone and back, and goes on. When its reader ends, it ends,
// though nothing happens.
func TestWatchOutlivesDaemon(t *testing.T) {
	f, devices := guest.Connected(t, 2)
	guest.Ctl(t, "wait")
	reader, writer := io.Pipe()
	cmd := exec.Command("/usr/bin/nvme-discoverctl", "watch")
	cmd.Stdout, cmd.Stderr = writer, writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(reader)
	said := ""
	until := func(want string) {
		t.Helper()
		for lines.Scan() {
			said += lines.Text() + "\n"
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("watch ended before it said %q:\n%s", want, said)
	}
	until("3 of 3 controllers connected")
	guest.Run(t, "systemctl", "restart", guest.Service)
	until("nvme-discoverd ended the connection")
	until("nvme-discoverd is back")
	until("controllers connected")
	nqn := f.Subsystems[0].NQN
	guest.Run(t, "nvme", "disconnect", "-d", devices[nqn])
	until(nqn + " @ 127.0.0.1:8009: connected nvme")
	go func() { _, _ = io.Copy(io.Discard, reader) }() // for what comes until it ends
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted, watch ends with %v", err)
	}
	for _, command := range []string{"nvme-discoverctl watch | head -n 1", "nvme-discoverctl watch --json | head -n 1"} {
		if got := guest.Run(t, "bash", "-c", "set -o pipefail; "+command); strings.Count(got, "\n") != 1 {
			t.Errorf("%s: got %q", command, got)
		}
	}
}
