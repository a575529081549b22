// SPDX-License-Identifier: GPL-3.0-or-later

package server

import "sync"

// places counts the connections of each user. Some are kept for root, whatever the others do.
type places struct {
	limits
	mu    sync.Mutex
	all   int
	users map[uint32]int // uid → connections; 0 is root
}

// take takes a place for a user and tells whether there was one.
func (p *places) take(uid uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= p.connections {
		return false
	}
	if uid != 0 && (p.users[uid] >= p.perUser || p.all-p.users[0] >= p.others) {
		return false
	}
	p.all++
	p.users[uid]++
	return true
}

// leave gives a place back.
func (p *places) leave(uid uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.users[uid]--; p.users[uid] == 0 {
		delete(p.users, uid)
	}
}

func (p *places) taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

// budget bounds the memory of replies that are being sent, and what of it one user may have: somebody who asks for much and reads nothing
// does not keep the others from being answered.
type budget struct {
	mu    sync.Mutex
	free  int
	share int            // of one user
	users map[uint32]int // uid → bytes
}

// take takes n bytes for a user and tells whether there were so many. A reply larger than a share counts as one, and goes alone.
func (b *budget) take(uid uint32, n int) (taken int, ok bool) {
	n = min(n, b.share)
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.free || b.users[uid]+n > b.share {
		return 0, false
	}
	b.free -= n
	b.users[uid] += n
	return n, true
}

// give gives back what take took.
func (b *budget) give(uid uint32, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	if b.users[uid] -= n; b.users[uid] == 0 {
		delete(b.users, uid)
	}
}
