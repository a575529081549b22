// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/netwatch"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/uevent"
)

func addrs(all ...string) (addrs []netip.Addr) {
	for _, a := range all {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs
}

var sameAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// watching is a daemon without a loop whose host has no boot tables.
func watching(t testing.TB) *Daemon {
	d, _ := idle(t, host(t))
	d.boot = newBootTables(d.Root, d.Log, config.Config{})
	return d
}

// kicked plays the loop until nothing is left, and returns the kicks that came.
func kicked(t *testing.T, d *Daemon) (kicks []core.Kick) {
	for {
		time.Sleep(2 * kickPause)
		synctest.Wait()
		select {
		case a := <-d.events:
			kick, ok := a.Event.(core.Kick)
			if !ok {
				t.Errorf("event %+v", a.Event)
			}
			kicks = append(kicks, kick)
			close(a.done)
		default:
			return kicks
		}
	}
}

// What comes up on the network is a kick with its interface and addresses; what was lost may have been anything.
func TestNetworkKicks(t *testing.T) {
	up := netwatch.Event{Kind: netwatch.LinkUp, Iface: "eth0", Addrs: addrs("192.0.2.1", "fe80::1")}
	addr := netwatch.Event{Kind: netwatch.AddrUp, Iface: "eth1", Addrs: addrs("192.0.2.2")}
	lo := netwatch.Event{Kind: netwatch.AddrUp, Iface: "lo", Addrs: addrs("127.0.0.1")}
	for _, test := range []struct {
		name string
		do   func(*testing.T, *Daemon)
		want []core.Kick
	}{
		{"a link", func(t *testing.T, d *Daemon) { d.networkEvent(t.Context(), up) }, []core.Kick{
			{Transport: tid.TCP, Iface: "eth0", Addrs: up.Addrs, Why: "link eth0 is up"},
			{Transport: tid.RDMA, Iface: "eth0", Addrs: up.Addrs, Why: "link eth0 is up"},
		}},
		{"a port of a bridge", func(t *testing.T, d *Daemon) {
			d.networkEvent(t.Context(), netwatch.Event{Kind: netwatch.LinkUp, Iface: "eth0", Addrs: addrs("fe80::1"), Hardware: true})
		}, []core.Kick{{Transport: tid.TCP, Why: "link eth0 is up"}, {Transport: tid.RDMA, Why: "link eth0 is up"}}},
		{"a container's link", func(t *testing.T, d *Daemon) {
			d.networkEvent(t.Context(), netwatch.Event{Kind: netwatch.LinkUp, Iface: "veth0", Addrs: addrs("fe80::1")})
		}, []core.Kick{
			{Transport: tid.TCP, Iface: "veth0", Addrs: addrs("fe80::1"), Why: "link veth0 is up"},
			{Transport: tid.RDMA, Iface: "veth0", Addrs: addrs("fe80::1"), Why: "link veth0 is up"},
		}},
		{"an address", func(t *testing.T, d *Daemon) { d.networkEvent(t.Context(), addr) }, []core.Kick{
			{Transport: tid.TCP, Iface: "eth1", Addrs: addr.Addrs, Why: "an address appeared on eth1"},
			{Transport: tid.RDMA, Iface: "eth1", Addrs: addr.Addrs, Why: "an address appeared on eth1"},
		}},
		{"loopback", func(t *testing.T, d *Daemon) { d.networkEvent(t.Context(), lo) }, []core.Kick{
			{Transport: tid.TCP, Iface: "lo", Addrs: lo.Addrs, Why: "an address appeared on lo"},
			{Transport: tid.RDMA, Iface: "lo", Addrs: lo.Addrs, Why: "an address appeared on lo"},
		}},
		{"lost", func(t *testing.T, d *Daemon) { d.networkLost(t.Context()) }, []core.Kick{
			{Transport: tid.TCP, Why: "network events may have been lost"},
			{Transport: tid.RDMA, Why: "network events may have been lost"},
		}},
		{"an RDMA device", func(t *testing.T, d *Daemon) {
			d.uevent(t.Context(), uevent.Event{Subsystem: "infiniband", Action: "add"})
			d.uevent(t.Context(), uevent.Event{Subsystem: "infiniband", Action: "remove"})
		}, []core.Kick{{Transport: tid.RDMA, Why: "an RDMA device appeared"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := watching(t)
				test.do(t, d)
				if diff := cmp.Diff(test.want, kicked(t, d), sameAddr); diff != "" {
					t.Errorf("kicks (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// While the loop is busy, kicks are put together: those of one interface, and too many interfaces or addresses to everything.
func TestKicksCoalesce(t *testing.T) {
	const first, n = "an address appeared on first", 10_000
	for _, test := range []struct {
		name  string
		event func(i int) netwatch.Event
		want  core.Kick // of each transport, after the first one
	}{
		{"of one interface", func(i int) netwatch.Event {
			return netwatch.Event{Kind: netwatch.AddrUp, Iface: "eth0", Addrs: addrs("192.0.2." + strconv.Itoa(i%2))}
		}, core.Kick{Iface: "eth0", Addrs: addrs("192.0.2.0", "192.0.2.1"), Why: "an address appeared on eth0"}},
		{"of many interfaces", func(i int) netwatch.Event {
			return netwatch.Event{Kind: netwatch.LinkUp, Iface: "veth" + strconv.Itoa(i)}
		}, core.Kick{Why: "link veth0 is up"}},
		{"of many addresses", func(i int) netwatch.Event {
			addr := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(i))))
			return netwatch.Event{Kind: netwatch.AddrUp, Iface: "eth0", Addrs: []netip.Addr{addr}}
		}, core.Kick{Why: "an address appeared on eth0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := watching(t)
				begin := netwatch.Event{Kind: netwatch.AddrUp, Iface: "first", Addrs: addrs("192.0.2.9")}
				d.networkEvent(t.Context(), begin)
				synctest.Wait()
				for i := range n {
					d.networkEvent(t.Context(), test.event(i))
				}
				if waiting := len(d.events); waiting != 1 {
					t.Errorf("%d events wait", waiting)
				}
				var want []core.Kick
				for _, kick := range []core.Kick{{Iface: "first", Addrs: begin.Addrs, Why: first}, test.want} {
					for _, transport := range []string{tid.TCP, tid.RDMA} {
						kick.Transport = transport
						want = append(want, kick)
					}
				}
				if diff := cmp.Diff(want, kicked(t, d), sameAddr); diff != "" {
					t.Errorf("kicks (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A storm of kicks wakes the loop some times a second, however many they are, and the first of them at once.
func TestKicksPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := watching(t)
		begun := time.Now()
		var came []time.Duration
		go func() {
			for {
				select {
				case a := <-d.events:
					came = append(came, time.Since(begun))
					close(a.done)
				case <-t.Context().Done():
					return
				}
			}
		}()
		for range 1000 {
			d.networkEvent(t.Context(), netwatch.Event{Kind: netwatch.LinkUp, Iface: "veth0"})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * kickPause)
		synctest.Wait()
		const batches = time.Second / kickPause
		if n := len(came); n < int(batches) || n > 2*int(batches+2) || came[0] != 0 || came[n-1] < time.Second-kickPause {
			t.Errorf("%d kicks came, at %v", n, came)
		}
	})
}

// A kick for everything covers those of single interfaces, of its transport only.
func TestKickForEverything(t *testing.T) {
	var k kicks
	for _, kick := range []core.Kick{
		{Transport: tid.RDMA, Iface: "eth0", Why: "1"},
		{Transport: tid.TCP, Iface: "eth0", Why: "2"},
		{Transport: tid.TCP, Iface: "eth1", Why: "3"},
		{Transport: tid.TCP, Why: "4"},
		{Transport: tid.TCP, Iface: "eth2", Why: "5"},
		{Transport: tid.TCP, Why: "6"},
	} {
		k.add(kick)
	}
	want := []core.Kick{{Transport: tid.RDMA, Iface: "eth0", Why: "1"}, {Transport: tid.TCP, Why: "2"}}
	if diff := cmp.Diff(want, k.take(), sameAddr); diff != "" {
		t.Errorf("kicks (-want +got):\n%s", diff)
	}
	if rest := k.take(); rest != nil || !k.add(want[0]) {
		t.Errorf("%v left, or nobody is to post the next", rest)
	}
}
