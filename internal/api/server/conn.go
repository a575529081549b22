// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// conn is the connection of one client. It is what varlink.Service writes replies to.
type conn struct {
	limits
	peer   *unix.Ucred
	socket *net.UnixConn
	reader *bufio.Reader
	calls  chan []byte   // closed when the client sends no more
	gone   chan struct{} // closed then too
	busy   atomic.Bool   // a call is being answered: the client may be silent for as long as that takes

	holding bool   // replies are put together before they are sent; who answers calls owns it and held
	held    []byte // not sent yet
}

func newConn(socket *net.UnixConn, peer *unix.Ucred, l limits) *conn {
	return &conn{
		limits: l, peer: peer, socket: socket, reader: bufio.NewReader(socket),
		calls: make(chan []byte), gone: make(chan struct{}),
	}
}

// credentials returns who connected, as the kernel noted it then (unix(7), SO_PEERCRED).
func credentials(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		peer, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return peer, optErr
}

// receive reads calls until the client sends no more, breaks a limit, or ctx ends. It holds one call at most while another
// is being answered.
func (c *conn) receive(ctx context.Context) {
	defer close(c.calls)
	defer close(c.gone)
	for {
		call, err := c.call()
		if err != nil {
			return
		}
		select {
		case c.calls <- call:
		case <-ctx.Done():
			return
		}
	}
}

// call reads one call without the NUL that ends it.
func (c *conn) call() ([]byte, error) {
	for {
		if err := c.socket.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
			return nil, err
		}
		_, err := c.reader.Peek(1)
		var timeout net.Error
		if err == nil {
			break
		}
		if !errors.As(err, &timeout) || !timeout.Timeout() || !c.busy.Load() {
			return nil, err
		}
	}
	if err := c.socket.SetReadDeadline(time.Now().Add(c.limits.receive)); err != nil {
		return nil, err
	}
	var call []byte
	for {
		part, err := c.reader.ReadSlice(0)
		call = append(call, part...)
		switch {
		case len(call) > c.message:
			return nil, fmt.Errorf("cannot take a call of more than %d bytes", c.message)
		case err == nil:
			return call[:len(call)-1], nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// heldReplies is how many bytes of replies go out together.
const heldReplies = 32 << 10

// hold has replies put together, until release.
func (c *conn) hold() { c.holding = true }

// release sends what is held.
func (c *conn) release() error {
	held := c.held
	c.holding, c.held = false, nil
	if len(held) == 0 {
		return nil
	}
	_, err := c.send(held)
	return err
}

// Write sends a reply, at once or when enough are held.
func (c *conn) Write(_ context.Context, reply []byte) (int, error) {
	if !c.holding {
		return c.send(reply)
	}
	if c.held = append(c.held, reply...); len(c.held) < heldReplies {
		return len(reply), nil
	}
	held := c.held
	c.held = c.held[:0]
	return c.send(held)
}

// send sends bytes. A client that does not take them in time loses its connection.
func (c *conn) send(bytes []byte) (int, error) {
	if err := c.socket.SetWriteDeadline(time.Now().Add(c.limits.send)); err != nil {
		return 0, err
	}
	return c.socket.Write(bytes)
}

var errUpgrade = errors.New("no call of this service upgrades its connection")

// Read is for upgraded connections only.
func (c *conn) Read(context.Context, []byte) (int, error) { return 0, errUpgrade }

// ReadBytes is for upgraded connections only.
func (c *conn) ReadBytes(context.Context, byte) ([]byte, error) { return nil, errUpgrade }
