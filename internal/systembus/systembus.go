// SPDX-License-Identifier: GPL-3.0-or-later

// Package systembus is a connection to the message bus of the system that a hostile local user can neither end nor fill the memory
// of: for the packages that talk to one service there each.
package systembus

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/godbus/dbus/v5"
)

// Name and Path are the bus itself as a peer.
const (
	Name = "org.freedesktop.DBus"
	Path = dbus.ObjectPath("/org/freedesktop/DBus")
)

// Conn is one connection. It ends with the context that it was dialled with.
type Conn struct {
	conn *dbus.Conn
	sigs chan *dbus.Signal
}

// Dial connects to the bus that listens on socket. The connection lives until ctx ends, so ctx must not be one that
// bounds the dialling. Of what nobody asked for, messages longer than maxUnasked bytes are passed over.
func Dial(ctx context.Context, socket string, maxUnasked int, log *slog.Logger) (*Conn, error) {
	c, err := connect(ctx, socket, maxUnasked, log)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the system bus: %w", err)
	}
	return c, nil
}

func connect(ctx context.Context, socket string, maxUnasked int, log *slog.Logger) (*Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	c := &Conn{sigs: make(chan *dbus.Signal)}
	c.conn, err = dbus.NewConn(newFrames(conn, maxUnasked, log), dbus.WithContext(ctx), dbus.WithSignalHandler(c))
	if err != nil {
		conn.Close()
		return nil, err
	}
	if err = c.conn.Auth(nil); err == nil {
		err = c.conn.Hello()
	}
	if err != nil {
		c.conn.Close()
		return nil, err
	}
	return c, nil
}

// DeliverSignal hands a signal on and keeps none: godbus' own handlers either change the order of signals or queue as many
// as come, and anybody may send them. While one is not taken, the next ones wait in the bus, which bounds them.
func (c *Conn) DeliverSignal(_, _ string, sig *dbus.Signal) {
	select {
	case c.sigs <- sig:
	case <-c.Done():
	}
}

// Names returns the unique name of the connection, and those that it owns.
func (c *Conn) Names() []string { return c.conn.Names() }

// Signals returns the channel of all signals in the order of their arrival. No answer comes while one is not taken.
func (c *Conn) Signals() <-chan *dbus.Signal { return c.sigs }

// Done returns a channel that is closed when the connection is.
func (c *Conn) Done() <-chan struct{} { return c.conn.Context().Done() }

// Call makes one round trip and returns the body of the answer, or the error of the other side as a dbus.Error. It starts no service.
func (c *Conn) Call(ctx context.Context, dest string, path dbus.ObjectPath, method string, args ...any) ([]any, error) {
	// Sending does not heed ctx when the socket is full, hence the goroutine, which ends with the connection at the latest.
	done := make(chan *dbus.Call, 1)
	go func() {
		reply := make(chan *dbus.Call, 1)
		c.conn.Object(dest, path).GoWithContext(ctx, method, dbus.FlagNoAutoStart, reply, args...)
		done <- <-reply
	}()
	select {
	case call := <-done:
		return call.Body, call.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
