// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// abortGrace is how long the recording may take to be completed when the process is aborted.
const abortGrace = 2 * time.Second

// recordAborts completes the recording when the watchdog, or a person, aborts the process, which then ends as it would have: with the
// stacks of all goroutines in the journal. It returns what ends that.
func (d *Daemon) recordAborts() (end func()) {
	aborts := make(chan os.Signal, 1)
	signal.Notify(aborts, unix.SIGABRT)
	go func() {
		if _, ok := <-aborts; !ok {
			return
		}
		done := make(chan struct{})
		go func() {
			d.recorder.Abort("abort")
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(abortGrace):
		}
		signal.Reset(unix.SIGABRT)
		_ = unix.Kill(os.Getpid(), unix.SIGABRT)
	}()
	return func() {
		signal.Stop(aborts)
		close(aborts)
	}
}
