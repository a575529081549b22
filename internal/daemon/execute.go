// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fc"
	"github.com/nvme-discoverd/nvme-discoverd/internal/journal"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
)

const (
	// parallelLookups bounds the look-ups of host names. They have places of their own: one may take long, and peers whose
	// addresses are known do not wait for the name server of others.
	parallelLookups = 32
	parallelStops   = 8
	askTimeout      = 10 * time.Second
	resolveTimeout  = 20 * time.Second
	jobGrace        = 30 * time.Second // beyond the unit's own timeout: then its result is lost
)

// units is what effects need of systemd: a *unit.Manager, or a stand-in in tests.
type units interface {
	systemd
	Get(ctx context.Context, name string) (unit.Info, error)
	Start(context.Context, unit.Spec) unit.Result
	Stop(ctx context.Context, name string) unit.Result
	Restart(ctx context.Context, name string) unit.Result
}

// tools are what an executor works with.
type tools struct {
	root   paths.Root
	ctl    string // path of nvme-discoverctl, which the units run
	log    *slog.Logger
	reader *reader
	units  units
	notify *notifier
	post   func(context.Context, core.Event) // hands an event to the loop; it may block until the context ends
}

// executor carries out effects. do never blocks; each effect's answer is posted as an event.
type executor struct {
	tools
	settings config.Settings
	secrets  map[secret.Ref]secret.Set // of the configuration
	unusable map[secret.Ref]string     // names of its secrets that stand for none, and why
	queue    *queue
	prober   *prober
	lookUp   func(ctx context.Context, host string) ([]netip.Addr, error)
	lookups  *places
	stops    chan struct{} // places for what may run at one time
	logs     *logReader
	stopping *stops
	warnings *warnings
	connects connects
}

func newExecutor(with tools) *executor {
	return &executor{
		tools: with, queue: newQueue(),
		prober: newProber(tryPeer),
		lookUp: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		lookups: newPlaces(parallelLookups, parallelLookups),
		stops:   make(chan struct{}, parallelStops),
		logs: newLogReader(func(ctx context.Context, device string, most int) (discoverylog.Page, error) {
			return discoverylog.Read(ctx, with.root, device, most)
		}),

		stopping: newStops(with.reader.state),
		warnings: newWarnings(with.log),
	}
}

// use makes what concerns effects of a configuration take effect. The loop calls it.
func (x *executor) use(c config.Config) {
	x.settings, x.secrets, x.unusable = c.Settings, c.Secrets, c.Unusable
}

// do starts an effect. What concerns one unit is done in order.
func (x *executor) do(ctx context.Context, effect core.Effect) {
	switch e := effect.(type) {
	case core.Log:
		x.record(ctx, e)
		return
	case core.Status:
		x.notify.status(e.Text)
		return
	case core.Ready:
		x.notify.ready()
		return
	case core.Answer: // api.go hands it on
		return
	}
	if x.log.Enabled(ctx, slog.LevelDebug) {
		x.log.LogAttrs(ctx, slog.LevelDebug, "effect: "+effect.String(), about(effect)...)
	}
	switch e := effect.(type) {
	case core.Probe:
		x.prober.probe(ctx, e, func(done core.ProbeDone) { x.post(ctx, done) })
	case core.Resolve:
		x.lookups.run(false, func() { x.resolve(ctx, e) })
	case core.StartUnit:
		j := x.start(e)
		x.queue.run(e.Unit, func() { x.run(ctx, j) })
	case core.RestartUnit:
		timeout := x.settings.DisconnectTimeout // of its ExecStop, before that of its ExecStart
		if timeout != config.Infinity {
			timeout += unit.DefaultConnectTimeout
		}
		j := job{
			op: core.OpRestart, unit: e.Unit, kind: e.Wish.Kind, timeout: timeout, nvmeCLI: x.settings.NVMePath != "", prepare: x.provide(e.Unit, e.Wish),
			do: func(ctx context.Context) unit.Result { return x.units.Restart(ctx, e.Unit) },
		}
		x.queue.run(e.Unit, func() { x.run(ctx, j) })
	case core.StopUnit:
		j := job{
			op: core.OpStop, unit: e.Unit, timeout: x.settings.DisconnectTimeout,
			do: func(ctx context.Context) unit.Result { return x.units.Stop(ctx, e.Unit) },
		}
		x.queue.run(e.Unit, func() { x.within(ctx, x.stops, func() { x.run(ctx, j) }) })
	case core.AskUnit:
		go x.ask(ctx, e)
	case core.ReadLog:
		go x.readLog(ctx, e)
	case core.Judge:
		go func() { x.post(ctx, core.Judged{TID: e.TID, Page: core.JudgeAnew(e.Page, e.Origin)}) }()
	case core.Kickstart:
		go x.kickstart(ctx, e)
	case core.TakeSnapshot:
		go x.snapshot(ctx, e)
	case core.ForgetState:
		x.queue.run(e.Unit, func() {
			x.advise(e.Unit, x.reader.state.Forget(e.Device, e.Unit),
				"remove the file by hand, or the next start of nvme-discoverd takes "+e.Device+" for lost meanwhile")
		})
	case core.RestoreDevid:
		x.queue.run(e.Unit, func() { // not while a job's command may write it
			x.advise(e.Unit, x.reader.restoreDevid(e),
				"a stop of the unit does not disconnect "+e.Device+" until then: it is tried again every minute")
		})
	case core.RestoreOwner:
		x.queue.run(e.Unit, func() { // not while a job's command may write the entry
			x.advise(e.Unit, x.reader.restoreOwner(e),
				"other programs take "+e.Device+" for nobody's until then: it is tried again every minute")
		})
	case core.KeepRetained:
		x.queue.run("retained", func() {
			x.advise("", x.reader.writeRetained(e.List),
				"what is retained is forgotten if nvme-discoverd is restarted: make room in "+x.root.State())
		})
	case core.MarkStopped:
		x.queue.run(e.Unit, func() {
			x.advise(e.Unit, x.reader.state.MarkStopped(e.Unit),
				"it stays stopped only until nvme-discoverd is restarted: make room in "+x.root.State()+", it is tried again every minute")
		})
	case core.UnmarkStopped:
		x.queue.run(e.Unit, func() {
			x.advise(e.Unit, x.reader.state.UnmarkStopped(e.Unit),
				"remove the file by hand, or the unit is taken for stopped by an administrator when nvme-discoverd is restarted")
		})
	}
}

// within waits for a place among those that may run at one time.
func (x *executor) within(ctx context.Context, places chan struct{}, f func()) {
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
		f()
	case <-ctx.Done():
	}
}

// note logs an error about a unit, "" for none.
func (x *executor) note(unit string, err error) {
	if err != nil {
		x.warnings.warn(err.Error(), journal.About(unit, "", tid.TID{})...)
	}
}

// advise is note, with what the error means to an administrator and what to do about it.
func (x *executor) advise(unit string, err error, advice string) {
	if err != nil {
		x.note(unit, fmt.Errorf("%v; %s", err, advice))
	}
}

// about names in the journal's fields what an effect is about.
func about(effect core.Effect) []slog.Attr {
	switch e := effect.(type) {
	case core.StartUnit:
		return journal.About(e.Unit, "", e.Wish.TID)
	case core.RestartUnit:
		return journal.About(e.Unit, "", tid.TID{})
	case core.StopUnit:
		return journal.About(e.Unit, "", tid.TID{})
	case core.AskUnit:
		return journal.About(e.Unit, "", tid.TID{})
	case core.ForgetState:
		return journal.About(e.Unit, e.Device, tid.TID{})
	case core.RestoreDevid:
		return journal.About(e.Unit, e.Device, e.TID)
	case core.RestoreOwner:
		return journal.About(e.Unit, e.Device, e.TID)
	case core.ReadLog:
		return journal.About("", e.Device, tid.TID{})
	}
	return nil
}

// record writes a line of the core's to the journal.
func (x *executor) record(ctx context.Context, e core.Log) {
	msg := e.Msg
	if e.TID != (tid.TID{}) {
		msg = e.TID.String() + ": " + msg
	}
	if e.Device != "" {
		msg = e.Device + " " + msg
	}
	x.log.LogAttrs(ctx, e.Level, msg, journal.Fields(e)...)
}

func (x *executor) unitConfig() unit.Config {
	return unit.Config{
		Ctl:               x.ctl,
		NVMe:              x.settings.NVMePath,
		DisconnectTimeout: x.settings.DisconnectTimeout,
	}
}

func (x *executor) resolve(ctx context.Context, e core.Resolve) {
	limited, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	answer := core.Resolved{Host: e.Host}
	addrs, err := x.lookUp(limited, e.Host)
	if err != nil {
		answer.Err = "cannot resolve " + e.Host + ": " + lookupCause(err)
	}
	answer.Addrs = addrs
	x.post(ctx, answer)
}

// lookupCause says why a look-up failed without the name that was looked up, which goes before, and who said so.
func lookupCause(err error) string {
	dns := (*net.DNSError)(nil)
	if !errors.As(err, &dns) {
		return err.Error()
	}
	cause := dns.Err
	if dns.IsTimeout {
		cause = "no answer in time"
	}
	server := strings.TrimSuffix(dns.Server, ":53")
	if server == "" || strings.Contains(cause, dns.Server) {
		return cause
	}
	return cause + " (name server " + server + ")"
}

// job is a job on a unit, with the settings of the moment at which it was wanted.
type job struct {
	op      core.Op
	unit    string
	timeout time.Duration // the unit's own; config.Infinity is none
	nvmeCLI bool          // ExecStart= is nvme-cli's
	kind    tid.Kind      // of what it connects, if it connects
	prepare func() error  // what has to be done before it; nil for nothing
	do      func(context.Context) unit.Result
}

func (x *executor) start(e core.StartUnit) job {
	devid, err := x.reader.state.DevidFile(e.Unit)
	var secrets string
	if err == nil {
		secrets, err = x.reader.state.SecretsFile(e.Unit)
	}
	if err != nil {
		return job{op: core.OpStart, unit: e.Unit, do: func(context.Context) unit.Result { return unit.Result{Outcome: unit.Error, Err: err} }}
	}
	spec := unit.ForWish(e.Unit, e.Wish, devid, secrets, x.unitConfig())
	return job{
		op: core.OpStart, unit: e.Unit, kind: e.Wish.Kind, timeout: spec.TimeoutStart, nvmeCLI: x.settings.NVMePath != "", prepare: x.provide(e.Unit, e.Wish),
		do: func(ctx context.Context) unit.Result {
			holds, err := x.reader.holdsRoot(e.Wish.TID)
			x.advise(e.Unit, err, "the unit may disconnect it when it is stopped")
			if holds {
				spec.ExecStop = nil
			}
			return x.units.Start(ctx, spec)
		},
	}
}

// run runs a job to its end and reads what it left. A job whose end is not told within the unit's own timeout counts as lost:
// the next comparison finds out.
func (x *executor) run(ctx context.Context, j job) {
	limited := ctx
	if j.timeout != config.Infinity {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, j.timeout+jobGrace)
		defer cancel()
	}
	if j.prepare != nil {
		if err := j.prepare(); err != nil {
			x.post(ctx, x.done(j, unit.Result{Outcome: unit.Error, Err: err}))
			return
		}
	}
	if j.op != core.OpStop {
		defer x.connects.begin(j.kind)()
	}
	stops := j.op == core.OpStop || j.op == core.OpRestart
	if stops {
		x.advise(j.unit, x.stopping.begin(j.unit),
			"should nvme-discoverd end before this stop does, it is taken for an administrator's: `nvme-discoverctl start` undoes that")
	}
	result := j.do(limited)
	if stops {
		x.advise(j.unit, x.stopping.end(j.unit, result.Outcome == unit.Lost),
			"remove the file by hand, or a later stop by an administrator may be taken for one of nvme-discoverd")
	}
	x.post(ctx, x.done(j, result))
	if j.op == core.OpStop || result.Outcome != unit.Done {
		x.drop(ctx, j.unit)
	}
}

// done puts together how a job ended and what it left.
func (x *executor) done(j job, result unit.Result) core.JobDone {
	done := core.JobDone{Unit: j.unit, Op: j.op, Outcome: core.Outcome(result.Outcome)}
	if result.Err != nil {
		done.Err = result.Err.Error()
	}
	if j.op == core.OpStop {
		return done
	}
	if j.nvmeCLI && done.Outcome == core.Done {
		x.advise(j.unit, x.reader.bindDevid(j.unit), "a stop of the unit will not disconnect its controller")
	}
	var err error
	read := func() (*core.Device, error) { return x.reader.deviceOf(j.unit) }
	if done.Outcome == core.Done {
		done.Device, err = x.connects.read(read)
	} else {
		done.Device, err = read()
	}
	x.note(j.unit, err)
	done.Unread = err != nil
	failure, found, err := x.reader.state.TakeResult(j.unit)
	x.note(j.unit, err)
	if found && done.Outcome != core.Done {
		done.Failure = &failure
	}
	return done
}

func (x *executor) ask(ctx context.Context, e core.AskUnit) {
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer := core.UnitState{Unit: e.Unit, Token: e.Token}
	down, err := x.units.ShuttingDown(limited)
	answer.ShuttingDown = down
	var info unit.Info
	if err == nil {
		info, err = x.units.Get(limited, e.Unit)
	}
	if err != nil {
		x.log.Debug(err.Error())
	} else {
		answer.Known, answer.Info = true, infoOf(info)
		answer.Device, err = x.reader.deviceOf(e.Unit)
		x.note(e.Unit, err)
		answer.Unread = err != nil
		if ended := answer.Info.Active == "inactive" || answer.Info.Active == "failed"; ended && !down {
			// In order with our jobs: one that has begun meanwhile may leave a failure of its own, which is for its JobDone.
			x.queue.run(e.Unit, func() {
				failure, found, err := x.reader.state.TakeResult(e.Unit)
				if x.note(e.Unit, err); found {
					answer.Failure = &failure
				}
				x.post(ctx, answer)
				x.drop(ctx, e.Unit)
			})
			return
		}
		x.queue.run(e.Unit, func() { x.drop(ctx, e.Unit) }) // it may be gone by then
	}
	x.post(ctx, answer)
}

// readLog reads a log page, of a controller that is a unit's still: reading takes the controller's event from whoever else
// waits for it. The core may not have heard yet that the unit ended, and is told what there is.
func (x *executor) readLog(ctx context.Context, e core.ReadLog) {
	if unit, err := x.reader.state.UnitOf(e.Device); err == nil && unit == "" {
		if d, err := x.reader.device(e.Device); err == nil {
			x.post(ctx, core.DeviceSeen{Device: d, Why: "the end of its unit was not heard"})
		}
		x.post(ctx, core.LogFailed{Device: e.Device, Token: e.Token, Err: "no unit of nvme-discoverd has it any more"})
		return
	}
	page, err := x.logs.page(ctx, e.Device, e.Keep)
	if err != nil {
		x.post(ctx, core.LogFailed{Device: e.Device, Token: e.Token, Err: err.Error()})
		return
	}
	x.post(ctx, core.LogRead{Device: e.Device, Token: e.Token, Pages: core.JudgePages(page, e.Readers)})
}

// kickstart asks Fibre Channel for discovery controllers. A host without is not told so every time.
func (x *executor) kickstart(ctx context.Context, e core.Kickstart) {
	err := fc.Kickstart(x.root)
	done := core.Kickstarted{Token: e.Token, NoFC: errors.Is(err, fs.ErrNotExist)}
	if err != nil && !done.NoFC {
		done.Failed = true
		x.note("", err)
	}
	x.post(ctx, done)
}

func (x *executor) snapshot(ctx context.Context, e core.TakeSnapshot) {
	snap, bad, err := x.reader.snapshot(ctx, e.Token, x.units)
	if ctx.Err() != nil {
		return // the daemon ends: what it did not wait for tells nothing
	}
	for _, b := range bad {
		x.note("", b)
	}
	if err == nil {
		x.sweep(ctx, snap)
		snap.Stopping, err = x.stopping.settle(snap)
	}
	if err != nil {
		x.post(ctx, core.SnapshotFailed{Token: e.Token, Err: err.Error()})
		return
	}
	x.post(ctx, snap)
}
