// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// alwaysTick is how often Always looks although nothing happened: what must not happen may have no event.
const alwaysTick = 3 * follow.Rest

// Eventually waits until ok, which also says what it saw, holds; it fails the scenario with the last detail after timeout. It looks
// after each event on the machine, and seldom without one (see package follow).
// Nothing else in this package sleeps.
func Eventually(t T, timeout time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	eventually(t, follow.Any, timeout, what, ok)
}

// eventually is Eventually for what events of these kinds alone tell of.
func eventually(t T, kinds follow.Kinds, timeout time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	var detail string
	h := following(t)
	if !h.Until(kinds, h.tick, timeout, func() (holds bool) {
		holds, detail = ok()
		return holds
	}) {
		t.Fatalf("not within %v: %s; last seen: %s", timeout, what, detail)
	}
}

// Always fails the scenario if ok ceases to hold at any look during the span, or at the one that ends it: for what must not
// happen.
func Always(t T, span time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	start := time.Now()
	var detail string
	if following(t).Until(follow.Any, alwaysTick, span, func() (ceased bool) {
		var holds bool
		holds, detail = ok()
		return !holds
	}) {
		t.Fatalf("not for all of %v: %s; seen after %v: %s", span, what, time.Since(start).Round(time.Millisecond), detail)
	}
}

// Pause waits for one poll interval, for loops that measure instead of judging.
func Pause() { time.Sleep(follow.Rest) }
