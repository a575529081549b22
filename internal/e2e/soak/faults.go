// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// fault is one thing that happens. What it breaks for longer is repaired at the end of the round.
type fault struct {
	name   string
	weight int // how often, against the others
	strike func(*world)
}

var faults = []fault{
	{"controllers deleted", 4, (*world).deleteSome},
	{"port down", 4, (*world).portDown},
	{"port down and up", 3, (*world).portFlap},
	{"subsystem added", 3, (*world).addSubsystem},
	{"subsystem removed", 3, (*world).removeSubsystem},
	{"log page churn", 2, (*world).churn},
	{"unit stopped", 3, (*world).stopUnit},
	{"unit restarted", 2, (*world).restartUnit},
	{"target excluded", 2, (*world).exclude},
	{"reload with other parameters", 2, (*world).changeParameter},
	{"reload of a broken file", 1, (*world).breakConfiguration},
	{"user asks a discovery controller", 1, (*world).userDiscovers},
	{"daemon frozen", 1, (*world).freeze},
	{"daemon restarted", 1, (*world).restartDaemon},
	{"daemon killed", 2, (*world).killDaemon},
	{"bus restarted", 1, (*world).restartBus},
	{"systemd re-executed", 1, (*world).reexec},
}

// pick draws one of the faults that are to be played.
func (w *world) pick() fault {
	var drawn []fault
	for _, f := range faults {
		if w.only.MatchString(f.name) {
			drawn = append(drawn, slices.Repeat([]fault{f}, f.weight)...)
		}
	}
	if len(drawn) == 0 {
		w.Fatalf("cannot play: no fault has a name that matches %q", w.only)
	}
	return drawn[w.rng.IntN(len(drawn))]
}

func (w *world) randomPort() *port { return w.ports[w.rng.IntN(len(w.ports))] }

// randomTarget is a connection that there should be.
func (w *world) randomTarget() guest.TID {
	all := w.wanted()
	return all[w.rng.IntN(len(all))]
}

// pause waits up to limit.
func (w *world) pause(limit time.Duration) {
	guest.Pause()
	for end := time.Now().Add(time.Duration(w.rng.Int64N(int64(limit)))); time.Now().Before(end); {
		guest.Pause()
	}
}

func (w *world) deleteSome() {
	devices := w.ours()
	w.rng.Shuffle(len(devices), func(i, j int) { devices[i], devices[j] = devices[j], devices[i] })
	for _, device := range devices[:w.rng.IntN(len(devices)+1)] {
		guest.TryDelete(device)
	}
}

func (w *world) portDown() {
	if p := w.randomPort(); !p.down {
		p.Unlink(p.shown...)
		p.down = true
	}
}

// portUp shows again what the port showed.
func (w *world) portUp(p *port) {
	if p.down {
		p.Link(p.shown...)
		p.down = false
	}
}

func (w *world) portFlap() {
	p := w.randomPort()
	if p.down {
		return
	}
	p.Unlink(p.shown...)
	p.down = true
	w.pause(12 * time.Second)
	w.portUp(p)
}

func (w *world) addSubsystem() {
	p := w.randomPort()
	if len(p.shown) >= 2*subsystems {
		return
	}
	w.named++
	s := w.target.Subsystem(fmt.Sprintf("nqn.2024-01.com.example:added%d", w.named))
	p.shown = append(p.shown, s)
	if !p.down {
		p.Link(s)
	}
}

func (w *world) removeSubsystem() {
	p := w.randomPort()
	if len(p.shown) < 3 {
		return
	}
	i := w.rng.IntN(len(p.shown))
	if !p.down {
		p.Unlink(p.shown[i])
	}
	p.shown = slices.Delete(p.shown, i, i+1)
}

func (w *world) churn() {
	p := w.randomPort()
	if p.down {
		return
	}
	w.named++
	s := w.target.Subsystem(fmt.Sprintf("nqn.2024-01.com.example:churned%d", w.named))
	for range 10 {
		p.Link(s)
		w.pause(300 * time.Millisecond)
		p.Unlink(s)
	}
}

// stopUnit stops the unit of a connection, as an administrator does. It may be just then that there is none.
func (w *world) stopUnit() {
	id := w.randomTarget()
	if out := guest.Try(w, "systemctl", "stop", id.Unit()); out.Status == 0 {
		w.stopped = append(w.stopped, id)
	}
}

func (w *world) restartUnit() { guest.Try(w, "systemctl", "try-restart", w.randomTarget().Unit()) }

func (w *world) exclude() {
	id := w.randomTarget()
	guest.Exclude(w, "soak", "traddr="+id.Traddr+";trsvcid="+id.Trsvcid+";nqn="+id.NQN)
	w.excluded = true
	for _, c := range guest.Controllers() {
		if c.NQN == id.NQN && c.Trsvcid == id.Trsvcid {
			guest.TryDelete(c.Name)
		}
	}
}

func (w *world) changeParameter() {
	w.giveUp = 11 - w.giveUp
	w.configure()
	guest.Try(w, "systemctl", "reload", guest.Service)
	w.stopped = nil // a reload takes stops back
}

func (w *world) breakConfiguration() {
	guest.Configure(w, "[global]\nnbft = maybe\n")
	w.broken = true
	guest.Try(w, "systemctl", "reload", guest.Service)
	// A daemon that starts with it would end for good, as it should.
	w.configure()
}

func (w *world) userDiscovers() {
	guest.Try(w, "nvme", "discover", "-t", "tcp", "-a", w.users.Traddr, "-s", w.users.Trsvcid)
}

// freeze lets events pile up while things happen.
func (w *world) freeze() {
	w.disturbs = true
	if guest.Try(w, "systemctl", "kill", "--signal=STOP", "--kill-whom=main", guest.Service).Status != 0 {
		return
	}
	w.deleteSome()
	w.addSubsystem()
	w.pause(3 * time.Second)
	guest.Try(w, "systemctl", "kill", "--signal=CONT", "--kill-whom=main", guest.Service)
}

func (w *world) restartDaemon() {
	w.disturbs = true
	guest.Run(w, "systemctl", "restart", guest.Service)
}

func (w *world) killDaemon() {
	w.disturbs = true
	if guest.Try(w, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", guest.Service).Status == 0 {
		w.kills++
	}
}

func (w *world) restartBus() {
	w.disturbs = true
	guest.Run(w, "systemctl", "restart", "dbus.service")
}

func (w *world) reexec() {
	w.disturbs = true
	guest.Run(w, "systemctl", "daemon-reexec")
}
