package core

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
)

// stage is a machine that is past its start, with a clock that the test moves.
type stage struct {
	t   *testing.T
	m   *Machine
	now time.Time
}

func newStage(t *testing.T, events ...Event) *stage {
	s := &stage{t, New(1), time.Unix(1000, 0)}
	for _, ev := range events {
		s.step(ev)
	}
	s.step(BusUp{})
	for s.m.snapToken != 0 {
		s.step(Snapshot{Token: s.m.snapToken, UnitsKnown: true})
	}
	return s
}

// step returns the effects that are worth a look, in words.
func (s *stage) step(ev Event) []string {
	s.t.Helper()
	var words []string
	effects := s.m.Step(s.now, ev)
	for at := s.m.Deadline(); at != never && !at.After(s.now); at = s.m.Deadline() {
		effects = append(effects, s.m.Step(s.now, Tick{})...)
	}
	for _, e := range effects {
		switch e := e.(type) {
		case Status, TakeSnapshot, Ready:
		case Log:
			words = append(words, e.String())
		case StartUnit:
			words = append(words, "start "+strings.Join(e.Wish.Args(), " "))
		default:
			words = append(words, e.String())
		}
	}
	return words
}

func (s *stage) expect(got []string, want ...string) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Errorf("effects\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// failure is what a connect leaves that failed with errno.
func failure(errno int) *state.Result { return &state.Result{Errno: errno, Meaning: "it failed"} }
