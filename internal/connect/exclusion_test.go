// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/fabrics"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// guarded is a host whose kernel several may use at a time.
type guarded struct {
	*host
	mu       sync.Mutex
	connects int
}

func (g *guarded) Connect(ctx context.Context, w wish.Wish, secrets secret.Set) (fabrics.Result, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.connects++
	return g.host.Connect(ctx, w, secrets)
}

// remove is the kernel's when somebody deletes device.
func (g *guarded) remove(device string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone(device)
}

// TestExcludedAsItGoes: who excludes a connection and deletes its controller right after never sees it come back, however
// eager another program is to connect it again.
func TestExcludedAsItGoes(t *testing.T) {
	t.Parallel()
	const rounds = 1000
	g := &guarded{host: newHost(t)}
	connector := New(g.root, g, func(err error) { t.Error(err) })
	request := Request{Wish: ioc(), Idempotent: true}
	request.Wish.Owner = "" // nothing to write down: more rounds in less time
	// As package exclusion does it, but without waiting for the disk.
	list := g.root.Join("etc/nvme/exclusions/user.conf")
	exclude := func() error {
		if err := os.WriteFile(list+".tmp.1", []byte("exclusion = nqn="+request.Wish.TID.NQN+"\n"), 0o644); err != nil {
			return err
		}
		return os.Rename(list+".tmp.1", list)
	}
	g.mkdir("/etc/nvme/exclusions")
	for round := range rounds {
		device, err := connector.Connect(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		var eager sync.WaitGroup
		eager.Go(func() {
			for {
				_, err := connector.Connect(t.Context(), request)
				if err != nil && strings.Contains(err.Error(), "it is excluded by") {
					return
				}
				g.mu.Lock()
				connects := g.connects
				g.mu.Unlock()
				if err != nil || connects > round+1 {
					t.Errorf("round %d: %d connects, want %d; %v", round, connects, round+1, err)
					return
				}
			}
		})
		if err := exclude(); err != nil {
			t.Error(err)
		}
		g.remove(device)
		eager.Wait()
		if t.Failed() {
			return
		}
		if err := os.Remove(list); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDisconnectExcluded: of what is excluded it is not said that it will come back.
func TestDisconnectExcluded(t *testing.T) {
	h := newHost(t)
	h.controller("nvme3", ioc().TID)
	h.write("/run/nvme/"+binding, unit+"\n")
	h.write("/etc/nvme/exclusions/user.conf", "exclusion = nqn="+nqn+"\n")
	outcomes, err := h.Disconnect("nvme3", func(c sysfs.Controller) bool { return c.Name == "nvme3" }, false)
	want := []string{"disconnected nvme3: (tcp, 192.0.2.1, 4420, " + nqn + ")"}
	if diff := cmp.Diff(want, outcomes); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestDisconnectAll: owners do not matter, local PCIe controllers are out of reach.
func TestDisconnectAll(t *testing.T) {
	h := newHost(t)
	h.write("/sys/class/nvme/nvme0/transport", "pcie\n")
	h.write("/sys/class/nvme/nvme0/delete_controller", "\n")
	second, third := ioc().TID, ioc().TID
	second.Traddr, third.Traddr = "192.0.2.2", "192.0.2.3"
	h.controller("nvme3", ioc().TID)
	h.controller("nvme4", second)
	h.controller("nvme5", third)
	h.write("/run/nvme/registry/nvme4/owner", "stas\n")
	for _, test := range []struct {
		match func(Owned) bool
		want  []string
	}{
		{func(o Owned) bool { return o.Owner == "" }, []string{
			"disconnected nvme3: (tcp, 192.0.2.1, 4420, " + nqn + ")",
			"disconnected nvme5: (tcp, 192.0.2.3, 4420, " + nqn + ")",
		}},
		{func(o Owned) bool { return o.Owner == "stas" }, []string{"disconnected nvme4: (tcp, 192.0.2.2, 4420, " + nqn + ")"}},
		{func(o Owned) bool { return o.Name == "nvme0" }, nil},
	} {
		outcomes, err := h.DisconnectAll(test.match, false)
		if diff := cmp.Diff(test.want, outcomes); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	if h.deleted("nvme0") {
		t.Error("the local controller was deleted")
	}
}

// TestDisconnectAllOwnerChanged: the owner counts that is on record when the controller is about to go.
func TestDisconnectAllOwnerChanged(t *testing.T) {
	h := newHost(t)
	h.controller("nvme3", ioc().TID)
	asked := false
	outcomes, err := h.DisconnectAll(func(o Owned) bool {
		if !asked {
			asked = true
			h.write("/run/nvme/registry/nvme3/owner", "stas\n")
		}
		return o.Owner == ""
	}, false)
	if outcomes != nil || err != nil || h.deleted("nvme3") {
		t.Errorf("disconnected %q, %v", outcomes, err)
	}
}

func TestTIDs(t *testing.T) {
	c := sysfs.Controller{
		Name: "nvme3", Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "8009", NQN: "nqn.2024-01.com.example:dc", Type: "discovery",
		HostTraddr: "192.0.2.9", HostIface: "eth0", HostNQN: "h", HostID: "1", SrcAddr: "192.0.2.9", SrcIface: "eth0",
	}
	own := tid.TID{
		Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "8009", NQN: "nqn.2024-01.com.example:dc",
		HostTraddr: "192.0.2.9", HostIface: "eth0", HostNQN: "h", HostID: "1",
	}
	wellKnown := own
	wellKnown.NQN = tid.DiscoveryNQN
	if diff := cmp.Diff([]tid.TID{own, wellKnown}, TIDs(c)); diff != "" {
		t.Errorf("with an NQN of its own (-want +got):\n%s", diff)
	}
	c.NQN = tid.DiscoveryNQN
	if diff := cmp.Diff([]tid.TID{wellKnown}, TIDs(c)); diff != "" {
		t.Errorf("with the well-known NQN (-want +got):\n%s", diff)
	}
}
