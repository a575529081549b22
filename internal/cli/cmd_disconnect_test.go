// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"os"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/blockuse"
	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func (f *fakeConnector) Controllers() ([]connect.Owned, error) {
	var all []connect.Owned
	for _, c := range f.controllers {
		all = append(all, connect.Owned{Controller: c, Owner: f.owners[c.Name], Use: f.uses[c.Name]})
	}
	return all, nil
}

func (f *fakeConnector) DisconnectAll(match func(connect.Owned) bool, _ bool) ([]string, error) {
	controllers, _ := f.Controllers()
	var outcomes []string
	for _, c := range controllers {
		if match(c) {
			outcomes = append(outcomes, "disconnected "+c.Name)
		}
	}
	return outcomes, f.err
}

func TestDisconnectExclude(t *testing.T) {
	pinned := tcp("nvme2", "192.0.2.2", nqn)
	pinned.HostIface = "eth0"
	dc := tcp("nvme3", "192.0.2.3", "nqn.2024-01.com.example:dc")
	dc.Type, dc.Trsvcid = "discovery", "8009"
	for _, test := range []struct {
		name  string
		typed string
		args  []string
		want  string
	}{
		{
			"device", noTerminal,
			[]string{"--device=nvme1"},
			"excluded transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=" + nqn + ": /etc/nvme/exclusions/user.conf:5\ndisconnected nvme1\n",
		},
		{
			"device with a pinned interface", noTerminal,
			[]string{"--device=nvme2"},
			"excluded transport=tcp;traddr=192.0.2.2;trsvcid=4420;nqn=" + nqn + ";host-iface=eth0: /etc/nvme/exclusions/user.conf:5\ndisconnected nvme2\n",
		},
		{
			"discovery controller with an NQN of its own", noTerminal,
			[]string{"--device=nvme3"},
			"excluded transport=tcp;traddr=192.0.2.3;trsvcid=8009;nqn=nqn.2024-01.com.example:dc: /etc/nvme/exclusions/user.conf:5\n" +
				"excluded transport=tcp;traddr=192.0.2.3;trsvcid=8009;nqn=" + tid.DiscoveryNQN + ": /etc/nvme/exclusions/user.conf:6\n" +
				"disconnected nvme3\n",
		},
		{
			"subsystem", noTerminal,
			[]string{"--nqn=" + nqn},
			"excluded nqn=" + nqn + ": /etc/nvme/exclusions/user.conf:5\ndisconnected nvme1\ndisconnected nvme2\n",
		},
		{
			"connect's options", noTerminal,
			[]string{"-t", "tcp", "-a", "192.0.2.1", "-n", nqn},
			"excluded transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=" + nqn + ": /etc/nvme/exclusions/user.conf:5\ndisconnected nvme1\n",
		},
		{"another program's", noTerminal, []string{"--device=nvme4"}, "disconnected nvme4\n"}, // the real connector refuses
		{
			"the firmware's, in a script", noTerminal,
			[]string{"--device=nvme5"},
			"! cannot exclude transport=tcp;traddr=192.0.2.5;trsvcid=4420;nqn=" + nqn + "5 without being sure: nvme5 (tcp, 192.0.2.5, 4420, " + nqn +
				"5) is of the boot firmware and would not be connected again; without a terminal to ask on, --yes says so\nstatus 1\n",
		},
		{
			"the firmware's, sure", noTerminal,
			[]string{"--device=nvme5", "--yes"},
			"excluded transport=tcp;traddr=192.0.2.5;trsvcid=4420;nqn=" + nqn + "5: /etc/nvme/exclusions/user.conf:5\ndisconnected nvme5\n",
		},
		{
			"the firmware's, by a person", "y\n",
			[]string{"--device=nvme5"},
			"excluded transport=tcp;traddr=192.0.2.5;trsvcid=4420;nqn=" + nqn + "5: /etc/nvme/exclusions/user.conf:5\ndisconnected nvme5\n" +
				"! nvme5 (tcp, 192.0.2.5, 4420, " + nqn + "5) is of the boot firmware and would not be connected again. " +
				"Exclude transport=tcp;traddr=192.0.2.5;trsvcid=4420;nqn=" + nqn + "5? [y/N] ",
		},
		{
			"a unit", noTerminal,
			[]string{"--unit=" + unit},
			"! cannot exclude what a unit has connected: give --device or the options of connect with --exclude: see nvme-discoverctl disconnect --help\nstatus 2\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t)
			d.controller(tcp("nvme1", "192.0.2.1", nqn), "discoverd")
			d.controller(pinned, "")
			d.controller(dc, "discoverd")
			d.controller(tcp("nvme4", "192.0.2.4", nqn+"4"), "stas")
			d.controller(tcp("nvme5", "192.0.2.5", nqn+"5"), "nbft")
			d.typed = test.typed
			d.expect(append([]string{"disconnect", "--exclude"}, test.args...), test.want)
		})
	}
}

// An address that means several pinned connections is not enough, unless all are meant. Nothing is excluded then either.
func TestDisconnectSeveral(t *testing.T) {
	d := newDesk(t)
	one, two, other := tcp("nvme1", "192.0.2.1", nqn), tcp("nvme2", "192.0.2.1", nqn), tcp("nvme3", "192.0.2.1", nqn)
	one.HostIface, two.HostTraddr, two.HostIface = "eth0", "192.0.2.99", "eth\x1b1"
	d.controller(one, "discoverd")
	d.controller(two, "")
	d.controller(other, "stas") // nobody disconnects it here
	options := []string{"disconnect", "-t", "tcp", "-a", "192.0.2.1", "-n", nqn}
	refused := "! cannot disconnect (tcp, 192.0.2.1, 4420, " + nqn + "): 2 controllers are connected so: nvme1 from eth0, nvme2 from 192.0.2.99 through eth\\x1b1: " +
		"give one of these names, --host-iface or --host-traddr, or --all for all of them\nstatus 1\n"
	d.expect(options, refused)
	d.expect([]string{"disconnect", "transport=tcp;traddr=192.0.2.1;nqn=" + nqn}, refused)
	d.expect(append(options, "--exclude"), refused)
	if list, err := os.ReadFile(d.root.Exclusions() + "/user.conf"); err == nil {
		t.Errorf("it is excluded all the same: %s", list)
	}
	d.expect(append(options, "--host-iface=eth0"), "disconnected nvme1\ndisconnected nvme3\n") // the real connector refuses nvme3
	d.expect([]string{"disconnect", "nvme2"}, "disconnected nvme2\n")
	d.expect([]string{"disconnect", "-n", nqn}, "disconnected nvme1\ndisconnected nvme2\ndisconnected nvme3\n")
	d.expect(append(options, "--all"), "disconnected nvme1\ndisconnected nvme2\ndisconnected nvme3\n")
}

func TestDisconnectAll(t *testing.T) {
	d := newDesk(t)
	all := func(args ...string) []string { return append([]string{"disconnect-all"}, args...) }
	d.expect(all(), "! nothing to disconnect\n")
	d.controller(tcp("nvme1", "192.0.2.1", nqn), "")
	d.controller(tcp("nvme2", "192.0.2.2", nqn), "discoverd")
	d.controller(tcp("nvme3", "192.0.2.3", nqn), "stas")
	d.controller(tcp("nvme4", "192.0.2.4", nqn), "")

	d.expect(all(), "disconnected nvme1\ndisconnected nvme4\n")
	d.expect(all("--owner=nobody"), "! nothing to disconnect\n")
	d.expect(all("--owner=stas"), "! cannot disconnect 1 controller without being sure: nvme3 (stas) would be taken from their owners; without a terminal to ask on, --yes says so\nstatus 1\n")
	d.expect(all("--owner=stas", "--yes"), "disconnected nvme3\n")
	d.expect(all("--force", "--yes"), "disconnected nvme1\ndisconnected nvme2\ndisconnected nvme3\ndisconnected nvme4\n")
	d.expect(all("--force", "--owner=stas"), "! cannot disconnect by --owner and with --force at once: give one of them: see nvme-discoverctl disconnect-all --help\nstatus 2\n")
	d.expect(all("--owner="), "! cannot disconnect for an owner without a name: leave --owner out for what nobody owns: see nvme-discoverctl disconnect-all --help\nstatus 2\n")
	const question = "nvme1, nvme2 (discoverd), nvme3 (stas), nvme4 would be taken from their owners. Disconnect 4 controllers? Type yes to go on: "
	for _, typed := range []string{"y\n", "\n", ""} {
		d.typed = typed
		d.expect(all("--force"), "! "+question+"nothing was changed\nstatus 1\n")
	}
	d.fake.uses = map[string]blockuse.Use{"nvme3": {By: []string{"nvme1n1 is mounted on /"}, Needed: []string{"/"}}}
	d.expect(all("--owner=stas"), "! nvme3 (stas, with / of the running system) would be taken from their owners. Disconnect 1 controller? Type yes to go on: nothing was changed\nstatus 1\n")
	d.fake.uses = nil
	d.typed = "yes\n"
	d.expect(all("--force"), "disconnected nvme1\ndisconnected nvme2\ndisconnected nvme3\ndisconnected nvme4\n! "+question)
}

func TestDisconnectForce(t *testing.T) {
	const question = "the running system needs nvme1 and nvme2: nvme1n1 is mounted on /. Disconnect 2 controllers? Type yes to go on: "
	d := newDesk(t)
	d.controller(tcp("nvme1", "192.0.2.1", nqn), "nbft")
	d.controller(tcp("nvme2", "192.0.2.2", nqn), "nbft")
	d.controller(tcp("nvme3", "192.0.2.3", nqn), "stas")
	d.controller(tcp("nvme4", "192.0.2.4", nqn+"4"), "")
	use := blockuse.Use{By: []string{"nvme1n1 is mounted on /"}, Needed: []string{"/"}}
	d.fake.uses = map[string]blockuse.Use{"nvme1": use, "nvme2": use, "nvme3": use}
	force := func(args ...string) []string { return append([]string{"disconnect", "--force"}, args...) }

	d.typed = "y\n"
	d.expect(force("--nqn="+nqn), "! "+question+"nothing was changed\nstatus 1\n")
	d.typed = "yes\n"
	d.expect(force("--nqn="+nqn), "disconnected nvme1\ndisconnected nvme2\ndisconnected nvme3\n! "+question) // the real connector refuses nvme3
	d.typed = noTerminal
	d.expect(force("--device=nvme1"), "! cannot disconnect 1 controller without being sure: the running system needs nvme1: nvme1n1 is mounted on /; without a terminal to ask on, --yes says so\nstatus 1\n")
	d.expect(force("--device=nvme1", "--yes"), "disconnected nvme1\n")
	d.expect(force("--device=nvme4"), "disconnected nvme4\n")
	d.expect(force("--unit="+unit), "! cannot force what a unit does: give --device or the options of connect with --force: see nvme-discoverctl disconnect --help\nstatus 2\n")
}

// What the running system needs is not excluded, or it would stay away when it is lost.
func TestExcludeNeeded(t *testing.T) {
	d := newDesk(t)
	d.controller(tcp("nvme1", "192.0.2.1", nqn), "discoverd")
	d.controller(tcp("nvme2", "192.0.2.2", nqn), "discoverd")
	persona := tcp("nvme3", "192.0.2.3", nqn)
	persona.HostNQN = "nqn.2024-01.com.example:persona"
	d.controller(persona, "stas")
	use := blockuse.Use{By: []string{"nvme1n1 is mounted on /"}, Needed: []string{"/"}}
	d.fake.uses = map[string]blockuse.Use{"nvme1": use, "nvme3": use}
	exclude := func(args ...string) []string { return append([]string{"disconnect", "--exclude"}, args...) }

	const refused = "! cannot disconnect nvme1: nvme1n1 is mounted on /, and the running system needs /: --force disconnects it all the same\nstatus 1\n"
	d.expect(exclude("--device=nvme1"), refused)
	d.expect(exclude("--nqn="+nqn), refused)
	// An exclusion holds for every persona and every owner.
	d.expect(exclude("--transport=tcp", "--traddr=192.0.2.3", "--nqn="+nqn), "! cannot exclude transport=tcp;traddr=192.0.2.3;trsvcid=4420;nqn="+nqn+
		": it matches nvme3: nvme1n1 is mounted on /, and the running system needs /\nstatus 1\n")
	// The first entry of the list is this one.
	d.expect(exclude("--device=nvme2"), "excluded transport=tcp;traddr=192.0.2.2;trsvcid=4420;nqn="+nqn+": /etc/nvme/exclusions/user.conf:5\ndisconnected nvme2\n")
}
