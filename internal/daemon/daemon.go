// SPDX-License-Identifier: GPL-3.0-or-later

// Package daemon is the shell around internal/core: it turns what happens outside into events, feeds them to the core on
// one goroutine, and carries out the effects on others. Nothing in the loop itself can block.
package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/legacy"
	"github.com/nvme-discoverd/nvme-discoverd/internal/mdns"
	"github.com/nvme-discoverd/nvme-discoverd/internal/netwatch"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/uevent"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
)

// ueventBuffer is the receive buffer of the uevent socket in bytes, room for thousands of events. The service's sandbox cuts
// it to net.core.rmem_max, room for hundreds: an overrun is found out and made up for.
const ueventBuffer = 8 << 20

// Options are what main knows.
type Options struct {
	Root    paths.Root
	Loader  *config.Loader // that loads the configuration again
	Ctl     string         // path of nvme-discoverctl, which the units run
	Config  config.Config  // as loaded at start
	Log     *slog.Logger
	Level   *slog.LevelVar // follows log-level unless Debug
	Debug   bool
	Version string
	Hangups <-chan os.Signal // SIGHUP, which main catches before it does anything slow; each reloads the configuration
}

// Daemon is the running service.
type Daemon struct {
	Options
	machine *core.Machine
	events  chan arrival
	effects *executor
	notify  *notifier
	units   *unit.Manager
	reader  *reader
	api     *api
	boot    *bootTables
	browser *mdns.Browser
	losses  losses

	recorder    *recording.Recorder
	controllers controllers
	kicks       kicks
	fetches     *fetches   // of credentials, by the goroutine that reloads
	exclusions  sync.Mutex // is held while the exclusion lists are read and posted
}

// arrival is an event on its way to the loop.
type arrival struct {
	core.Event
	at   time.Time
	done chan<- struct{} // closed when the loop has dealt with it; nil: nobody waits for that
}

// Run runs the service until ctx ends or SIGTERM or SIGINT comes. The connections stay. The error wraps ErrRunning when
// another one runs.
func Run(ctx context.Context, opts Options) error {
	only, err := lock(opts.Root)
	if err != nil {
		return err
	}
	defer only.Close()
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop()
	d := &Daemon{
		Options: opts,
		machine: core.New(uint64(time.Now().UnixNano())),
		events:  make(chan arrival, 1024),
		notify:  newNotifier(opts.Log),
		reader:  newReader(opts.Root),
		boot:    newBootTables(opts.Root, opts.Log, opts.Config),

		recorder: recording.NewRecorder(opts.Version, opts.Root.FlightRecorder(), opts.Root.Recordings(), func(warning string) { opts.Log.Warn(warning) }),
	}
	d.units = unit.NewManager(unit.ManagerConfig{Socket: opts.Root.SystemBus(), Notify: d.unitEvent(ctx), Log: opts.Log})
	d.fetches = &fetches{systemd: d.units, root: d.Root, ctl: d.Ctl}
	d.effects = newExecutor(d.tools())
	d.losses.report = func(why string) { d.post(ctx, core.EventsLost{Why: why}) }
	d.browser = d.newBrowser(ctx)
	d.api = newAPI(d.backing())

	uevents, err := uevent.Open(ueventBuffer)
	if err != nil {
		return fmt.Errorf("cannot listen to the kernel's device events: %w", err)
	}
	defer uevents.Close()
	links, err := netwatch.Open()
	if err != nil {
		return fmt.Errorf("cannot listen to the kernel's network events: %w", err)
	}
	defer links.Close()
	exclusions, err := watchLists(opts.Root)
	if err != nil {
		return err
	}
	defer exclusions.close()

	if err := d.fetches.clean(); err != nil {
		d.Log.Warn("cannot remove credentials that an earlier service left: " + err.Error())
	}
	d.recorder.Rescue()
	d.recorder.Resize(opts.Config.Settings.FlightRecorderMiB << 20)
	defer d.recorder.Close()

	// Before the sources: once a flood of theirs has filled the queue, only the loop makes room in it.
	d.loadExclusions(ctx)
	retained, errs := d.reader.retained()
	for _, err := range errs {
		d.Log.Warn(err.Error())
	}
	d.post(ctx, core.RetainedLoaded{List: retained})
	d.boot.tell(func(ev core.NBFTLoaded) { d.post(ctx, ev) })
	d.post(ctx, core.ConfigLoaded{Config: opts.Config})

	var serving sync.WaitGroup
	defer serving.Wait()
	defer stop() // before Wait: it ends serving
	serving.Go(func() { d.api.serve(ctx) })

	failed := make(chan error, 4)
	go func() { failed <- d.notify.run(ctx) }()
	go func() { failed <- d.units.Run(ctx) }()
	go func() { failed <- d.watchDevices(ctx, uevents) }()
	go func() { failed <- d.watchLinks(ctx, links) }()
	go d.watchExclusions(ctx, exclusions)
	go d.watchReloads(ctx)
	go d.recorder.Run(ctx)
	defer d.recordAborts()()
	go d.watchStates(ctx)
	go d.browser.Run(ctx)

	d.Log.Info("nvme-discoverd starts")
	if from := opts.Config.HostIDFrom[opts.Config.HostNQN]; from == config.FromMachineID {
		d.Log.Info("the host NQN is " + opts.Config.HostNQN + ", " + from + ", as there is none in " + opts.Root.HostNQN())
	}
	if active := legacy.Active(opts.Root); len(active) > 0 {
		d.Log.Warn("nvme-cli connects controllers by itself on this host (" + strings.Join(active, ", ") +
			"): what is disconnected comes back behind this service; `nvme-discoverctl legacy disable` ends that")
	}
	for _, warning := range config.NotRead(opts.Root) {
		d.Log.Warn(warning)
	}
	err = d.loop(ctx, failed)
	d.notify.stopping()
	return err
}

func (d *Daemon) tools() tools {
	return tools{root: d.Root, ctl: d.Ctl, log: d.Log, reader: d.reader, units: d.units, notify: d.notify, post: d.post}
}

func (d *Daemon) backing() backing {
	return backing{
		root: d.Root, version: d.Version, log: d.Log, machine: d.machine, step: d.step,
		settings: func() config.Settings { return d.effects.settings }, record: func() ([]byte, error) { return d.recorder.Take() },
	}
}

// post hands an event to the loop. It waits for room, never longer than the daemon lives.
func (d *Daemon) post(ctx context.Context, ev core.Event) {
	d.send(ctx, arrival{Event: ev, at: time.Now()})
}

// postAndWait is post, and waits until the loop has dealt with the event.
func (d *Daemon) postAndWait(ctx context.Context, ev core.Event) {
	done := make(chan struct{})
	d.send(ctx, arrival{ev, time.Now(), done})
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (d *Daemon) send(ctx context.Context, a arrival) {
	select {
	case d.events <- a:
	case <-ctx.Done():
	}
}

// loop is the one goroutine that owns the machine. It feeds the watchdog itself: a loop that hangs is a daemon that hangs.
func (d *Daemon) loop(ctx context.Context, failed <-chan error) error {
	defer func() { // it ends the process all the same, with its stack in the journal
		if r := recover(); r != nil {
			d.recorder.Abort("panic")
			panic(r)
		}
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	watchdog := d.notify.watchdog()
	sleep := newSleepWatch(suspendedTime)
	for {
		var next arrival
		queries := d.api.queries
		if !d.machine.Configured() { // there would seem to be nothing to connect
			queries = nil
		}
		select {
		case <-ctx.Done():
			d.Log.Info("nvme-discoverd ends, the connections stay")
			return nil
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-watchdog:
			d.notify.feed()
			continue
		case query := <-queries:
			query(ctx)
		case next = <-d.events:
			d.api.metrics.waited(time.Since(next.at))
		case <-timer.C:
			next.Event = core.Tick{}
		}
		if sleep.slept() {
			d.step(ctx, core.EventsLost{Why: "the system was suspended"})
		}
		if next.Event != nil {
			d.step(ctx, next.Event)
		}
		if next.done != nil {
			close(next.done)
		}
		if at := d.machine.Deadline(); !at.IsZero() {
			timer.Reset(max(time.Until(at), 0))
		} else {
			timer.Reset(time.Hour)
		}
	}
}

func (d *Daemon) step(ctx context.Context, ev core.Event) {
	if d.Log.Enabled(ctx, slog.LevelDebug) {
		d.Log.Debug(fmt.Sprintf("event %T", ev))
	}
	if loaded, ok := ev.(core.ConfigLoaded); ok {
		d.use(loaded.Config)
	}
	begun := time.Now()
	d.recorder.Offer(begun, d.machine)
	d.recorder.Begin(begun, ev)
	effects := d.machine.Step(begun, ev)
	d.recorder.End(effects)
	for _, effect := range effects {
		d.effects.do(ctx, effect)
	}
	d.api.stepped(begun, ev, effects)
	d.renewSecrets(ev)
	if _, ok := ev.(core.ConfigLoaded); ok {
		d.notify.reloaded()
	}
}

// use makes what concerns the shell of a configuration take effect.
func (d *Daemon) use(c config.Config) {
	if !d.Debug {
		d.Level.Set(c.Settings.LogLevel)
	}
	d.effects.use(c)
	d.recorder.ResizeLater(c.Settings.FlightRecorderMiB << 20)
	if d.browser != nil { // tests of the loop have none
		d.browser.Browse(families(c.Settings))
	}
}

// watchReloads loads the configuration anew on every SIGHUP and varlink call.
func (d *Daemon) watchReloads(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.Hangups:
			_ = d.reload(ctx) // the core logs it
		case done := <-d.api.reloads:
			done <- d.reload(ctx)
		}
	}
}

// reload loads the configuration anew and returns when what is right of it is in force. The error is what is not.
func (d *Daemon) reload(ctx context.Context) error {
	d.notify.reloading()
	d.Loader.Credentials = func(name string) ([]byte, error) { return d.fetches.read(ctx, name) }
	cfg, err := d.Loader.Load()
	d.loadExclusions(ctx)
	d.boot.configured(cfg)
	d.boot.tell(func(ev core.NBFTLoaded) { d.post(ctx, ev) })
	d.postAndWait(ctx, core.ConfigLoaded{Config: cfg})
	return err
}
