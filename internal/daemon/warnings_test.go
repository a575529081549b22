// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lines is a logger and what came of it, a line each.
func lines() (*slog.Logger, func() []string) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
	return log, func() []string {
		defer out.Reset()
		return strings.Split(strings.TrimSpace(out.String()), "\n")
	}
}

func TestWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, said := lines()
		w := newWarnings(log)
		for range 3 { // 0, 4 and 8 minutes
			w.warn("open /run/a.tmp.123: full", slog.String("UNIT", "a"))
			w.warn("open /run/a.tmp.456: full")
			time.Sleep(4 * time.Minute)
		}
		w.warn("another")
		w.warn("open /run/a.tmp.789: full")
		time.Sleep(10 * time.Minute)
		w.warn("another")
		time.Sleep(time.Hour)
		w.warn("yet another")
		want := []string{
			`msg="open /run/a.tmp.123: full" UNIT=a`,
			`msg=another`,
			`msg="open /run/a.tmp.789: full (and 5 more times in the last 12 minutes)"`,
			`msg=another`,
			`msg="yet another"`,
		}
		if diff := cmp.Diff(want, said()); diff != "" {
			t.Errorf("logged (-want +got):\n%s", diff)
		}
		if len(w.texts) != 1 {
			t.Errorf("%d texts are remembered, want the one of the last minutes", len(w.texts))
		}
	})
}

func TestLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		reports := make(chan string, 100)
		l := losses{report: func(why string) { reports <- time.Since(begun).String() + " " + why }}
		for i := range 25 { // for 2.4 s
			l.lost("loss " + string(rune('a'+i)))
			time.Sleep(99 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		l.lost("much later")
		time.Sleep(time.Minute)
		synctest.Wait()
		var got []string
		for len(reports) > 0 {
			got = append(got, <-reports)
		}
		if diff := cmp.Diff([]string{"0s loss a", "1s loss k", "2s loss u", "3s loss y", "1m2.475s much later"}, got); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}
