// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// FakeDC is a discovery controller over TCP that says whatever a scenario wants it to say: the kernel's own target never
// lies. The initiator is the kernel's, so what the product sees has come the same way as from a real array.
type FakeDC struct {
	Traddr, Trsvcid string

	t      T
	listen net.Listener

	mu       sync.Mutex
	nqn      string
	page     LogPage
	sessions map[*session]bool
	reads    int  // of log pages
	silent   bool // connections that begin get no word
	silenced int  // connections that have asked for one in vain
}

// NewFakeDC listens on a port of 127.0.0.1 until the scenario ends.
func NewFakeDC(t T, port int) *FakeDC {
	t.Helper()
	return NewFakeDCAt(t, "127.0.0.1", port)
}

// NewFakeDCAt listens on a port of an address of this host until the scenario ends.
func NewFakeDCAt(t T, traddr string, port int) *FakeDC {
	t.Helper()
	listen, err := net.Listen("tcp", net.JoinHostPort(traddr, strconv.Itoa(port)))
	if err != nil {
		t.Fatalf("cannot be a discovery controller: %v", err)
	}
	dc := &FakeDC{
		Traddr: traddr, Trsvcid: strconv.Itoa(port), t: t, listen: listen,
		nqn: DiscoveryNQN, sessions: map[*session]bool{},
	}
	t.Cleanup(dc.close)
	go dc.accept()
	return dc
}

// Port is where the controller is reached.
func (dc *FakeDC) Port() *Port {
	return &Port{t: dc.t, Transport: "tcp", Traddr: dc.Traddr, Trsvcid: dc.Trsvcid}
}

// Rename makes the controller show a unique NQN in place of the well-known one, by which it is still reached.
func (dc *FakeDC) Rename(nqn string) {
	dc.mu.Lock()
	defer dc.mu.Unlock()
	dc.nqn = nqn
}

// Show replaces the log page and sends the event that it has changed.
func (dc *FakeDC) Show(page LogPage) {
	dc.mu.Lock()
	defer dc.mu.Unlock()
	dc.page = page
	for s := range dc.sessions {
		s.notify()
	}
}

// Reads tells how often the log page has been read so far, its header alone included.
func (dc *FakeDC) Reads() int {
	dc.mu.Lock()
	defer dc.mu.Unlock()
	return dc.reads
}

// WaitRead waits until the page has been read again after reads.
func (dc *FakeDC) WaitRead(timeout time.Duration, reads int) {
	dc.t.Helper()
	eventually(dc.t, follow.Told, timeout, "log page read", func() (bool, string) {
		now := dc.Reads()
		return now > reads, strconv.Itoa(now)
	})
}

// Silence has connections that begin from now on get no word, so that their initiators wait in the kernel, or has them
// answered again.
func (dc *FakeDC) Silence(silent bool) {
	dc.mu.Lock()
	defer dc.mu.Unlock()
	dc.silent = silent
}

// Silenced tells how many connections have asked for a word so far and got none.
func (dc *FakeDC) Silenced() int {
	dc.mu.Lock()
	defer dc.mu.Unlock()
	return dc.silenced
}

// WaitSilenced waits until another connection after so many gets no word.
func (dc *FakeDC) WaitSilenced(timeout time.Duration, before int) {
	dc.t.Helper()
	eventually(dc.t, follow.Told, timeout, "a connection waits for a word", func() (bool, string) {
		now := dc.Silenced()
		return now > before, strconv.Itoa(now)
	})
}

// silence notes that a connection gets no word.
func (dc *FakeDC) silence() {
	defer happen().Tell(follow.Told)
	dc.mu.Lock()
	defer dc.mu.Unlock()
	dc.silenced++
}

func (dc *FakeDC) accept() {
	for {
		conn, err := dc.listen.Accept()
		if err != nil {
			return
		}
		dc.mu.Lock()
		s := &session{dc: dc, conn: conn, silent: dc.silent}
		dc.sessions[s] = true
		dc.mu.Unlock()
		go func() {
			s.serve()
			conn.Close()
			dc.mu.Lock()
			delete(dc.sessions, s)
			dc.mu.Unlock()
		}()
	}
}

func (dc *FakeDC) close() {
	dc.listen.Close()
	dc.HangUp()
}

// HangUp ends all connections. The controller goes on listening.
func (dc *FakeDC) HangUp() {
	dc.mu.Lock()
	defer dc.mu.Unlock()
	for s := range dc.sessions {
		s.conn.Close()
	}
}

// logPage is what a read of the log page gets.
func (dc *FakeDC) logPage() LogPage {
	defer happen().Tell(follow.Told)
	dc.mu.Lock()
	defer dc.mu.Unlock()
	dc.reads++
	if dc.page.Restless {
		dc.page.Generation++
	}
	return dc.page
}

func (dc *FakeDC) name() string {
	dc.mu.Lock()
	defer dc.mu.Unlock()
	return dc.nqn
}
