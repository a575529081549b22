// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// clientsDir is where the clients to copy are installed.
const clientsDir = "/usr/share/doc/nvme-discoverd/examples/"

// The clients that the documentation has to copy, and the recipe of its page about JSON, as a user without rights, where one
// connection is excluded: all is connected that should be. What nvme-stas should ask follows a reload, and the end of the service.
func TestExampleClients(t *testing.T) {
	f := guest.Scene(t, 3)
	out := f.Subsystems[0].NQN
	guest.Exclude(f, "site", "nqn="+out)
	guest.ConfigureDiscovery(f, f.Port)
	guest.Start(f)
	guest.WaitStatus(f, "3 of 3 controllers connected, 1 excluded")
	for _, test := range []struct {
		name string
		run  []string
		want string
	}{
		{"shell", []string{"sh", clientsDir + "wait-connected.sh"}, "all connected\n"},
		{"Python", []string{"python3", clientsDir + "discoverd.py"}, "3 connected\n"},
		{"nvme-stas", []string{"python3", clientsDir + "stas.py", "--once"}, "mDNS: look after it\nNBFT: leave it to nvme-discoverd\n"},
		{
			"recipe",
			[]string{"sh", "-c", `timeout 20 nvme-discoverctl watch --json |
				jq -n -r 'first(inputs | select(.ready and .counts.connected == .counts.wanted and .counts.unread == 0)) | .status'`},
			"3 of 3 controllers connected, 1 excluded\n",
		},
	} {
		if got := asNobody(f, "timeout", append([]string{"30"}, test.run...)...); got.Stdout != test.want {
			t.Errorf("%s: exit status %d\n%s%s\nwant\n%s", test.name, got.Status, got.Stdout, got.Stderr, test.want)
		}
	}

	lines := linesOf(t, "timeout", "120", "python3", clientsDir+"stas.py")
	says := func(when string, want ...string) {
		t.Helper()
		for _, line := range want {
			if !lines.Scan() || lines.Text() != line {
				t.Fatalf("%s: got %q (%v), want %q", when, lines.Text(), lines.Err(), strings.Join(want, ", "))
			}
		}
	}
	says("at first", "mDNS: look after it", "NBFT: leave it to nvme-discoverd")
	guest.Configure(f, "[global]\nnbft = false\n"+discoveryConfig(f.Port))
	guest.Reload(f)
	says("after a reload without the NBFT", "mDNS: look after it", "NBFT: look after it")
	guest.ConfigureDiscovery(f, f.Port)
	guest.Reload(f)
	says("after a reload with it", "mDNS: look after it", "NBFT: leave it to nvme-discoverd")
	guest.Stop(f)
	says("without the service", "mDNS: look after it", "NBFT: look after it")
}
