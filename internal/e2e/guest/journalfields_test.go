// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// Message IDs that administrators' filters contain.
const (
	messageConnected     = "7727285eae194c969ddf8ba802717ef9"
	messageLost          = "7ccdb68369654980a0ac36d827a2dad0"
	messageShortLived    = "8dfede1d06604c49ae18e1869b279609"
	messageCannotConnect = "80dfd4465e5d41b586897f4815ffbcae"
	messageStopped       = "736fae9f37784349acf13b606a2e5ee2"
)

// entriesOf returns what the service wrote to the journal since the mark and matches.
func entriesOf(f *guest.Fixture, since guest.Mark, matches ...string) []map[string]any {
	f.Helper()
	guest.Run(f, "journalctl", "--sync")
	args := []string{"--quiet", "--output=json", "--unit=" + guest.Service, "--after-cursor=" + since.Cursor}
	var entries []map[string]any
	for line := range strings.Lines(guest.Run(f, "journalctl", append(args, matches...)...)) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			f.Fatalf("cannot read the journal's line %s: %v", line, err)
		}
		entries = append(entries, entry)
	}
	return entries
}

// storyOf returns the message IDs of what the journal says about an NQN, without repetitions, in order, but for the one that
// depends on how fast this machine is.
func storyOf(f *guest.Fixture, since guest.Mark, nqn string) []string {
	f.Helper()
	ids := slices.DeleteFunc(f.MessageIDs(since, nqn), func(id string) bool { return id == messageShortLived })
	return slices.Compact(ids)
}

// The journal's fields tell the story of one subsystem out of three: connected, lost, refused, connected, stopped. Lines say
// what they are about, their message IDs can be asked for, and the catalog explains them.
func TestJournalFields(t *testing.T) {
	f := guest.Scene(t, 3)
	one := f.Subsystems[0]
	guest.Configure(t, discoveryConfig(f.Port)+subsystemConfig(f.Port, one.NQN, "")) // wanted also while it is not in the log page
	mark := f.Mark()
	guest.Start(t)
	devices := f.WaitAllLive()
	unit := f.Unit(one.NQN)

	t.Run("fields", func(t *testing.T) {
		want := map[string]string{
			"MESSAGE_ID": messageConnected, "NVME_UNIT": unit, "NVME_DEVICE": devices[one.NQN], "NVME_NQN": one.NQN,
			"NVME_TRANSPORT": "tcp", "NVME_TRADDR": f.Port.Traddr, "NVME_TRSVCID": f.Port.Trsvcid,
			"PRIORITY": "6", "SYSLOG_IDENTIFIER": "nvme-discoverd", "_TRANSPORT": "journal", "_SYSTEMD_UNIT": guest.Service,
		}
		guest.Eventually(t, connectTimeout, "a line about the connection", func() (bool, string) {
			story := storyOf(f, mark, one.NQN)
			return slices.Contains(story, messageConnected), strings.Join(story, "\n\t")
		})
		found := entriesOf(f, mark, "MESSAGE_ID="+messageConnected, "NVME_NQN="+one.NQN)
		if len(found) != 1 {
			t.Fatalf("lines about the connection: got %v, want one", found)
		}
		for field, value := range want {
			if got := found[0][field]; got != value {
				t.Errorf("%s: got %v, want %s", field, got, value)
			}
		}
		for _, unset := range []string{"NVME_HOST_TRADDR", "NVME_HOST_IFACE"} {
			if got, there := found[0][unset]; there {
				t.Errorf("%s: got %v, want none", unset, got)
			}
		}
		if all := entriesOf(f, mark, "MESSAGE_ID="+messageConnected); len(all) != 4 {
			t.Errorf("lines about connections: got %d, want 4", len(all))
		}
	})

	t.Run("story", func(t *testing.T) {
		one.AllowOnly()
		guest.Delete(t, devices[one.NQN])
		story := func(want ...string) {
			t.Helper()
			guest.Eventually(t, connectTimeout, "the story of "+one.NQN, func() (bool, string) {
				got := storyOf(f, mark, one.NQN)
				return slices.Equal(got, want), strings.Join(got, "\n\t")
			})
		}
		story(messageConnected, messageLost, messageCannotConnect)
		one.AllowAll()
		f.WaitAllLive()
		story(messageConnected, messageLost, messageCannotConnect, messageConnected)
		guest.Run(t, "systemctl", "stop", unit)
		story(messageConnected, messageLost, messageCannotConnect, messageConnected, messageStopped)
		for _, entry := range entriesOf(f, mark, "NVME_NQN="+one.NQN) {
			if entry["NVME_UNIT"] != unit {
				t.Errorf("a line of the story is about %v, want %s: %v", entry["NVME_UNIT"], unit, entry["MESSAGE"])
			}
		}
	})

	t.Run("catalog", func(t *testing.T) {
		guest.Run(t, "journalctl", "--update-catalog")
		text := guest.Run(t, "journalctl", "--quiet", "--catalog", "--after-cursor="+mark.Cursor, "MESSAGE_ID="+messageStopped)
		for _, want := range []string{
			"Subject: An administrator stopped " + unit, "Defined-By: nvme-discoverd",
			unit + " was stopped, so " + one.NQN + " stays disconnected", "nvme-discoverctl start " + unit,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("journalctl --catalog does not say %q:\n%s", want, text)
			}
		}
		ours := strings.Count(guest.Run(t, "journalctl", "--list-catalog"), " nvme-discoverd: ")
		if ours < 30 {
			t.Errorf("entries of the catalog: got %d", ours)
		}
	})
}
