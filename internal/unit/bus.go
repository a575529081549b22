package unit

import (
	"context"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// bus is one connection to the message bus, as far as this package needs it. It ends with the context that it was
// dialled with.
type bus interface {
	// call makes one round trip and returns the body of the answer, or the error of the other side as a dbus.Error.
	call(ctx context.Context, dest string, path dbus.ObjectPath, method string, args ...any) ([]any, error)
	// signals returns the channel of all signals in the order of their arrival.
	signals() <-chan *dbus.Signal
	// done returns a channel that is closed when the connection is.
	done() <-chan struct{}
}

// messageBus is the real bus.
type messageBus struct {
	conn *dbus.Conn
	sigs chan *dbus.Signal
}

// dialBus connects with dial. The connection lives until ctx ends, so ctx must not be one that bounds the dialling.
func dialBus(ctx context.Context, dial func(...dbus.ConnOption) (*dbus.Conn, error)) (bus, error) {
	// The default signal handler starts a goroutine per signal, and so changes their order.
	conn, err := dial(dbus.WithContext(ctx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the system bus: %w", err)
	}
	b := &messageBus{conn: conn, sigs: make(chan *dbus.Signal)}
	conn.Signal(b.sigs)
	return b, nil
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
