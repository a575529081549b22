// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	wire "github.com/nvme-discoverd/nvme-discoverd/internal/api/orgnvmexpressdiscoverd"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// counters are what has been counted. A copy of them is a copy: the maps are never changed, but replaced.
type counters struct {
	began time.Time

	connects    [kinds]uint64
	breaks      [kinds]uint64
	losses      [kinds]uint64
	failures    map[string]uint64 // by cause: the name of an errno, "probe", or how the job ended
	logReads    map[string]uint64 // by result
	requests    map[core.RequestOp]uint64
	resyncs     uint64
	eventsLost  uint64
	connectTime histogram
	readTime    histogram
	waitTime    histogram
	stepTime    histogram
}

// kinds is the number of values of tid.Kind.
const kinds = tid.Discovery + 1

// count adds one to the count of key in a map of counters. There are few keys, and most of what is counted so is rare.
func count[K comparable](counts *map[K]uint64, key K) {
	next := maps.Clone(*counts)
	next[key]++
	*counts = next
}

// metrics counts what happens, from the events and effects of the loop. A step costs as much as it changed, and snapshot holds
// the loop up for a moment that does not depend on how many targets there are.
type metrics struct {
	mu sync.Mutex
	counters
	connected map[tid.TID]connection
	starts    map[string]start     // unit → its connect under way
	reads     map[uint64]time.Time // token → when the read of a log page began
}

// connection is what a connected target had.
type connection struct {
	device string
	kind   tid.Kind
	broken bool // the kernel reconnects it
}

type start struct {
	at   time.Time
	kind tid.Kind
}

// Bounds of histograms in seconds: a step of the loop takes microseconds, a connect a tenth of a second to a minute.
var (
	loopBounds = []float64{0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5}
	workBounds = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
)

func newMetrics() *metrics {
	return &metrics{
		counters: counters{
			began:    time.Now(),
			failures: map[string]uint64{}, logReads: map[string]uint64{"done": 0, "failed": 0}, requests: map[core.RequestOp]uint64{},
			connectTime: histogram{bounds: workBounds}, readTime: histogram{bounds: workBounds},
			waitTime: histogram{bounds: loopBounds}, stepTime: histogram{bounds: loopBounds},
		},
		connected: map[tid.TID]connection{}, starts: map[string]start{}, reads: map[uint64]time.Time{},
	}
}

// snapshot returns a copy of the counters. Any goroutine may call it. It allocates nothing while it holds the loop up: who
// allocates may have to help the garbage collector first.
func (m *metrics) snapshot() counters {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counters
}

// waited notes how long an event was in the loop's queue.
func (m *metrics) waited(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waitTime.observe(d)
}

// stepped notes what came in, what is to be done about it, and what changed, in a step that began at begun.
func (m *metrics) stepped(begun time.Time, ev core.Event, effects []core.Effect, changed []*core.TargetView, removed []tid.TID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch ev := ev.(type) {
	case core.EventsLost:
		m.eventsLost++
	case core.ProbeDone:
		if ev.Err != "" {
			count(&m.failures, "probe")
		}
	case core.JobDone:
		m.jobDone(begun, ev)
	case core.LogRead:
		m.read(begun, ev.Token, "done")
	case core.LogFailed:
		m.read(begun, ev.Token, "failed")
	case core.Request:
		count(&m.requests, ev.Op)
	}
	for _, e := range effects {
		switch e := e.(type) {
		case core.StartUnit:
			m.starts[e.Unit] = start{begun, e.Wish.Kind}
		case core.RestartUnit:
			m.starts[e.Unit] = start{at: begun}
		case core.ReadLog:
			m.reads[e.Token] = begun
		case core.TakeSnapshot:
			m.resyncs++
		}
	}
	for _, id := range removed {
		delete(m.connected, id)
	}
	for _, t := range changed {
		m.changed(t)
	}
	m.stepTime.observe(time.Since(begun))
}

// changed notices that a target got a controller or lost one that nobody took from it.
func (m *metrics) changed(t *core.TargetView) {
	id := t.Wish.TID
	had, was := m.connected[id]
	if was && had.device != t.Device && t.State != core.Stopped && t.State != core.Foreign {
		m.losses[had.kind]++
	}
	if !t.Connected() {
		delete(m.connected, id)
		return
	}
	if !was || had.device != t.Device {
		had.broken = false
		m.connects[t.Wish.Kind]++
	}
	broken := t.State == core.Reconnecting
	if broken && !had.broken {
		m.breaks[t.Wish.Kind]++
	}
	m.connected[id] = connection{t.Device, t.Wish.Kind, broken}
}

func (m *metrics) jobDone(now time.Time, ev core.JobDone) {
	begun, ours := m.starts[ev.Unit]
	if ev.Op == core.OpStop || !ours {
		return
	}
	delete(m.starts, ev.Unit)
	if ev.Outcome == core.Done {
		m.connectTime.observe(now.Sub(begun.at))
		return
	}
	count(&m.failures, causeOf(ev))
}

// causeOf is one of few words, so that there are few series.
func causeOf(ev core.JobDone) string {
	if ev.Failure == nil || ev.Failure.Errno == 0 {
		return string(ev.Outcome)
	}
	if name := unix.ErrnoName(unix.Errno(ev.Failure.Errno)); name != "" {
		return name
	}
	return strconv.Itoa(ev.Failure.Errno)
}

func (m *metrics) read(now time.Time, token uint64, result string) {
	count(&m.logReads, result)
	if begun, ok := m.reads[token]; ok {
		m.readTime.observe(now.Sub(begun))
		delete(m.reads, token)
	}
}

// families returns the metrics. Everything but the targets is counted since the daemon started.
func (c counters) families(version string, targets []*core.TargetView) []wire.Metric {
	return []wire.Metric{
		{
			Name: "nvme_discoverd_build_info", Type: "gauge", Help: "The daemon that runs.", // node_exporter knows no type info
			Samples: []wire.Sample{sample("", 1, "version", version)},
		},
		{
			Name: "nvme_discoverd_start_time_seconds", Type: "gauge", Unit: seconds(), Help: "When the daemon started, in Unix time.",
			Samples: []wire.Sample{sample("", float64(c.began.UnixMilli())/1000)},
		},
		{
			Name: "nvme_discoverd_controllers", Type: "gauge", Help: "Controllers in each state.",
			Samples: controllerSamples(targets),
		},
		{
			Name: "nvme_discoverd_wanted_controllers", Type: "gauge",
			Help:    "Controllers that should be connected now: all but those that are excluded, foreign, stopped, parked, or down and retained.",
			Samples: wantedSamples(targets),
		},
		{
			Name: "nvme_discoverd_unread_log_pages", Type: "gauge",
			Help:    "Connected discovery controllers whose log page was not read yet: what they name is not wanted before that.",
			Samples: []wire.Sample{sample("", float64(unread(targets)))},
		},
		{
			Name: "nvme_discoverd_connects", Type: "counter", Help: "Controllers that became connected, those found connected at the start too.",
			Samples: byKind(c.connects),
		},
		{
			Name: "nvme_discoverd_connect_failures", Type: "counter",
			Help:    "Failed attempts to connect: the kernel's error, probe for a peer that did not answer, or how the job of the unit ended.",
			Samples: byLabel(c.failures, "cause"),
		},
		{
			Name: "nvme_discoverd_connection_breaks", Type: "counter", Help: "Connections that broke and that the kernel began to reconnect, as far as they were seen.",
			Samples: byKind(c.breaks),
		},
		{
			Name: "nvme_discoverd_losses", Type: "counter", Help: "Connected controllers that went away although nobody stopped them.",
			Samples: byKind(c.losses),
		},
		{
			Name: "nvme_discoverd_log_page_reads", Type: "counter", Help: "Reads of discovery log pages.",
			Samples: byLabel(c.logReads, "result"),
		},
		{
			Name: "nvme_discoverd_resyncs", Type: "counter", Help: "Comparisons of everything with what is remembered.",
			Samples: []wire.Sample{sample("_total", float64(c.resyncs))},
		},
		{
			Name: "nvme_discoverd_events_lost", Type: "counter", Help: "Times that events may have been missed.",
			Samples: []wire.Sample{sample("_total", float64(c.eventsLost))},
		},
		{
			Name: "nvme_discoverd_requests", Type: "counter", Help: "Requests of administrators over varlink.",
			Samples: byLabel(c.requests, "operation"),
		},
		c.connectTime.family("nvme_discoverd_connect_duration_seconds", "Time that successful connects took, from the job to its end."),
		c.readTime.family("nvme_discoverd_log_page_read_duration_seconds", "Time that reads of discovery log pages took."),
		c.waitTime.family("nvme_discoverd_loop_wait_duration_seconds", "Time that events waited for the loop."),
		c.stepTime.family("nvme_discoverd_loop_step_duration_seconds", "Time that the loop spent on one event."),
	}
}

func controllerSamples(targets []*core.TargetView) []wire.Sample {
	var count [kinds][core.Collision + 1]int
	for _, t := range targets {
		count[t.Wish.Kind][t.State]++
	}
	var samples []wire.Sample
	for _, kind := range []tid.Kind{tid.Discovery, tid.IO} {
		for s := core.Waiting; s <= core.Collision; s++ {
			samples = append(samples, sample("", float64(count[kind][s]), "kind", kindLabel(kind), "state", s.String()))
		}
	}
	return samples
}

func wantedSamples(targets []*core.TargetView) []wire.Sample {
	var count [kinds]int
	for _, t := range targets {
		if t.Wanted() {
			count[t.Wish.Kind]++
		}
	}
	return []wire.Sample{
		sample("", float64(count[tid.Discovery]), "kind", "discovery"),
		sample("", float64(count[tid.IO]), "kind", "io"),
	}
}

func unread(targets []*core.TargetView) int {
	n := 0
	for _, t := range targets {
		if t.Wish.Kind == tid.Discovery && t.State == core.Connected && t.PageRead.IsZero() && t.RetainUntil.IsZero() {
			n++
		}
	}
	return n
}

func kindLabel(k tid.Kind) string {
	if k == tid.Discovery {
		return "discovery"
	}
	return "io"
}

func byKind(count [kinds]uint64) []wire.Sample {
	return []wire.Sample{
		sample("_total", float64(count[tid.Discovery]), "kind", "discovery"),
		sample("_total", float64(count[tid.IO]), "kind", "io"),
	}
}

func byLabel[K ~string](counts map[K]uint64, label string) []wire.Sample {
	samples := []wire.Sample{}
	for key, n := range counts {
		samples = append(samples, sample("_total", float64(n), label, string(key)))
	}
	slices.SortFunc(samples, func(a, b wire.Sample) int { return cmp.Compare(a.Labels[label], b.Labels[label]) })
	return samples
}

// sample returns one value; labels are pairs of name and value.
func sample(suffix string, value float64, labels ...string) wire.Sample {
	s := wire.Sample{Labels: map[string]string{}, Value: value}
	if suffix != "" {
		s.Suffix = &suffix
	}
	for pair := range slices.Chunk(labels, 2) {
		s.Labels[pair[0]] = pair[1]
	}
	return s
}

func seconds() *string {
	unit := "seconds"
	return &unit
}

// histogram counts durations by the bound that they stay within.
type histogram struct {
	bounds []float64             // seconds, ascending, at most maxBounds; never changed
	counts [maxBounds + 1]uint64 // by the index of the bound; len(bounds) is beyond all
	sum    float64
}

const maxBounds = 12

func (h *histogram) observe(d time.Duration) {
	i, _ := slices.BinarySearch(h.bounds, d.Seconds())
	h.counts[i]++
	h.sum += d.Seconds()
}

func (h *histogram) family(name, help string) wire.Metric {
	m := wire.Metric{Name: name, Type: "histogram", Unit: seconds(), Help: help}
	total := uint64(0)
	for i, n := range h.counts[:len(h.bounds)+1] {
		total += n
		bound := "+Inf"
		if i < len(h.bounds) {
			bound = strconv.FormatFloat(h.bounds[i], 'f', -1, 64)
		}
		m.Samples = append(m.Samples, sample("_bucket", float64(total), "le", bound))
	}
	m.Samples = append(m.Samples, sample("_count", float64(total)), sample("_sum", h.sum))
	return m
}
