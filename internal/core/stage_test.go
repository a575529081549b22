// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// stage is a machine that is past its start, with a clock that the test moves.
type stage struct {
	t   *testing.T
	m   *Machine
	now time.Time
}

func newStage(t *testing.T, events ...Event) *stage {
	s := &stage{t, New(1), time.Unix(1000, 0)}
	s.m.SetBackoff(steady)
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
	if at := s.m.Deadline(); at != never && !at.After(s.now) {
		s.t.Errorf("after %T the deadline is in the past", ev)
	}
	for _, e := range effects {
		switch e := e.(type) {
		case Status, TakeSnapshot, Ready:
		case Judge:
			defer s.step(Judged{e.TID, JudgeAnew(e.Page, e.Origin)})
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

// steady is a back-off that is within a tenth of the exponential one: what a story is about does not depend on chance.
func steady(rng *rand.Rand, n int, limit time.Duration) time.Duration {
	return time.Duration(float64(Exponential(n, limit)) * (0.9 + 0.2*rng.Float64()))
}

// give makes entries the log page of a DC, whatever its state is.
func (s *stage) give(dc tid.TID, entries ...discoverylog.Entry) []string {
	t := s.m.targets.byTID[dc]
	t.judging = s.m.originOf(t)
	return s.step(Judged{dc, JudgePages(discoverylog.Page{Entries: entries}, []PageReader{{t.judging, t.page}})[0]})
}

func (s *stage) viewed() []*TargetView { return slices.Collect(s.m.View().Targets.All()) }

// failure is what a connect leaves that failed with errno.
func failure(errno int) *state.Result { return &state.Result{Errno: errno, Meaning: "it failed"} }
