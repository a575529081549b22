// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package main

import (
	"bufio"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// follow prints the journal of the service and every change of a controller's state, as they come, until stop is called.
func follow(t guest.T) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() { controllers(done) })

	journal := exec.Command("journalctl", "--follow", "--lines=0", "--quiet", "--output=cat",
		"--unit="+guest.Service, "--unit=nvme-discoverd-*.service")
	out, err := journal.StdoutPipe()
	if err == nil {
		err = journal.Start()
	}
	if err != nil {
		t.Fatalf("cannot follow the journal: %v", err)
	}
	ended.Go(func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			fmt.Println("    journal     ", lines.Text())
		}
		_ = journal.Wait()
	})
	return sync.OnceFunc(func() {
		close(done)
		_ = journal.Process.Kill()
		ended.Wait()
	})
}

// controllers prints changes of state.
func controllers(done <-chan struct{}) {
	seen := map[string]guest.Controller{}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		now := map[string]guest.Controller{}
		for _, c := range guest.Controllers() {
			now[c.Name] = c
			if seen[c.Name].State != c.State {
				fmt.Printf("    controller   %-6s %-12s %s\n", c.Name, c.State, c.NQN)
			}
		}
		for name, c := range seen {
			if _, there := now[name]; !there {
				fmt.Printf("    controller   %-6s %-12s %s\n", name, "gone", c.NQN)
			}
		}
		seen = now
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}
