// SPDX-License-Identifier: GPL-3.0-or-later

package unit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/nvme-discoverd/nvme-discoverd/internal/systembus"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Names of systemd's side of the bus (org.freedesktop.systemd1(5)).
const (
	systemdName      = "org.freedesktop.systemd1"
	managerPath      = dbus.ObjectPath("/org/freedesktop/systemd1")
	managerInterface = "org.freedesktop.systemd1.Manager"
	jobInterface     = "org.freedesktop.systemd1.Job"
	serviceInterface = "org.freedesktop.systemd1.Service"

	busName = systembus.Name
	busPath = systembus.Path
)

const (
	// maxCalls bounds the calls under way: dbus-daemon allows 128 for one connection.
	maxCalls = 32
	// maxReads bounds those of them that read the commands of listed units: jobs must not wait for a long list.
	maxReads = 16
	// maxAnswer is how long systemd may take to answer a question about units.
	maxAnswer = 10 * time.Second
)

// maxUnasked is the length in bytes of the longest signal that is heard. Those that we wait for hold, header and body, a dozen words
// and one name of a unit, of 255 bytes at most.
const maxUnasked = 1 << 10

// bus is one connection to the message bus, a *systembus.Conn.
type bus interface {
	Call(ctx context.Context, dest string, path dbus.ObjectPath, method string, args ...any) ([]any, error)
	Signals() <-chan *dbus.Signal
	Done() <-chan struct{}
}

// matches are the signals that the bus is asked for.
var matches = []string{
	"type='signal',sender='" + busName + "',interface='" + busName + "',member='NameOwnerChanged',arg0='" + systemdName + "'",
	"type='signal',sender='" + systemdName + "',interface='" + managerInterface + "',member='JobNew'",
	"type='signal',sender='" + systemdName + "',interface='" + managerInterface + "',member='JobRemoved'",
	"type='signal',sender='" + systemdName + "',interface='" + managerInterface + "',member='Reloading'",
}

// session is what is known during one bus connection. Its goroutine, run, owns jobs, commands and systemd; calls are made on other
// goroutines, which hand their answers to it as functions.
type session struct {
	ctx   context.Context // ends with the connection
	bus   bus
	log   *slog.Logger
	ops   chan func()
	slots chan struct{} // one is taken by each call under way
	ended chan struct{}
	err   error // why it ended, set before ended is closed

	jobs     *jobs
	commands *commands
	// systemd is its unique name, empty while it is off the bus. Any local user may send us a signal, and the bus vouches
	// for nothing but the sender.
	systemd string
}

// newSession asks for the signals and finds systemd. ctx must end with the connection.
func newSession(ctx context.Context, b bus, log *slog.Logger, notify func(Event)) (*session, error) {
	s := &session{
		ctx:   ctx,
		bus:   b,
		log:   log,
		ops:   make(chan func()),
		slots: make(chan struct{}, maxCalls),
		ended: make(chan struct{}),

		commands: newCommands(),
	}
	s.jobs = newJobs(func(f ForeignJob) { notify(f) }, s.askType)
	ready := make(chan error, 1)
	go func() { ready <- s.handshake() }()
	// The signals have to be taken all the while, or no answer would come. Only the bus's own are kept: there are few, whereas
	// anybody may send others, and systemd's do not count yet.
	var kept []*dbus.Signal
	for {
		select {
		case err := <-ready:
			if err != nil {
				return nil, err
			}
			for _, sig := range kept {
				s.signal(sig)
			}
			return s, nil
		case sig := <-b.Signals():
			if sig.Sender == busName {
				kept = append(kept, sig)
			}
		}
	}
}

// handshake makes the calls that newSession speaks of.
func (s *session) handshake() error {
	for _, match := range matches {
		if _, err := s.call(s.ctx, busName, busPath, busName+".AddMatch", match); err != nil {
			return fmt.Errorf("cannot ask the system bus for signals: %w", err)
		}
	}
	// After the match for its changes, so that none is missed.
	body, err := s.call(s.ctx, busName, busPath, busName+".GetNameOwner", systemdName)
	if err == nil {
		err = dbus.Store(body, &s.systemd)
	}
	if err != nil {
		return fmt.Errorf("cannot find systemd on the system bus: %w", err)
	}
	return s.subscribe()
}

// subscribe makes systemd send its signals, which it does only as long as somebody has asked.
func (s *session) subscribe() error {
	_, err := s.call(s.ctx, systemdName, managerPath, managerInterface+".Subscribe")
	var e dbus.Error
	if err != nil && !(errors.As(err, &e) && e.Name == "org.freedesktop.systemd1.AlreadySubscribed") {
		return fmt.Errorf("cannot subscribe to systemd's signals: %w", err)
	}
	return nil
}

// errLost is why a session ends before its context.
var errLost = errors.New("the connection to the system bus was lost")

// run is the session's goroutine. It returns why the connection ended.
func (s *session) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.bus.Done():
			return errLost
		case op := <-s.ops:
			op()
		case sig := <-s.bus.Signals():
			s.signal(sig)
		}
	}
}

// end lets everybody go who waits for the session.
func (s *session) end(err error) {
	s.err = err
	close(s.ended)
}

// do runs op on the session's goroutine, unless the session has ended.
func (s *session) do(op func()) {
	select {
	case s.ops <- op:
	case <-s.ended:
	}
}

// signal takes in what came over the bus, from whomever.
func (s *session) signal(sig *dbus.Signal) {
	ignore := func(why string) {
		s.log.Debug("ignoring a signal", "signal", sig.Name, "sender", sig.Sender, "reason", why)
	}
	switch sig.Name {
	case busName + ".NameOwnerChanged":
		name, owner, ok := ownerChange(sig.Body)
		switch {
		case sig.Sender != busName:
			ignore("it is not from the bus")
		case !ok:
			ignore("its arguments are not those of NameOwnerChanged")
		case name == systemdName:
			s.systemdMoved(owner)
		}
	case managerInterface + ".JobNew", managerInterface + ".JobRemoved":
		job, ok := parseJobSignal(sig)
		switch {
		case sig.Sender != s.systemd || s.systemd == "":
			ignore("it is not from systemd")
		case !ok:
			ignore("its arguments are not those of the signal")
		default:
			s.commands.forget(job.unit)
			s.jobs.signal(job)
		}
	case managerInterface + ".Reloading":
		if sig.Sender != s.systemd || s.systemd == "" {
			ignore("it is not from systemd")
			return
		}
		s.commands.forgetAll()
	}
}

// ownerChange takes NameOwnerChanged(name, old owner, new owner) apart.
func ownerChange(body []any) (name, owner string, ok bool) {
	if len(body) != 3 {
		return "", "", false
	}
	name, ok1 := body[0].(string)
	owner, ok2 := body[2].(string)
	return name, owner, ok1 && ok2
}

// parseJobSignal takes JobNew(id, job, unit) and JobRemoved(id, job, unit, result) apart.
func parseJobSignal(sig *dbus.Signal) (job jobSignal, ok bool) {
	job.removed = sig.Name == managerInterface+".JobRemoved"
	if sig.Path != managerPath || len(sig.Body) < 3 || len(sig.Body) < 4 && job.removed {
		return jobSignal{}, false
	}
	path, ok1 := sig.Body[1].(dbus.ObjectPath)
	unit, ok2 := sig.Body[2].(string)
	if job.removed {
		result, ok := sig.Body[3].(string)
		if !ok {
			return jobSignal{}, false
		}
		job.outcome = Outcome(result)
	}
	job.path, job.unit = path, unit
	return job, ok1 && ok2
}

// systemdMoved follows systemd to its new unique name, which it takes when it executes itself anew (systemctl
// daemon-reexec). Its jobs survive that, but one that ended meanwhile may have done so unheard.
func (s *session) systemdMoved(owner string) {
	if owner == s.systemd {
		return
	}
	s.log.Debug("systemd has moved on the bus", "from", s.systemd, "to", owner)
	s.systemd = owner
	s.commands.hear(false)
	if owner == "" {
		return
	}
	go func() {
		err := s.subscribe()
		if err != nil && s.ctx.Err() == nil {
			s.log.Warn("systemd was executed anew and may not tell us of its jobs", "error", err)
		}
		if err == nil {
			s.do(func() {
				if s.systemd == owner { // else it has moved again
					s.commands.hear(true)
				}
			})
		}
	}()
	for _, path := range s.jobs.paths() {
		go func() {
			if _, err := s.jobType(path); isGone(err) {
				s.do(func() { s.jobs.removed(path, Lost) })
			}
		}()
	}
}

// askType reads the type of somebody else's job and hands it to jobs.typed.
func (s *session) askType(path dbus.ObjectPath) {
	go func() {
		jobType, err := s.jobType(path)
		if err != nil {
			s.log.Debug("cannot read the type of a job", "job", path, "error", err)
		}
		s.do(func() { s.jobs.typed(path, jobType) })
	}()
}

func (s *session) jobType(path dbus.ObjectPath) (string, error) {
	var jobType string
	err := s.property(s.ctx, path, jobInterface, "JobType", &jobType)
	return jobType, err
}

// isGone tells whether a job or unit that was asked about does not exist.
func isGone(err error) bool {
	var e dbus.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Name {
	case "org.freedesktop.DBus.Error.UnknownObject", "org.freedesktop.DBus.Error.UnknownMethod",
		"org.freedesktop.systemd1.NoSuchJob", "org.freedesktop.systemd1.NoSuchUnit":
		return true
	}
	return false
}

// job makes a call that makes a job and waits for the job's result.
func (s *session) job(ctx context.Context, unit, method string, args ...any) Result {
	lost := func(err error) Result {
		return Result{Lost, fmt.Errorf("cannot learn the result of %s for %s: %w", method, unit, err)}
	}
	if err := ctx.Err(); err != nil {
		return lost(err)
	}
	result := make(chan Result, 1)
	begun := make(chan struct{})
	s.do(func() {
		s.jobs.begin(unit)
		close(begun)
	})
	select {
	case <-begun:
	case <-s.ended:
		return lost(s.err)
	}
	// The answer is wanted even when the caller leaves: it tells whose the job is.
	go func() {
		path, err := s.jobPath(method, args...)
		s.do(func() {
			if err != nil {
				r := resultOf(err)
				r.Err = fmt.Errorf("cannot call %s for %s: %w", method, unit, err)
				s.jobs.refused(unit, r, result)
				return
			}
			s.jobs.accepted(unit, path, result)
		})
	}()
	select {
	case r := <-result:
		return r
	case <-ctx.Done():
		return lost(ctx.Err())
	case <-s.ended:
		select {
		case r := <-result: // it came before the end
			return r
		default:
			return lost(s.err)
		}
	}
}

func (s *session) jobPath(method string, args ...any) (dbus.ObjectPath, error) {
	body, err := s.call(s.ctx, systemdName, managerPath, managerInterface+"."+method, args...)
	if err != nil {
		return "", err
	}
	var path dbus.ObjectPath
	if err := dbus.Store(body, &path); err != nil {
		return "", fmt.Errorf("cannot read the answer: %w", err)
	}
	return path, nil
}

// call makes one round trip. It ends with the session or with ctx.
func (s *session) call(ctx context.Context, dest string, path dbus.ObjectPath, method string, args ...any) ([]any, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.bus.Call(ctx, dest, path, method, args...)
}

// property reads one property of an object of systemd's into value.
func (s *session) property(ctx context.Context, path dbus.ObjectPath, iface, name string, value any) error {
	body, err := s.call(ctx, systemdName, path, "org.freedesktop.DBus.Properties.Get", iface, name)
	if err != nil {
		return fmt.Errorf("cannot read property %s of %s: %w", name, path, err)
	}
	var v dbus.Variant
	if err = dbus.Store(body, &v); err == nil {
		err = v.Store(value)
	}
	if err != nil {
		return fmt.Errorf("cannot understand property %s of %s: %w", name, path, err)
	}
	return nil
}

// listed is one element of the a(ssssssouso) that systemd lists units with.
type listed struct {
	Name, Description      string
	LoadState, Active, Sub string
	Following              string
	Path                   dbus.ObjectPath
	JobID                  uint32
	JobType                string
	JobPath                dbus.ObjectPath
}

// execStart is one element of the a(sasbttttuii) of the ExecStart property.
type execStart struct {
	Path                           string
	Argv                           []string
	IgnoreFailure                  bool
	Start, StartMono, End, EndMono uint64
	PID                            uint32
	Code, Status                   int32
}

// units returns those that are loaded of the units that one of the manager's List methods lists.
func (s *session) units(ctx context.Context, method string, args ...any) ([]Info, error) {
	all, err := s.list(ctx, method, args...)
	if err != nil {
		return nil, err
	}
	return s.describe(ctx, all, make([]*int, len(all)), make([][]string, len(all)), nil)
}

// allUnits is units for all that hold connections. It reads the commands that are not known, and leaves out what systemd
// lists and cannot describe.
func (s *session) allUnits(ctx context.Context) ([]Info, error) {
	all, err := s.list(ctx, "ListUnitsByPatterns", []string{}, []string{"nvme-discoverd-*.service"})
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(u listed) bool { return !isConnection(u.Name) })
	argvs, tokens := make([][]string, len(all)), make([]*int, len(all))
	known := make(chan struct{})
	s.do(func() {
		s.commands.keep(all)
		for i, u := range all {
			if u.LoadState == "loaded" {
				argvs[i], tokens[i] = s.commands.begin(u.Name)
			}
		}
		close(known)
	})
	select {
	case <-known:
	case <-s.ended:
		return nil, s.err
	}
	return s.describe(ctx, all, tokens, argvs, s.passOver)
}

// describe completes what a listing says of units by their commands, of which argvs has those that are known; the
// others are read and, where there is a token, remembered. Units that are not loaded, or went away since, are left out, and so
// are those of which passOver says so.
func (s *session) describe(ctx context.Context, all []listed, tokens []*int, argvs [][]string, passOver func(unit string, err error) bool) ([]Info, error) {
	errs := make([]error, len(all))
	places := make(chan struct{}, maxReads)
	var reads sync.WaitGroup
	for i, u := range all {
		if u.LoadState != "loaded" || argvs[i] != nil {
			continue
		}
		places <- struct{}{}
		reads.Go(func() {
			defer func() { <-places }()
			argvs[i], errs[i] = s.command(ctx, u.Path)
			if tokens[i] != nil {
				s.do(func() { s.commands.learned(u.Name, argvs[i], tokens[i]) })
			}
			if errs[i] != nil && passOver != nil && passOver(u.Name, errs[i]) {
				errs[i] = nil
			}
		})
	}
	reads.Wait()
	if err := unread(errs); err != nil {
		return nil, err
	}
	var infos []Info
	for i, u := range all {
		if len(argvs[i]) == 0 {
			continue
		}
		info := Info{Name: u.Name, ActiveState: u.Active, ExecStart: argvs[i]}
		if u.JobID != 0 {
			info.JobType = u.JobType
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// unread returns one error for the units that could not be read.
func unread(errs []error) error {
	var first error
	count := 0
	for _, err := range errs {
		if err != nil {
			first = cmp.Or(first, err)
			count++
		}
	}
	if count > 1 {
		return fmt.Errorf("%d of %d could not be read, such as this: %w", count, len(errs), first)
	}
	return first
}

// names is units for their names alone, those that are not loaded included.
func (s *session) names(ctx context.Context, method string, args ...any) ([]string, error) {
	all, err := s.list(ctx, method, args...)
	var names []string
	for _, u := range all {
		names = append(names, u.Name)
	}
	return names, err
}

func (s *session) list(ctx context.Context, method string, args ...any) ([]listed, error) {
	ctx, cancel := context.WithTimeout(ctx, maxAnswer)
	defer cancel()
	body, err := s.call(ctx, systemdName, managerPath, managerInterface+"."+method, args...)
	if err != nil {
		return nil, err
	}
	var all []listed
	if err := dbus.Store(body, &all); err != nil {
		return nil, fmt.Errorf("cannot understand the answer to %s: %w", method, err)
	}
	return all, nil
}

// passOver tells whether systemd itself gave err, about one unit: any other means that no answer came.
func (s *session) passOver(unit string, err error) bool {
	var e dbus.Error
	if !errors.As(err, &e) || systemdAway(e.Name) {
		return false
	}
	s.log.Warn("leaving a unit out that systemd lists and cannot describe", "unit", unit, "error", err)
	return true
}

// command reads the command of a unit. It returns nil for a unit that is gone or has none: systemd loads what it is asked
// about, and a unit without a command is the empty shell of one that is no more.
func (s *session) command(ctx context.Context, path dbus.ObjectPath) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, maxAnswer)
	defer cancel()
	var commands []execStart
	err := s.property(ctx, path, serviceInterface, "ExecStart", &commands)
	if isGone(err) || err == nil && len(commands) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	argv := commands[0].Argv
	if len(argv) == 0 {
		return nil, nil
	}
	return append(argv[:1:1], wish.Unescape(argv[1:])...), nil
}
