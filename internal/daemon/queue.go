// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import "sync"

// queue runs functions on goroutines: those of one key one after the other and in order, those of others in parallel.
type queue struct {
	mu   sync.Mutex
	keys map[string][]func() // what is still to be run; a key that is present has a goroutine
}

func newQueue() *queue { return &queue{keys: map[string][]func(){}} }

func (q *queue) run(key string, f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting, busy := q.keys[key]
	q.keys[key] = append(waiting, f)
	if !busy {
		go q.work(key)
	}
}

func (q *queue) work(key string) {
	for {
		q.mu.Lock()
		waiting := q.keys[key]
		if len(waiting) == 0 {
			delete(q.keys, key)
			q.mu.Unlock()
			return
		}
		f := waiting[0]
		q.keys[key] = waiting[1:]
		q.mu.Unlock()
		f()
	}
}
