//go:build e2e

package guest

import "time"

// pollInterval is the shortest pause between two looks: short enough not to slow scenarios.
const pollInterval = 100 * time.Millisecond

// longestRest bounds the pause after a look that itself was slow.
const longestRest = 3 * time.Second

// rest pauses after a look that began at a time: three times as long as it took, so that looks do not slow the machine, whose
// processors are emulated ones.
func rest(begin time.Time) {
	time.Sleep(min(max(pollInterval, 3*time.Since(begin)), longestRest))
}

// Eventually waits until ok, which also says what it saw, holds; it fails the scenario with the last detail after timeout.
// Nothing but the functions of this file sleeps.
func Eventually(t T, timeout time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	start := time.Now()
	for {
		look := time.Now()
		done, detail := ok()
		if done {
			return
		}
		if time.Since(start) > timeout {
			t.Fatalf("not within %v: %s; last seen: %s", timeout, what, detail)
		}
		rest(look)
	}
}

// Always fails the scenario if ok ceases to hold at any look during the span, or at the one that ends it: for what must not
// happen.
func Always(t T, span time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	for start := time.Now(); ; {
		look := time.Now()
		if holds, detail := ok(); !holds {
			t.Fatalf("not for all of %v: %s; seen after %v: %s", span, what, time.Since(start).Round(time.Millisecond), detail)
		}
		if look.Sub(start) >= span {
			return
		}
		rest(look)
	}
}

// Pause waits for one poll interval, for loops that measure instead of judging.
func Pause() { time.Sleep(pollInterval) }
