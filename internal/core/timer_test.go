// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"slices"
	"testing"
	"time"
)

// bell is an owner of a timer that notes when it rings, and may set timers then.
type bell struct {
	timer
	name  string
	kind  int
	order uint64
	rings *[]string
	then  func(m *Machine)
}

func (b *bell) rank() (int, time.Time, uint64) { return b.kind, never, b.order }

func (b *bell) due(m *Machine) {
	*b.rings = append(*b.rings, b.name)
	if b.then != nil {
		b.then(m)
	}
}

// ringing is a machine past its start with bells on its heap.
func ringing(t *testing.T, names ...string) (*stage, map[string]*bell, *[]string) {
	s := newStage(t, configured())
	for s.m.Deadline() != never && s.m.fc.timer.when != never { // nothing but the audit is left
		s.step(Kickstarted{Token: s.m.fc.round, NoFC: true})
	}
	rings := &[]string{}
	bells := map[string]*bell{}
	for i, name := range names {
		b := &bell{name: name, kind: rankAttempt, order: uint64(i), rings: rings}
		b.owner = b
		bells[name] = b
	}
	return s, bells, rings
}

func TestTimers(t *testing.T) {
	s, bells, rings := ringing(t, "a", "b", "c", "d")
	at := func(name string, d time.Duration) { s.m.at(&bells[name].timer, s.now.Add(d)) }
	at("c", 2*time.Second)
	at("b", time.Second)
	at("a", time.Second)
	at("d", 3*time.Second)
	s.m.at(&bells["d"].timer, never)
	at("c", 500*time.Millisecond)
	bells["b"].kind = rankKick // before attempts; those go by their order, whenever they came to be due
	if next := s.m.Deadline(); next != s.now.Add(500*time.Millisecond) {
		t.Errorf("the first timer is due at %v", next.Sub(s.now))
	}
	s.now = s.now.Add(time.Second)
	s.step(Tick{})
	if want := []string{"b", "a", "c"}; !slices.Equal(*rings, want) {
		t.Errorf("rang %v, want %v", *rings, want)
	}
}

// What a timer does may turn off, move or set others that are due with it.
func TestTimersChangeEachOther(t *testing.T) {
	s, bells, rings := ringing(t, "a", "off", "moved", "set")
	bells["a"].then = func(m *Machine) {
		m.at(&bells["off"].timer, never)
		m.at(&bells["moved"].timer, m.now.Add(time.Second))
		m.at(&bells["set"].timer, m.now)
	}
	for _, name := range []string{"a", "off", "moved"} {
		s.m.at(&bells[name].timer, s.now)
	}
	s.step(Tick{})
	s.now = s.now.Add(time.Second)
	s.step(Tick{})
	if want := []string{"a", "set", "moved"}; !slices.Equal(*rings, want) {
		t.Errorf("rang %v, want %v", *rings, want)
	}
}

// A timer that sets itself again and again to now does not hold the step up for ever, and Deadline is not in the past.
func TestTimerBrake(t *testing.T) {
	s, bells, rings := ringing(t, "mad")
	bells["mad"].then = func(m *Machine) { m.at(&bells["mad"].timer, m.now) }
	s.m.at(&bells["mad"].timer, s.now)
	s.step(Tick{}) // which checks Deadline
	if len(*rings) != maxFires || s.m.Work().Brakes != 1 {
		t.Errorf("rang %d times, %d brakes", len(*rings), s.m.Work().Brakes)
	}
}

// A kick while a name is being looked up whose address was refused: the loop had a deadline in the past until the answer.
func TestKickWhileResolving(t *testing.T) {
	s := newStage(t, named("array"))
	s.step(Resolved{Host: "array", Addrs: addrs("192.0.2.1")})
	s.step(ProbeDone{Target: peer("192.0.2.1"), Err: "refused"})
	s.now = s.now.Add(2 * time.Second)
	s.expect(s.step(Tick{}), "resolve array")
	s.step(Kick{Why: "a test"})
	s.now = s.now.Add(time.Second)
	s.expect(s.step(Tick{}), "log info: a test: trying what waits on tcp now (1)", "probe 192.0.2.1:4420")
	s.step(ProbeDone{Target: peer("192.0.2.1"), Err: "refused"})
	for range 100 {
		s.now = s.now.Add(time.Second)
		s.expect(s.step(Tick{}))
	}
	s.expect(s.step(Resolved{Host: "array", Addrs: addrs("192.0.2.2")}), "probe 192.0.2.2:4420")
}
