// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
)

// A look finds the controllers whose state is not the one that the loop knows, and people see it: the kernel sends no uevent.
func TestLook(t *testing.T) {
	d, ctx := running(t, 2)
	put(t, d.Root.UeventSeqnum(), "100\n")
	putController(t, d.Root, "nvme1", "nqn.2024-01.com.example:vol0")
	putController(t, d.Root, "nvme2", "nqn.2024-01.com.example:vol1")
	c := dial(t, ctx, d)
	shows := func(state string) client.Controller {
		t.Helper()
		d.look(ctx)
		for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
			found, err := c.Controllers(ctx, "nvme2")
			if err != nil {
				t.Fatal(err)
			}
			if found[0].State == state {
				return found[0]
			}
			if time.Now().After(deadline) {
				t.Fatalf("nvme2: got %+v, want it %s", found[0], state)
			}
		}
	}
	put(t, filepath.Join(d.Root.SysClassNVMe(), "nvme2", "state"), "connecting\n")
	got := shows("reconnecting")
	if got.DeviceState == nil || *got.DeviceState != "connecting" || got.ReconnectUntil == nil {
		t.Errorf("nvme2: got %+v, want it connecting, and until when", got)
	}
	status, err := c.Status(ctx)
	if err != nil || status.Counts.Connected != 1 || status.Counts.Reconnecting != 1 || status.Status != "1 of 2 controllers connected, 1 reconnecting" {
		t.Errorf("status: got %+v, %v", status, err)
	}
	put(t, filepath.Join(d.Root.SysClassNVMe(), "nvme2", "state"), "live\n")
	if got := shows("connected"); got.ReconnectUntil != nil {
		t.Errorf("nvme2: got %+v, want no end", got)
	}
}

// A controller that is stuck in the kernel costs one look its patience, and the next looks nothing.
func TestLookAtStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReader(host(t, "nvme3", "nvme4"))
		release := make(chan struct{})
		stuck, cancel := context.WithTimeout(t.Context(), lookPatience)
		defer cancel()
		if _, err := r.attempt(stuck, "nvme3", func(string) (sysfs.Controller, error) {
			<-release
			return sysfs.Controller{}, nil
		}); err == nil {
			t.Error("the read that is stuck: got no error")
		}
		begun := time.Now()
		if got := r.stateOf(t.Context(), "nvme3"); got != "" || time.Since(begun) != 0 {
			t.Errorf("stuck: got %q after %v, want nothing at once", got, time.Since(begun))
		}
		if got := r.stateOf(t.Context(), "nvme4"); got != "live" {
			t.Errorf("the other one: got %q, want live", got)
		}
		if got := r.stateOf(t.Context(), "nvme9"); got != "" {
			t.Errorf("one that is gone: got %q, want nothing", got)
		}
		close(release)
	})
}

// BenchmarkLook is what one look costs for each controller.
func BenchmarkLook(b *testing.B) {
	root := host(b, "nvme3")
	r := newReader(root)
	for b.Loop() {
		r.stateOf(b.Context(), "nvme3")
	}
}
