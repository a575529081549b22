package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
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

// answer is a message of the kind.
func answer(kind uint16, body ...byte) []byte {
	m := dumpRequest(kind, body)
	return append(m, make([]byte, align(len(m))-len(m))...)
}

func TestParseAnswer(t *testing.T) {
	refused := binary.NativeEndian.AppendUint32(nil, ^uint32(unix.ENODEV)+1)
	fine := []byte{0, 0, 0, 0}
	tests := []struct {
		name     string
		datagram []byte
		want     string
	}{
		{"two and the end", append(append(answer(20, 1), answer(20, 2, 3)...), answer(unix.NLMSG_DONE, fine...)...), "[[1] [2 3]] true <nil>"},
		{"more to come", answer(20, 1), "[[1]] false <nil>"},
		{"nothing", nil, "[] false <nil>"},
		{"refused", answer(unix.NLMSG_ERROR, refused...), "[] false the kernel refuses a netlink request: no such device"},
		{"refused in the middle", answer(unix.NLMSG_DONE, refused...), "[] false the kernel refuses a netlink request: no such device"},
		{"acknowledged", append(answer(unix.NLMSG_ERROR, fine...), answer(unix.NLMSG_DONE)...), "[] true <nil>"},
		{"no header", []byte{1, 2}, "[] false cannot parse a netlink answer of 2 bytes: its last header is cut off"},
		{"too long", answer(20, 1)[:16], "[] false cannot parse a netlink answer of 16 bytes: a message claims 17 of the last 16"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bodies, done, err := parseAnswer(test.datagram)
			if got := fmt.Sprintf("%v %v %v", bodies, done, err); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(append(answer(20, 4, 0, 1, 0), answer(unix.NLMSG_DONE, 0, 0, 0, 0)...))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		bodies, _, err := parseAnswer(datagram)
		if err != nil && !strings.HasPrefix(err.Error(), "cannot parse a netlink answer of ") && !strings.HasPrefix(err.Error(), "the kernel refuses ") {
			t.Errorf("error %v", err)
		}
		for _, body := range bodies {
			for kind, value := range Attributes(body) {
				if len(value) > len(body) {
					t.Errorf("attribute %d has %d of %d bytes", kind, len(value), len(body))
				}
			}
		}
	})
}
