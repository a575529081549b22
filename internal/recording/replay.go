// SPDX-License-Identifier: GPL-3.0-or-later

package recording

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Replay runs the core of this program over a recording.
type Replay struct {
	machine *core.Machine // nil: there is no state to begin with, or the core has given up
	now     time.Time
	work    int                    // things that the core has looked at
	pages   map[pending]*core.Page // pages that are being judged anew
}

// pending is one page that is being judged anew, and by what. Equal origins are equal bytes.
type pending struct {
	tid    tid.TID
	origin string
}

// Difference is where this program decides otherwise than the recorded one.
type Difference struct {
	// Effects of one without the other, in words. With all fields empty they are the same in another order.
	Recorded []string `json:"recorded,omitempty"`
	Now      []string `json:"now,omitempty"`

	State      string `json:"state,omitempty"`      // the states of the core differ: where
	Panic      string `json:"panic,omitempty"`      // the core gives up
	Unreadable string `json:"unreadable,omitempty"` // this program cannot run over what was recorded
}

// Next runs the core over a record and returns where it differs, nil if it does not. What follows from a difference is told until the
// next State of the recording, where the core goes on as the recorded one.
func (p *Replay) Next(r Record) *Difference {
	_, d := p.Step(r)
	return d
}

// Step is Next, which returns what the core decides too.
func (p *Replay) Step(r Record) ([]core.Effect, *Difference) {
	switch {
	case r.Start != nil && r.Start.Gap:
		p.machine = nil // it lacks steps: the next state is another one
	case r.State != nil:
		return nil, p.resume(r.State)
	}
	if r.Event == nil || p.machine == nil {
		return nil, nil
	}
	ev, err := DecodeEvent(*r.Event)
	if err != nil {
		p.machine = nil
		return nil, &Difference{Unreadable: err.Error()}
	}
	if judged, ok := ev.(core.Judged); ok {
		ev = p.judge(judged)
	}
	p.now = r.Moment()
	effects, panicked := p.step(ev)
	if panicked != "" {
		p.machine = nil
		return nil, &Difference{Panic: panicked}
	}
	if p.work += p.machine.Work().Touched; p.work > maxWork {
		p.machine = nil
		return nil, &Difference{Unreadable: "it takes too much work"}
	}
	p.remember(effects)
	if r.Unended {
		return effects, nil
	}
	return effects, compare(r.Effects, effects)
}

// step gives the core an event. It may panic: recordings come from anywhere, and panics are among what is recorded.
func (p *Replay) step(ev core.Event) (effects []core.Effect, panicked string) {
	defer func() {
		if r := recover(); r != nil {
			panicked = fmt.Sprint(r)
		}
	}()
	return p.machine.Step(p.now, ev), ""
}

// Machine returns the core as it is now, nil if there is none.
func (p *Replay) Machine() *core.Machine { return p.machine }

// resume goes on from a recorded state.
func (p *Replay) resume(s *core.Saved) *Difference {
	var differ *Difference
	if p.machine != nil {
		if where := differsAt(s, p.machine.Save(nil)); where != "" {
			differ = &Difference{State: where}
		}
	}
	if p.work > maxWork {
		p.machine = nil
		return nil // it was told before
	}
	m, err := restore(s)
	if err != nil {
		p.machine = nil
		return &Difference{Unreadable: err.Error()}
	}
	p.machine, p.pages = m, map[pending]*core.Page{}
	for _, judge := range m.Pending() {
		p.remember([]core.Effect{judge})
	}
	return differ
}

// restore is core.Restore for a state that may come from anywhere.
func restore(s *core.Saved) (m *core.Machine, err error) {
	defer func() {
		if r := recover(); r != nil {
			m, err = nil, fmt.Errorf("cannot restore the state: %v", r)
		}
	}()
	return core.Restore(s)
}

func (p *Replay) remember(effects []core.Effect) {
	for _, e := range effects {
		if judge, ok := e.(core.Judge); ok {
			p.pages[pendingOf(judge.TID, judge.Origin)] = judge.Page
		}
	}
}

func pendingOf(id tid.TID, o core.Origin) pending {
	origin, err := encoding.Marshal(core.SaveOrigin(o))
	if err != nil {
		panic(err) // it holds strings
	}
	return pending{id, string(origin)}
}

// judge makes the answer to a Judge of the core that runs.
func (p *Replay) judge(ev core.Judged) core.Judged {
	key := pendingOf(ev.TID, ev.Page.JudgedBy())
	if page := p.pages[key]; page != nil {
		delete(p.pages, key)
		ev.Page = core.JudgeAnew(page, ev.Page.JudgedBy())
	}
	return ev
}

// compare returns how the effects of a step differ, nil if they do not.
func compare(recorded []Item, now []core.Effect) *Difference {
	same := len(recorded) == len(now)
	items := make([]Item, len(now))
	surplus := map[string]int{} // of each effect, how many more are decided now than were recorded
	for i, e := range now {
		item, err := EncodeEffect(e, nil)
		if err != nil {
			return &Difference{Unreadable: err.Error()}
		}
		items[i] = item
		same = same && sameItem(item, recorded[i])
		surplus[item.key()]++
	}
	if same {
		return nil
	}
	d := &Difference{}
	for _, r := range recorded {
		if surplus[r.key()]--; surplus[r.key()] < 0 {
			d.Recorded = append(d.Recorded, Words(r))
		}
	}
	for i := len(items) - 1; i >= 0; i-- { // of equal ones, the last are told
		if n := items[i]; surplus[n.key()] > 0 {
			surplus[n.key()]--
			d.Now = append(d.Now, Words(n))
		}
	}
	slices.Reverse(d.Now)
	return d
}

// key is the same for equal items.
func (i Item) key() string { return i.Type + "\x00" + string(i.Data) }

func sameItem(a, b Item) bool { return a.Type == b.Type && bytes.Equal(a.Data, b.Data) }

// Words returns an effect in words.
func Words(effect Item) string {
	e, err := DecodeEffect(effect)
	if err != nil {
		return err.Error()
	}
	return e.String()
}

// differsAt returns the first field in which two states differ, "" for none. The states of different versions of the core are not compared.
func differsAt(recorded, now *core.Saved) string {
	if recorded.Version != now.Version {
		return ""
	}
	a, errA := encode(recorded)
	b, errB := encode(now)
	if errA != nil || errB != nil || bytes.Equal(a, b) {
		return ""
	}
	x, y := reflect.ValueOf(*recorded), reflect.ValueOf(*now)
	for i := range x.NumField() {
		a, _ := encode(x.Field(i).Interface())
		b, _ := encode(y.Field(i).Interface())
		if !bytes.Equal(a, b) {
			return x.Type().Field(i).Name
		}
	}
	return "somewhere"
}
