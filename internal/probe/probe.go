// SPDX-License-Identifier: GPL-3.0-or-later

// Package probe finds out from user space whether an NVMe/TCP port answers, with the binding that the kernel would use.
// The kernel serialises all connects, so that one dead peer delays every good one for 3 to 10 s; probes run side by side.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Target is a TCP port and the binding to reach it from. The binding's fields may be empty.
type Target struct {
	Traddr     string // an IP address, for an IPv6 link-local one with its zone
	Trsvcid    string // a port, 1 to 65535
	HostTraddr string // the source address
	HostIface  string // the interface
}

// String returns e.g. "192.0.2.10:8009 from 192.0.2.1 on eth0".
func (t Target) String() string {
	s := net.JoinHostPort(t.Traddr, t.Trsvcid)
	switch {
	case t.HostTraddr != "" && t.HostIface != "":
		return s + " from " + t.HostTraddr + " on " + t.HostIface
	case t.HostTraddr+t.HostIface != "":
		return s + " from " + t.HostTraddr + t.HostIface
	}
	return s
}

// TCP connects to the target and hangs up. An error wraps the errno of the failure: ECONNREFUSED, EHOSTUNREACH, ENODEV (no
// such interface), EADDRNOTAVAIL (not our address) …; ETIMEDOUT when the deadline of ctx passed first; or it is
// context.Canceled.
func TCP(ctx context.Context, t Target) error {
	conn, err := dial(ctx, t)
	if err != nil {
		return err
	}
	return conn.Close()
}

// ICReq connects and exchanges the PDUs that begin every NVMe/TCP connection, which finds out peers that accept a
// connection and then stay mute. Errors are those of TCP; besides, an answer that is not an ICResp is an error without
// an errno. It is not for ports that want TLS: those await a TLS handshake first and hang up.
func ICReq(ctx context.Context, t Target) error {
	conn, err := dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The end of the context closes the connection, which ends the exchange.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := initialize(conn); err != nil {
		return failure(ctx, "cannot begin NVMe/TCP with", t, err)
	}
	return nil
}

// dial connects as the kernel's nvme_tcp_alloc_queue does (drivers/nvme/host/tcp.c): source address and interface are
// both bound.
func dial(ctx context.Context, t Target) (*net.TCPConn, error) {
	remote, err := t.remote()
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: false},
		Control: func(_, _ string, raw syscall.RawConn) error {
			return bindToDevice(raw, t.HostIface)
		},
	}
	if t.HostTraddr != "" {
		addr, err := netip.ParseAddr(t.HostTraddr)
		if err != nil {
			return nil, fmt.Errorf("cannot probe %s: source address %q is not an IP address", t, t.HostTraddr)
		}
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))
	}
	dialed, err := dialer.DialContext(ctx, "tcp", remote.String())
	if err != nil {
		return nil, failure(ctx, "cannot reach", t, err)
	}
	conn := dialed.(*net.TCPConn)
	// Hang up with a reset: a probe leaves no port in TIME_WAIT behind, here or on the target.
	if err := conn.SetLinger(0); err != nil {
		conn.Close()
		return nil, failure(ctx, "cannot set SO_LINGER for", t, err)
	}
	return conn, nil
}

// remote returns the address and port to connect to.
func (t Target) remote() (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(t.Traddr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cannot probe %s: %q is not an IP address", t, t.Traddr)
	}
	port, err := strconv.ParseUint(t.Trsvcid, 10, 16)
	if err != nil || port == 0 {
		return netip.AddrPort{}, fmt.Errorf("cannot probe %s: %q is not a port", t, t.Trsvcid)
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}

// bindToDevice pins a socket to an interface. Any process may do that to a socket that is not pinned yet since Linux 5.7;
// before that it takes CAP_NET_RAW.
func bindToDevice(raw syscall.RawConn, iface string) error {
	if iface == "" {
		return nil
	}
	var bindErr error
	err := raw.Control(func(fd uintptr) {
		bindErr = unix.BindToDevice(int(fd), iface)
	})
	return errors.Join(err, bindErr)
}

// failure words an error of package net, which names the addresses a second time, as its cause alone.
func failure(ctx context.Context, what string, t Target, err error) error {
	var errno unix.Errno
	switch {
	case errors.As(err, &errno):
		err = errno
	case errors.Is(ctx.Err(), context.Canceled):
		err = context.Canceled
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		err = unix.ETIMEDOUT
	}
	return fmt.Errorf("%s %s: %w", what, t, err)
}
