// SPDX-License-Identifier: GPL-3.0-or-later

package sysfs

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// rtattr is one attribute of rtnetlink, padded.
func rtattr(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, (4-len(value)%4)%4)...)
}

// addrBody is the body of an RTM_NEWADDR message.
func addrBody(index uint32, attrs ...[]byte) []byte {
	b := binary.NativeEndian.AppendUint32(make([]byte, 4), index)
	for _, a := range attrs {
		b = append(b, a...)
	}
	return b
}

func holds(kind uint16, addr string) []byte {
	return rtattr(kind, netip.MustParseAddr(addr).AsSlice())
}

// asked stands in for the kernel and counts the questions.
type asked struct {
	addrs        [][]byte
	names        map[uint32]string
	err          error
	dumps, calls int
}

func (a *asked) network() *network {
	return &network{
		dump: func(protocol int, kind uint16, body []byte) ([][]byte, error) {
			a.dumps++
			if protocol != unix.NETLINK_ROUTE || kind != unix.RTM_GETADDR || len(body) != unix.SizeofIfAddrmsg {
				return nil, fmt.Errorf("dump of protocol %d, kind %d, with %d bytes", protocol, kind, len(body))
			}
			return a.addrs, a.err
		},
		nameOf: func(index uint32) (string, error) {
			a.calls++
			return a.names[index], nil
		},
	}
}

func TestInterfaces(t *testing.T) {
	a := asked{addrs: [][]byte{
		addrBody(1, holds(unix.IFA_ADDRESS, "::1")),
		addrBody(2, holds(unix.IFA_ADDRESS, "192.0.2.1"), holds(unix.IFA_LOCAL, "192.0.2.1")),
		addrBody(2, holds(unix.IFA_ADDRESS, "2001:db8::1")),
		addrBody(3, holds(unix.IFA_ADDRESS, "192.0.2.3"), holds(unix.IFA_LOCAL, "192.0.2.2")), // point-to-point
		addrBody(2), addrBody(2, rtattr(unix.IFA_LOCAL, []byte{1, 2, 3})),
		{1, 2, 3},
	}}
	got, err := a.network().interfaces()
	if err != nil {
		t.Fatal(err)
	}
	want := map[netip.Addr]uint32{
		netip.MustParseAddr("::1"): 1, netip.MustParseAddr("192.0.2.1"): 2, netip.MustParseAddr("2001:db8::1"): 2, netip.MustParseAddr("192.0.2.2"): 3,
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
	a.err = unix.EPERM
	_, err = a.network().interfaces()
	if want := "cannot list the addresses of this host: operation not permitted"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
}

// The interface of every address of this host is the one that the standard library finds.
func TestInterfacesOfKernel(t *testing.T) {
	ifaceOf := NewReader("").lookup()
	ifaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	holders := map[string][]string{}
	for _, iface := range ifaces {
		addrs, err := iface.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			ip := netip.MustParsePrefix(a.String()).Addr().String()
			holders[ip] = append(holders[ip], iface.Name)
		}
	}
	for ip, names := range holders {
		if got, err := ifaceOf(ip); err != nil || !slices.Contains(names, got) {
			t.Errorf("interface of %s: %q, %v, want one of %q", ip, got, err, names)
		}
	}
	if name, err := interfaceName(1<<31 - 1); name != "" || err != nil {
		t.Errorf("an interface that is not there: %q, %v", name, err)
	}
}

// A scan of many controllers dumps the addresses once, however many there are, and asks for the names that it needs.
func TestScanAsksOnce(t *testing.T) {
	tr := newTree(t)
	for _, name := range []string{"nvme1", "nvme2", "nvme3"} {
		tr.fabrics(name, ioAttrs(nqnA))
	}
	elsewhere := ioAttrs(nqnA)
	elsewhere["address"] = "traddr=192.0.2.1,trsvcid=4420,src_addr=192.0.2.101"
	tr.fabrics("nvme4", elsewhere)
	a := asked{names: map[uint32]string{2: "eth0"}, addrs: [][]byte{addrBody(2, holds(unix.IFA_LOCAL, "192.0.2.100"))}}
	for i := range 500 {
		a.addrs = append(a.addrs, addrBody(uint32(i+3), holds(unix.IFA_LOCAL, fmt.Sprintf("10.0.%d.%d", i/256, i%256))))
	}
	all, err := Reader{Root: tr.root, network: a.network()}.Scan()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range all {
		got[c.Name] = c.SrcIface
	}
	if diff := cmp.Diff(map[string]string{"nvme1": "eth0", "nvme2": "eth0", "nvme3": "eth0", "nvme4": ""}, got); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
	if a.dumps != 1 || a.calls != 3 {
		t.Errorf("%d dumps, %d names, want 1 and 3", a.dumps, a.calls)
	}
}

// BenchmarkInterfaces finds the interface of an address in a network namespace with many of them.
func BenchmarkInterfaces(b *testing.B) {
	for _, n := range []int{50, 500} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			runtime.LockOSThread() // never unlocked: the thread ends with the benchmark, and the namespace with it
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				b.Skipf("cannot make a network namespace here: %v", err)
			}
			var script strings.Builder
			for i := range n {
				fmt.Fprintf(&script, "link add d%d type bridge\naddr add 10.0.%d.%d/32 dev d%d\n", i, i/256, i%256, i)
			}
			cmd := exec.Command("ip", "-batch", "-")
			cmd.Stdin = strings.NewReader(script.String())
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Skipf("cannot make interfaces here: %v: %s", err, out)
			}
			for b.Loop() {
				if name, err := NewReader("").lookup()("10.0.0.7"); err != nil || name != "d7" {
					b.Fatalf("interface %q, %v", name, err)
				}
			}
		})
	}
}
