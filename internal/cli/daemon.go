// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

// withDaemon calls f with a connection to the daemon; what goes wrong is a failure of the command.
func (a *app) withDaemon(ctx context.Context, f func(*client.Client) error) error {
	c, err := client.Dial(ctx, a.root)
	if err != nil {
		return failed(err)
	}
	defer c.Close()
	return failed(f(c))
}

const jsonFlag = "print JSON, see org.nvmexpress.discoverd(7)"

// How commands that outlive the daemon wait for the next one.
const (
	redialPause = 200 * time.Millisecond
	settleTime  = 10 * time.Second // at most, for it to be ready
)

// interrupted tells whether an error means that the daemon is not there at present or ended the connection: another call may
// be answered.
func interrupted(err error) bool {
	var absent *client.SocketNotFoundError
	var hungUp *client.HungUpError
	if errors.As(err, &absent) || errors.As(err, &hungUp) || errors.Is(err, syscall.EAGAIN) { // a service that takes no calls now
		return true
	}
	var answer *client.Error
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Kind {
	case "Timeout", "Busy", "TooSlow":
		return true
	}
	return false
}

// awaitDaemon waits until a daemon answers and is ready, so that what it says of its controllers means something. One that does
// not become ready is taken as it is after a while.
func (a *app) awaitDaemon(ctx context.Context) error {
	var since time.Time
	for {
		ready := false
		err := a.withDaemon(ctx, func(c *client.Client) error {
			status, err := c.Status(ctx)
			ready = status.Ready
			return err
		})
		switch {
		case err == nil && since.IsZero():
			since = time.Now()
		case err != nil && !interrupted(err):
			return err
		}
		if ready || err == nil && time.Since(since) > settleTime {
			return nil
		}
		if err := pause(ctx, redialPause); err != nil {
			return err
		}
	}
}

// pause waits for a time, or until ctx ends, which is an error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
