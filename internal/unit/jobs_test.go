// SPDX-License-Identifier: GPL-3.0-or-later

package unit

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

// TestJobs plays scripts of calls, answers and signals. The lines of a script:
//
//	begin UNIT                a call for the unit is about to be sent
//	accepted UNIT JOB WAITER  it was answered with a job
//	refused UNIT OUTCOME WAITER
//	new UNIT JOB              JobNew
//	removed UNIT JOB RESULT   JobRemoved
//	typed JOB [TYPE]          the type of a foreign job was read
//
// and what comes of them: "ask JOB", "foreign UNIT TYPE begins", "foreign UNIT TYPE ends" and, last in each step,
// "WAITER RESULT". The word a stands for the unit nvme-discoverd-a.service.
func TestJobs(t *testing.T) {
	for _, test := range []struct {
		name   string
		script string
		want   []string
		left   int // jobs that are still believed to exist
	}{
		{
			name: "the usual order",
			script: `begin a
				new a 1
				accepted a 1 start
				removed a 1 done`,
			want: []string{"start done"},
		},
		{
			name: "the end is seen before the answer",
			script: `begin a
				new a 1
				removed a 1 failed
				accepted a 1 start`,
			want: []string{"start failed"},
		},
		{
			name: "the announcement is seen after the answer",
			script: `begin a
				accepted a 1 start
				new a 1
				removed a 1 done`,
			want: []string{"start done"},
		},
		{
			name: "an administrator's job",
			script: `new a 1
				typed 1 stop
				removed a 1 done`,
			want: []string{"ask 1", "foreign a stop begins", "foreign a stop ends"},
		},
		{
			name: "an administrator's job that ends before its type is known",
			script: `new a 1
				removed a 1 done
				typed 1`,
			want: []string{"ask 1", "foreign a  begins", "foreign a  ends"},
		},
		{
			name: "an administrator's stop cancels our start whose answer is out",
			script: `begin a
				new a 1
				removed a 1 canceled
				new a 2
				accepted a 1 start
				typed 2 stop
				removed a 2 done`,
			want: []string{"ask 2", "start canceled", "foreign a stop begins", "foreign a stop ends"},
		},
		{
			name: "our call joins an administrator's job",
			script: `new a 1
				typed 1 stop
				begin a
				removed a 1 done
				accepted a 1 stop`,
			want: []string{"ask 1", "foreign a stop begins", "foreign a stop ends", "stop done"},
		},
		{
			name: "two calls of ours are one job, which ends between their answers",
			script: `begin a
				begin a
				new a 1
				accepted a 1 first
				removed a 1 done
				accepted a 1 second`,
			want: []string{"first done", "second done"},
		},
		{
			name: "a refused call leaves an administrator's job his",
			script: `begin a
				new a 1
				refused a exists start
				typed 1 start`,
			want: []string{"ask 1", "start exists", "foreign a start begins"},
			left: 1,
		},
		{
			name: "a call whose answer is lost claims the job",
			script: `begin a
				new a 1
				refused a lost stop
				removed a 1 done`,
			want: []string{"stop lost"},
		},
		{
			name: "a job that began before the connection",
			script: `removed a 1 done
				typed 1 stop`,
		},
		{
			name: "a call for one unit holds nothing of another back",
			script: `begin a
				new b 2
				typed 2 restart
				accepted a 1 start
				removed b 2 failed`,
			want: []string{"ask 2", "foreign b restart begins", "foreign b restart ends"},
			left: 1,
		},
		{
			name: "units that hold no connection",
			script: `new ssh.service 1
				new nvme-discoverd.service 2
				new nvme-discoverd-x.socket 3
				removed ssh.service 1 done`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, left := play(t, test.script)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("something else came of it (-want +got):\n%s", diff)
			}
			if left != test.left {
				t.Errorf("%d jobs are believed to exist, want %d", left, test.left)
			}
		})
	}
}

func play(t *testing.T, script string) (trace []string, left int) {
	t.Helper()
	long := func(unit string) string {
		if strings.Contains(unit, ".") {
			return unit
		}
		return "nvme-discoverd-" + unit + ".service"
	}
	short := func(unit string) string {
		return strings.TrimSuffix(strings.TrimPrefix(unit, "nvme-discoverd-"), ".service")
	}
	j := newJobs(func(f ForeignJob) {
		if f.Removed {
			trace = append(trace, fmt.Sprintf("foreign %s %s ends", short(f.Unit), f.Type))
		} else {
			trace = append(trace, fmt.Sprintf("foreign %s %s begins", short(f.Unit), f.Type))
		}
	}, func(p dbus.ObjectPath) {
		trace = append(trace, "ask "+string(p))
	})
	type waiter struct {
		name   string
		result chan Result
	}
	var waiters []waiter
	wait := func(name string) chan<- Result {
		w := waiter{name, make(chan Result, 1)}
		waiters = append(waiters, w)
		return w.result
	}
	for line := range strings.Lines(script) {
		f := append(strings.Fields(line), "", "")
		path := dbus.ObjectPath(f[2])
		switch f[0] {
		case "begin":
			j.begin(long(f[1]))
		case "accepted":
			j.accepted(long(f[1]), path, wait(f[3]))
		case "refused":
			j.refused(long(f[1]), Result{Outcome(f[2]), errors.New("refused")}, wait(f[3]))
		case "new":
			j.signal(jobSignal{unit: long(f[1]), path: path})
		case "removed":
			j.signal(jobSignal{unit: long(f[1]), path: path, removed: true, outcome: Outcome(f[3])})
		case "typed":
			j.typed(dbus.ObjectPath(f[1]), f[2])
		default:
			t.Fatalf("no such step: %q", line)
		}
		for _, w := range waiters {
			select {
			case r := <-w.result:
				trace = append(trace, w.name+" "+string(r.Outcome))
			default:
			}
		}
	}
	if len(j.calls) != 0 {
		t.Errorf("calls are still open: %v", j.calls)
	}
	return trace, len(j.paths())
}
