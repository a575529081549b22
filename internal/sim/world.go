// SPDX-License-Identifier: GPL-3.0-or-later

// Package sim puts the unchanged core.Machine into a simulated host: a kernel, systemd, the state files, targets, a second
// orchestrator, an administrator and a user, all of them on one queue of happenings in virtual time. A seed decides
// everything that is left to chance, so a run that fails can be run again and looked at.
//
// What is simulated follows what was measured of the real ones, their untidiness most of all: answers take time and
// overtake each other, a reading of many things is not of one moment, names are given out again at once. shell.go stands
// for internal/daemon, command.go for internal/connect, systemd.go for systemd and internal/unit; each must do what its
// original does. Around them are the kernel, the network of this host, its resolver (names.go), what announces itself to it (multicast.go), what its firmware left
// (boot.go) and the targets (fabric.go); deeds.go is what others do to all of that.
//
// invariants.go says what must hold whatever happens.
package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
)

// epoch is when every run begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Violation is a broken invariant.
type Violation struct {
	Invariant string        // its name, as in invariants.go
	What      string        // what was seen
	At        time.Duration // virtual time since the beginning
}

// Error says which invariant was broken, when and how.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s at %s: %s", v.Invariant, stamp(v.At), v.What)
}

// Stats say what a run consisted of.
type Stats struct {
	Steps      int // of the machine
	Happenings int // outside faults and deeds
	Connects   int // controllers that came up for us
	Lives      int // of the daemon
}

// world is one simulated host and what surrounds it.
type world struct {
	lab     *Lab
	rng     *rand.Rand
	now     time.Duration
	agenda  agenda
	tracing io.Writer // nil: no trace
	broken  *Violation
	stats   Stats

	mix       mix
	fabric    fabric
	network   network
	names     names
	boot      boot
	kernel    kernel
	multicast multicast
	disk      disk
	systemd   systemd
	shell     shell
	watch     watch

	recorded recorded
	calm     bool // the time of faults is over
}

// Run simulates one seed and returns what it broke, or nil. The trace goes to trace unless that is nil; it changes nothing.
func (l *Lab) Run(seed uint64, trace io.Writer) (stats Stats, broken *Violation) {
	w := &world{lab: l, rng: rand.New(rand.NewPCG(seed, 1)), tracing: trace}
	w.mix = w.newMix()
	w.network.init(w)
	w.names.init(w)
	w.boot.init(w)
	w.kernel.init(w)
	w.disk.init()
	w.systemd.init(w)
	w.watch.init(w)
	w.multicast.init(w, seed)
	w.newFabric()
	w.shell.init(w, seed)
	w.recorded.init(w, seed)
	w.tracef("seed %d: %s", seed, w.mix)
	w.shell.begin()
	w.multicast.begin()
	w.after(w.exponential(w.mix.interval), w.happen)
	w.run(w.mix.length)
	w.calmDown()
	w.run(w.now + w.bound())
	w.watch.atQuiescence()
	w.watch.settled()
	w.run(w.now + 3*time.Minute)
	w.watch.atQuiescence()
	return w.stats, w.broken
}

// run lets things happen until a moment, or until something is broken.
func (w *world) run(until time.Duration) {
	for w.broken == nil && len(w.agenda.heap) > 0 && w.agenda.heap[0].at <= until {
		e := w.agenda.pop()
		w.now = e.at
		e.do()
	}
	w.now = max(w.now, until)
}

// after puts something on the agenda.
func (w *world) after(d time.Duration, do func()) { w.agenda.push(w.now+max(d, 1), do) }

// violate ends the run. The first violation counts.
func (w *world) violate(invariant, format string, args ...any) {
	if w.broken == nil && !w.lab.Ignore[invariant] {
		w.broken = &Violation{invariant, fmt.Sprintf(format, args...), w.now}
		w.tracef("VIOLATION %v", w.broken)
		w.dump()
	}
}

// dump traces what the daemon knows and what there is.
func (w *world) dump() {
	if w.tracing == nil || invariantOfPanic == w.broken.Invariant {
		return
	}
	for t := range w.shell.machine.View().Targets.All() {
		w.tracef("target %v: %v, %s, unit %s, device %s, sources %v, next %v, error %q", t.Wish.TID, t.State, t.Phase, short(t.Unit), t.Device, t.Sources, t.Next.Sub(epoch), t.LastError)
	}
	for _, c := range w.kernel.all() {
		w.tracef("controller %v: source %s, owner %q, by the files of %s", c, c.source, w.disk.registry[c.Name].owner, short(w.disk.unitOf[c.Name]))
	}
	for _, u := range w.systemd.units {
		w.tracef("unit %s: %s", short(u.name), u.active())
	}
}

// invariantOfPanic is the one after which the machine is not to be looked at.
const invariantOfPanic = "neverPanics"

func (w *world) tracef(format string, args ...any) {
	if w.tracing != nil {
		fmt.Fprintf(w.tracing, "%s %s\n", stamp(w.now), fmt.Sprintf(format, args...))
	}
}

// stamp is a moment in seconds, as wide as any run is long.
func stamp(at time.Duration) string { return fmt.Sprintf("%10.4f", at.Seconds()) }

// chance is true with a probability.
func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// between returns a span from a to b.
func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)+1))
}

func (w *world) exponential(mean time.Duration) time.Duration {
	return time.Duration(w.rng.ExpFloat64() * float64(mean))
}

// latency is how long something takes that usually takes d: now and then much longer, if this run has slow answers.
func (w *world) latency(d time.Duration) time.Duration {
	if !w.calm && w.chance(w.mix.slow) {
		return w.between(d, 100*d)
	}
	return w.between(d/4, 2*d)
}

// agenda is a heap of what is to happen, ordered by time and, within one moment, by when it was put there.
type agenda struct {
	heap  []entry
	count uint64
}

type entry struct {
	at    time.Duration
	order uint64
	do    func()
}

func (a *agenda) before(i, j int) bool {
	x, y := &a.heap[i], &a.heap[j]
	return x.at < y.at || x.at == y.at && x.order < y.order
}

func (a *agenda) push(at time.Duration, do func()) {
	a.count++
	a.heap = append(a.heap, entry{at, a.count, do})
	for i := len(a.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !a.before(i, parent) {
			break
		}
		a.heap[i], a.heap[parent] = a.heap[parent], a.heap[i]
		i = parent
	}
}

func (a *agenda) pop() entry {
	first := a.heap[0]
	last := len(a.heap) - 1
	a.heap[0], a.heap[last] = a.heap[last], entry{}
	a.heap = a.heap[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if a.before(child, least) {
				least = child
			}
		}
		if least == i {
			return first
		}
		a.heap[i], a.heap[least] = a.heap[least], a.heap[i]
		i = least
	}
}

// short is a unit's name without what all of them have in common.
func short(unit string) string {
	return strings.TrimSuffix(strings.TrimPrefix(unit, "nvme-discoverd-"), ".service")
}
