// SPDX-License-Identifier: GPL-3.0-or-later

package sysfs

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Unread is a controller that could not be read: whether it serves a wish cannot be told.
type Unread struct {
	Name  string
	Alike bool  // it leads to the target address of the wish: what cannot be told is whether by the same way
	Err   error // wraps ErrWedged if there was no answer
}

// ErrWedged says that the attributes of a controller cannot be read in time. It may be there or not.
var ErrWedged = errors.New("sysfs does not answer")

// Wedged is the error for a controller that does not answer. It wraps ErrWedged.
func Wedged(name string) error {
	return fmt.Errorf("cannot read the attributes of %s: %w", name, ErrWedged)
}

const (
	// slowRead is when Serving goes on to the next controller; the attributes of a good one take a small part of it.
	slowRead = 50 * time.Millisecond
	// servingPatience is how long Serving waits for those that were slow, in all.
	servingPatience = 2 * time.Second
)

// Serving returns a controller that serves t, and whether there is one. Of a controller that does not, it reads one
// attribute as a rule. Those that cannot be read, or not within two seconds after all others, keep no other from being found;
// where none is, they are told.
func (r Reader) Serving(t tid.TID) (c Controller, found bool, unread []Unread, err error) {
	all, names, err := r.all()
	if err != nil || len(names) == 0 {
		return Controller{}, false, nil, err
	}
	s := &search{
		names: names, answers: make([]answer, len(names)), news: make(chan struct{}, 1),
		over: sync.OnceFunc(all.close), // not before all have answered: one that is given up may still read there
	}
	ifaceOf := r.lookup()
	read := func(name string, alike *atomic.Bool) (Controller, bool, error) {
		return r.serves(all, name, t, ifaceOf, alike)
	}
	s.run(read)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.found != nil {
		return *s.found, true, nil, nil
	}
	for i, name := range names {
		switch a := &s.answers[i]; {
		case !a.came:
			unread = append(unread, Unread{name, a.alike.Load(), Wedged(name)})
		case a.err != nil:
			unread = append(unread, Unread{name, a.alike.Load(), a.err})
		}
	}
	return Controller{}, false, unread, nil
}

// search asks one controller after the other whether it serves a wish, on a goroutine of its own, and on a further one when one
// is slow to answer.
type search struct {
	names []string
	news  chan struct{} // holds one when a goroutine has ended
	over  func()        // is called when the last goroutine has ended; more than once, if need be

	mu      sync.Mutex
	running int // goroutines
	begun   int // names[:begun] are asked or have answered
	came    int // so many have answered
	answers []answer
	found   *Controller
}

// answer is what the question to one controller has brought.
type answer struct {
	alike atomic.Bool // see Unread; set as soon as it is known
	came  bool
	err   error
}

type readServing func(name string, alike *atomic.Bool) (Controller, bool, error)

// run returns when a controller is found, all have answered, or those that have not are given up.
func (s *search) run(read readServing) {
	s.start(read)
	slow := time.NewTicker(slowRead)
	defer slow.Stop()
	var giveUp <-chan time.Time
	for before := 0; ; { // answers at the last tick
		tick := false
		select {
		case <-s.news:
		case <-slow.C:
			tick = true
		case <-giveUp:
			return
		}
		found, came, left := s.progress()
		switch {
		case found || came == len(s.names):
			return
		case !left && giveUp == nil:
			giveUp = time.After(servingPatience)
		case left && tick && came == before:
			s.start(read)
		}
		if tick {
			before = came
		}
	}
}

// progress tells how many have answered, and whether some have not been asked.
func (s *search) progress() (found bool, came int, left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found != nil, s.came, s.begun < len(s.names)
}

// start begins a goroutine that asks until nobody is left to be asked or one is found.
func (s *search) start(read readServing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running++
	go func() {
		for i := s.next(); i >= 0; i = s.next() {
			c, serves, err := read(s.names[i], &s.answers[i].alike)
			s.take(i, c, serves, err)
		}
		s.end()
	}()
}

// next takes the place of the next controller to be asked, -1 for none.
func (s *search) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.found != nil || s.begun == len(s.names) {
		return -1
	}
	s.begun++
	return s.begun - 1
}

func (s *search) take(i int, c Controller, serves bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.came++
	s.answers[i].came, s.answers[i].err = true, err
	if serves && s.found == nil {
		s.found = &c
	}
}

func (s *search) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running--; s.running == 0 {
		s.over()
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}
