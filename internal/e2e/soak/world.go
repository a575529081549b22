// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package main

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// The scene: two ports of one array, the second with half of the subsystems of the first, and a port that only a user knows.
const (
	firstPort, secondPort, userPort = 8009, 8010, 8011
	subsystems                      = 12
)

// port is one of the array's ports and what it shows.
type port struct {
	*guest.Port
	shown []*guest.Subsystem
	down  bool
}

// world is the machine, and what has been done to it in this round.
type world struct {
	*guest.Machine
	rng    *rand.Rand
	only   *regexp.Regexp // the faults that are played
	target *guest.Target
	ports  []*port
	users  *guest.Port
	others []string // the user's controllers
	named  int      // subsystems that ever were
	giveUp int      // ctrl-loss-tmo in the configuration

	// Of this round.
	faults   []string
	kills    int
	broken   bool
	excluded bool
	stopped  []guest.TID
	disturbs bool // the daemon was away or deaf for a moment: it may not have heard of a stop
}

// build makes the scene and starts the service.
func build(t guest.T, rng *rand.Rand) *world {
	t.Helper()
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	w := &world{Machine: m, rng: rng, target: target, giveUp: 5}
	all := target.Subsystems(subsystems)
	for i, trsvcid := range []int{firstPort, secondPort} {
		p := &port{Port: target.Port(trsvcid), shown: slices.Clone(all[:subsystems/(i+1)])}
		p.Link(p.shown...)
		w.ports = append(w.ports, p)
	}
	w.users = target.Port(userPort)
	w.users.Link(target.Subsystem("nqn.2024-01.com.example:users"), target.Subsystem("nqn.2024-01.com.example:stas"))
	w.configure()
	guest.Run(w, "modprobe", "nvme-tcp")
	for _, nqn := range []string{guest.DiscoveryNQN, "nqn.2024-01.com.example:users", "nqn.2024-01.com.example:stas"} {
		// With a keep-alive: a target ends a discovery controller without one after two minutes.
		guest.Run(w, "nvme", "connect", "-t", "tcp", "-a", w.users.Traddr, "-s", w.users.Trsvcid, "-n", nqn, "--keep-alive-tmo=5")
	}
	for _, c := range guest.Controllers() {
		w.others = append(w.others, c.Name)
		if c.NQN == "nqn.2024-01.com.example:stas" {
			guest.Own(w, c.Name, "stas")
		}
	}
	guest.Start(w)
	return w
}

// configure writes the configuration. The kernel gives up soon and the daemon pauses for seconds at most, so that many faults
// fit into an hour. Ports that flap must not count as discovery controllers that end their connections themselves.
func (w *world) configure() {
	defaults := fmt.Sprintf("ctrl-loss-tmo = %d\nreconnect-delay = 1\n", w.giveUp)
	text := "[global]\nreconnect-max-delay = \"5s\"\ndiscovery-persistence = \"always\"\n" +
		"[discovery-controller-defaults]\n" + defaults + "[io-controller-defaults]\n" + defaults
	for _, p := range w.ports {
		text += fmt.Sprintf("[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = %q, trsvcid = %s }]\n", p.Traddr, p.Trsvcid)
	}
	guest.Configure(w, text)
}

// wanted lists the connections that there should be when nothing is broken.
func (w *world) wanted() []guest.TID {
	var all []guest.TID
	for _, p := range w.ports {
		all = append(all, p.TID(guest.DiscoveryNQN))
		for _, s := range p.shown {
			all = append(all, p.TID(s.NQN))
		}
	}
	return all
}

// ours lists the devices that are not the user's.
func (w *world) ours() []string {
	var all []string
	for _, c := range guest.Controllers() {
		if !slices.Contains(w.others, c.Name) {
			all = append(all, c.Name)
		}
	}
	return all
}
