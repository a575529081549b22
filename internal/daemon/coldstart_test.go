// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/registry"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/uevent"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// instantly stands in for systemd, the units' commands and the kernel: a unit that is started has its controller at once.
type instantly struct {
	d    *Daemon
	next atomic.Int64
}

func (s *instantly) List(context.Context) ([]unit.Info, error)            { return nil, nil }
func (s *instantly) ShuttingDown(context.Context) (bool, error)           { return false, nil }
func (s *instantly) Running(context.Context, ...string) ([]string, error) { return nil, nil }
func (s *instantly) Get(_ context.Context, name string) (unit.Info, error) {
	return unit.Info{Name: name, ActiveState: "active"}, nil
}

func (s *instantly) Stop(context.Context, string) unit.Result { return unit.Result{Outcome: unit.Done} }

func (s *instantly) Restart(context.Context, string) unit.Result {
	return unit.Result{Outcome: unit.Done}
}

func (s *instantly) Start(ctx context.Context, spec unit.Spec) unit.Result {
	n := s.next.Add(1)
	name := fmt.Sprintf("nvme%d", n)
	r := s.d.reader
	err := os.Symlink("../../devices/virtual/nvme-fabrics/ctl/"+name, filepath.Join(s.d.Root.SysClassNVMe(), name))
	_ = os.WriteFile(filepath.Join(s.d.Root.SysClassNVMe(), name, "subsysnqn"), []byte(optionOf(spec.ExecStart, "--nqn=")+"\n"), 0o644)
	if err == nil {
		err = r.registry.Create(name, map[string]string{registry.Owner: "discoverd", registry.Seqnum: "100"})
	}
	if err == nil {
		err = r.state.WriteDevid(spec.Name, name)
	}
	if err == nil {
		err = r.state.Bind(name, spec.Name)
	}
	if err != nil {
		return unit.Result{Outcome: unit.Error, Err: err}
	}
	s.d.controllerEvent(ctx, name, uevent.Event{Action: "change", Vars: map[string]string{"NVME_EVENT": "connected"}})
	return unit.Result{Outcome: unit.Done}
}

func optionOf(argv []string, prefix string) string {
	for _, arg := range argv {
		if value, found := strings.CutPrefix(arg, prefix); found {
			return value
		}
	}
	return ""
}

// connecting is a daemon that is to connect n subsystems at one address.
func connecting(t testing.TB, n int) (d *Daemon, cfg config.Config) {
	t.Helper()
	root := host(t)
	put(t, root.MountInfo(), "1 0 259:5 / / rw - ext4 /dev/nvme0n1 rw\n")
	for i := range n {
		dir := root.Join("sys/devices/virtual/nvme-fabrics/ctl", fmt.Sprintf("nvme%d", i+1))
		for attr, value := range map[string]string{
			"transport": "tcp", "address": "traddr=192.0.2.1,trsvcid=4420,src_addr=127.0.0.1", "subsysnqn": "",
			"hostnqn": "nqn.2024-01.com.example:host", "hostid": "11111111-2222-3333-4444-555555555555", "cntrltype": "io", "state": "live",
		} {
			put(t, filepath.Join(dir, attr), value+"\n")
		}
	}
	if err := os.MkdirAll(root.SysClassNVMe(), 0o755); err != nil {
		t.Fatal(err)
	}
	d = &Daemon{
		Options: Options{Root: root, Log: slog.New(slog.DiscardHandler), Level: &slog.LevelVar{}, Version: "1.0"},
		machine: core.New(1), events: make(chan arrival, 1024),
	}
	d.notify, d.reader = newNotifier(d.Log), newReader(root)
	with := d.tools()
	with.units = &instantly{d: d}
	d.effects = newExecutor(with)
	d.effects.prober = newProber(func(context.Context, core.Probe) error { return nil })
	d.api = newAPI(d.backing())
	cfg = config.Config{Settings: config.Defaults()}
	for i := range n {
		id, err := tid.New(tid.TID{
			Transport: tid.TCP, Traddr: "192.0.2.1", NQN: fmt.Sprintf("nqn.2024-01.com.example:vol%d", i),
			HostNQN: "nqn.2024-01.com.example:host", HostID: "11111111-2222-3333-4444-555555555555",
		}, tid.IO)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Connections = append(cfg.Connections, config.Connection{Wish: wish.Wish{TID: id, Owner: wish.OwnerDiscoverd}, From: "discoverd.conf:1"})
	}
	return d, cfg
}

// untilConnected lets the loop run until all are connected.
func (d *Daemon) untilConnected(t testing.TB, cfg config.Config) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.loop(ctx, nil) }()
	d.post(ctx, core.BusUp{})
	d.post(ctx, core.ConfigLoaded{Config: cfg})
	for connected := 0; connected < len(cfg.Connections); {
		time.Sleep(time.Millisecond)
		done := make(chan struct{})
		d.api.queries <- func(context.Context) {
			connected = 0
			for v := range d.machine.View().Targets.All() {
				if v.State == core.Connected {
					connected++
				}
			}
			close(done)
		}
		<-done
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// BenchmarkColdStart has the daemon connect everything, and tells what it costs for each connection.
func BenchmarkColdStart(b *testing.B) {
	for _, n := range []int{20, 100, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				d, cfg := connecting(b, n)
				b.StartTimer()
				d.untilConnected(b, cfg)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/connection")
		})
	}
}
