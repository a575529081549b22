// SPDX-License-Identifier: GPL-3.0-or-later

// Package sched reads what the kernel recorded of its scheduler and of system calls (sched_switch, sched_process_exec and
// sys_enter of tracefs): which task had a processor for how long, when which program began, and what it asked the kernel for.
package sched

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Task is a thread under the name that it had. A process that executes another program is another Task from then on.
type Task struct {
	ID   int // 0: the processor was idle
	Name string
}

// Exec is the begin of a program.
type Exec struct {
	At      time.Duration // by the clock of the recording
	Process int
	File    string
}

// Turn is a task's time on a processor.
type Turn struct {
	Task
	From, To time.Duration // by the clock of the recording
}

// Record is one recording.
type Record struct {
	Turns []Turn // in the order of their ends; one that executes another program ends there
	Execs []Exec // in the order of their times
	Calls []Call // likewise
}

// Call is a system call.
type Call struct {
	Name   string // of the task
	Number int    // of the call
}

// Used returns the processor time between two moments, summed by the names that name gives to tasks.
func (r Record) Used(from, to time.Duration, name func(Task) string) map[string]time.Duration {
	used := map[string]time.Duration{}
	for _, t := range r.Turns {
		if common := min(t.To, to) - max(t.From, from); common > 0 {
			used[name(t.Task)] += common
		}
	}
	return used
}

// processor is where one processor is in the recording.
type processor struct {
	since time.Duration
	task  Task
}

// Read reads the text of a file "trace". A recording from which the kernel has dropped the oldest lines is an error.
func Read(r io.Reader) (Record, error) {
	var got Record
	processors := map[string]*processor{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			if err := checkWhole(line); err != nil {
				return Record{}, err
			}
			continue
		}
		if strings.HasPrefix(line, "CPU:") { // begins what comes from one more processor's buffer
			continue
		}
		if err := got.add(line, processors); err != nil {
			return Record{}, fmt.Errorf("cannot understand %q of the recording: %w", line, err)
		}
	}
	return got, lines.Err()
}

// checkWhole reads the line "# entries-in-buffer/entries-written: 205/205   #P:2".
func checkWhole(comment string) error {
	_, counts, found := strings.Cut(comment, "entries-in-buffer/entries-written: ")
	if !found {
		return nil
	}
	counts, _, _ = strings.Cut(counts, " ")
	kept, written, _ := strings.Cut(counts, "/")
	if kept != written {
		return fmt.Errorf("cannot use the recording: its buffer held %s of %s events", kept, written)
	}
	return nil
}

var errForm = errors.New("it should read COMMAND-PID [PROCESSOR] FLAGS SECONDS: EVENT: FIELDS")

func (r *Record) add(line string, processors map[string]*processor) error {
	_, rest, ok := strings.Cut(line, " [")
	number, rest, ok2 := strings.Cut(rest, "] ")
	head, rest, ok3 := strings.Cut(rest, ": ")
	event, fields, ok4 := strings.Cut(rest, ": ")
	words := strings.Fields(head)
	if !ok || !ok2 || !ok3 || !ok4 || len(words) == 0 {
		return errForm
	}
	seconds, err := strconv.ParseFloat(words[len(words)-1], 64)
	if err != nil {
		return errForm
	}
	at := time.Duration(seconds * float64(time.Second))
	p := processors[number]
	switch event {
	case "sched_switch":
		before, after, ok := strings.Cut(fields, " ==> ")
		from, ok2 := task("prev", before)
		to, ok3 := task("next", after)
		if !ok || !ok2 || !ok3 {
			return errForm
		}
		if p == nil {
			p = &processor{since: at}
			processors[number] = p
		}
		r.Turns = append(r.Turns, Turn{from, p.since, at})
		p.since, p.task = at, to
	case "sys_enter":
		number, _, _ := strings.Cut(strings.TrimPrefix(fields, "NR "), " ")
		id, err := strconv.Atoi(number)
		if err != nil {
			return errForm
		}
		r.Calls = append(r.Calls, Call{nameOf(line), id})
	case "sched_process_exec":
		file, pid, ok := strings.Cut(strings.TrimPrefix(fields, "filename="), " pid=")
		pid, _, _ = strings.Cut(pid, " ")
		id, err := strconv.Atoi(pid)
		if !ok || err != nil {
			return errForm
		}
		r.Execs = append(r.Execs, Exec{at, id, file})
		if p != nil { // until now it had its earlier name
			r.Turns = append(r.Turns, Turn{p.task, p.since, at})
			p.since = at
		}
	}
	return nil
}

// nameOf reads the name of the task before the first " [" of a line: "   some name-123   ".
func nameOf(line string) string {
	head, _, _ := strings.Cut(line, " [")
	head = strings.TrimSpace(head)
	return head[:max(strings.LastIndex(head, "-"), 0)]
}

// task reads "prev_comm=a b prev_pid=1 prev_prio=120…".
func task(which, fields string) (Task, bool) {
	name, rest, ok := strings.Cut(strings.TrimPrefix(fields, which+"_comm="), " "+which+"_pid=")
	id, _, _ := strings.Cut(rest, " ")
	pid, err := strconv.Atoi(id)
	return Task{pid, name}, ok && err == nil
}
