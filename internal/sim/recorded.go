// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"math/rand/v2"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
)

// recorded holds the core and package recording to their word that a replay is exact: at a random step of every run, it saves the machine,
// makes another one of what was written down, lets that go through the next steps, as they were written down, beside the first, and
// compares what they decide and at last what they know. Lab.Replays has it do so again and again.
type recorded struct {
	*world
	rng    *rand.Rand // of its own: it changes nothing in the run
	replay *recording.Replay
	wait   int // steps until the next one begins, 0: no more begins
	left   int // steps that this one still goes on

	recorder *recording.Recorder // nil: the run is not recorded as a whole
}

// replayFor is how many steps a replay goes on, on average.
const replayFor = 30

func (r *recorded) init(w *world, seed uint64) {
	r.world, r.rng = w, rand.New(rand.NewPCG(seed, 18))
	r.wait = 1 + r.rng.IntN(1+r.rng.IntN(400)) // most runs have a hundred steps, some have thousands
}

// begin begins with a new machine.
func (r *recorded) begin() {
	if r.lab.Record != nil {
		r.recorder = r.lab.Record(r.shell.life)
	}
	if r.replay != nil {
		r.replay, r.wait = nil, 1+r.rng.IntN(replayFor)
	}
}

// steps takes in that the machine is about to take an event in.
func (r *recorded) steps(ev core.Event) {
	if r.recorder != nil {
		r.recorder.Offer(epoch.Add(r.now), r.shell.machine)
		r.recorder.Begin(epoch.Add(r.now), ev)
	}
}

// stepped takes in a step of the machine.
func (r *recorded) stepped(ev core.Event, did []core.Effect) {
	if r.recorder != nil {
		r.recorder.End(did)
		r.recorder.Flush()
	}
	if r.broken != nil {
		return
	}
	if r.replay == nil {
		if r.wait--; r.wait != 0 {
			return
		}
		r.replay, r.left = &recording.Replay{}, 1+r.rng.IntN(2*replayFor)
		r.next(recording.Record{State: r.shell.machine.Save(nil)})
		return
	}
	record, err := recording.NewRecord(epoch.Add(r.now), ev, did, nil)
	if err != nil {
		r.violate("replaysExactly", "%v", err)
		return
	}
	r.next(record)
	if r.left--; r.left > 0 || r.broken != nil {
		return
	}
	r.next(recording.Record{State: r.shell.machine.Save(nil)}) // which compares it
	r.replay = nil
	if r.lab.Replays {
		r.wait = 1 + r.rng.IntN(replayFor)
	}
}

// next has the replay go on with a record as it comes out of a file.
func (r *recorded) next(record recording.Record) {
	data, err := record.Encode()
	if err == nil {
		record, err = recording.Decode(data)
	}
	if err != nil {
		r.violate("replaysExactly", "%v", err)
		return
	}
	if d := r.replay.Next(record); d != nil {
		r.violate("replaysExactly", "a replay differs: %+v", *d)
	}
}
