// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"sync"
	"testing"
)

// What concerns one unit is done in order: a removal of state files must not overtake the connect that writes them anew.
func TestQueueKeepsOrderWithinKey(t *testing.T) {
	q := newQueue()
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[string][]int{}
	for i := range 100 {
		for _, key := range []string{"a", "b", "c"} {
			wg.Add(1)
			q.run(key, func() {
				defer wg.Done()
				mu.Lock()
				defer mu.Unlock()
				got[key] = append(got[key], i)
			})
		}
	}
	wg.Wait()
	for key, order := range got {
		for i, n := range order {
			if i != n {
				t.Fatalf("%s ran in order %v", key, order)
			}
		}
	}
}

// A key whose function hangs holds up no other key.
func TestQueueKeysAreIndependent(t *testing.T) {
	q := newQueue()
	release := make(chan struct{})
	q.run("wedged", func() { <-release })
	done := make(chan struct{})
	q.run("other", func() { close(done) })
	<-done
	close(release)
}
