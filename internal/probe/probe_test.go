// SPDX-License-Identifier: GPL-3.0-or-later

package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listen serves every connection to a loopback port with serve and returns the target that leads there.
func listen(t *testing.T, host string, serve func(net.Conn)) Target {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("cannot listen on %s: %v", host, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return Target{Traddr: host, Trsvcid: port}
}

// answer reads the ICReq and answers it.
func answer(response []byte) func(net.Conn) {
	return func(conn net.Conn) {
		request := make([]byte, icPDULength)
		if _, err := io.ReadFull(conn, request); err == nil {
			conn.Write(response)
		}
	}
}

// mute waits until the other side hangs up.
func mute(conn net.Conn) { io.Copy(io.Discard, conn) }

// response is a valid ICResp, changed.
func response(change ...func([]byte)) []byte {
	pdu := make([]byte, icPDULength)
	pdu[0], pdu[2] = icResp, icPDULength
	binary.LittleEndian.PutUint32(pdu[4:], icPDULength)
	binary.LittleEndian.PutUint32(pdu[12:], 0x20000) // MAXH2CDATA
	for _, c := range change {
		c(pdu)
	}
	return pdu
}

func TestTCP(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		target := listen(t, host, mute)
		for _, bound := range []Target{
			target,
			{Traddr: target.Traddr, Trsvcid: target.Trsvcid, HostTraddr: host},
			{Traddr: target.Traddr, Trsvcid: target.Trsvcid, HostIface: "lo"},
			{Traddr: target.Traddr, Trsvcid: target.Trsvcid, HostTraddr: host, HostIface: "lo"},
		} {
			err := TCP(t.Context(), bound)
			if errors.Is(err, unix.EPERM) {
				t.Logf("%s: not allowed to bind to an interface here", bound)
				continue
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
}

func TestTCPFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, closed, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	tests := []struct {
		target Target
		errno  unix.Errno // 0: none
		err    string
	}{
		{Target{Traddr: "127.0.0.1", Trsvcid: closed}, unix.ECONNREFUSED, "cannot reach 127.0.0.1:" + closed + ": connection refused"},
		{
			Target{Traddr: "127.0.0.1", Trsvcid: closed, HostIface: "lo"},
			unix.ECONNREFUSED,
			"cannot reach 127.0.0.1:" + closed + " from lo: connection refused",
		},
		{
			Target{Traddr: "127.0.0.1", Trsvcid: closed, HostTraddr: "192.0.2.99"},
			unix.EADDRNOTAVAIL,
			"cannot reach 127.0.0.1:" + closed + " from 192.0.2.99: cannot assign requested address",
		},
		{
			Target{Traddr: "127.0.0.1", Trsvcid: closed, HostTraddr: "127.0.0.1", HostIface: "nosuch0"},
			unix.ENODEV,
			"cannot reach 127.0.0.1:" + closed + " from 127.0.0.1 on nosuch0: no such device",
		},
		{Target{Traddr: "::1", Trsvcid: "1"}, unix.ECONNREFUSED, "cannot reach [::1]:1: connection refused"},
		{Target{Traddr: "array", Trsvcid: "1"}, 0, `cannot probe array:1: "array" is not an IP address`},
		{Target{Traddr: "127.0.0.1", Trsvcid: "0"}, 0, `cannot probe 127.0.0.1:0: "0" is not a port`},
		{Target{Traddr: "127.0.0.1", Trsvcid: "http"}, 0, `cannot probe 127.0.0.1:http: "http" is not a port`},
		{Target{Traddr: "127.0.0.1", Trsvcid: "1", HostTraddr: "eth0"}, 0, `cannot probe 127.0.0.1:1 from eth0: source address "eth0" is not an IP address`},
	}
	for _, test := range tests {
		err := TCP(t.Context(), test.target)
		if errors.Is(err, unix.EPERM) {
			t.Logf("%s: not allowed to bind to an interface here", test.target)
			continue
		}
		if message(err) != test.err {
			t.Errorf("error %q, want %q", message(err), test.err)
		}
		if test.errno != 0 && !errors.Is(err, test.errno) {
			t.Errorf("%q is not %v", message(err), test.errno)
		}
	}
}

func TestContextEnds(t *testing.T) {
	target := listen(t, "127.0.0.1", mute)
	at := net.JoinHostPort(target.Traddr, target.Trsvcid)
	expired, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	// The peer of ICReq is mute, so that the deadline ends it however late it comes.
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	tests := []struct {
		name  string
		probe func() error
		is    error
		err   string
	}{
		{"expired before the connect", func() error { return TCP(expired, target) }, unix.ETIMEDOUT, "cannot reach " + at + ": connection timed out"},
		{"canceled before the connect", func() error { return TCP(canceled, target) }, context.Canceled, "cannot reach " + at + ": context canceled"},
		{"mute", func() error { return ICReq(soon, target) }, unix.ETIMEDOUT, "cannot begin NVMe/TCP with " + at + ": connection timed out"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.probe()
			if message(err) != test.err || !errors.Is(err, test.is) {
				t.Errorf("error %q, want %q", message(err), test.err)
			}
		})
	}
}

func TestICReqCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	target := listen(t, "127.0.0.1", func(conn net.Conn) {
		io.ReadFull(conn, make([]byte, icPDULength))
		cancel()
		mute(conn)
	})
	if err := ICReq(ctx, target); !errors.Is(err, context.Canceled) {
		t.Errorf("error %q, want a cancellation", message(err))
	}
}

func TestICReq(t *testing.T) {
	tests := []struct {
		name  string
		serve func(net.Conn)
		err   string
	}{
		{"good", answer(response()), ""},
		{"digests and alignment offered", answer(response(func(p []byte) { p[10], p[11] = 31, 3 })), ""},
		{"other version", answer(response(func(p []byte) { p[8] = 2 })), "it speaks PDU format version 2, not 0"},
		{"other length", answer(response(func(p []byte) { p[4] = 24 })), "it answered 0100800018000000, which is not NVMe/TCP: is the port right"},
		{"refusal", answer(response(func(p []byte) { p[0] = c2hTermReq })), "it refused the connection (C2HTermReq)"},
		{"another protocol", answer([]byte("HTTP/1.1 400 Bad Request\r\n")), "it answered 485454502f312e31, which is not NVMe/TCP: is the port right"},
		{"hangs up", answer(nil), "it hung up before it answered"},
		{"hangs up within the answer", answer(response()[:60]), "it hung up before it answered"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target := listen(t, "127.0.0.1", test.serve)
			want := ""
			if test.err != "" {
				want = fmt.Sprintf("cannot begin NVMe/TCP with 127.0.0.1:%s: %s", target.Trsvcid, test.err)
			}
			if got := message(ICReq(t.Context(), target)); got != want {
				t.Errorf("error %q, want %q", got, want)
			}
		})
	}
}

func TestICReqBytes(t *testing.T) {
	var sent bytes.Buffer
	conn := struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(response()), &sent}
	if err := initialize(conn); err != nil {
		t.Fatal(err)
	}
	want := append([]byte{0, 0, 128, 0, 128, 0, 0, 0}, make([]byte, 120)...)
	if got := sent.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("ICReq is\n%x, want\n%x", got, want)
	}
}

// The end of a probe must leave nothing in TIME_WAIT (state 06 of /proc/net/tcp).
func TestNoTimeWait(t *testing.T) {
	target := listen(t, "127.0.0.1", mute)
	if err := TCP(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Skip(err)
	}
	var port int
	fmt.Sscan(target.Trsvcid, &port)
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 3 && strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", port)) && fields[3] == "06" {
			t.Errorf("left behind: %s", line)
		}
	}
}

// FuzzInitialize feeds arbitrary answers.
func FuzzInitialize(f *testing.F) {
	f.Add(response())
	f.Add([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		err := initialize(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(answer), io.Discard})
		if err == nil && (len(answer) < icPDULength || answer[0] != icResp) {
			t.Errorf("%x passes as an ICResp", answer)
		}
	})
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
