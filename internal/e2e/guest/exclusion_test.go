// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// entryOf is the exclusion of one subsystem on the port of the scene.
func entryOf(f *guest.Fixture, nqn string) string {
	return "transport=tcp;traddr=" + f.Port.Traddr + ";trsvcid=" + f.Port.Trsvcid + ";nqn=" + nqn
}

// `nvme-discoverctl disconnect --exclude` disconnects a controller for good, and says which entry it wrote. The daemon does
// not bring it back, not after its restart nor after a reload. `exclusion test` tells why, and for a connected controller that
// it is not excluded. Removing the entry brings it back at once, without a reload.
func TestDisconnectExclude(t *testing.T) {
	f, devices := guest.Connected(t, 2)
	nqn := f.Subsystems[0].NQN
	out := guest.Ctl(t, "disconnect", "--device="+devices[nqn], "--exclude")
	for _, want := range []string{"excluded " + entryOf(f, nqn) + ": /etc/nvme/exclusions/user.conf:", "disconnected " + devices[nqn]} {
		if !strings.Contains(out, want) {
			t.Errorf("disconnect --exclude: want %q, got:\n%s", want, out)
		}
	}
	delete(devices, nqn)
	f.WaitUnit(f.Unit(nqn), "inactive")
	guest.Always(t, quietSpan, "it stays away", unchanged(devices))
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Reload(t)
	guest.Always(t, quietSpan, "it stays away after a restart and a reload", unchanged(devices))

	tested := guest.Ctl(t, "exclusion", "test", entryOf(f, nqn))
	if !strings.HasPrefix(tested, "excluded: ") || !strings.Contains(tested, "/etc/nvme/exclusions/user.conf:") {
		t.Errorf("exclusion test of what is excluded: got\n%s", tested)
	}
	other := devices[f.Subsystems[1].NQN]
	var result struct {
		Device   string
		Excluded bool
		TIDs     []string
	}
	answer := guest.Ctl(t, "exclusion", "test", other, "--json")
	if err := json.Unmarshal([]byte(answer), &result); err != nil || result.Excluded || result.Device != other || len(result.TIDs) != 1 {
		t.Errorf("exclusion test %s: got %v\n%s", other, err, answer)
	}

	begin := time.Now()
	guest.Ctl(t, "exclusion", "remove", "--entry="+entryOf(f, nqn))
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	t.Logf("back %v after the command began", time.Since(begin).Round(time.Millisecond))
}

// Exclusions that are junk do no harm: a list with binary junk, a dangling link, a directory in place of a list and an entry
// with an unknown key. Each is told once with its place, the good entry beside them holds, and all else is connected.
func TestExclusionJunk(t *testing.T) {
	f := guest.Scene(t, 2)
	nqn := f.Subsystems[0].NQN
	guest.Exclude(t, "a-junk", "\x00\xff\x13;;==", "colour=red", "traddr=127.0.0.256")
	guest.Exclude(t, "b-good", entryOf(f, nqn))
	guest.Run(t, "ln", "-s", "/nonexistent", "/etc/nvme/exclusions/c-dangling.conf")
	guest.Run(t, "mkdir", "/etc/nvme/exclusions/d-directory.conf")
	mark := f.Mark()
	guest.Start(t)
	wanted := slices.DeleteFunc(f.Wanted(), func(id guest.TID) bool { return id.NQN == nqn })
	guest.WaitConsistent(t, connectTimeout, wanted)
	guest.Always(t, quietSpan, "what the good entry excludes stays away", func() (bool, string) { return guest.Consistent(t, wanted) })
	complaints := f.Complaints(mark, guest.Service)
	for line := 1; line <= 3; line++ {
		if where := fmt.Sprintf("/etc/nvme/exclusions/a-junk.conf:%d", line); strings.Count(complaints, where) != 1 {
			t.Errorf("complaints: want one about %s, got:\n%s", where, complaints)
		}
	}
	for _, list := range []string{"c-dangling", "d-directory"} {
		if !strings.Contains(complaints, "/etc/nvme/exclusions/"+list+".conf") {
			t.Errorf("complaints: want one about %s, got:\n%s", list, complaints)
		}
	}
}

// A host changes over from nvme-cli 3 and nvme-stas: what their files exclude stays away. nvme-stas' exclude line is imported
// as an exclusion, entries of nvme-cli 3's own list hold, those of its reserved sections do not. What the commands write
// stands where nvme-cli 3 reads it, and the daemon obeys. It says of each file of theirs that it does not read that it is
// there, once.
func TestExclusionsOfNeighbours(t *testing.T) {
	f := guest.Scene(t, 3)
	theirs, ours, stas := f.Subsystems[0].NQN, f.Subsystems[1].NQN, f.Subsystems[2].NQN
	const shared = "/etc/nvme/exclusions.conf.d/"
	guest.Configure(t, "")
	guest.Replace(t, "/etc/nvme/exclusions.conf", "\ufeff[exclusions]\r\nexclusion = "+entryOf(f, theirs)+" # away\r\n\r\n[policy]\r\nexclusion = "+entryOf(f, ours)+"\r\n")
	guest.Replace(t, "/etc/nvme/nvme-discoverd.conf", "[Global]\nnbft = false\n")
	guest.Replace(t, "/etc/nvme/nvme-stas.conf", "[Discovery Controller]\ncontroller = transport=tcp;traddr=192.0.2.1\n")
	guest.Replace(t, "/etc/stas/stafd.conf", "[Service Discovery]\nzeroconf = disabled\n[Controllers]\ncontroller = transport=tcp;traddr="+f.Port.Traddr+
		";trsvcid="+f.Port.Trsvcid+"\nexclude = "+entryOf(f, stas)+"\n")
	imported := guest.Ctl(t, "config", "import", "--from=stafd.conf")
	for _, want := range []string{
		"excluded " + entryOf(f, stas) + ": " + shared + "imported-stas.conf:", "discoverd.conf.d/imported-stas.conf: 1 connection",
		"systemctl disable --now stafd stacd\n", "systemctl start nvme-discoverd\n",
	} {
		if !strings.Contains(imported, want) {
			t.Errorf("config import: want %q, got:\n%s", want, imported)
		}
	}

	mark := f.Mark()
	guest.Start(t)
	wanted := func(nqns ...string) []guest.TID {
		return slices.DeleteFunc(f.Wanted(), func(id guest.TID) bool {
			return slices.Contains([]string{theirs, ours, stas}, id.NQN) && !slices.Contains(nqns, id.NQN)
		})
	}
	guest.WaitConsistent(t, connectTimeout, wanted(ours))
	guest.Always(t, quietSpan, "what their files exclude stays away", func() (bool, string) { return guest.Consistent(t, wanted(ours)) })
	complaints := f.Complaints(mark, guest.Service)
	for _, file := range []string{"nvme-discoverd.conf", "nvme-stas.conf"} {
		if want := "/etc/nvme/" + file + " is there and is not read"; strings.Count(complaints, want) != 1 {
			t.Errorf("complaints: want one with %q, got:\n%s", want, complaints)
		}
	}

	out := guest.Ctl(t, "disconnect", "--device="+guest.Devices()[ours], "--exclude")
	if want := "excluded " + entryOf(f, ours) + ": " + shared + "user.conf:"; !strings.Contains(out, want) {
		t.Errorf("disconnect --exclude: want %q, got:\n%s", want, out)
	}
	f.WaitUnit(f.Unit(ours), "inactive")
	guest.Always(t, quietSpan, "it stays away", func() (bool, string) { return guest.Consistent(t, wanted()) })
	guest.Ctl(t, "exclusion", "remove", "--entry="+entryOf(f, ours))
	guest.Ctl(t, "exclusion", "remove", "--name=imported-stas", "--entry="+entryOf(f, stas))
	guest.WaitConsistent(t, connectTimeout, wanted(ours, stas))

	guest.Run(t, "rm", "/etc/nvme/discoverd.conf.d/imported-stas.conf")
	if again := guest.Ctl(t, "config", "import", "--from=stafd.conf"); !strings.Contains(again, "systemctl reload nvme-discoverd\n") {
		t.Errorf("config import while the service runs: want a reload, got:\n%s", again)
	}
}
