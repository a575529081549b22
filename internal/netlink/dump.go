// SPDX-License-Identifier: GPL-3.0-or-later

package netlink

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// answerTime bounds the wait for each datagram of an answer, which the kernel gives at once.
const answerTime = 10 * time.Second

// dumpAttempts is how often a dump is tried during which something is added or removed, as containers do all the time.
const dumpAttempts = 5

// Dump asks the kernel, by a request of a kind and with a body, for all that it has of something, and returns the bodies of
// the messages of its answer. An error of the kernel's wraps its errno; unix.EPROTONOSUPPORT: the kernel lacks the protocol.
func Dump(protocol int, kind uint16, body []byte) ([][]byte, error) {
	return repeat(func() ([][]byte, bool, error) { return dump(protocol, kind, body) })
}

// repeat calls dump until its answer is consistent, and takes what the last attempt brings: of what changes all the time, an
// incomplete answer is better than none.
func repeat(dump func() (bodies [][]byte, interrupted bool, err error)) ([][]byte, error) {
	for attempt := 1; ; attempt++ {
		bodies, interrupted, err := dump()
		if err != nil || !interrupted || attempt == dumpAttempts {
			return bodies, err
		}
	}
}

// dump is one attempt of Dump. Where the kernel interrupted its answer because something changed, the answer may lack what did
// not change.
func dump(protocol int, kind uint16, body []byte) (all [][]byte, interrupted bool, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, false, fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	defer unix.Close(fd)
	timeout := unix.NsecToTimeval(answerTime.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, false, fmt.Errorf("cannot bound the wait for a netlink answer: %w", err)
	}
	if err := unix.Sendto(fd, dumpRequest(kind, body), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, false, fmt.Errorf("cannot send a netlink request: %w", err)
	}
	datagram := make([]byte, 64<<10) // more than the kernel puts into one
	for {
		n, _, flags, from, err := unix.Recvmsg(fd, datagram, nil, 0)
		switch sender, ok := from.(*unix.SockaddrNetlink); {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, false, fmt.Errorf("cannot receive a netlink answer: %w", err)
		case !ok || sender.Pid != 0:
			continue // not the kernel's
		case flags&unix.MSG_TRUNC != 0:
			return nil, false, fmt.Errorf("cannot receive a netlink answer: it is longer than %d bytes", len(datagram))
		}
		part, err := parseAnswer(datagram[:n])
		if err != nil {
			return nil, false, err
		}
		for _, body := range part.bodies {
			all = append(all, append([]byte(nil), body...))
		}
		interrupted = interrupted || part.interrupted
		if part.done {
			return all, interrupted, nil
		}
	}
}

// dumpRequest is a message of the kind with the body, struct nlmsghdr before it: length (4), type (2), flags (2), sequence (4),
// port (4).
func dumpRequest(kind uint16, body []byte) []byte {
	request := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(request, uint32(unix.SizeofNlMsghdr+len(body)))
	binary.NativeEndian.PutUint16(request[4:], kind)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_DUMP)
	return append(request, body...)
}

// answer is one datagram of the kernel's answer to a dump.
type answer struct {
	bodies      [][]byte // of its messages
	interrupted bool     // something was added or removed during the dump
	done        bool     // it is the last one
}

// parseAnswer reads one datagram.
func parseAnswer(datagram []byte) (a answer, err error) {
	for rest := datagram; len(rest) > 0; {
		if len(rest) < unix.SizeofNlMsghdr {
			return answer{}, fmt.Errorf("cannot parse a netlink answer of %d bytes: its last header is cut off", len(datagram))
		}
		length := binary.NativeEndian.Uint32(rest)
		if length < unix.SizeofNlMsghdr || uint64(length) > uint64(len(rest)) {
			return answer{}, fmt.Errorf("cannot parse a netlink answer of %d bytes: a message claims %d of the last %d", len(datagram), length, len(rest))
		}
		kind, body := binary.NativeEndian.Uint16(rest[4:]), rest[unix.SizeofNlMsghdr:length]
		a.interrupted = a.interrupted || binary.NativeEndian.Uint16(rest[6:])&unix.NLM_F_DUMP_INTR != 0
		rest = rest[min(align(int(length)), len(rest)):]
		switch kind {
		case unix.NLMSG_NOOP:
		case unix.NLMSG_ERROR, unix.NLMSG_DONE:
			// Both begin with an int: 0, or a negative errno.
			if len(body) >= 4 {
				if errno := int32(binary.NativeEndian.Uint32(body)); errno < 0 {
					return answer{}, fmt.Errorf("the kernel refuses a netlink request: %w", unix.Errno(-int64(errno)))
				}
			}
			if kind == unix.NLMSG_DONE {
				a.done = true
				return a, nil
			}
		default:
			a.bodies = append(a.bodies, body)
		}
	}
	return a, nil
}

// ParseAddress reads the body of an RTM_NEWADDR message (rtnetlink(7)): struct ifaddrmsg, with the length of the prefix at 1 and the
// index of the interface at 4, and attributes. The address is invalid if the message has none. IFA_LOCAL is the host's own address;
// where there is one, IFA_ADDRESS, whose prefix it is, may be the other end of a point-to-point link.
func ParseAddress(body []byte) (index uint32, addr netip.Addr, prefix int) {
	if len(body) < unix.SizeofIfAddrmsg {
		return 0, netip.Addr{}, 0
	}
	var local, other netip.Addr
	for kind, value := range Attributes(body[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			other, _ = netip.AddrFromSlice(value)
		}
	}
	if !local.IsValid() {
		local = other
	}
	return binary.NativeEndian.Uint32(body[4:]), local.Unmap(), int(body[1])
}

// Attributes goes through the attributes in a message's body after its fixed header, or in a nested attribute: struct nlattr,
// length (2) and type (2), each with its value. A last one that claims more than there is ends it.
func Attributes(body []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for rest := body; len(rest) >= unix.SizeofNlAttr; {
			length := int(binary.NativeEndian.Uint16(rest))
			if length < unix.SizeofNlAttr || length > len(rest) {
				return
			}
			kind := binary.NativeEndian.Uint16(rest[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(kind, rest[unix.SizeofNlAttr:length]) {
				return
			}
			rest = rest[min(align(length), len(rest)):]
		}
	}
}

// align rounds up to the 4 bytes at which messages and attributes begin.
func align(length int) int { return (length + 3) &^ 3 }
