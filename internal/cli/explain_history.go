// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
)

// historyLines is how many states of a connection explain shows.
const historyLines = 10

// historyRecords is how many records are replayed, at most, unless the last segment of a recording has more: a person waits for them. A
// recording of the usual size has no more than about as many, which take some two seconds.
const historyRecords = 150_000

// pastState is a state that a connection was in. Attempts that failed one after the other for the same reason are one.
type pastState struct {
	Time   string `json:"time"` // when it came into the state, as far as it is recorded; of attempts, when the first one failed
	State  string `json:"state"`
	Device string `json:"device,omitempty"`
	Error  string `json:"error,omitempty"`
	Times  int    `json:"times,omitempty"` // of attempts: how many failed
	Until  string `json:"until,omitempty"` // and when the last one did
}

// past are the states of connections by their canonical TIDs, as the service's recording has them.
type past struct {
	states  map[string][]pastState
	differs bool // this version decides otherwise than the recorded one
}

// history asks the service for its recording and reads the states of all connections from it. Only root may.
func history(ctx context.Context, c *client.Client) (past, error) {
	file, err := c.Recording(ctx)
	if err != nil {
		var refused *client.Error
		if errors.As(err, &refused) && refused.Kind == "PermissionDenied" {
			err = errors.New("only root may")
		}
		return past{}, fmt.Errorf("cannot show the history: %w", err)
	}
	p, err := readHistory(file)
	if err != nil {
		return p, fmt.Errorf("cannot show the history: %w", err)
	}
	if p.differs {
		return p, errors.New("the history may be wrong: the service is of another version than this program")
	}
	return p, nil
}

// readHistory replays a recording and notes each change of a state.
func readHistory(file []byte) (past, error) {
	records, err := recording.Records(file)
	p := past{states: map[string][]pastState{}}
	var replay recording.Replay
	for _, r := range latest(records, historyRecords) {
		p.differs = replay.Next(r) != nil || p.differs
		m := replay.Machine()
		switch {
		case m == nil:
		case r.State != nil:
			for t := range m.View().Targets.All() {
				if len(p.states[t.Wish.TID.Canonical()]) == 0 { // else it is known what it came from
					p.note(t, t.Since.Add(r.Time().Sub(r.Moment())))
				}
			}
		case r.Event != nil:
			changed, removed := m.Changed()
			for _, t := range changed {
				p.note(t, r.Time())
			}
			for _, id := range removed {
				p.add(id.Canonical(), pastState{Time: stamp(r.Time()), State: "forgotten"})
			}
		}
	}
	return p, err
}

// latest leaves out the first segments of a recording so that at most so many records remain, or the last segment. Each begins with all
// that was known then.
func latest(records []recording.Record, most int) []recording.Record {
	first := 0
	for i, r := range records {
		if r.Start == nil {
			continue
		}
		if first = i; len(records)-i <= most {
			break
		}
	}
	return records[first:]
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// note adds the state that a target came into at a time, unless it was in it.
func (p *past) note(t *core.TargetView, at time.Time) {
	now := pastState{Time: stamp(at), State: t.State.String(), Device: t.Device}
	if t.State == core.Waiting {
		now.Error = t.LastError
	}
	id := t.Wish.TID.Canonical()
	states := p.states[id]
	last := len(states) - 1
	if now.Error != "" {
		now.Times = max(t.ErrorCount, 1)
		// The attempt that has failed now is no state to tell of.
		if last > 0 && states[last].State == core.Connecting.String() && states[last-1].Error == now.Error {
			states, last = states[:last], last-1
		}
	}
	if last >= 0 {
		before := &states[last]
		if before.State == now.State && before.Device == now.Device && before.Error == now.Error {
			if now.Times > before.Times {
				before.Times, before.Until = now.Times, now.Time
			}
			p.states[id] = states
			return
		}
	}
	p.states[id] = states
	p.add(id, now)
}

// add adds a state and forgets those that are too many.
func (p *past) add(id string, s pastState) {
	states := append(p.states[id], s)
	if extra := len(states) - historyLines; extra > 0 {
		states = append([]pastState{}, states[extra:]...)
	}
	p.states[id] = states
}

// historyText says what a connection was, and since when.
func (a *app) historyText(s pastState) string {
	text := joined("  ", a.clock(s.Time), joined(" ", s.State, s.Device))
	if s.Error == "" {
		return text
	}
	if text += ": " + s.Error; s.Times > 1 {
		text += fmt.Sprintf(" (%d times", s.Times)
		if s.Until != "" {
			text += ", last at " + a.clock(s.Until)
		}
		text += ")"
	}
	return text
}
