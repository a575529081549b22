// SPDX-License-Identifier: GPL-3.0-or-later

package sched

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

const recording = `# tracer: nop
#
# entries-in-buffer/entries-written: 7/7   #P:2
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
          <idle>-0       [000] d..2.   100.000000: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=systemd next_pid=1 next_prio=120
         systemd-1       [000] d..2.   100.002000: sched_switch: prev_comm=systemd prev_pid=1 prev_prio=120 prev_state=S ==> next_comm=systemd next_pid=40 next_prio=120
          <idle>-0       [001] d..2.   100.003000: sched_switch: prev_comm=swapper/1 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=kworker/u5:1 x next_pid=9 next_prio=100
 systemd-executo-40      [000] .....   100.005000: sched_process_exec: filename=/usr/lib/systemd/systemd-executor pid=40 old_pid=40
 systemd-executo-40      [000] d..2.   100.009000: sched_switch: prev_comm=systemd-executo prev_pid=40 prev_prio=120 prev_state=R+ ==> next_comm=swapper/0 next_pid=0 next_prio=120
   nvme-discover-40      [000] .....   100.009000: sys_enter: NR 257 (ffffff9c, c000, 0, 0, 0, 0)
  kworker/u5:1 x-9       [001] d..2.   100.009500: sched_switch: prev_comm=kworker/u5:1 x prev_pid=9 prev_prio=100 prev_state=D ==> next_comm=swapper/1 next_pid=0 next_prio=120
`

func TestRead(t *testing.T) {
	got, err := Read(strings.NewReader(recording))
	if err != nil {
		t.Fatal(err)
	}
	plain := func(task Task) string { return fmt.Sprint(task.ID, " ", task.Name) }
	for _, test := range []struct {
		from, to time.Duration
		want     map[string]time.Duration
	}{
		{0, time.Hour, map[string]time.Duration{
			"1 systemd": 2 * time.Millisecond, "40 systemd": 3 * time.Millisecond, "40 systemd-executo": 4 * time.Millisecond,
			"9 kworker/u5:1 x": 6500 * time.Microsecond,
		}},
		{100001 * time.Millisecond, 100006 * time.Millisecond, map[string]time.Duration{
			"1 systemd": time.Millisecond, "40 systemd": 3 * time.Millisecond, "40 systemd-executo": time.Millisecond,
			"9 kworker/u5:1 x": 3 * time.Millisecond,
		}},
	} {
		used := got.Used(test.from, test.to, plain)
		for name := range used {
			used[name] = used[name].Round(time.Microsecond) // the record has seconds with a point
		}
		if !reflect.DeepEqual(used, test.want) {
			t.Errorf("from %v to %v:\n got %v\nwant %v", test.from, test.to, used, test.want)
		}
	}
	if want := []Call{{"nvme-discover", 257}}; !reflect.DeepEqual(got.Calls, want) {
		t.Errorf("system calls: got %v, want %v", got.Calls, want)
	}
	if want := []Exec{{100005 * time.Millisecond, 40, "/usr/lib/systemd/systemd-executor"}}; !reflect.DeepEqual(got.Execs, want) {
		t.Errorf("programs: got %v, want %v", got.Execs, want)
	}
}

func TestReadErrors(t *testing.T) {
	tests := []struct{ name, text, err string }{
		{"lost lines", strings.Replace(recording, "7/7", "7/70", 1), "cannot use the recording: its buffer held 7 of 70 events"},
		{"no event", "what is this\n", `cannot understand "what is this" of the recording: ` + errForm.Error()},
		{"no task", " a-1 [000] d... 1.5: sched_switch: nothing\n", `cannot understand " a-1 [000] d... 1.5: sched_switch: nothing" of the recording: ` + errForm.Error()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Read(strings.NewReader(test.text)); err == nil || err.Error() != test.err {
				t.Errorf("got %v, want %s", err, test.err)
			}
		})
	}
}
