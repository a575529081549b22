// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
)

const (
	// parallelLogReads is how many log pages are read at one time, those that are slow apart.
	parallelLogReads = 16
	// slowLogRead is when a read goes on without a place: those that are stuck must not keep the places of the others.
	slowLogRead = 2 * time.Second
	// logPatience is how long a read may take. The kernel ends a command after a minute, and a large page takes thousands.
	logPatience = 5 * time.Minute
	// maxLogReads bounds the reads that are in the kernel, given up or not: each costs a thread. Those that wait for a place
	// cost little, and are no more than there are controllers.
	maxLogReads = 128
)

// logReader reads log pages for the loop. A command to a controller that does not answer stays in the kernel for a minute,
// or for good where the kernel itself is stuck. It must not hold up the log pages of others, and its own must be told as
// unread, so that what is known of it stays and it is tried again.
type logReader struct {
	read    func(ctx context.Context, device string, most int) (discoverylog.Page, error)
	places  chan struct{}
	threads chan struct{} // one for each read that is in the kernel

	mu      sync.Mutex
	pending map[string]bool // devices whose read waits for a place or has not come back
}

func newLogReader(read func(context.Context, string, int) (discoverylog.Page, error)) *logReader {
	return &logReader{
		read: read, places: make(chan struct{}, parallelLogReads), threads: make(chan struct{}, maxLogReads),
		pending: map[string]bool{},
	}
}

// page reads the log page of device, at most so many entries. It returns when the read does, when that took too long, or when ctx ends.
func (r *logReader) page(ctx context.Context, device string, most int) (discoverylog.Page, error) {
	failed := func(why string) (discoverylog.Page, error) {
		return discoverylog.Page{}, fmt.Errorf("cannot read the discovery log page of %s: %s", device, why)
	}
	if !r.begin(device) {
		return failed("an earlier read has not come back from the kernel")
	}
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	late := fmt.Sprintf("no answer within %v", logPatience)
	read := func() (discoverylog.Page, error) {
		select {
		case r.places <- struct{}{}:
		case <-ctx.Done():
			return failed(late)
		}
		leave := sync.OnceFunc(func() { <-r.places })
		defer leave()
		select {
		case r.threads <- struct{}{}:
		default:
			return failed(fmt.Sprintf("%d reads have not come back from the kernel", maxLogReads))
		}
		defer func() { <-r.threads }()
		defer time.AfterFunc(slowLogRead, leave).Stop()
		return r.read(ctx, device, most)
	}
	type answer struct {
		page discoverylog.Page
		err  error
	}
	came := make(chan answer, 1)
	go func() {
		page, err := read()
		r.end(device) // before the answer: who has it may ask again at once
		came <- answer{page, err}
	}()
	select {
	case a := <-came:
		return a.page, a.err
	case <-ctx.Done():
		return failed(late)
	}
}

// begin notes that a read begins, unless one of that device is pending.
func (r *logReader) begin(device string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending[device] {
		return false
	}
	r.pending[device] = true
	return true
}

func (r *logReader) end(device string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pending, device)
}
