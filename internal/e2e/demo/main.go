// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

// Command demo shows, inside the end-to-end machine, what the service does: `make demo`.
package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// moment is how long the demonstration waits for anything.
const moment = 2 * time.Minute

func main() { guest.RunProgram("demo", demo) }

func demo(t guest.T) {
	say("A storage target: the kernel's own, over TCP on loopback. One discovery controller, five subsystems.")
	f := guest.Scene(t, 5)
	f.Subsystems[0].Namespace(64 << 20)
	for _, s := range f.Subsystems {
		fmt.Printf("    %s:%s  %s\n", f.Port.Traddr, f.Port.Trsvcid, s.NQN)
	}

	say("The host's configuration, /etc/nvme/discoverd.conf, names the discovery controller and nothing else.")
	indent(guest.Run(t, "cat", "/etc/nvme/discoverd.conf"))

	stop := follow(t)
	defer stop()

	say("$ systemctl enable --now nvme-discoverd")
	begin := time.Now()
	guest.Enable(t)
	devices := f.WaitAllLive()
	say("All %d controllers are live after %s.", len(devices), since(begin))

	say("Someone adds a subsystem to the target. The target tells the discovery controller's host (an event), no one polls.")
	added := f.Target.Subsystem("nqn.2024-01.com.example:added-later")
	f.Subsystems = append(f.Subsystems, added)
	begin = time.Now()
	f.Port.Link(added)
	devices = f.WaitAllLive()
	say("It is live as %s after %s.", devices[added.NQN], since(begin))

	lost := f.Subsystems[2].NQN
	say("Someone deletes %s (%s) behind the service's back, as `nvme disconnect -d %s` does.", devices[lost], lost, devices[lost])
	begin = time.Now()
	guest.Delete(t, devices[lost])
	guest.Eventually(t, moment, "it is gone", func() (bool, string) { return guest.Devices()[lost] != devices[lost], "" })
	f.WaitAllLive()
	say("It is back after %s.", since(begin))

	say("$ systemctl restart nvme-discoverd   (an upgrade: the connections stay up, the new process adopts them)")
	before := guest.Devices()
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.WaitActive(t)
	if after := f.WaitAllLive(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("controllers changed: before %v, after %v", before, after)
	}

	quiet := f.Subsystems[1].NQN
	unit := f.Unit(quiet)
	say("$ systemctl stop %s   (an administrator means it: this one is disconnected and stays away)", unit)
	guest.Run(t, "systemctl", "stop", unit)
	guest.Eventually(t, moment, "it is gone", func() (bool, string) { return len(guest.Live(quiet)) == 0, "" })
	guest.Always(t, 3*time.Second, "it stays away", func() (bool, string) { return len(guest.Live(quiet)) == 0, "" })

	stop()
	say("What is connected now:")
	tree(t, f)
	say("$ systemctl status nvme-discoverd")
	indent(guest.Run(t, "systemctl", "status", "--full", "--no-pager", "--lines=0", guest.Service))
	say("$ systemctl status %s   (every connection is a unit; its command can be copied and run)", f.Unit(lost))
	indent(guest.Run(t, "systemctl", "status", "--full", "--no-pager", "--lines=5", f.Unit(lost)))
}

// say prints one line of the story.
func say(format string, args ...any) { fmt.Printf("\n>>> "+format+"\n", args...) }

func indent(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		fmt.Print("    " + line)
	}
}

func since(begin time.Time) string { return fmt.Sprintf("%.1f s", time.Since(begin).Seconds()) }

// tree prints the discovery controller and what is behind it, with units.
func tree(t guest.T, f *guest.Fixture) {
	t.Helper()
	all := guest.Controllers()
	for _, kind := range []struct{ name, prefix string }{{"discovery", ""}, {"io", "└─ "}} {
		for _, c := range all {
			if c.Type == kind.name {
				fmt.Printf("    %s%-6s %-10s %s %s:%s  %s\n", kind.prefix, c.Name, c.State, c.Transport, c.Traddr, c.Trsvcid, c.NQN)
				fmt.Printf("    %s       %s\n", strings.Repeat(" ", len([]rune(kind.prefix))), f.Unit(c.NQN))
			}
		}
	}
}
