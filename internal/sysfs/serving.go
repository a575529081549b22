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
	names, err := r.Names()
	if err != nil || len(names) == 0 {
		return Controller{}, false, nil, err
	}
	s := &search{answers: make([]answer, len(names)), names: names, ended: make(chan struct{}, len(names))}
	ifaceOf := r.lookup()
	read := func(name string, alike *atomic.Bool) (Controller, bool, error) {
		return r.serves(name, t, ifaceOf, alike)
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

// search asks one controller after the other whether it serves a wish, on a goroutine of its own, and on a further one for
// each that is slow to answer.
type search struct {
	names []string
	ended chan struct{} // has room for the end of each goroutine

	mu      sync.Mutex
	begun   int // names[:begun] are asked or have answered
	came    int // have answered
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
	go s.ask(read)
	slow := time.NewTicker(slowRead)
	defer slow.Stop()
	var giveUp <-chan time.Time
	before := 0 // answers at the last tick
	for {
		select {
		case <-s.ended:
		case <-giveUp:
			return
		case <-slow.C:
			came, left := s.progress()
			if came == before && left {
				go s.ask(read)
			}
			before = came
		}
		switch came, left := s.progress(); {
		case s.over():
			return
		case !left && came < len(s.names) && giveUp == nil:
			giveUp = time.After(servingPatience)
		}
	}
}

// progress returns how many have answered, and whether there are some that nobody has asked.
func (s *search) progress() (came int, left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.came, s.begun < len(s.names)
}

func (s *search) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found != nil || s.came == len(s.names)
}

// ask asks until nobody is left to be asked or one is found.
func (s *search) ask(read readServing) {
	defer func() { s.ended <- struct{}{} }()
	for i := s.next(); i >= 0; i = s.next() {
		c, serves, err := read(s.names[i], &s.answers[i].alike)
		s.take(i, c, serves, err)
	}
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
