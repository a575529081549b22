// SPDX-License-Identifier: GPL-3.0-or-later

package netwatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/netlink"
)

const up = unix.IFF_UP | unix.IFF_LOWER_UP | unix.IFF_RUNNING

// rtattr is one attribute, padded.
func rtattr(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, (4-len(value)%4)%4)...)
}

// nlmsg is one netlink message.
func nlmsg(kind uint16, body ...[]byte) []byte {
	length := 16
	for _, b := range body {
		length += len(b)
	}
	m := binary.NativeEndian.AppendUint32(nil, uint32(length))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = append(m, make([]byte, 10)...) // flags, sequence, port
	for _, b := range body {
		m = append(m, b...)
	}
	return m
}

func rawLink(kind uint16, family byte, index, flags uint32, name string) []byte {
	header := []byte{family, 0, 0, 0}
	header = binary.NativeEndian.AppendUint32(header, index)
	header = binary.NativeEndian.AppendUint32(header, flags)
	header = append(header, 0, 0, 0, 0)
	return nlmsg(kind, header, rtattr(unix.IFLA_IFNAME, append([]byte(name), 0)))
}

func rawAddr(kind uint16, index uint32, flags uint32, attrs ...[]byte) []byte {
	header := []byte{unix.AF_INET6, 64, byte(flags), 0}
	header = binary.NativeEndian.AppendUint32(header, index)
	return nlmsg(kind, append([][]byte{header, rtattr(unix.IFA_FLAGS, binary.NativeEndian.AppendUint32(nil, flags))}, attrs...)...)
}

func address(addr string) []byte {
	return rtattr(unix.IFA_ADDRESS, netip.MustParseAddr(addr).AsSlice())
}

func local(addr string) []byte { return rtattr(unix.IFA_LOCAL, netip.MustParseAddr(addr).AsSlice()) }

func join(messages ...[]byte) []byte {
	var all []byte
	for _, m := range messages {
		all = append(all, m...)
	}
	return all
}

var equalAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// TestEvents feeds datagrams one after the other to a table that knows of nothing.
func TestEvents(t *testing.T) {
	eth0 := rawLink(unix.RTM_NEWLINK, 0, 2, up, "eth0")
	v4 := rawAddr(unix.RTM_NEWADDR, 2, 0, address("192.0.2.1"), local("192.0.2.1"))
	v6 := rawAddr(unix.RTM_NEWADDR, 2, unix.IFA_F_PERMANENT|0x200, address("2001:db8::1"))
	linkUp := Event{Kind: LinkUp, Iface: "eth0"}
	v4Up := Event{Kind: AddrUp, Iface: "eth0", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	v6Up := Event{Kind: AddrUp, Iface: "eth0", Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}}
	bothUp := Event{Kind: LinkUp, Iface: "eth0", Addrs: []netip.Addr{v4Up.Addrs[0], v6Up.Addrs[0]}}
	down := rawLink(unix.RTM_NEWLINK, 0, 2, unix.IFF_UP, "eth0")
	tests := []struct {
		name      string
		datagrams [][]byte
		want      []Event
	}{
		{"link and addresses come up", [][]byte{eth0, v4, v6}, []Event{linkUp, v4Up, v6Up}},
		{"in one datagram", [][]byte{join(eth0, v4, v6)}, []Event{linkUp, v4Up, v6Up}},
		{"repeated", [][]byte{eth0, eth0, v6, v6}, []Event{linkUp, v6Up}},
		{"address goes and returns", [][]byte{eth0, v4, rawAddr(unix.RTM_DELADDR, 2, 0, local("192.0.2.1")), v4}, []Event{linkUp, v4Up, v4Up}},
		{"no carrier, then one", [][]byte{rawLink(unix.RTM_NEWLINK, 0, 2, unix.IFF_UP, "eth0"), eth0}, []Event{linkUp}},
		{"carrier, not running yet", [][]byte{rawLink(unix.RTM_NEWLINK, 0, 2, unix.IFF_UP|unix.IFF_LOWER_UP, "eth0"), eth0}, []Event{linkUp}},
		{"renamed while it is up", [][]byte{eth0, v4, rawLink(unix.RTM_NEWLINK, 0, 2, up, "ens3")}, []Event{
			linkUp, v4Up, {Kind: LinkUp, Iface: "ens3", Addrs: v4Up.Addrs},
		}},
		{"link flaps", [][]byte{eth0, rawLink(unix.RTM_NEWLINK, 0, 2, unix.IFF_UP, "eth0"), eth0}, []Event{linkUp, linkUp}},
		{"link comes back with its addresses", [][]byte{eth0, v6, v4, down, eth0}, []Event{linkUp, v6Up, v4Up, bothUp}},
		{"addresses before the link", [][]byte{down, v4, v6, eth0}, []Event{v4Up, v6Up, bothUp}},
		{"an address that cannot be used yet", [][]byte{down, v4, rawAddr(unix.RTM_NEWADDR, 2, unix.IFA_F_TENTATIVE, address("2001:db8::1")), eth0}, []Event{
			v4Up, {Kind: LinkUp, Iface: "eth0", Addrs: v4Up.Addrs},
		}},
		{"the address of another link", [][]byte{down, rawAddr(unix.RTM_NEWADDR, 3, 0, local("192.0.2.3")), eth0}, []Event{
			{Kind: AddrUp, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.3")}}, linkUp,
		}},
		{"link removed without its addresses, its number used again", [][]byte{
			eth0, v4, rawLink(unix.RTM_DELLINK, 0, 2, up, "eth0"), eth0,
		}, []Event{linkUp, v4Up, linkUp}},
		{"link removed, its number used again", [][]byte{
			eth0, rawLink(unix.RTM_DELLINK, 0, 2, up, "eth0"), rawLink(unix.RTM_NEWLINK, 0, 2, up, "eth1"),
		}, []Event{linkUp, {Kind: LinkUp, Iface: "eth1"}}},
		{"renamed", [][]byte{eth0, rawLink(unix.RTM_NEWLINK, 0, 2, up, "lan0"), v4}, []Event{
			linkUp, {Kind: LinkUp, Iface: "lan0"}, {Kind: AddrUp, Iface: "lan0", Addrs: v4Up.Addrs},
		}},
		{"duplicate address detection", [][]byte{eth0, rawAddr(unix.RTM_NEWADDR, 2, unix.IFA_F_TENTATIVE, address("2001:db8::1")), v6}, []Event{linkUp, v6Up}},
		{"duplicate found", [][]byte{eth0, rawAddr(unix.RTM_NEWADDR, 2, unix.IFA_F_DADFAILED, address("2001:db8::1"))}, []Event{linkUp}},
		{"point-to-point", [][]byte{eth0, rawAddr(unix.RTM_NEWADDR, 2, 0, address("192.0.2.2"), local("192.0.2.1"))}, []Event{linkUp, v4Up}},
		{"a bridge speaks of its port", [][]byte{eth0, rawLink(unix.RTM_DELLINK, unix.AF_BRIDGE, 2, up, "eth0"), eth0}, []Event{linkUp}},
		{"other messages", [][]byte{nlmsg(unix.RTM_NEWROUTE, make([]byte, 12)), nlmsg(unix.NLMSG_DONE)}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			known := newTable()
			var got []Event
			for _, d := range test.datagrams {
				messages, err := parse(d)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, known.apply(messages)...)
			}
			if diff := cmp.Diff(test.want, got, equalAddr); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTableForgets(t *testing.T) {
	known := newTable()
	for _, d := range [][]byte{
		rawLink(unix.RTM_NEWLINK, 0, 2, up, "eth0"), rawAddr(unix.RTM_NEWADDR, 2, 0, local("192.0.2.1")),
		rawAddr(unix.RTM_DELADDR, 2, 0, local("192.0.2.1")), rawLink(unix.RTM_DELLINK, 0, 2, up, "eth0"),
	} {
		messages, err := parse(d)
		if err != nil {
			t.Fatal(err)
		}
		known.apply(messages)
	}
	if len(known.links)+len(known.addrs) != 0 {
		t.Errorf("what is gone is still known: %+v", known)
	}
}

func TestParseFails(t *testing.T) {
	tests := []struct {
		name     string
		datagram []byte
		err      string
	}{
		{"header cut off", rawLink(unix.RTM_NEWLINK, 0, 2, up, "eth0")[:15], "cannot parse a netlink datagram of 15 bytes: its last header is cut off"},
		{"longer than the datagram", rawLink(unix.RTM_NEWLINK, 0, 2, up, "eth0")[:30], "cannot parse a netlink datagram of 30 bytes: a message claims 44 of the last 30"},
		{"no length", make([]byte, 16), "cannot parse a netlink datagram of 16 bytes: a message claims 0 of the last 16"},
		{"link too short", nlmsg(unix.RTM_NEWLINK, make([]byte, 8)), "cannot parse a netlink message of type 16, 8 bytes: it is shorter than its header of 16 bytes"},
		{"address too short", nlmsg(unix.RTM_NEWADDR, make([]byte, 4)), "cannot parse a netlink message of type 20, 4 bytes: it is shorter than its header of 8 bytes"},
		{"attribute too long", nlmsg(unix.RTM_NEWADDR, make([]byte, 8), binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, 99), 1)), "cannot parse a netlink message of type 20, 12 bytes: an attribute claims 99 of the last 4 bytes"},
		{"attribute without a length", nlmsg(unix.RTM_NEWADDR, make([]byte, 12)), "cannot parse a netlink message of type 20, 12 bytes: an attribute claims 0 of the last 4 bytes"},
	}
	for _, test := range tests {
		_, err := parse(test.datagram)
		if err == nil || err.Error() != test.err {
			t.Errorf("%s: error %v, want %q", test.name, err, test.err)
		}
	}
}

// TestKernel brings up the loopback interface of a network namespace of its own, where everything is down at first.
func TestKernel(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and the namespace with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("cannot make a network namespace here: %v", err)
	}
	source, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", "192.0.2.77/32", "dev", "lo"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("cannot run ip %v here: %v: %s", args, err, out)
		}
	}
	var got []Event
	for len(got) < 3 {
		event, err := source.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if event.Kind == AddrUp && event.Addrs[0].Is6() { // there may be no IPv6
			continue
		}
		if event.Addrs = slices.DeleteFunc(event.Addrs, netip.Addr.Is6); event.Kind == LinkUp {
			event.Addrs = nil // those that it has by then
		}
		got = append(got, event)
	}
	want := []Event{
		{Kind: AddrUp, Iface: "lo", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}},
		{Kind: LinkUp, Iface: "lo"},
		{Kind: AddrUp, Iface: "lo", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.77")}},
	}
	slices.SortFunc(got[:2], func(a, b Event) int { return int(a.Kind - b.Kind) })
	if diff := cmp.Diff(want, got, equalAddr); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// What happens in another network namespace is no event.
func TestOtherNamespace(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and its namespaces with it
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("cannot run ip %v here: %v: %s", args, err, out)
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("cannot make a network namespace here: %v", err)
	}
	ours, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	source, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	ip("link", "set", "lo", "up")
	ip("addr", "add", "192.0.2.78/32", "dev", "lo")
	if err := unix.Setns(int(ours.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	ip("addr", "add", "192.0.2.77/32", "dev", "lo")
	event, err := source.Receive()
	if err != nil {
		t.Fatal(err)
	}
	want := Event{Kind: AddrUp, Iface: "lo", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.77")}}
	if diff := cmp.Diff(want, event, equalAddr); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestDump(t *testing.T) {
	known, err := dump()
	if err != nil {
		t.Skipf("cannot ask the kernel here: %v", err)
	}
	for _, l := range known.links {
		if l.name == "lo" {
			return
		}
	}
	t.Errorf("no lo among %+v", known.links)
}

// socketOf is a socket that hands out what a test has prepared, datagrams and errors, and is then closed.
type socketOf []any

func (s *socketOf) Receive(buf []byte) (int, error) {
	if len(*s) == 0 {
		return 0, os.ErrClosed
	}
	next := (*s)[0]
	*s = (*s)[1:]
	if err, ok := next.(error); ok {
		return 0, err
	}
	return copy(buf, next.([]byte)), nil
}

func (s *socketOf) Close() error { return nil }

// Whatever is lost is asked for once. After an overrun that is when what the buffer held has been received: the kernel goes on dropping
// messages until then, and those in the buffer are older than its answer.
func TestLost(t *testing.T) {
	eth0, eth1 := rawLink(unix.RTM_NEWLINK, 0, 2, up, "eth0"), rawLink(unix.RTM_NEWLINK, 0, 3, up, "eth1")
	empty := fmt.Errorf("%w: the receive buffer had overrun and is empty again", ErrLost)
	const told = "cannot watch the network: messages of the kernel were lost: "
	tests := []struct {
		name  string
		comes socketOf
		want  []string
		dumps int
	}{
		{"overrun", socketOf{netlink.ErrOverrun, eth0, empty, eth0, eth1}, []string{"eth0", told + "the receive buffer had overrun and is empty again", "eth1"}, 1},
		{"overrun twice", socketOf{netlink.ErrOverrun, netlink.ErrOverrun, empty}, []string{told + "the receive buffer had overrun and is empty again"}, 1},
		{"too long", socketOf{fmt.Errorf("%w: one is longer than 65536 bytes", ErrLost), eth1}, []string{told + "one is longer than 65536 bytes", "eth1"}, 1},
		{"not to be parsed", socketOf{eth1[:15], eth1}, []string{told + "cannot parse a netlink datagram of 15 bytes: its last header is cut off", "eth1"}, 1},
		{"nothing", socketOf{eth1}, []string{"eth1"}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dumps := 0
			s := &Source{socket: &test.comes, buf: make([]byte, maxMessage), known: newTable(), dump: func() (table, error) {
				dumps++
				known := newTable()
				known.links[2] = link{"eth0", true}
				return known, nil
			}}
			var got []string
			for {
				event, err := s.Receive()
				if errors.Is(err, os.ErrClosed) {
					break
				}
				if err != nil && !errors.Is(err, ErrLost) {
					t.Fatal(err)
				}
				if got = append(got, event.Iface); err != nil {
					got[len(got)-1] = err.Error()
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" || dumps != test.dumps {
				t.Errorf("%d dumps, want %d; events (-want +got):\n%s", dumps, test.dumps, diff)
			}
		})
	}
}

// What cannot be found out anew is final.
func TestLostForGood(t *testing.T) {
	refused := errors.New("cannot list links and addresses")
	s := &Source{socket: &socketOf{ErrLost}, known: newTable(), dump: func() (table, error) { return table{}, refused }}
	if _, err := s.Receive(); !errors.Is(err, refused) || errors.Is(err, ErrLost) {
		t.Errorf("got %v, want %v alone", err, refused)
	}
}

func TestCloseWakesReceive(t *testing.T) {
	source, err := Open()
	if err != nil {
		t.Skipf("cannot watch the network here: %v", err)
	}
	done := make(chan error)
	go func() {
		var err error
		for err == nil || errors.Is(err, ErrLost) {
			_, err = source.Receive()
		}
		done <- err
	}()
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Receive ended with %v, want os.ErrClosed", err)
	}
}

// FuzzParse checks that no datagram panics and that what comes up is named by an address or an interface.
func FuzzParse(f *testing.F) {
	f.Add(rawLink(unix.RTM_NEWLINK, 0, 2, up, "eth0"))
	f.Add(join(rawLink(unix.RTM_NEWLINK, 0, 2, up, "eth0"), rawAddr(unix.RTM_NEWADDR, 2, 0, local("192.0.2.1"))))
	f.Add(rawAddr(unix.RTM_DELADDR, 2, unix.IFA_F_TENTATIVE, address("fe80::1")))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		messages, err := parse(datagram)
		if err != nil {
			return
		}
		for _, event := range newTable().apply(messages) {
			if event.Kind == AddrUp && len(event.Addrs) != 1 || slices.ContainsFunc(event.Addrs, func(a netip.Addr) bool { return !a.IsValid() }) {
				t.Errorf("event %+v", event)
			}
		}
	})
}
