// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/sched"
	"github.com/nvme-discoverd/nvme-discoverd/internal/uevent"
)

// recorder records the scheduler and the uevents of controllers. All its times are those of CLOCK_MONOTONIC, which systemd uses
// too. Nothing is asked of anybody while it runs: whatever can be asked afterwards is.
type recorder struct {
	t       guest.T
	dir     string
	uevents *uevent.Source

	mu     sync.Mutex
	first  map[string]time.Duration // when a controller was added
	second map[string]time.Duration // when it was connected
}

// bufferKiB is the room for each processor, some hundred thousand events.
const bufferKiB = "49152"

// recorded are the events, those of system calls only of our own programs.
var recorded = []string{"sched/sched_switch", "sched/sched_process_exec", "raw_syscalls/sys_enter"}

func startRecorder(t guest.T) *recorder {
	t.Helper()
	r := &recorder{t: t, dir: "/sys/kernel/tracing/instances/bench", first: map[string]time.Duration{}, second: map[string]time.Duration{}}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		t.Fatalf("cannot record: %v", err)
	}
	r.set("trace_clock", "mono")
	r.set("buffer_size_kb", bufferKiB)
	var err error
	if r.uevents, err = uevent.Open(8 << 20); err != nil {
		t.Fatalf("cannot record: %v", err)
	}
	go r.follow()
	r.set("events/raw_syscalls/sys_enter/filter", `comm ~ "nvme-discover*"`)
	for _, event := range recorded {
		r.set(filepath.Join("events", event, "enable"), "1")
	}
	return r
}

func (r *recorder) set(file, value string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, file), []byte(value), 0o644); err != nil {
		r.t.Fatalf("cannot record: %v", err)
	}
}

// follow ends when the socket is closed.
func (r *recorder) follow() {
	for {
		ev, err := r.uevents.Receive()
		at := monotonic()
		if err != nil {
			return
		}
		name, ok := uevent.DeviceName(ev)
		if !ok {
			continue
		}
		r.mu.Lock()
		switch {
		case ev.Action == "add":
			r.first[name] = at
		case ev.Vars["NVME_EVENT"] == "connected":
			r.second[name] = at
		}
		r.mu.Unlock()
	}
}

// stop ends the recording and reads it.
func (r *recorder) stop() sched.Record {
	r.t.Helper()
	for _, event := range recorded {
		r.set(filepath.Join("events", event, "enable"), "0")
	}
	r.uevents.Close()
	file, err := os.Open(filepath.Join(r.dir, "trace"))
	if err != nil {
		r.t.Fatalf("cannot read the recording: %v", err)
	}
	record, err := sched.Read(file)
	file.Close()
	if err != nil {
		r.t.Fatalf("%v", err)
	}
	if err := os.Remove(r.dir); err != nil {
		r.t.Errorf("cannot end the recording: %v", err)
	}
	return record
}

// monotonic is CLOCK_MONOTONIC.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // the kernel has it
	}
	return time.Duration(ts.Nano())
}
