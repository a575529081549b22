// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A socket that blocks costs outdated messages, and none that matters.
func TestNotifierSlowSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotifier(slog.New(slog.DiscardHandler))
		var sent []string
		taken := make(chan struct{})
		n.send = func(msg string) error {
			msg, _, _ = strings.Cut(msg, "\nMONOTONIC_USEC=")
			sent = append(sent, msg)
			<-taken
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- n.run(ctx) }()

		n.reloaded() // not ready yet: nothing is told
		n.status("starts")
		synctest.Wait() // in the socket
		for i := range 100 {
			n.status("status " + strconv.Itoa(i))
			n.feed()
		}
		n.ready()
		n.reloading()
		n.reloaded()
		close(taken)
		synctest.Wait()
		time.Sleep(statusPace)
		synctest.Wait()
		want := []string{"STATUS=starts", "WATCHDOG=1", "READY=1", "RELOADING=1", "READY=1", "STATUS=status 99"}
		if diff := cmp.Diff(want, sent); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		n.feed()
		synctest.Wait()
		if len(sent) != 7 {
			t.Errorf("sent %q, want another watchdog message", sent)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// While the status changes all the time it is told now and then, the first one at once and the last one soon; what is urgent
// does not wait for it.
func TestNotifierStatusPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotifier(slog.New(slog.DiscardHandler))
		begun := time.Now()
		var sent []string
		n.send = func(msg string) error {
			sent = append(sent, time.Since(begun).String()+" "+msg)
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- n.run(ctx) }()
		for i := range 40 {
			n.status("status " + strconv.Itoa(i))
			if i == 15 {
				n.feed()
			}
			time.Sleep(12 * time.Millisecond)
		}
		time.Sleep(time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		want := []string{"0s STATUS=status 0", "180ms WATCHDOG=1", "250ms STATUS=status 20", "500ms STATUS=status 39"}
		if diff := cmp.Diff(want, sent); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
	})
}

// However many reloads come while the socket blocks, the last RELOADING is followed by READY.
func TestNotifierManyReloads(t *testing.T) {
	n := newNotifier(slog.New(slog.DiscardHandler))
	n.ready()
	for range 100 {
		n.reloading()
		n.reloaded()
	}
	var got []string
	for msg, _ := n.next(true); msg != ""; msg, _ = n.next(true) {
		msg, time, timed := strings.Cut(msg, "\nMONOTONIC_USEC=")
		if _, err := strconv.ParseUint(strings.TrimSpace(time), 10, 64); timed != (msg == "RELOADING=1") || timed && err != nil {
			t.Errorf("%s at %q", msg, time)
		}
		got = append(got, msg)
	}
	if diff := cmp.Diff([]string{"READY=1", "RELOADING=1", "READY=1"}, got); diff != "" {
		t.Errorf("to be said (-want +got):\n%s", diff)
	}
}

func TestNotifierStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, said := lines()
		n := newNotifier(log)
		n.send = func(msg string) error { return errors.New(msg + " is refused") }
		n.stopping()
		if diff := cmp.Diff([]string{`msg="cannot notify the service manager: STOPPING=1 is refused"`}, said()); diff != "" {
			t.Errorf("logged (-want +got):\n%s", diff)
		}
		blocked := make(chan struct{})
		n.send = func(string) error { <-blocked; return nil }
		begun := time.Now()
		n.stopping()
		if took := time.Since(begun); took != stopGrace {
			t.Errorf("the end waited %v for a socket that blocks, want %v", took, stopGrace)
		}
		close(blocked)
	})
}

func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotifier(slog.New(slog.DiscardHandler))
		t.Setenv("WATCHDOG_USEC", "")
		if n.watchdog() != nil {
			t.Error("it ticks without a watchdog")
		}
		t.Setenv("WATCHDOG_USEC", "30000000")
		begun := time.Now()
		<-n.watchdog()
		if after := time.Since(begun); after != 15*time.Second {
			t.Errorf("it ticks after %v, want 15s", after)
		}
	})
}
