package sysfs

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/netlink"
)

// rtattr is one attribute of rtnetlink, padded.
func rtattr(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, (4-len(value)%4)%4)...)
}

// linkBody is the body of an RTM_NEWLINK message.
func linkBody(index uint32, attrs ...[]byte) []byte {
	b := binary.NativeEndian.AppendUint32(make([]byte, 4), index)
	b = append(b, make([]byte, unix.SizeofIfInfomsg-len(b))...)
	for _, a := range attrs {
		b = append(b, a...)
	}
	return b
}

// addrBody is the body of an RTM_NEWADDR message.
func addrBody(index uint32, attrs ...[]byte) []byte {
	b := binary.NativeEndian.AppendUint32(make([]byte, 4), index)
	for _, a := range attrs {
		b = append(b, a...)
	}
	return b
}

func named(name string) []byte { return rtattr(unix.IFLA_IFNAME, append([]byte(name), 0)) }

func holds(kind uint16, addr string) []byte {
	return rtattr(kind, netip.MustParseAddr(addr).AsSlice())
}

// dumps stands in for netlink.Dump and counts its calls.
type dumps struct {
	links, addrs [][]byte
	err          map[uint16]error
	calls        int
}

func (d *dumps) dump(protocol int, kind uint16, body []byte) ([][]byte, error) {
	d.calls++
	switch {
	case protocol == unix.NETLINK_ROUTE && kind == unix.RTM_GETLINK && len(body) == unix.SizeofIfInfomsg:
		return d.links, d.err[kind]
	case protocol == unix.NETLINK_ROUTE && kind == unix.RTM_GETADDR && len(body) == unix.SizeofIfAddrmsg:
		return d.addrs, d.err[kind]
	}
	return nil, fmt.Errorf("dump of protocol %d, kind %d, with %d bytes", protocol, kind, len(body))
}

func TestHostInterfaces(t *testing.T) {
	d := dumps{
		links: [][]byte{linkBody(1, named("lo")), linkBody(2, rtattr(unix.IFLA_MTU, []byte{0, 0, 0, 0}), named("eth0")), linkBody(3, named("ppp0")), linkBody(4), {1, 2, 3}},
		addrs: [][]byte{
			addrBody(1, holds(unix.IFA_ADDRESS, "::1")),
			addrBody(2, holds(unix.IFA_ADDRESS, "192.0.2.1"), holds(unix.IFA_LOCAL, "192.0.2.1")),
			addrBody(2, holds(unix.IFA_ADDRESS, "2001:db8::1")),
			addrBody(2, holds(unix.IFA_ADDRESS, "fe80::1")),
			addrBody(3, holds(unix.IFA_ADDRESS, "192.0.2.3"), holds(unix.IFA_LOCAL, "192.0.2.2")), // point-to-point
			addrBody(4, holds(unix.IFA_LOCAL, "192.0.2.4")),                                       // an interface without a name
			addrBody(5, holds(unix.IFA_LOCAL, "192.0.2.5")),                                       // one that has gone
			addrBody(2), addrBody(2, rtattr(unix.IFA_LOCAL, []byte{1, 2, 3})),
			{1, 2, 3},
		},
	}
	got, err := hostInterfaces(d.dump)
	if err != nil {
		t.Fatal(err)
	}
	want := map[netip.Addr]string{
		netip.MustParseAddr("::1"): "lo", netip.MustParseAddr("192.0.2.1"): "eth0", netip.MustParseAddr("2001:db8::1"): "eth0",
		netip.MustParseAddr("fe80::1"): "eth0", netip.MustParseAddr("192.0.2.2"): "ppp0",
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
	for _, kind := range []uint16{unix.RTM_GETLINK, unix.RTM_GETADDR} {
		d.err = map[uint16]error{kind: unix.EPERM}
		if _, err := hostInterfaces(d.dump); err != unix.EPERM {
			t.Errorf("kind %d: error %v", kind, err)
		}
	}
}

// The kernel is asked twice, however many interfaces there are.
func TestHostInterfacesDumps(t *testing.T) {
	for _, n := range []int{1, 501} {
		d := dumps{}
		for i := range n {
			d.links = append(d.links, linkBody(uint32(i+1), named(fmt.Sprintf("eth%d", i))))
			d.addrs = append(d.addrs, addrBody(uint32(i+1), holds(unix.IFA_LOCAL, fmt.Sprintf("10.0.%d.%d", i/256, i%256))))
		}
		table, err := hostInterfaces(d.dump)
		if err != nil || len(table) != n || d.calls != 2 {
			t.Errorf("%d interfaces: %d dumps, %d addresses, %v", n, d.calls, len(table), err)
		}
	}
}

// The interfaces of this host are those that the standard library finds.
func TestHostInterfacesOfKernel(t *testing.T) {
	got, err := hostInterfaces(netlink.Dump)
	if err != nil {
		t.Fatal(err)
	}
	ifaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, iface := range ifaces {
		addrs, err := iface.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			if ip := netip.MustParsePrefix(a.String()).Addr(); got[ip] == "" {
				t.Errorf("%s of %s is missing", ip, iface.Name)
			}
		}
	}
}

// A scan of many controllers asks the kernel for the interfaces once.
func TestBulkAsksOnce(t *testing.T) {
	tr := newTree(t)
	for _, name := range []string{"nvme1", "nvme2", "nvme3"} {
		tr.fabrics(name, ioAttrs(nqnA))
	}
	d := dumps{
		links: [][]byte{linkBody(2, named("eth0"))},
		addrs: [][]byte{addrBody(2, holds(unix.IFA_LOCAL, "192.0.2.100"))},
	}
	r := Reader{Root: tr.root, dump: d.dump}
	all, err := r.Scan()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.SrcIface != "eth0" {
			t.Errorf("%s is on %q", c.Name, c.SrcIface)
		}
	}
	if len(all) != 3 || d.calls != 2 {
		t.Errorf("%d controllers, %d dumps", len(all), d.calls)
	}
}

// No body that a netlink message may have panics, and a name or an address comes from its bytes alone.
func FuzzInterface(f *testing.F) {
	f.Add(linkBody(2, named("eth0")))
	f.Add(addrBody(2, holds(unix.IFA_ADDRESS, "192.0.2.3"), holds(unix.IFA_LOCAL, "192.0.2.2")))
	f.Add(addrBody(2, holds(unix.IFA_ADDRESS, "2001:db8::1")))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, name := parseLink(body); !strings.Contains(string(body), name) {
			t.Errorf("name %q", name)
		}
		if _, addr := parseAddr(body); addr.IsValid() && (addr.Zone() != "" || addr.Is4In6()) {
			t.Errorf("address %s", addr)
		}
	})
}

// BenchmarkHostInterfaces looks the interfaces up in a network namespace with many of them.
func BenchmarkHostInterfaces(b *testing.B) {
	for _, n := range []int{50, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
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
				if table, err := hostInterfaces(netlink.Dump); err != nil || len(table) != n {
					b.Fatalf("%d interfaces, %v", len(table), err)
				}
			}
		})
	}
}
