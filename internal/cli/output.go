// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// output passes on what is written and keeps the first error: nobody checks the error of every line, and a command whose output
// is lost, to a full disk for example, has failed.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if err != nil {
		err = fmt.Errorf("cannot write the output: %w", err)
		if o.err == nil {
			o.err = err
		}
	}
	return n, err
}

// untilUnread returns a context that ends with ctx, and as soon as nobody can read any more what is written to w: a pipe's
// reader has ended, a terminal has hung up. A write would tell too, but there may be nothing to write for a long time. Call stop
// when the context is not needed any more.
func untilUnread(ctx context.Context, w io.Writer) (unread context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	file, ok := w.(*os.File)
	if !ok {
		return ctx, cancel
	}
	awaken, wakes, err := os.Pipe()
	if err != nil { // then a write has to tell
		return ctx, cancel
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		// Errors are reported without being asked for, and a file that is no pipe or terminal has none.
		fds := []unix.PollFd{{Fd: int32(file.Fd())}, {Fd: int32(awaken.Fd()), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(fds, -1)
			if err != unix.EINTR && (err != nil || n > 0) {
				return
			}
		}
	}()
	return ctx, func() {
		wakes.Close()
		<-done
		awaken.Close()
	}
}
