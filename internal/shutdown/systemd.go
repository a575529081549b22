// SPDX-License-Identifier: GPL-3.0-or-later

package shutdown

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/godbus/dbus/v5"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// systemd answers root on a socket of its own, without the bus, which may be down, and without a program, which may lie on a disk
// that does not answer.

const manager = dbus.ObjectPath("/org/freedesktop/systemd1")

// goingDown asks systemd whether the system is shutting down, and to what end: which of ends has been started, "" for one unknown.
// It returns an error if systemd does not answer before ctx ends.
func goingDown(ctx context.Context, root paths.Root) (down bool, end string, err error) {
	conn, err := dial(ctx, root.SystemdPrivate())
	if err != nil {
		return false, "", fmt.Errorf("cannot ask systemd whether the system is shutting down: %w", err)
	}
	defer conn.Close()
	systemd := conn.Object("org.freedesktop.systemd1", manager)
	var state dbus.Variant
	err = systemd.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, "org.freedesktop.systemd1.Manager", "SystemState").Store(&state)
	if err != nil {
		return false, "", fmt.Errorf("cannot ask systemd whether the system is shutting down: %w", err)
	}
	if state.Value() != "stopping" {
		return false, "", nil
	}
	var jobs []struct {
		ID                uint32
		Unit, Type, State string
		Job, Path         dbus.ObjectPath
	}
	if err := systemd.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.ListJobs", 0).Store(&jobs); err != nil {
		return true, "", nil // the rest is known
	}
	for _, j := range jobs {
		if _, known := ends[j.Unit]; known && j.Type == "start" {
			end = j.Unit
		}
	}
	return true, end, nil
}

// dial connects to a socket of systemd's. The connection ends with ctx.
func dial(ctx context.Context, socket string) (*dbus.Conn, error) {
	var dialer net.Dialer
	stream, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	if deadline, bounded := ctx.Deadline(); bounded {
		_ = stream.SetDeadline(deadline) // of Auth, which takes no context
	}
	conn, err := dbus.NewConn(stream, dbus.WithContext(ctx))
	if err != nil {
		stream.Close()
		return nil, err
	}
	if err := conn.Auth(nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
