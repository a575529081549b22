// SPDX-License-Identifier: GPL-3.0-or-later

package unit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/nvme-discoverd/nvme-discoverd/internal/systembus"
)

// Outcome says how a job ended: a result of systemd's JobRemoved signal as it is spelled there
// (org.freedesktop.systemd1(5)), or one of our own.
type Outcome string

// The outcomes of a job. systemd may name others; they are failures.
const (
	Done     Outcome = "done"
	Failed   Outcome = "failed"
	Canceled Outcome = "canceled"
	Timeout  Outcome = "timeout"
	// Exists: the unit to start is active, activating, or failed and not yet collected.
	Exists Outcome = "exists"
	// NoUnit: the unit to stop or restart is not loaded.
	NoUnit Outcome = "no-unit"
	// Lost: the bus, systemd or the caller's patience went away before the result; nothing is known.
	Lost Outcome = "lost"
	// Error: systemd refused the call, see Result.Err.
	Error Outcome = "error"
)

// Result is how a Start, Stop or Restart ended. It is a hint to look at the unit and at sysfs, not the truth about them.
type Result struct {
	Outcome Outcome
	Err     error // why, for Exists, NoUnit, Lost and Error
}

// Info is what systemd says of one unit.
type Info struct {
	Name        string
	ActiveState string   // active, activating, deactivating, failed, inactive, …
	JobType     string   // start, stop, restart, …; empty without a job
	ExecStart   []string // argv
}

// Event is one of BusUp, BusDown and ForeignJob.
type Event interface{ event() }

// BusUp says that systemd can be reached. What happened before it went unseen.
type BusUp struct{}

// BusDown says that systemd cannot be reached: once when the bus is lost or the first attempt fails, and not again
// before the next BusUp.
type BusDown struct{ Err error }

// ForeignJob says that a job, which none of our calls made, began or ended for a unit nvme-discoverd-….service. The end
// comes only for a job whose beginning did, and after it.
type ForeignJob struct {
	Unit    string
	Type    string // start, stop, restart, …; empty when the job was gone before it could be asked
	Removed bool
}

func (BusUp) event()      {}
func (BusDown) event()    {}
func (ForeignJob) event() {}

// ManagerConfig is what a Manager needs.
type ManagerConfig struct {
	// Socket is the path of the system bus.
	Socket string
	// Notify takes the events, in order, on a goroutine of the Manager's. It must not block for long nor call the Manager.
	Notify func(Event)
	Log    *slog.Logger
}

// Manager is a client of systemd that survives the loss of its bus connection. Its methods may be called from any
// goroutine; without a connection they answer at once.
type Manager struct {
	cfg  ManagerConfig
	dial func(context.Context) (bus, error)

	mu      sync.Mutex
	current *session // nil without a connection
}

// errNoBus is why a call made without a connection fails.
var errNoBus = errors.New("there is no connection to the system bus")

// NewManager returns a Manager that does nothing until Run.
func NewManager(cfg ManagerConfig) *Manager {
	return &Manager{
		cfg:  cfg,
		dial: func(ctx context.Context) (bus, error) { return systembus.Dial(ctx, cfg.Socket, maxUnasked, cfg.Log) },
	}
}

const (
	// handshakeTimeout bounds the way from dialling to BusUp: a bus that is there but mute is tried anew after it.
	handshakeTimeout = 30 * time.Second
	// The pause before dialling again grows from the first to the second.
	minRedial = 100 * time.Millisecond
	maxRedial = 10 * time.Second
)

// Run connects, and connects again for ever, until ctx ends; it returns the context's error.
func (m *Manager) Run(ctx context.Context) error {
	pause, told := minRedial, false
	for {
		up, err := m.connection(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if up {
			pause, told = minRedial, false
		}
		if !told {
			m.cfg.Notify(BusDown{Err: err})
			told = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRedial)
	}
}

// connection lives through one connection. up tells whether it came to be, err why it ended.
func (m *Manager) connection(ctx context.Context) (up bool, err error) {
	// The bus connection ends with this context and nothing waits for its closing, which blocks as long as a write does.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	limit := time.AfterFunc(handshakeTimeout, func() {
		cancel(fmt.Errorf("cannot reach systemd over the system bus: no answer within %s", handshakeTimeout))
	})
	s, err := m.open(ctx)
	if !limit.Stop() && ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		return false, err
	}
	m.setCurrent(s)
	m.cfg.Notify(BusUp{})
	err = s.run(ctx)
	m.setCurrent(nil)
	s.end(err)
	return true, err
}

func (m *Manager) open(ctx context.Context) (*session, error) {
	b, err := m.dial(ctx)
	if err != nil {
		return nil, err
	}
	return newSession(ctx, b, m.cfg.Log, m.cfg.Notify)
}

func (m *Manager) setCurrent(s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = s
}

func (m *Manager) session() (*session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == nil {
		return nil, errNoBus
	}
	return m.current, nil
}

// Start starts the transient service and waits until it is up or has failed.
func (m *Manager) Start(ctx context.Context, spec Spec) Result {
	type auxiliary struct {
		Name       string
		Properties []property
	}
	return m.job(ctx, spec.Name, "StartTransientUnit", spec.Name, "replace", spec.properties(), []auxiliary{})
}

// Stop stops a unit and waits until it has stopped.
func (m *Manager) Stop(ctx context.Context, name string) Result {
	return m.job(ctx, name, "StopUnit", name, "replace")
}

// Restart stops and starts a loaded unit, with the commands that it has, and waits until it is up or has failed.
func (m *Manager) Restart(ctx context.Context, name string) Result {
	return m.job(ctx, name, "RestartUnit", name, "replace")
}

func (m *Manager) job(ctx context.Context, name, method string, args ...any) Result {
	s, err := m.session()
	if err != nil {
		return Result{Lost, fmt.Errorf("cannot call %s for %s: %w", method, name, err)}
	}
	return s.job(ctx, name, method, args...)
}

// List returns the loaded units that hold connections. It takes one round trip and one more for each of them whose command
// may have changed since the last List, many at the same time. One that systemd lists and then cannot describe, as it is
// going, is left out; one about which no answer comes is an error, for then nothing is known, but what was read by then need
// not be read again.
func (m *Manager) List(ctx context.Context) ([]Info, error) {
	s, err := m.session()
	if err == nil {
		var infos []Info
		infos, err = s.allUnits(ctx)
		if err == nil {
			return infos, nil
		}
	}
	return nil, fmt.Errorf("cannot list the units of connections: %w", err)
}

// Running returns the names of the units that match one of the patterns and are active or becoming so, masked ones included.
func (m *Manager) Running(ctx context.Context, patterns ...string) ([]string, error) {
	s, err := m.session()
	if err == nil {
		var names []string
		if names, err = s.names(ctx, "ListUnitsByPatterns", []string{"active", "activating", "reloading"}, patterns); err == nil {
			return names, nil
		}
	}
	return nil, fmt.Errorf("cannot list the units %s: %w", strings.Join(patterns, ", "), err)
}

// Get returns one unit. One that is not loaded is inactive, which is no error.
func (m *Manager) Get(ctx context.Context, name string) (Info, error) {
	s, err := m.session()
	if err == nil {
		var infos []Info
		infos, err = s.units(ctx, "ListUnitsByNames", []string{name})
		if err == nil {
			for _, info := range infos {
				if info.Name == name {
					return info, nil
				}
			}
			return Info{Name: name, ActiveState: "inactive"}, nil
		}
	}
	return Info{}, fmt.Errorf("cannot look at unit %s: %w", name, err)
}

// ShuttingDown tells whether the system is going down, soft-reboot included.
func (m *Manager) ShuttingDown(ctx context.Context) (bool, error) {
	var state string
	s, err := m.session()
	if err == nil {
		err = s.property(ctx, managerPath, managerInterface, "SystemState", &state)
	}
	if err != nil {
		return false, fmt.Errorf("cannot tell whether the system is shutting down: %w", err)
	}
	return state == "stopping", nil
}

// resultOf says what the failure of a call that should have made a job means.
func resultOf(err error) Result {
	var e dbus.Error
	if !errors.As(err, &e) {
		return Result{Lost, err}
	}
	switch {
	case e.Name == "org.freedesktop.systemd1.UnitExists":
		return Result{Exists, err}
	case e.Name == "org.freedesktop.systemd1.NoSuchUnit":
		return Result{NoUnit, err}
	case systemdAway(e.Name):
		return Result{Lost, err}
	}
	return Result{Error, err}
}

// systemdAway tells the errors that the bus gives in systemd's place, as it does while systemd executes itself anew. After
// NoReply the call may have been carried out.
func systemdAway(name string) bool {
	switch strings.TrimPrefix(name, "org.freedesktop.DBus.Error.") {
	case "NoReply", "ServiceUnknown", "NameHasNoOwner", "Disconnected", "Timeout", "TimedOut":
		return true
	}
	return false
}
