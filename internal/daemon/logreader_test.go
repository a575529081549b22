// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
)

// Commands that never come back are told as failed, once for each controller, keep no other log page from being read and
// are bounded in number; a controller that is free again is read again.
func TestStuckLogReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newLogReader(func(_ context.Context, device string, _ int) (discoverylog.Page, error) {
			if strings.HasPrefix(device, "nvme1") {
				<-release
			}
			return discoverylog.Page{Generation: 7}, nil
		})
		begun := time.Now()
		errs := make(chan error)
		for i := range maxLogReads - 1 {
			go func() {
				_, err := r.page(t.Context(), fmt.Sprintf("nvme1%03d", i), discoverylog.MaxRecords)
				errs <- err
			}()
		}
		synctest.Wait()
		if page, err := r.page(t.Context(), "nvme2", discoverylog.MaxRecords); err != nil || page.Generation != 7 {
			t.Errorf("a good one beside the stuck ones: %+v, %v", page, err)
		}
		if took, most := time.Since(begun), maxLogReads/parallelLogReads*slowLogRead; took > most {
			t.Errorf("it was read after %v, want at most %v", took, most)
		}
		refused := func(device, why string) {
			t.Helper()
			before := time.Now()
			_, err := r.page(t.Context(), device, discoverylog.MaxRecords)
			if want := "cannot read the discovery log page of " + device + ": " + why; err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
			if why[0] != 'n' && time.Since(before) != 0 {
				t.Errorf("%s: it was waited for", device)
			}
		}
		refused("nvme1000", "an earlier read has not come back from the kernel")
		refused("nvme1999", "no answer within 5m0s")
		refused("nvme3", "128 reads have not come back from the kernel")
		for range maxLogReads - 1 {
			if err := <-errs; err == nil || !strings.HasSuffix(err.Error(), ": no answer within 5m0s") {
				t.Errorf("error %v, want that it took too long", err)
			}
		}
		close(release)
		synctest.Wait()
		if page, err := r.page(t.Context(), "nvme1000", discoverylog.MaxRecords); err != nil || page.Generation != 7 {
			t.Errorf("when it is free again: %+v, %v", page, err)
		}
	})
}

// Many controllers at once wait for each other, and all are read.
func TestManyLogReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reading atomic.Int32
		r := newLogReader(func(_ context.Context, device string, _ int) (discoverylog.Page, error) {
			if n := reading.Add(1); n > parallelLogReads {
				t.Errorf("%d are read at one time, want at most %d", n, parallelLogReads)
			}
			time.Sleep(slowLogRead / 2)
			reading.Add(-1)
			return discoverylog.Page{Generation: 7}, nil
		})
		var asking sync.WaitGroup
		for i := range 300 {
			asking.Go(func() {
				if page, err := r.page(t.Context(), fmt.Sprintf("nvme%d", i), discoverylog.MaxRecords); err != nil || page.Generation != 7 {
					t.Errorf("%+v, %v", page, err)
				}
			})
		}
		asking.Wait()
	})
}

// The daemon ends without waiting for a controller.
func TestLogReadsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		r := newLogReader(func(context.Context, string, int) (discoverylog.Page, error) {
			<-release
			return discoverylog.Page{}, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = r.page(ctx, "nvme1", discoverylog.MaxRecords)
		}()
		synctest.Wait()
		cancel()
		<-done
	})
}

// Who has an answer may ask again at once, as the loop does for a page that changed while it was read.
func TestReadAgainAtOnce(t *testing.T) {
	r := newLogReader(func(context.Context, string, int) (discoverylog.Page, error) { return discoverylog.Page{}, nil })
	for range 10000 {
		if _, err := r.page(t.Context(), "nvme1", discoverylog.MaxRecords); err != nil {
			t.Fatal(err)
		}
	}
}
