// SPDX-License-Identifier: GPL-3.0-or-later

package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Every kernel has a loopback interface, and tells of it first.
func TestDump(t *testing.T) {
	bodies, err := Dump(unix.NETLINK_ROUTE, unix.RTM_GETLINK, make([]byte, unix.SizeofIfInfomsg))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, body := range bodies {
		for kind, value := range Attributes(body[unix.SizeofIfInfomsg:]) {
			if kind == unix.IFLA_IFNAME {
				names = append(names, strings.TrimRight(string(value), "\x00"))
			}
		}
	}
	if len(names) == 0 || names[0] != "lo" {
		t.Errorf("links: got %q, want lo first", names)
	}
}

func TestDumpRefused(t *testing.T) {
	_, err := Dump(unix.NETLINK_ROUTE, 0x7fff, nil)
	if want := "the kernel refuses a netlink request: operation not supported"; !errors.Is(err, unix.EOPNOTSUPP) || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	if _, err := Dump(99, 0, nil); !errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Errorf("error %v, want that the protocol is not supported", err)
	}
}

// message is one of the kind.
func message(kind uint16, body ...byte) []byte {
	m := dumpRequest(kind, body)
	return append(m, make([]byte, align(len(m))-len(m))...)
}

func TestParseAnswer(t *testing.T) {
	refused := binary.NativeEndian.AppendUint32(nil, ^uint32(unix.ENODEV)+1)
	fine := []byte{0, 0, 0, 0}
	interrupted := message(20, 1)
	interrupted[6] |= unix.NLM_F_DUMP_INTR
	tests := []struct {
		name     string
		datagram []byte
		want     string
	}{
		{"two and the end", append(append(message(20, 1), message(20, 2, 3)...), message(unix.NLMSG_DONE, fine...)...), "{[[1] [2 3]] false true} <nil>"},
		{"more to come", message(20, 1), "{[[1]] false false} <nil>"},
		{"interrupted", append(interrupted, message(unix.NLMSG_DONE)...), "{[[1]] true true} <nil>"},
		{"nothing", nil, "{[] false false} <nil>"},
		{"refused", message(unix.NLMSG_ERROR, refused...), "{[] false false} the kernel refuses a netlink request: no such device"},
		{"refused in the middle", message(unix.NLMSG_DONE, refused...), "{[] false false} the kernel refuses a netlink request: no such device"},
		{"acknowledged", append(message(unix.NLMSG_ERROR, fine...), message(unix.NLMSG_DONE)...), "{[] false true} <nil>"},
		{"no header", []byte{1, 2}, "{[] false false} cannot parse a netlink answer of 2 bytes: its last header is cut off"},
		{"too long", message(20, 1)[:16], "{[] false false} cannot parse a netlink answer of 16 bytes: a message claims 17 of the last 16"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer, err := parseAnswer(test.datagram)
			if got := fmt.Sprintf("%v %v", answer, err); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// A dump that something interrupted is repeated, for it may lack what did not change; one that is always interrupted is taken.
func TestDumpInterrupted(t *testing.T) {
	for _, test := range []struct {
		interrupted, want int
	}{{0, 1}, {1, 2}, {4, 5}, {100, 5}} {
		n := 0
		bodies, err := repeat(func() ([][]byte, bool, error) {
			n++
			return make([][]byte, n), n <= test.interrupted, nil
		})
		if n != test.want || len(bodies) != n || err != nil {
			t.Errorf("interrupted %d times: %d dumps, %d bodies, %v; want %d dumps", test.interrupted, n, len(bodies), err, test.want)
		}
	}
	failure := errors.New("broken")
	if _, err := repeat(func() ([][]byte, bool, error) { return nil, true, failure }); err != failure {
		t.Errorf("error %v", err)
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(append(message(20, 4, 0, 1, 0), message(unix.NLMSG_DONE, 0, 0, 0, 0)...))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		answer, err := parseAnswer(datagram)
		if err != nil && !strings.HasPrefix(err.Error(), "cannot parse a netlink answer of ") && !strings.HasPrefix(err.Error(), "the kernel refuses ") {
			t.Errorf("error %v", err)
		}
		for _, body := range answer.bodies {
			for kind, value := range Attributes(body) {
				if len(value) > len(body) {
					t.Errorf("attribute %d has %d of %d bytes", kind, len(value), len(body))
				}
			}
		}
	})
}

// No body that a netlink message may have panics, and an address has the form in which it is looked up.
func FuzzParseAddress(f *testing.F) {
	body := func(bits byte, attrs ...[]byte) []byte {
		return slices.Concat(append([][]byte{{0, bits, 0, 0}, binary.NativeEndian.AppendUint32(nil, 2)}, attrs...)...)
	}
	attr := func(kind uint16, addr string) []byte {
		value := netip.MustParseAddr(addr).AsSlice()
		b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
		return append(binary.NativeEndian.AppendUint16(b, kind), value...)
	}
	own := body(24, attr(unix.IFA_ADDRESS, "192.0.2.3"), attr(unix.IFA_LOCAL, "192.0.2.2"))
	if index, addr, bits := ParseAddress(own); index != 2 || addr != netip.MustParseAddr("192.0.2.2") || bits != 24 {
		f.Errorf("got %d, %v/%d", index, addr, bits)
	}
	f.Add(own)
	f.Add(body(64, attr(unix.IFA_ADDRESS, "2001:db8::1")))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, addr, _ := ParseAddress(body); addr.IsValid() && (addr.Zone() != "" || addr.Is4In6()) {
			t.Errorf("address %s", addr)
		}
	})
}
