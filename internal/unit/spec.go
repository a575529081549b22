// SPDX-License-Identifier: GPL-3.0-or-later

// Package unit talks to systemd over the system bus: it starts, stops and restarts the transient services that hold
// the connections (docs/design.md, "Unit of a connection"), waits for their jobs, and tells of jobs that others make for them. It never decides.
//
// systemd is spoken to with godbus alone, because the result of a job must not be lost and must not be believed from
// anybody else; session.go, jobs.go and frames.go say how.
package unit

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Time limits of a unit where Config gives none.
const (
	DefaultConnectTimeout    = 120 * time.Second
	DefaultDisconnectTimeout = 300 * time.Second
)

// Spec describes one transient service: Type=oneshot, RemainAfterExit=yes, CollectMode=inactive-or-failed. It is plain
// data and may be changed before Manager.Start; a controller with the root file system on it gets no ExecStop.
type Spec struct {
	Name, Description string
	// ExecStart, ExecStop and ExecStopPost are one argv each, beginning with an absolute path; systemd expands nothing
	// in them. Nil leaves the command out.
	ExecStart, ExecStop, ExecStopPost []string
	// After, Before and Wants name other units.
	After, Before, Wants []string
	// TimeoutStart and TimeoutStop bound ExecStart and each of the two stop commands. After TimeoutStop systemd goes on
	// without one that the kernel does not let go.
	TimeoutStart, TimeoutStop time.Duration
}

// Config is what the units of all wishes have in common.
type Config struct {
	// Ctl is the path of nvme-discoverctl.
	Ctl string
	// NVMe is the path of an nvme-cli, 3.0 or later, that connects in place of Ctl; empty for none. Ctl still
	// disconnects and cleans up.
	NVMe string
	// ConnectTimeout bounds a connect and DisconnectTimeout a disconnect; zero stands for the defaults.
	ConnectTimeout, DisconnectTimeout time.Duration
}

// ForWish builds the unit called name (docs/design.md, "Unit of a connection") that connects w, keeps it and disconnects it. devid is the path of the file in
// which the connect leaves the name of its controller, secrets that of the file in which it finds the secrets of w, if w
// has any.
func ForWish(name string, w wish.Wish, devid, secrets string, cfg Config) Spec {
	own := []string{"--idempotent", "--owner=" + string(w.Owner), "--devid-file=" + devid}
	if w.Secrets != "" {
		own = append(own, "--secrets-file="+secrets)
	}

	spec := Spec{
		Name:        name,
		Description: w.Description(),
		ExecStart:   cfg.command([]string{"connect"}, w.Args(), own, []string{"--unit=" + name}),
		// The TID alone, without the parameters: it says which controller the unit may delete.
		ExecStop:     cfg.command([]string{"disconnect", "--unit=" + name}, wish.Wish{TID: w.TID}.Args()),
		ExecStopPost: []string{cfg.Ctl, "cleanup", "--unit=" + name},
		// At shutdown the units disconnect when the daemon has stopped and the file systems are unmounted, which takes the
		// target both ordered and pulled in; nothing orders these two. Before that, what device mapper has stacked on the
		// namespaces goes, where LVM's service for it runs (blkdeactivate(8)): that service names other fabrics that it
		// comes before, not this one.
		Before: []string{"nvme-discoverd.service", "remote-fs-pre.target", "blk-availability.service"},
		// What gives the controller up if a shutdown waits for it in vain, which may be without the daemon.
		Wants:        []string{"remote-fs-pre.target", "nvme-fabrics-shutdown.service"},
		TimeoutStart: orDefault(cfg.ConnectTimeout, DefaultConnectTimeout),
		TimeoutStop:  orDefault(cfg.DisconnectTimeout, DefaultDisconnectTimeout),
	}
	if cfg.NVMe != "" {
		// nvme-cli has no --unit, and no --discovery, which only a wish of kind Discovery adds.
		plain := w
		plain.Kind = tid.IO
		spec.ExecStart = join([]string{cfg.NVMe, "connect"}, plain.Args(), own)
	}
	if w.TID.Transport == tid.TCP || w.TID.Transport == tid.RDMA {
		spec.After = []string{"network.target"}
	}
	return spec
}

// command is one of nvme-discoverctl that all versions of systemd hand over as it is.
func (c Config) command(parts ...[]string) []string {
	return append([]string{c.Ctl}, wish.Escape(join(parts...))...)
}

func join(parts ...[]string) []string {
	var all []string
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// property is one element of the a(sv) that StartTransientUnit takes.
type property struct {
	Name  string
	Value dbus.Variant
}

// command is one element of the a(sasas) of ExecStartEx and its like (org.freedesktop.systemd1(5)).
type command struct {
	Path  string
	Argv  []string
	Flags []string
}

// plainCommand is one element of the a(sasb) of ExecStart and its like.
type plainCommand struct {
	Path          string
	Argv          []string
	IgnoreFailure bool
}

// properties returns what StartTransientUnit is told about the unit.
func (s Spec) properties() []property {
	var props []property
	add := func(name string, value any) {
		props = append(props, property{name, dbus.MakeVariant(value)})
	}
	add("Description", s.Description)
	add("Type", "oneshot")
	add("RemainAfterExit", true)
	add("CollectMode", "inactive-or-failed") // frees the name at once when the unit has stopped or failed
	for _, list := range []struct {
		name  string
		units []string
	}{{"After", s.After}, {"Before", s.Before}, {"Wants", s.Wants}} {
		if len(list.units) > 0 {
			add(list.name, list.units)
		}
	}
	// Plain ExecStart= expands $X and ${X}, and an NQN may hold a dollar sign. Commands of nvme-discoverctl have none (wish.Escape);
	// one of nvme-cli's needs the other form, for which systemd 252 writes lines into the unit's file that it cannot read itself
	// (seen with 252.39): after a daemon-reload the unit has no command and is gone.
	for _, exec := range []struct {
		name string
		argv []string
	}{{"ExecStart", s.ExecStart}, {"ExecStop", s.ExecStop}, {"ExecStopPost", s.ExecStopPost}} {
		switch {
		case len(exec.argv) == 0:
		case slices.ContainsFunc(exec.argv, func(arg string) bool { return strings.Contains(arg, "$") }):
			add(exec.name+"Ex", []command{{exec.argv[0], exec.argv, []string{"no-env-expand"}}})
		default:
			add(exec.name, []plainCommand{{exec.argv[0], exec.argv, false}})
		}
	}
	// What the commands can do without, where taking it away costs a start nothing that can be measured. They may load a
	// transport's module, by modprobe. There is no limit of memory and no filter of addresses on purpose: the kernel
	// accounts the sockets of a connection to the control group of the process that asked for it (sk_alloc in
	// net/core/sock.c), and they live for as long as the connection does.
	add("NoNewPrivileges", true)
	add("CapabilityBoundingSet", uint64(1<<unix.CAP_SYS_MODULE))
	add("LimitCORE", uint64(0)) // secrets pass through them
	add("TimeoutStartUSec", usec(s.TimeoutStart))
	add("TimeoutStopUSec", usec(s.TimeoutStop))
	// A disconnect that hangs in the kernel heeds no signal, and systemd would wait for the effect of each, also of those to
	// what is left in the control group: four times TimeoutStopUSec in all. Told to skip SIGKILL, and to mind main processes
	// only, it goes on at once. A connect that hangs heeds SIGTERM.
	add("TimeoutStopFailureMode", "kill")
	add("SendSIGKILL", false)
	add("KillMode", "process")
	return props
}

// usec is a span of time as systemd counts it; its infinity is the largest number.
func usec(d time.Duration) uint64 {
	if d == math.MaxInt64 {
		return math.MaxUint64
	}
	return uint64(d.Microseconds())
}
