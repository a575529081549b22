// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
)

// mix is what the seed makes of a run: how large, how wild, which faults and deeds.
type mix struct {
	length   time.Duration // of the time with faults
	interval time.Duration // between happenings, on average
	size     int           // subsystems, at most

	slow         float64 // chances: an answer that takes very long
	duplicates   float64 // a uevent that comes twice
	connectFails float64 // a connect that the kernel refuses although the target is there
	commandFails float64 // a command that crashes, hangs or fails otherwise
	lostResults  float64 // a job whose result is lost
	logFails     float64
	readFails    float64
	dead         float64 // a port that never comes up
	ending       float64 // a DC that does not keep its connections
	pins         float64 // a wish that pins an interface or source address
	names        float64 // a port with a name
	boots        float64 // a port that the firmware boots from
	transports   bool    // not only tcp
	tail         int     // entries that nine log pages have each beside what there is

	reconnectMax time.Duration
	retention    time.Duration
	poll         time.Duration
	kickstart    time.Duration
	persistence  config.Persistence
	parallel     int

	deeds  []deed
	weight float64
}

// deed is something that happens from outside, and how often compared to the others.
type deed struct {
	name   string
	weight float64
	do     func(*world)
}

func (w *world) newMix() mix {
	pick := func(list ...time.Duration) time.Duration { return list[w.rng.IntN(len(list))] }
	m := mix{
		length:       w.between(20*time.Second, 3*time.Minute),
		interval:     w.between(300*time.Millisecond, 8*time.Second),
		size:         1 + w.rng.IntN(5),
		reconnectMax: pick(5*time.Second, 20*time.Second, time.Minute),
		retention:    pick(0, 5*time.Second, 2*time.Minute, 72*time.Hour, config.Infinity),
		poll:         pick(time.Minute, 15*time.Minute),
		kickstart:    pick(0, 0, time.Minute, 10*time.Minute),
		persistence:  config.PersistenceAuto,
		parallel:     []int{1, 2, 8}[w.rng.IntN(3)],
		transports:   w.chance(0.2),
	}
	if w.chance(0.3) {
		m.persistence = []config.Persistence{config.PersistenceEPCSD, config.PersistenceAlways}[w.rng.IntN(2)]
	}
	if w.chance(0.1) {
		m.length = w.between(3*time.Minute, 10*time.Minute)
	}
	// What costs a daemon a second costs a simulation of it many, so pages of this kind are rare.
	switch at := w.rng.Float64(); {
	case at < 1./40_000:
		m.tail = hugeTail
	case at < 1./1500:
		m.tail = longTail
	}
	if m.tail > 0 {
		m.length, m.reconnectMax, m.interval = 20*time.Second, time.Minute, max(m.interval, time.Second)
	}
	some := func(p *float64, most float64) {
		if w.chance(0.35) {
			*p = most * w.rng.Float64()
		}
	}
	some(&m.slow, 0.2)
	some(&m.duplicates, 0.5)
	some(&m.connectFails, 0.5)
	some(&m.commandFails, 0.3)
	some(&m.lostResults, 0.4)
	some(&m.logFails, 0.7)
	some(&m.readFails, 0.3)
	some(&m.dead, 0.4)
	some(&m.ending, 0.6)
	some(&m.pins, 0.7)
	some(&m.names, 0.8)
	if w.chance(0.15) {
		m.boots = 0.5 * w.rng.Float64()
	}
	all := deeds()
	if w.chance(0.3) { // calm, one or two kinds
		for range 1 + w.rng.IntN(2) {
			m.deeds = append(m.deeds, all[w.rng.IntN(len(all))])
		}
	} else {
		for _, d := range all {
			if w.chance(0.5) {
				d.weight *= 0.2 + w.rng.Float64()
				m.deeds = append(m.deeds, d)
			}
		}
	}
	for _, d := range m.deeds {
		m.weight += d.weight
	}
	return m
}

// String is one line for traces.
func (m mix) String() string {
	var names []string
	for _, d := range m.deeds {
		names = append(names, d.name)
	}
	return fmt.Sprintf("%s, something every %s; slow %.2f, duplicates %.2f, connect fails %.2f, command fails %.2f, results lost %.2f, log fails %.2f, reads fail %.2f; "+
		"back-off to %s, retention %s, kickstart %s, persistence %s, parallel %d; deeds: %s", m.length, m.interval, m.slow, m.duplicates, m.connectFails, m.commandFails,
		m.lostResults, m.logFails, m.readFails, m.reconnectMax, m.retention, m.kickstart, m.persistence, m.parallel, strings.Join(names, ", "))
}

// happen does one deed and plans the next.
func (w *world) happen() {
	if w.calm {
		return
	}
	at := w.rng.Float64() * w.mix.weight
	for _, d := range w.mix.deeds {
		if at -= d.weight; at < 0 {
			w.stats.Happenings++
			w.tracef("* %s", d.name)
			d.do(w)
			break
		}
	}
	w.after(w.exponential(w.mix.interval), w.happen)
}
