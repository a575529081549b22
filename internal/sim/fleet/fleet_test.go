// SPDX-License-Identifier: GPL-3.0-or-later

package fleet

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

// small is a fleet that takes a moment: as many connections for each connect that the array serves in a second as in
// docs/performance.md, within a factor of three.
var small = Options{Hosts: 50, Paths: 4, Capacity: 5, Seed: 1}

func run(t *testing.T, o Options, delay core.Backoff) *Result {
	t.Helper()
	o.Delay = delay
	r, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("peak %d/s, %d attempts, %d dropped, %d in vain, 50 %% after %v, all after %v, %d steps",
		r.Peak(), r.Total(), r.Dropped, r.Vain, Share(r.Connected, 50), Share(r.Connected, 100), r.Steps)
	return r
}

// Every connection comes back, whatever the loss was like, and the policy of the daemon keeps what the array sees within a
// small multiple of what it serves. While ±10 % still keeps the hosts in step, which is within the first hour, its peak is
// higher.
func TestFleet(t *testing.T) {
	for _, test := range []struct {
		name     string
		change   func(*Options)
		expected int     // connections that come back
		peak     float64 // attempts in a second over the capacity, at most; 0: the policy has no part in it
		inStep   bool    // hosts would be with ±10 %
	}{
		{"removed at once", func(o *Options) { o.Outage = 10 * time.Minute }, 50 * 6, 4, true},
		{"removed after an hour", func(o *Options) { o.Outage = time.Hour }, 50 * 6, 4, false},
		{"removed at ctrl_loss_tmo", func(o *Options) { o.Outage, o.Loss = 30*time.Minute, AtTimeout }, 50 * 6, 4, true},
		{"reconnected by the kernel", func(o *Options) { o.Outage, o.Loss = time.Minute, AtTimeout }, 50 * 6, 0, false},
		{"told at once", func(o *Options) { o.Outage, o.Apart = 10*time.Minute, true }, 50 * 4, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := small
			test.change(&o)
			r := run(t, o, core.FullJitter)
			if len(r.Connected) != test.expected {
				t.Errorf("%d connections came back, want %d", len(r.Connected), test.expected)
			}
			if len(r.Hosts) != o.Hosts {
				t.Errorf("%d hosts have a path again, want %d", len(r.Hosts), o.Hosts)
			}
			if test.peak == 0 {
				return
			}
			if rate := float64(r.Peak()) / o.Capacity; rate > test.peak {
				t.Errorf("the array sees %.1f times the attempts in a second that it can serve, want at most %.1f", rate, test.peak)
			}
			if !test.inStep {
				return
			}
			if before := run(t, o, narrow); before.Peak() <= r.Peak() {
				t.Errorf("the peak is %d attempts a second; it is no more than %d with hosts in step", r.Peak(), before.Peak())
			}
		})
	}
}

// A replay is exact.
func TestSameSeedSameRun(t *testing.T) {
	o := small
	o.Outage = 5 * time.Minute
	a, b := run(t, o, core.FullJitter), run(t, o, core.FullJitter)
	if a.Steps != b.Steps || a.Total() != b.Total() || Share(a.Connected, 100) != Share(b.Connected, 100) {
		t.Error("two runs with the same seed differ")
	}
}

// One host that is alone does not wait longer for its target than with the ±10 % of before, neither at worst nor on the
// average.
func TestNotice(t *testing.T) {
	limit := config.Defaults().ReconnectMaxDelay
	before, now := NoticeOf(narrow, limit, 5000, 1), NoticeOf(core.FullJitter, limit, 5000, 1)
	if now.Longest > limit || now.Longest > before.Longest {
		t.Errorf("the longest wait is %v; it was %v", now.Longest, before.Longest)
	}
	if now.Mean > before.Mean || now.P99 > before.P99 {
		t.Errorf("mean %v and 99 %% %v; they were %v and %v", now.Mean, now.P99, before.Mean, before.P99)
	}
}

// Every policy that is compared keeps within the longest delay of before.
func TestPoliciesWithinLimit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	const limit = 5 * time.Minute
	for _, p := range Policies() {
		for n := 1; n < 100; n++ {
			if d := p.Delay(rng, n, limit); d < 0 || d > limit*11/10 {
				t.Errorf("%s waits %v after attempt %d", p.Name, d, n)
			}
		}
	}
}
