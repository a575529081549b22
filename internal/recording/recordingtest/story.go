// SPDX-License-Identifier: GPL-3.0-or-later

// Package recordingtest makes a recording for tests: a discovery controller that is connected, names a subsystem, and drops.
package recordingtest

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/probe"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Begun is when the story begins.
var Begun = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// DC is the discovery controller of the story.
func DC(t testing.TB) tid.TID {
	t.Helper()
	id, err := tid.New(tid.TID{Transport: tid.TCP, Traddr: "192.0.2.10", HostNQN: "nqn.2014-08.org.nvmexpress:uuid:1b4e28ba-2fa1-11d2-883f-0016d3cca427"}, tid.Discovery)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Story returns the recording.
func Story(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	recorder := recording.NewRecorder("1.0", filepath.Join(dir, "ring"), filepath.Join(dir, "left"), func(warning string) { t.Error(warning) })
	recorder.Resize(1 << 20)
	m, now := core.New(1), Begun
	var read *core.ReadLog
	step := func(wait time.Duration, ev core.Event) {
		now = now.Add(wait)
		recorder.Offer(now, m)
		recorder.Begin(now, ev)
		effects := m.Step(now, ev)
		recorder.End(effects)
		for _, e := range effects {
			if e, ok := e.(core.ReadLog); ok {
				read = &e
			}
		}
	}
	dc := DC(t)
	settings := config.Defaults()
	connection := config.Connection{Wish: wish.Wish{Kind: tid.Discovery, TID: dc, Owner: wish.OwnerDiscoverd}, From: "/etc/nvme/discoverd.conf:3"}
	device := core.Device{Owner: "discoverd", Unit: dc.UnitName(), Seq: 100, Controller: sysfs.Controller{
		Name: "nvme1", Transport: dc.Transport, Traddr: dc.Traddr, Trsvcid: dc.Trsvcid, NQN: dc.NQN, HostNQN: dc.HostNQN, State: "live", Type: "discovery",
	}}
	step(0, core.ConfigLoaded{Config: config.Config{Settings: settings, Connections: []config.Connection{connection}, HostNQN: dc.HostNQN}})
	step(10*time.Millisecond, core.Snapshot{Token: 1})
	step(time.Millisecond, core.BusUp{})
	step(20*time.Millisecond, core.Snapshot{Token: 3, UnitsKnown: true})
	step(2*time.Millisecond, core.ProbeDone{Target: probe.Target{Traddr: dc.Traddr, Trsvcid: dc.Trsvcid}})
	step(300*time.Millisecond, core.JobDone{Unit: dc.UnitName(), Op: core.OpStart, Outcome: core.Done, Device: &device})
	if read == nil {
		t.Fatal("the log page was not asked for")
	}
	page := discoverylog.Page{Entries: []discoverylog.Entry{{
		Subtype: discoverylog.NVM, Transport: tid.TCP, Adrfam: "ipv4", Traddr: "192.0.2.20", Trsvcid: "4420", NQN: "nqn.2024-01.com.example:vol1", CntlID: 0xffff,
	}}}
	step(5*time.Millisecond, core.LogRead{Device: "nvme1", Token: read.Token, Pages: core.JudgePages(page, read.Readers)})
	step(time.Second, core.ProbeDone{Target: probe.Target{Traddr: "192.0.2.20", Trsvcid: "4420"}, Err: "connection refused", Errno: 111})
	step(time.Minute, core.DeviceRemoved{Name: "nvme1", Seq: 120})
	step(time.Second, core.Tick{})
	file, err := recorder.Take()
	if err != nil {
		t.Fatal(err)
	}
	recorder.Close()
	return file
}

// Changed returns a recording in which one decision is another: as if the program that made it had been another version.
func Changed(t testing.TB, file []byte) []byte {
	t.Helper()
	records, err := recording.Records(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		for j, e := range r.Effects {
			if e.Type != "StopUnit" && e.Type != "StartUnit" {
				continue
			}
			stop, err := recording.EncodeEffect(core.AskUnit{Unit: "nvme-discoverd-ffffffffffff.service", Token: 1}, nil)
			if err != nil {
				t.Fatal(err)
			}
			records[i].Effects[j] = stop
			changed, err := recording.Write(records)
			if err != nil {
				t.Fatal(err)
			}
			return changed
		}
	}
	t.Fatal(fmt.Errorf("the story starts no unit"))
	return nil
}
