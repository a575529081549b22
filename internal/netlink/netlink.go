// SPDX-License-Identifier: GPL-3.0-or-later

// Package netlink is the socket through which the kernel multicasts what happened to devices, links and addresses. It
// hands on what the kernel itself sent and nothing else; what a message says is for the packages uevent and netwatch.
package netlink

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrLost says that at least one message is gone, because the receive buffer overran (ENOBUFS) or because a message did
// not fit. The socket goes on working; what the messages would have told must be found out in another way.
var ErrLost = errors.New("messages of the kernel were lost")

// ErrOverrun is the ErrLost of a receive buffer that overran. The kernel drops whatever comes until the buffer is empty, which another
// ErrLost says.
var ErrOverrun = fmt.Errorf("%w: the receive buffer overran", ErrLost)

// Socket is a netlink socket that only listens. Receive belongs to one goroutine; Close may be called from any.
type Socket struct {
	file *os.File
	raw  syscall.RawConn
	// overrun is set from an overrun until the buffer is empty: the kernel drops everything that comes meanwhile and does
	// not tell again (NETLINK_S_CONGESTED in net/netlink/af_netlink.c).
	overrun bool
}

// Open joins the multicast groups, a bit mask, of a netlink protocol such as unix.NETLINK_KOBJECT_UEVENT. rcvbuf is the
// size of the receive buffer in bytes, 0 for the kernel's default (net.core.rmem_default); without CAP_NET_ADMIN the kernel
// cuts it to net.core.rmem_max without a word.
func Open(protocol int, groups uint32, rcvbuf int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	if err := setup(fd, groups, rcvbuf); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// A non-blocking descriptor in an os.File is watched by the runtime's poller, so that Close wakes a waiting Receive and
	// the number of the descriptor is not reused under it.
	file := os.NewFile(uintptr(fd), "netlink")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("cannot use a netlink socket: %w", err)
	}
	return &Socket{file: file, raw: raw}, nil
}

func setup(fd int, groups uint32, rcvbuf int) error {
	if rcvbuf > 0 {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, rcvbuf) != nil {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, rcvbuf); err != nil {
				return fmt.Errorf("cannot set the receive buffer of a netlink socket to %d bytes: %w", rcvbuf, err)
			}
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return fmt.Errorf("cannot ask for the credentials of netlink senders: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return fmt.Errorf("cannot join netlink groups %#x: %w", groups, err)
	}
	return nil
}

// Receive waits for the next message that the kernel multicast and puts it into buf. Messages of anyone else are passed
// over. An error that is ErrLost leaves the socket usable; os.ErrClosed means that Close was called; any other error is
// final. An overrun is told twice: at once, by ErrOverrun, and when what the buffer held was received, for until then the kernel goes on
// dropping messages.
func (s *Socket) Receive(buf []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		var (
			n, oobn, flags int
			from           unix.Sockaddr
			err            error
		)
		waitErr := s.raw.Read(func(fd uintptr) bool {
			for {
				n, oobn, flags, from, err = unix.Recvmsg(int(fd), buf, oob, 0)
				if err != unix.EINTR {
					return err != unix.EAGAIN || s.overrun
				}
			}
		})
		switch {
		case waitErr != nil:
			// No deadline is ever set, so that waiting fails after a Close only; the runtime's own error is not os.ErrClosed.
			return 0, fmt.Errorf("cannot wait for a netlink message: %w", os.ErrClosed)
		case err == unix.EAGAIN:
			s.overrun = false
			return 0, fmt.Errorf("%w: the receive buffer had overrun and is empty again", ErrLost)
		case err == unix.ENOBUFS:
			s.overrun = true
			return 0, ErrOverrun
		case err != nil:
			return 0, fmt.Errorf("cannot receive a netlink message: %w", err)
		case !fromKernel(from, oob[:oobn]):
			continue
		case flags&unix.MSG_TRUNC != 0:
			return 0, fmt.Errorf("%w: one is longer than %d bytes", ErrLost, len(buf))
		}
		return n, nil
	}
}

// fromKernel tells a multicast of the kernel from what a process sent: only the kernel has port 0 and process 0, and a
// group of 0 is a message to us alone, which any process may send.
func fromKernel(from unix.Sockaddr, oob []byte) bool {
	addr, ok := from.(*unix.SockaddrNetlink)
	if !ok || addr.Pid != 0 || addr.Groups == 0 {
		return false
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return false
	}
	for _, m := range msgs {
		if len(m.Data) < unix.SizeofUcred { // it is read unlooked at
			continue
		}
		if cred, err := unix.ParseUnixCredentials(&m); err == nil {
			return cred.Uid == 0 && cred.Pid == 0
		}
	}
	return false
}

// Close ends the subscription and wakes Receive.
func (s *Socket) Close() error {
	return s.file.Close()
}
