// SPDX-License-Identifier: GPL-3.0-or-later

package unit

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/godbus/dbus/v5"
)

// bus is one connection to the message bus, as far as this package needs it. It ends with the context that it was
// dialled with.
type bus interface {
	// call makes one round trip and returns the body of the answer, or the error of the other side as a dbus.Error.
	call(ctx context.Context, dest string, path dbus.ObjectPath, method string, args ...any) ([]any, error)
	// signals returns the channel of all signals in the order of their arrival. No answer comes while one is not taken.
	signals() <-chan *dbus.Signal
	// done returns a channel that is closed when the connection is.
	done() <-chan struct{}
}

// messageBus is the real bus.
type messageBus struct {
	conn *dbus.Conn
	sigs chan *dbus.Signal
}

// dialBus connects to the bus that listens on socket. The connection lives until ctx ends, so ctx must not be one that
// bounds the dialling.
func dialBus(ctx context.Context, socket string, log *slog.Logger) (bus, error) {
	b, err := connectBus(ctx, socket, log)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the system bus: %w", err)
	}
	return b, nil
}

func connectBus(ctx context.Context, socket string, log *slog.Logger) (*messageBus, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	b := &messageBus{sigs: make(chan *dbus.Signal)}
	b.conn, err = dbus.NewConn(newFrames(conn, log), dbus.WithContext(ctx), dbus.WithSignalHandler(b))
	if err != nil {
		conn.Close()
		return nil, err
	}
	if err = b.conn.Auth(nil); err == nil {
		err = b.conn.Hello()
	}
	if err != nil {
		b.conn.Close()
		return nil, err
	}
	return b, nil
}

// DeliverSignal hands a signal on and keeps none: godbus' own handlers either change the order of signals or queue as many
// as come, and anybody may send them. While one is not taken, the next ones wait in the bus, which bounds them.
func (b *messageBus) DeliverSignal(_, _ string, sig *dbus.Signal) {
	select {
	case b.sigs <- sig:
	case <-b.done():
	}
}

func (b *messageBus) signals() <-chan *dbus.Signal { return b.sigs }

func (b *messageBus) done() <-chan struct{} { return b.conn.Context().Done() }

func (b *messageBus) call(ctx context.Context, dest string, path dbus.ObjectPath, method string, args ...any) ([]any, error) {
	// Sending does not heed ctx when the socket is full, hence the goroutine, which ends with the connection at the latest.
	done := make(chan *dbus.Call, 1)
	go func() {
		reply := make(chan *dbus.Call, 1)
		b.conn.Object(dest, path).GoWithContext(ctx, method, dbus.FlagNoAutoStart, reply, args...)
		done <- <-reply
	}()
	select {
	case c := <-done:
		return c.Body, c.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
