// SPDX-License-Identifier: GPL-3.0-or-later

package shutdown

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/nvme-discoverd/nvme-discoverd/internal/blockuse"
	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

const (
	// lookPause is the time between two looks at the controllers.
	lookPause = time.Second
	// askTime bounds a question to systemd.
	askTime = 5 * time.Second
	// readTime bounds what is read from disks, which may be dead.
	readTime = 2 * time.Second
)

// Watcher waits for a shutdown and gives up, in the course of it, the controllers that it would wait for in vain.
type Watcher struct {
	root     paths.Root
	say      *speaker
	patience time.Duration // as the configuration was last read

	stayInMemory func() error
	ready        func() // tells that it is ready to be stopped

	mounts mounts
	looked map[string]bool // controllers whose use has been asked for; of the loop alone

	mu   sync.Mutex      // guards what follows
	uses map[string]use  // by controller, as they were at the begin
	busy map[string]bool // controllers that are being given up or were, maps that are being told
	maps map[string]bool // of dm-multipath, on controllers that were given up
	end  endState
}

// endState is how far the Watcher is with the end of the system.
type endState int

const (
	systemds endState = iota // as ever, systemd's business
	needed                   // what systemd itself needs was given up
	begun                    // endSystem waits whether systemd can go on
	done                     // systemd has got far enough without
)

// use is what was on a controller.
type use struct {
	by         []string
	needed     []string
	namespaces []string
}

// NewWatcher returns one for the system below root, which tells on out, and on the console, what it does.
func NewWatcher(root paths.Root, out io.Writer) *Watcher {
	return &Watcher{
		root: root, say: newSpeaker(root, out), patience: config.Defaults().ShutdownPatience,
		stayInMemory: func() error {
			err := stayInMemory(root)
			if host, readErr := blockuse.Read(root); readErr == nil && len(host.RootControllers()) > 0 {
				err = errors.Join(err, keepSystemd(root))
			}
			return err
		},
		ready:  func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) },
		looked: map[string]bool{}, uses: map[string]use{}, busy: map[string]bool{}, maps: map[string]bool{},
	}
}

// Run returns when ctx ends, when the Watcher is stopped and the system does not shut down, or when nothing is left to be given
// up. systemd stops it (SIGTERM) at the very beginning of a shutdown, which is how it learns of that.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.say.close()
	// The journal is one of the first things to go at a shutdown, and one of the last that may be written to.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	if err := w.stayInMemory(); err != nil {
		w.say.say("warning: %v", err)
	}
	select {
	case w.patience = <-w.readPatience():
	case <-time.After(readTime):
	}
	w.ready()
	if err := w.mounts.follow(w.root); err != nil {
		w.say.say("warning: cannot follow what is mounted: %v", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case <-stop:
	}
	return w.watch(ctx)
}

// readPatience reads the configuration. Nothing comes of it where that cannot be read, or hangs: what was read before holds.
func (w *Watcher) readPatience() <-chan time.Duration {
	read := make(chan time.Duration, 1)
	go func() {
		if c, err := config.Load(w.root, ""); err == nil {
			read <- c.Settings.ShutdownPatience
		}
	}()
	return read
}

// answer is what systemd says of a shutdown.
type answer struct {
	down bool
	end  string // to what end, see ends
}

// ask asks systemd until it answers, which may take a while when it has a thousand units to stop: a wrong guess would hurry those
// whom nothing hurries. It may also come to the end of its work without an answer; then the program in its place is one.
func (w *Watcher) ask(ctx context.Context, to chan<- answer) {
	for ctx.Err() == nil {
		asked, cancel := context.WithTimeout(ctx, askTime)
		down, end, err := goingDown(asked, w.root)
		cancel()
		if err == nil {
			to <- answer{down, end}
			return
		}
		if replaced(w.root) {
			to <- answer{down: true}
			return
		}
		time.Sleep(lookPause)
	}
}

// watch looks from the very begin, but gives nothing up before it is certain that the system shuts down.
func (w *Watcher) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered, off := make(chan answer, 1), make(chan struct{})
	go w.ask(ctx, answered)
	patience := w.readPatience()
	decide := newWatch()
	down, end := false, ""
	tick := time.NewTicker(lookPause)
	defer tick.Stop()
	for {
		seen, err := controllers(w.root)
		if err != nil {
			return err
		}
		w.lookAtUse(seen)
		decide.look(time.Now(), seen)
		if down && w.patience < config.Infinity {
			due, foreign := decide.due(time.Now(), w.patience)
			for _, c := range foreign {
				w.say.say("%s (%s) has not been live for %v of the shutdown, and may hold it up: it belongs to %s and is left alone", c.Name, c.NQN, w.patience, c.Owner)
			}
			for _, c := range due {
				w.start(c)
			}
			w.failMaps(seen)
		}
		switch {
		case w.needEnd():
			go w.endSystem(ctx, end)
		case down && len(seen) == 0 && !w.ending():
			return nil
		}
		select {
		case <-tick.C:
		case a := <-answered:
			if !a.down {
				return nil // stopped by hand
			}
			down, end = true, a.end
			go w.calledOff(ctx, off)
		case p := <-patience:
			w.patience = p
		case <-off:
			w.say.say("the system does not shut down after all: no controller is given up any more")
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// calledOff closes off when systemd says that the system does not shut down any more. It says nothing where there is no systemd to
// be asked any more, which is the rule towards the end.
func (w *Watcher) calledOff(ctx context.Context, off chan<- struct{}) {
	for ctx.Err() == nil {
		asked, cancel := context.WithTimeout(ctx, askTime)
		down, _, err := goingDown(asked, w.root)
		cancel()
		if err == nil && !down {
			close(off)
			return
		}
		time.Sleep(askTime)
	}
}

// lookAtUse finds out what is on the controllers. The first look counts, since an unmount that hangs has left the list of mounts
// already. It may hang itself, on devices that somebody keeps from being opened.
func (w *Watcher) lookAtUse(seen []Controller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := sync.OnceValues(func() (blockuse.Host, error) { return blockuse.Read(w.root) })
	recent := sync.OnceValues(func() (blockuse.Host, error) { return blockuse.ReadWith(w.root, w.mounts.recent(time.Now())) })
	for _, c := range seen {
		if w.looked[c.Name] {
			continue
		}
		w.looked[c.Name] = true
		go func() {
			host, err := now()
			if err != nil {
				return
			}
			u := use{namespaces: host.Namespaces(c.Name)}
			if found := host.On(c.Name); found.Any() {
				u.by, u.needed = found.By, found.Needed
				if host, err := recent(); err == nil { // can say more of what is just being unmounted
					if found := host.On(c.Name); found.Any() {
						u.by = found.By
					}
				}
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.uses[c.Name] = u
		}()
	}
}

// start gives a controller up, beside everything else.
func (w *Watcher) start(c Controller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[c.Name] {
		return
	}
	w.busy[c.Name] = true
	u := w.uses[c.Name]
	for _, name := range multipathMaps(w.root, u.namespaces) {
		w.maps[name] = true
	}
	on := "nothing was in use on it"
	if len(u.by) > 0 {
		on = "what was not written by now is lost: " + strings.Join(u.by, ", ")
	} else if _, known := w.uses[c.Name]; !known {
		on = "what was on it cannot be told"
	}
	w.say.say("the shutdown has waited %v for %s (%s), which is not live (%s), and gives it up; %s", w.patience, c.Name, c.NQN, c.State, on)
	go func() {
		w.say.flush() // before the errors that come of it
		given, err := giveUp(w.root, c.Name)
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case err != nil:
			w.say.say("%v", err)
		case !given:
			w.say.say("%s is not given up: its target has just come back", c.Name)
			delete(w.busy, c.Name)
		default:
			if len(u.needed) > 0 && w.end == systemds {
				w.end = needed
			}
		}
	}()
}

// failMaps has dm-multipath fail what waits for paths that were given up. It says so at every look: multipathd may set the device
// to wait again.
func (w *Watcher) failMaps(seen []Controller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	live := func(namespace string) (known, live bool) {
		for _, c := range seen {
			if slices.Contains(w.uses[c.Name].namespaces, namespace) {
				return true, c.State == "live"
			}
		}
		return strings.HasPrefix(namespace, "nvme") && !w.exists(namespace), false
	}
	for name := range w.maps {
		if !pathless(w.root, name, live) || w.busy[name] {
			continue
		}
		w.busy[name] = true
		go func() {
			err := failWithoutPaths(w.root, name)
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.busy, name)
			if err != nil {
				w.say.say("%v", err)
				delete(w.maps, name)
			}
		}()
	}
}

func (w *Watcher) exists(device string) bool {
	_, err := os.Stat(w.root.SysClassBlock(device))
	return err == nil
}

// needEnd reports, once, that what the running system needs was given up.
func (w *Watcher) needEnd() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.end == needed
	if first {
		w.end = begun
	}
	return first
}

// ending reports whether it is not certain yet that systemd ends the system.
func (w *Watcher) ending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end == needed || w.end == begun
}
