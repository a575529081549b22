// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// One target through its life, and what is counted of it.
func TestMetrics(t *testing.T) {
	m := newMetrics()
	id := tid.TID{Transport: tid.TCP, NQN: "nqn.a"}
	target := func(s core.State, device string) []*core.TargetView {
		return []*core.TargetView{{Wish: wish.Wish{TID: id}, Unit: "u", State: s, Device: device}}
	}
	now := time.Now()
	start := []core.Effect{core.StartUnit{Unit: "u", Wish: wish.Wish{TID: id}}}
	for _, step := range []struct {
		ev      core.Event
		effects []core.Effect
		changed []*core.TargetView
		removed []tid.TID
	}{
		{ev: core.ProbeDone{Err: "nobody there"}, changed: target(core.Waiting, "")},
		{ev: core.ProbeDone{}, effects: start, changed: target(core.Connecting, "")},
		{ev: core.JobDone{Unit: "u", Op: core.OpStart, Outcome: "failed", Failure: &state.Result{Errno: 111}}, changed: target(core.Waiting, "")},
		{ev: core.Tick{}, effects: start},
		{ev: core.JobDone{Unit: "u", Op: core.OpStart, Outcome: "timeout"}},
		{ev: core.Tick{}, effects: start},
		{ev: core.JobDone{Unit: "u", Op: core.OpStart, Outcome: core.Done}, changed: target(core.Connected, "nvme1")},
		{ev: core.Tick{}, changed: target(core.Connected, "nvme1")}, // touched, nothing new
		{ev: core.DeviceNoticed{}, changed: target(core.Reconnecting, "nvme1")},
		{ev: core.DeviceNoticed{}, changed: target(core.Reconnecting, "nvme1")},
		{ev: core.DeviceSeen{}, changed: target(core.Connected, "nvme1")},
		{ev: core.DeviceNoticed{}, changed: target(core.Reconnecting, "nvme1")},
		{ev: core.DeviceRemoved{}, changed: target(core.Waiting, "")},
		{ev: core.Tick{}, changed: target(core.Connected, "nvme2")},
		{ev: core.Request{Op: core.RequestStop}, changed: target(core.Stopped, "")}, // no loss: it was asked for
		{ev: core.JobDone{Unit: "u", Op: core.OpStop, Outcome: "failed"}},
		{ev: core.Tick{}, effects: []core.Effect{core.ReadLog{Token: 7}, core.TakeSnapshot{}}},
		{ev: core.LogRead{Token: 7}},
		{ev: core.LogFailed{Token: 8}},
		{ev: core.EventsLost{}},
		{ev: core.Tick{}, changed: target(core.Connected, "nvme3")},
		{ev: core.Tick{}, removed: []tid.TID{id}},
	} {
		m.stepped(now, step.ev, step.effects, step.changed, step.removed)
	}
	got := map[string]float64{}
	for _, f := range m.snapshot().families("1.0", nil) {
		for _, s := range f.Samples {
			if f.Type == "counter" && s.Value != 0 || f.Type == "histogram" && s.Suffix != nil && *s.Suffix == "_count" {
				got[fmt.Sprint(f.Name, s.Labels)] = s.Value
			}
		}
	}
	want := map[string]float64{
		"nvme_discoverd_connectsmap[kind:io]":                    3,
		"nvme_discoverd_connect_failuresmap[cause:probe]":        1,
		"nvme_discoverd_connect_failuresmap[cause:ECONNREFUSED]": 1,
		"nvme_discoverd_connect_failuresmap[cause:timeout]":      1,
		"nvme_discoverd_connection_breaksmap[kind:io]":           2,
		"nvme_discoverd_lossesmap[kind:io]":                      1,
		"nvme_discoverd_log_page_readsmap[result:done]":          1,
		"nvme_discoverd_log_page_readsmap[result:failed]":        1,
		"nvme_discoverd_resyncsmap[]":                            1,
		"nvme_discoverd_events_lostmap[]":                        1,
		"nvme_discoverd_requestsmap[operation:stop]":             1,
		"nvme_discoverd_connect_duration_secondsmap[]":           1,
		"nvme_discoverd_log_page_read_duration_secondsmap[]":     1,
		"nvme_discoverd_loop_wait_duration_secondsmap[]":         0,
		"nvme_discoverd_loop_step_duration_secondsmap[]":         22,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(m.connected) + len(m.starts) + len(m.reads); n != 0 {
		t.Errorf("remembered of what is over: got %d things, want none", n)
	}
}

// A snapshot allocates nothing, however many targets there are: nothing keeps it from giving the lock back at once.
func TestSnapshotAllocatesNothing(t *testing.T) {
	m := newMetrics()
	for i := range 4000 {
		view := &core.TargetView{Wish: wish.Wish{TID: tid.TID{NQN: fmt.Sprint(i)}}, State: core.Connected, Device: "nvme1"}
		m.stepped(time.Now(), core.ProbeDone{Err: fmt.Sprint(i)}, nil, []*core.TargetView{view}, nil)
	}
	var c counters
	if n := testing.AllocsPerRun(10, func() { c = m.snapshot() }); n != 0 || c.failures["probe"] != 4000 {
		t.Errorf("a snapshot allocates %v things and counts %v", n, c.failures)
	}
}

func TestHistogram(t *testing.T) {
	h := histogram{bounds: []float64{0.1, 1}}
	for _, d := range []time.Duration{0, 100 * time.Millisecond, 101 * time.Millisecond, time.Second, time.Minute} {
		h.observe(d)
	}
	var got []string
	for _, s := range h.family("h", "").Samples {
		got = append(got, fmt.Sprintf("%s%v %g", *s.Suffix, s.Labels, s.Value))
	}
	want := []string{"_bucketmap[le:0.1] 2", "_bucketmap[le:1] 4", "_bucketmap[le:+Inf] 5", "_countmap[] 5", "_summap[] 61.201"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
