// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// The identities of two more hosts that this one stands for.
const (
	salesNQN = "nqn.2014-08.org.nvmexpress:uuid:aaaaaaaa-1111-4111-8111-aaaaaaaaaaaa"
	salesID  = "aaaaaaaa-1111-4111-8111-aaaaaaaaaaaa"
	labNQN   = "nqn.2014-08.org.nvmexpress:uuid:bbbbbbbb-2222-4222-8222-bbbbbbbbbbbb"
	labID    = "bbbbbbbb-2222-4222-8222-bbbbbbbbbbbb"
)

func dropIn(name string) string { return "/etc/nvme/discoverd.conf.d/" + name }

// hostConfig gives a drop-in its identity.
func hostConfig(nqn, id string) string {
	return fmt.Sprintf("[host]\nhostnqn = %q\nhostid = %q\n\n", nqn, id)
}

// asSeen lists the controllers as the target sees them: which host is connected to what.
func asSeen() []string {
	var all []string
	for _, c := range guest.Controllers() {
		if c.State == "live" {
			all = append(all, c.NQN+" "+c.HostNQN)
		}
	}
	slices.Sort(all)
	return all
}

// Two drop-ins, each with an identity of its own, name one discovery controller. The target lets each identity see and use
// one subsystem, and both a third one: each identity has its own connection to the discovery controller, its own subsystem
// and its own connection to the shared one, and nothing of the other's. So it stays when all are lost.
func TestTwoPersonas(t *testing.T) {
	f := guest.Scene(t, 3)
	sales, lab, shared := f.Subsystems[0], f.Subsystems[1], f.Subsystems[2]
	sales.AllowOnly(salesNQN)
	lab.AllowOnly(labNQN)
	shared.AllowOnly(salesNQN, labNQN)
	guest.Configure(t, "")
	guest.Replace(t, dropIn("sales.conf"), hostConfig(salesNQN, salesID)+discoveryConfig(f.Port))
	guest.Replace(t, dropIn("lab.conf"), hostConfig(labNQN, labID)+discoveryConfig(f.Port))
	want := []string{
		guest.DiscoveryNQN + " " + salesNQN, guest.DiscoveryNQN + " " + labNQN,
		sales.NQN + " " + salesNQN, lab.NQN + " " + labNQN, shared.NQN + " " + salesNQN, shared.NQN + " " + labNQN,
	}
	slices.Sort(want)
	connected := func(what string) {
		guest.Eventually(t, connectTimeout, what, func() (bool, string) {
			got := asSeen()
			return slices.Equal(got, want), "\n\t" + strings.Join(got, "\n\t")
		})
	}
	mark := f.Mark()
	guest.Start(t)
	connected("each identity has its own")
	for _, c := range guest.Controllers() {
		id := f.Port.TID(c.NQN)
		id.HostNQN, id.HostID = c.HostNQN, strings.TrimPrefix(c.HostNQN, "nqn.2014-08.org.nvmexpress:uuid:")
		f.WaitUnit(id.Unit(), "active")
	}
	if got := len(guest.Units(t)); got != len(want) {
		t.Errorf("units: got %d, want %d", got, len(want))
	}
	kernel := f.KernelMessages(mark)
	for _, nqn := range []string{salesNQN, labNQN} {
		if seen := "for subsystem " + shared.NQN + " for NQN " + nqn; !strings.Contains(kernel, seen) {
			t.Errorf("the target's log: want %q, got:\n%s", seen, kernel)
		}
	}
	for _, c := range guest.Controllers() {
		guest.Delete(t, c.Name)
	}
	connected("each identity has its own again")
	guest.Always(t, quietSpan, "and keeps it", func() (bool, string) {
		got := asSeen()
		return slices.Equal(got, want), strings.Join(got, "\n\t")
	})
}

// discoverd.conf names a discovery controller, and nvme-fabrics.conf, the file shared with nvme-cli 3, a subsystem on another
// port; with its drop-in for another identity there are three sources. All of it is connected, each with its own parameters.
func TestFabricsConfiguration(t *testing.T) {
	f := guest.Scene(t, 1)
	other := f.Target.Port(8010)
	extra, lab := f.Target.Subsystem("nqn.2024-01.com.example:extra"), f.Target.Subsystem("nqn.2024-01.com.example:lab")
	lab.AllowOnly(labNQN)
	other.Link(extra, lab)
	line := "controller = transport=tcp;traddr=" + other.Traddr + ";trsvcid=" + other.Trsvcid + "\n"
	guest.Replace(t, "/etc/nvme/nvme-fabrics.conf", "[I/O Controller Defaults]\nctrl-loss-tmo = 700\n\n[Subsystem]\nnqn = "+extra.NQN+"\n"+line)
	guest.Replace(t, "/etc/nvme/nvme-fabrics.conf.d/lab.conf", "[Host]\nhostnqn = "+labNQN+"\nhostid = "+labID+"\n\n[Subsystem]\nnqn = "+lab.NQN+
		"\nctrl-loss-tmo = 800\n"+line)
	guest.Start(t)
	devices := guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, f.Subsystems[0].NQN, extra.NQN, lab.NQN)
	for nqn, want := range map[string]string{extra.NQN: "700", lab.NQN: "800"} {
		if got := guest.ControllerAttribute(devices[nqn], "ctrl_loss_tmo"); got != want {
			t.Errorf("ctrl_loss_tmo of %s: got %q, want %s", nqn, got, want)
		}
	}
	if got := guest.ControllerAttribute(devices[lab.NQN], "hostnqn"); got != labNQN {
		t.Errorf("host NQN of %s: got %q, want that of the drop-in", lab.NQN, got)
	}
	shown := guest.Ctl(t, "config", "show")
	for _, file := range []string{"/etc/nvme/discoverd.conf", "/etc/nvme/nvme-fabrics.conf", "/etc/nvme/nvme-fabrics.conf.d/lab.conf"} {
		if !strings.Contains(shown, "\n  "+file+"\n") {
			t.Errorf("config show: want %s among the files, got:\n%s", file, shown)
		}
	}
}

// An administrator adds a drop-in and asks `nvme-discoverctl config check` before the reload. Each mistake is told with file,
// line and column, and the exit status is 1; a reload all the same keeps what is in force. When the check is content, the
// reload connects what was added.
func TestConfigCheckBeforeReload(t *testing.T) {
	f, devices := guest.Connected(t, 1)
	added := f.Target.Port(8010)
	subsystem := f.Target.Subsystem("nqn.2024-01.com.example:added")
	added.Link(subsystem)
	good := subsystemConfig(added, subsystem.NQN, "")
	file := dropIn("50-added.conf")
	for _, test := range []struct{ name, text, want string }{
		{"address", strings.Replace(good, `"127.0.0.1"`, `"127.0.0.256"`, 1), file + `:3:`},
		{"syntax", good + "]\n", file + ":4:"},
		{"identity", hostConfig("nqn.2024-01.com.example:a,b", salesID) + good, file + ":2:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			guest.Replace(t, file, test.text)
			out := guest.TryCtl(t, "config", "check")
			if out.Status != 1 || !strings.HasPrefix(out.Stderr, test.want) || out.Stdout != "" {
				t.Errorf("config check: got status %d, stdout %q, stderr %q, want 1 and an error at %s", out.Status, out.Stdout, out.Stderr, test.want)
			}
			mark := f.Mark()
			guest.Reload(t)
			if journal := f.Journal(mark); !strings.Contains(journal, test.want) {
				t.Errorf("journal: want an error at %s, got:\n%s", test.want, journal)
			}
			if ok, seen := unchanged(devices)(); !ok {
				t.Errorf("controllers: %s\nwant %v", seen, devices)
			}
		})
	}
	guest.Replace(t, file, good)
	if got, want := guest.Ctl(t, "config", "check"), "The configuration is valid: 2 connections, 0 warnings.\n"; got != want {
		t.Errorf("config check: got %q, want %q", got, want)
	}
	guest.Reload(t)
	now := guest.WaitLive(t, connectTimeout, append(f.NQNs(), subsystem.NQN)...)
	for nqn, device := range devices {
		if now[nqn] != device {
			t.Errorf("device of %s: got %s, want the same as before, %s", nqn, now[nqn], device)
		}
	}
}

// A host that nvme-cli 2 served changes over: `nvme-discoverctl config import --from discovery.conf` writes a drop-in, a
// reload connects what it names, and a second import overwrites nothing.
func TestImportDiscoveryConf(t *testing.T) {
	f := guest.Scene(t, 2)
	guest.Configure(t, "")
	guest.Replace(t, "/etc/nvme/discovery.conf", "# the array\n--transport=tcp --traddr="+f.Port.Traddr+" --trsvcid="+f.Port.Trsvcid+"\n")
	guest.Start(t)
	printed := guest.Ctl(t, "config", "import", "--from", "discovery.conf", "--dry-run")
	if !strings.Contains(printed, "[[discovery-controller]]") || len(guest.Controllers()) > 0 {
		t.Errorf("config import --dry-run: got\n%s", printed)
	}
	out := guest.Ctl(t, "config", "import", "--from", "discovery.conf")
	if !strings.Contains(out, "1 connection") || !strings.Contains(out, "Apply it with: systemctl reload nvme-discoverd") {
		t.Errorf("config import: got %q", out)
	}
	guest.Reload(t)
	f.WaitAllLive()
	again := guest.TryCtl(t, "config", "import", "--from", "discovery.conf")
	if again.Status != 1 || !strings.Contains(again.Stderr, "it exists") {
		t.Errorf("second import: got status %d and %q, want a refusal to overwrite", again.Status, again.Stderr)
	}
}
