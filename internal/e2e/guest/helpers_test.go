// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"bufio"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

const (
	// connectTimeout is for anything that ends in a connection, on two emulated CPUs of a busy host.
	connectTimeout = 2 * time.Minute
	// quietSpan is how long scenarios watch that something does not happen.
	quietSpan = 5 * time.Second
)

// discoveryConfig names a discovery controller.
func discoveryConfig(p *guest.Port) string {
	return fmt.Sprintf("[[discovery-controller]]\ncontroller = [{ transport = %q, traddr = %q, trsvcid = %s }]\n",
		p.Transport, p.Traddr, p.Trsvcid)
}

// subsystemConfig names a subsystem, with more of its keys.
func subsystemConfig(p *guest.Port, nqn, more string) string {
	return fmt.Sprintf("[[subsystem]]\nnqn = %q\n%scontroller = [{ transport = %q, traddr = %q, trsvcid = %s }]\n",
		nqn, more, p.Transport, p.Traddr, p.Trsvcid)
}

// unchanged tells whether the controllers are still those of before: the same names, all live. A reconnect would show as
// another instance number.
func unchanged(before map[string]string) func() (bool, string) {
	return func() (bool, string) {
		seen := ""
		ok := true
		left := len(before)
		for _, c := range guest.Controllers() {
			seen += "\n\t" + c.String()
			ok = ok && before[c.NQN] == c.Name && c.State == "live"
			left--
		}
		return ok && left == 0, seen
	}
}

// linesOf starts a program and returns its standard output, to be read line by line while it runs. It is killed with the end of the test.
func linesOf(t *testing.T, argv ...string) *bufio.Scanner {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	return lines
}
