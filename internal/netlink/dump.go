package netlink

import (
	"encoding/binary"
	"fmt"
	"iter"
	"time"

	"golang.org/x/sys/unix"
)

// answerTime bounds the wait for each datagram of an answer, which the kernel gives at once.
const answerTime = 10 * time.Second

// Dump asks the kernel, by a request of a kind and with a body, for all that it has of something, and returns the bodies of
// the messages of its answer. An error of the kernel's wraps its errno; unix.EPROTONOSUPPORT: the kernel lacks the protocol.
func Dump(protocol int, kind uint16, body []byte) ([][]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	defer unix.Close(fd)
	timeout := unix.NsecToTimeval(answerTime.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, fmt.Errorf("cannot bound the wait for a netlink answer: %w", err)
	}
	if err := unix.Sendto(fd, dumpRequest(kind, body), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("cannot send a netlink request: %w", err)
	}
	var all [][]byte
	datagram := make([]byte, 64<<10) // more than the kernel puts into one
	for {
		n, _, flags, from, err := unix.Recvmsg(fd, datagram, nil, 0)
		switch sender, ok := from.(*unix.SockaddrNetlink); {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, fmt.Errorf("cannot receive a netlink answer: %w", err)
		case !ok || sender.Pid != 0:
			continue // not the kernel's
		case flags&unix.MSG_TRUNC != 0:
			return nil, fmt.Errorf("cannot receive a netlink answer: it is longer than %d bytes", len(datagram))
		}
		bodies, done, err := parseAnswer(datagram[:n])
		if err != nil {
			return nil, err
		}
		for _, body := range bodies {
			all = append(all, append([]byte(nil), body...))
		}
		if done {
			return all, nil
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

// parseAnswer returns the bodies of the messages in a datagram, and whether it ends the answer.
func parseAnswer(datagram []byte) (bodies [][]byte, done bool, err error) {
	for rest := datagram; len(rest) > 0; {
		if len(rest) < unix.SizeofNlMsghdr {
			return nil, false, fmt.Errorf("cannot parse a netlink answer of %d bytes: its last header is cut off", len(datagram))
		}
		length := binary.NativeEndian.Uint32(rest)
		if length < unix.SizeofNlMsghdr || uint64(length) > uint64(len(rest)) {
			return nil, false, fmt.Errorf("cannot parse a netlink answer of %d bytes: a message claims %d of the last %d", len(datagram), length, len(rest))
		}
		kind, body := binary.NativeEndian.Uint16(rest[4:]), rest[unix.SizeofNlMsghdr:length]
		rest = rest[min(align(int(length)), len(rest)):]
		switch kind {
		case unix.NLMSG_NOOP:
		case unix.NLMSG_ERROR, unix.NLMSG_DONE:
			// Both begin with an int: 0, or a negative errno.
			if len(body) >= 4 {
				if errno := int32(binary.NativeEndian.Uint32(body)); errno < 0 {
					return nil, false, fmt.Errorf("the kernel refuses a netlink request: %w", unix.Errno(-int64(errno)))
				}
			}
			if kind == unix.NLMSG_DONE {
				return bodies, true, nil
			}
		default:
			bodies = append(bodies, body)
		}
	}
	return bodies, false, nil
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
