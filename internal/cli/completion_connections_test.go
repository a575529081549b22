// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"os"
	"testing"
)

// TestCompleteConnections: a shell offers what there is of controllers, transports and interfaces, without a daemon.
func TestCompleteConnections(t *testing.T) {
	d := newDesk(t)
	d.controller(tcp("nvme1", "192.0.2.1", nqn), "discoverd")
	d.controller(tcp("nvme2", "192.0.2.2", nqn), "")
	d.controller(tcp("nvme3", "192.0.2.3", nqn+"3"), "stas") // nobody disconnects it here
	if err := os.MkdirAll(d.root.Join("sys/class/net/eth0"), 0o755); err != nil {
		t.Fatal(err)
	}
	const one, two = "nvme1\t(tcp, 192.0.2.1, 4420, " + nqn + ")\n", "nvme2\t(tcp, 192.0.2.2, 4420, " + nqn + ")\n"
	for _, test := range []struct {
		line []string
		want string
	}{
		{[]string{"disconnect", ""}, one + two},
		{[]string{"disconnect", "nvme1", ""}, two},
		{[]string{"disconnect", "/dev/"}, "/dev/" + one + "/dev/" + two},
		{[]string{"disconnect", "-d", ""}, one + two},
		{[]string{"disconnect", "--nqn", ""}, nqn + "\n" + nqn + "3\n"},
		{[]string{"connect", "-t", ""}, "tcp\nrdma\nfc\nloop\n"},
		{[]string{"connect", "--host-iface", ""}, "eth0\n"},
		{[]string{"connect", "--traddr", ""}, ""},
		{[]string{"connect", ""}, ""},
		{[]string{"hostnqn", ""}, ""},
	} {
		// The root comes first here: the last word is the one to complete.
		args := append([]string{"__complete", "--root=" + string(d.root)}, test.line...)
		if got := d.complete(args); got != test.want+":4\n" {
			t.Errorf("%q: got\n%swant\n%s", test.line, got, test.want)
		}
	}
}

// What a name has that would move the cursor does not reach the terminal: such a word is not offered, such a description is made legible.
func TestCompletionsAreLegible(t *testing.T) {
	d := newDesk(t)
	d.controller(tcp("nvme1", "192.0.2.1", nqn+"\x1b[2J"), "")
	for word, want := range map[string]string{
		"nvme": "nvme1\t(tcp, 192.0.2.1, 4420, " + nqn + `\x1b[2J)` + "\n:4\n", "--nqn": ":4\n",
	} {
		args := []string{"__complete", "--root=" + string(d.root), "disconnect", word}
		if word == "--nqn" {
			args = append(args, "")
		}
		if got := d.complete(args); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}
