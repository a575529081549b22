// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fabrics"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// parallel is max-parallel-connects as it is by default.
const parallel = 8

// traceUnits is the floor of systemd's part: as many transient units as there are connections, whose command does nothing.
func traceUnits(t guest.T, n int) (got traced) {
	fmt.Printf("recording %d %s\n", n+1, t.Name())
	guest.Begin(t)
	up := make(chan struct{})
	manager := unit.NewManager(unit.ManagerConfig{
		Socket: paths.Root("").SystemBus(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Notify: func(ev unit.Event) {
			if _, ok := ev.(unit.BusUp); ok {
				close(up)
			}
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = manager.Run(ctx) }()
	<-up
	name := func(i int) string { return fmt.Sprintf("bench-%04d.service", i) }
	atOnce := func(do func(i int)) {
		places := make(chan struct{}, parallel)
		var group sync.WaitGroup
		for i := range n + 1 {
			places <- struct{}{}
			group.Go(func() { do(i); <-places })
		}
		group.Wait()
	}
	// What the spec is like decides nothing (FACTS), but it is that of a connection.
	specOf := func(i int) unit.Spec {
		spec := unit.ForWish(name(i), wish.Wish{TID: tid.TID{Transport: tid.TCP}}, "", "", unit.Config{Ctl: "/bin/true"})
		spec.ExecStart, spec.ExecStop, spec.ExecStopPost = []string{"/bin/true"}, nil, nil
		return spec
	}
	if result := manager.Start(ctx, specOf(n+1)); result.Outcome != unit.Done { // what it wants is started too
		t.Fatalf("cannot start a unit: %v %v", result.Outcome, result.Err)
	}
	settle(t)
	r := startRecorder(t)
	begin := time.Now()
	var once sync.Once
	atOnce(func(i int) {
		if result := manager.Start(ctx, specOf(i)); result.Outcome != unit.Done {
			t.Errorf("cannot start a unit: %v %v", result.Outcome, result.Err)
		}
		once.Do(func() { got.first = time.Since(begin) })
	})
	got.n, got.cold = n+1, time.Since(begin)
	got.finish(r)
	atOnce(func(i int) { manager.Stop(ctx, name(i)) })
	manager.Stop(ctx, name(n+1))
	return got
}

// traceWrites is the floor of the kernel's part: one process that connects everything, one after the other.
func traceWrites(t guest.T, n int) (got traced) {
	fmt.Printf("recording %d %s\n", n+1, t.Name())
	f := guest.Scene(t, n)
	guest.Run(t, "modprobe", "nvme-tcp")
	settle(t)
	kernel := fabrics.New("")
	r := startRecorder(t)
	begin := time.Now()
	for i, nqn := range f.NQNs() {
		id := f.Port.TID(nqn)
		w := wish.Wish{TID: tid.TID{
			Transport: id.Transport, Traddr: id.Traddr, Trsvcid: id.Trsvcid, NQN: id.NQN, HostNQN: id.HostNQN, HostID: id.HostID,
		}}
		if nqn == guest.DiscoveryNQN {
			w.Kind = tid.Discovery
		}
		if _, err := kernel.Connect(context.Background(), w, secret.Set{}); err != nil {
			t.Fatalf("%v", err)
		}
		if i == 0 {
			got.first = time.Since(begin)
		}
	}
	got.n, got.cold = n+1, time.Since(begin)
	got.finish(r)
	return got
}
