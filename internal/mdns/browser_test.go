// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a service that a test plays.
type scripted struct {
	tables chan *table
	end    chan error
}

func (*scripted) String() string { return "Avahi" }

func (s *scripted) browse(ctx context.Context, t *table) error {
	s.tables <- t
	select {
	case err := <-s.end:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestBrowserPace holds a Browser to one report a second however fast names change, tells when a list is complete, and tries a service
// that fails again, ever later.
func TestBrowserPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []string
		begun := time.Now()
		b := New(Config{Resolved: "/no/such", Staf: func() bool { return false }, Log: slog.New(slog.DiscardHandler), Report: func(r Report) {
			got = append(got, fmt.Sprintf("%v %s %d %v", time.Since(begun), r.Service, len(r.Found), r.Complete))
		}})
		s := &scripted{make(chan *table), make(chan error)}
		b.network = func() (network, error) { return host(), nil }
		b.sources = func(choice) source { return s }
		b.names = func(ctx context.Context, tell func(peers)) {
			tell(peers{avahi: ":1.1"})
			<-ctx.Done()
		}
		go b.Run(ctx)
		b.Browse(&Families{IPv4: true})
		table := <-s.tables
		for i := range 100 { // names that change all the time
			table.put(i, service{fmt.Sprint(i), 2, netip.MustParseAddr("192.0.2.10"), 8009, nil})
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		if len(got) < 4 || len(got) > 7 {
			t.Errorf("reports within 5 s: %q", got)
		}
		table.complete(true, 0, "")
		time.Sleep(time.Minute)
		synctest.Wait()
		if last := got[len(got)-1]; last != "17s Avahi 100 true" {
			t.Errorf("the last report is %s", last)
		}
		var begins []string
		for range 4 {
			s.end <- errors.New("broken")
			<-s.tables
			begins = append(begins, time.Since(begun).Round(time.Second).String())
		}
		if want := []string{"1m10s", "1m15s", "1m25s", "1m45s"}; !slices.Equal(begins, want) {
			t.Errorf("it browses again at %v, want %v", begins, want)
		}
		b.Browse(nil)
		synctest.Wait()
		if last := got[len(got)-1]; !strings.HasSuffix(last, "  0 false") {
			t.Errorf("the last report is %s", last)
		}
	})
}
