// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// recipe returns the fenced block of a section of an installed page, counted from 0, with what the scene has in place of the example's.
func recipe(t *testing.T, page, section string, n int, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile("/usr/share/doc/nvme-discoverd/" + page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## "+section+"\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	parts := strings.Split(rest, "```")
	if len(parts) <= 2*n+1 {
		t.Fatalf("%s: %s has no block %d", page, section, n)
	}
	_, block, _ := strings.Cut(parts[2*n+1], "\n")
	return strings.NewReplacer(replace...).Replace(block)
}

// The recipes of docs/operations.md work as they stand there. Draining a port of an array: it is not used any more, over a reload and a
// restart, and after the maintenance everything is back. Replacing an array: what was taken out of the configuration stays
// connected, and what is then disconnected by name stays away.
func TestRecipes(t *testing.T) {
	const page, drain, replace = "operations.md", "Drain a port of an array", "Replace an array"
	f, _ := guest.Connected(t, 2)
	run := func(script string) { t.Logf("%s\n%s", script, guest.Run(t, "sh", "-ec", script)) }
	none := func() (bool, string) { return len(guest.Controllers()) == 0, guest.Ctl(t, "list") }
	for n := range 2 {
		run(recipe(t, page, drain, n, "192.0.2.10", f.Port.Traddr))
	}
	guest.Eventually(t, connectTimeout, "drained", none)
	guest.Reload(t)
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Always(t, quietSpan, "it stays drained", none)
	run(recipe(t, page, drain, 2, "192.0.2.10", f.Port.Traddr))
	guest.WaitConsistent(t, connectTimeout, f.Wanted())

	devices := guest.Devices()
	guest.Configure(t, "")
	guest.Reload(t)
	guest.Always(t, quietSpan, "it stays connected", unchanged(devices))
	run(recipe(t, page, replace, 0, "nvme5", devices[guest.DiscoveryNQN], "nvme6", devices[f.Subsystems[0].NQN], "nvme7", devices[f.Subsystems[1].NQN]))
	guest.Always(t, quietSpan, "it stays away", none)
}
