// SPDX-License-Identifier: GPL-3.0-or-later

package unit

import (
	"strings"

	"github.com/godbus/dbus/v5"
)

// jobSignal is a JobNew or a JobRemoved.
type jobSignal struct {
	unit    string
	path    dbus.ObjectPath
	removed bool
	outcome Outcome // of a removed job
}

// jobs makes the results of our own jobs and the jobs of others out of systemd's signals.
//
// systemd announces a job before it answers the call that made it, and the signals and the answers of a bus connection
// reach us on different ways: whose a job is cannot be told while a call for its unit is open, and its end may be seen
// before its beginning is known. So the signals of a unit are held back until no call for it is open.
//
// All methods belong to the session's goroutine.
type jobs struct {
	emit    func(ForeignJob)
	askType func(dbus.ObjectPath) // is answered with typed

	calls   map[string]*openCalls               // by unit
	ours    map[dbus.ObjectPath][]chan<- Result // two calls may have been merged into one job
	foreign map[dbus.ObjectPath]*foreignJob
}

type openCalls struct {
	count     int
	held      []jobSignal
	uncertain bool // the answer to one of them got lost: a job may be ours
}

type foreignJob struct {
	unit, jobType string
	typed         bool // the type was asked for and the answer is in
	removed       bool
}

func newJobs(emit func(ForeignJob), askType func(dbus.ObjectPath)) *jobs {
	return &jobs{
		emit:    emit,
		askType: askType,
		calls:   make(map[string]*openCalls),
		ours:    make(map[dbus.ObjectPath][]chan<- Result),
		foreign: make(map[dbus.ObjectPath]*foreignJob),
	}
}

// begin announces a call that will make a job for the unit. It must come before the call is sent, and is followed by
// exactly one accepted or refused.
func (j *jobs) begin(unit string) {
	c := j.calls[unit]
	if c == nil {
		c = new(openCalls)
		j.calls[unit] = c
	}
	c.count++
}

// accepted says that the call made the job at path, or joined it. The job's result goes to w, which has room for it.
func (j *jobs) accepted(unit string, path dbus.ObjectPath, w chan<- Result) {
	j.ours[path] = append(j.ours[path], w)
	j.end(unit)
}

// refused says that the call made no job, or, with the outcome Lost, that nobody knows.
func (j *jobs) refused(unit string, r Result, w chan<- Result) {
	w <- r
	if r.Outcome == Lost {
		j.calls[unit].uncertain = true
	}
	j.end(unit)
}

func (j *jobs) end(unit string) {
	c := j.calls[unit]
	if c.count--; c.count > 0 {
		return
	}
	delete(j.calls, unit)
	for _, sig := range c.held {
		if c.uncertain && !sig.removed && j.ours[sig.path] == nil {
			// To call a job of our own an administrator's would keep the target disconnected for good; the other error is
			// put right by the next look at the unit.
			j.ours[sig.path] = []chan<- Result{}
		}
		j.signal(sig)
	}
}

// signal takes a signal in, in the order of arrival.
func (j *jobs) signal(sig jobSignal) {
	if c := j.calls[sig.unit]; c != nil {
		c.held = append(c.held, sig)
		return
	}
	if sig.removed {
		j.removed(sig.path, sig.outcome)
		return
	}
	if j.ours[sig.path] != nil || j.foreign[sig.path] != nil || !isConnection(sig.unit) {
		return
	}
	j.foreign[sig.path] = &foreignJob{unit: sig.unit}
	j.askType(sig.path)
}

func (j *jobs) removed(path dbus.ObjectPath, outcome Outcome) {
	for _, w := range j.ours[path] {
		w <- Result{Outcome: outcome}
	}
	delete(j.ours, path)
	// A job that was not seen to begin has no end worth telling: it may be our own from before the bus was lost.
	if f := j.foreign[path]; f != nil {
		f.removed = true
		j.tell(path, f)
	}
}

// typed answers askType. The type is empty if the job was gone before it could be read.
func (j *jobs) typed(path dbus.ObjectPath, jobType string) {
	f := j.foreign[path]
	if f == nil {
		return
	}
	f.typed, f.jobType = true, jobType
	j.emit(ForeignJob{Unit: f.unit, Type: f.jobType})
	j.tell(path, f)
}

// tell reports the end of a job whose beginning was reported.
func (j *jobs) tell(path dbus.ObjectPath, f *foreignJob) {
	if f.typed && f.removed {
		delete(j.foreign, path)
		j.emit(ForeignJob{Unit: f.unit, Type: f.jobType, Removed: true})
	}
}

// paths lists the jobs that are believed to exist.
func (j *jobs) paths() []dbus.ObjectPath {
	var all []dbus.ObjectPath
	for p := range j.ours {
		all = append(all, p)
	}
	for p := range j.foreign {
		if j.ours[p] == nil {
			all = append(all, p)
		}
	}
	return all
}

// isConnection tells whether a unit has the name of one that holds a connection.
func isConnection(unit string) bool {
	return strings.HasPrefix(unit, "nvme-discoverd-") && strings.HasSuffix(unit, ".service") && unit != waitOnline
}

// waitOnline is a service of ours that is called like a connection's unit, as such services are, and holds none.
const waitOnline = "nvme-discoverd-wait-online.service"
