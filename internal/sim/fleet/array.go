// SPDX-License-Identifier: GPL-3.0-or-later

package fleet

import "time"

const (
	backlog   = 128 // connects that wait at one port, as with the kernel's own target (NVMET_TCP_BACKLOG); more are dropped
	probeCost = 20  // so many probes, which only open and close a TCP connection, take the array as long as one connect

	probeTakes   = time.Millisecond         // until a probe of a port that has room is answered
	probeTimeout = 3 * time.Second          // as in internal/daemon
	muteTimeout  = 5 * time.Second          // the same for a probe that wants an answer of the protocol
	writeTimeout = 3200 * time.Millisecond  // until the kernel's connect fails when its packets are dropped
	writeMute    = 10300 * time.Millisecond // the same when they are accepted and nothing answers
)

// array is what all hosts connect to. Every port serves one connect after the other; while the array is down its packets
// vanish, and so do those that find the backlog of a port full.
type array struct {
	*clock
	ports  []port
	serve  time.Duration // that one port takes for one connect
	up     bool
	result *Result
}

type port struct {
	busy time.Duration // when all that was accepted is served
}

// newArray returns an array that is up and serves capacity connects a second, all ports together.
func newArray(c *clock, ports int, capacity float64, result *Result) *array {
	return &array{clock: c, ports: make([]port, ports), serve: time.Duration(float64(ports) * float64(time.Second) / capacity), up: true, result: result}
}

// outcome is how an attempt ended.
type outcome int

const (
	served  outcome = iota
	dropped         // its packets vanished
	mute            // it was accepted, and nothing answered in time; the array works on it all the same
)

// connect is one attempt of a kernel to connect; done is called when it has ended.
func (a *array) connect(number int, done func(outcome)) {
	if !a.admit(number, a.serve) {
		a.after(writeTimeout, func() { done(dropped) })
		return
	}
	a.answer(a.ports[number].busy-a.now, writeMute, done)
}

// probe is a TCP connect from user space, or an exchange of the first PDUs; done is called when it has ended.
func (a *array) probe(number int, exchange bool, done func(outcome)) {
	timeout, takes := probeTimeout, probeTakes
	if exchange {
		timeout = muteTimeout
	}
	if !a.admit(number, a.serve/probeCost) {
		a.after(timeout, func() { done(dropped) })
		return
	}
	if exchange {
		takes = a.ports[number].busy - a.now
	}
	a.answer(takes, timeout, done)
}

func (a *array) answer(takes, timeout time.Duration, done func(outcome)) {
	if takes > timeout {
		a.after(timeout, func() { done(mute) })
		return
	}
	a.after(takes, func() { done(served) })
}

// admit puts work of a port in line and reports whether there was room.
func (a *array) admit(number int, work time.Duration) bool {
	p := &a.ports[number]
	if !a.up {
		a.result.Vain++
		return false
	}
	admitted := p.busy-a.now < backlog*a.serve
	a.result.arrived(a.now, admitted)
	if admitted {
		p.busy = max(p.busy, a.now) + work
	}
	return admitted
}
