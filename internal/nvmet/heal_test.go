// SPDX-License-Identifier: GPL-3.0-or-later

package nvmet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/rdma"
)

// host is a target in a temporary tree. As with the kernel, a port listens from the first link on, if an RDMA device has its
// address; unlike there, nothing is refused otherwise.
type host struct {
	*testing.T
	root  paths.Root
	heard []rdma.Listener          // what listens whatever is linked
	dead  map[string][]os.FileInfo // ports that lost their listener, with the links that they had then
}

func newHost(t *testing.T) *host {
	h := &host{T: t, root: paths.Root(t.TempDir()), dead: map[string][]os.FileInfo{}}
	h.device("rxe0", "192.0.2.1")
	return h
}

func (h *host) write(path, text string) {
	h.Helper()
	path = h.root.Join(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.Fatal(err)
	}
}

func (h *host) device(name, addr string) {
	dir := "sys/class/infiniband/" + name
	h.write(dir+"/node_type", "1: CA\n")
	h.write(dir+"/ports/1/link_layer", "Ethernet\n")
	gid := netip.MustParseAddr(addr).As16()
	text := ""
	for i := 0; i < 16; i += 2 {
		text += fmt.Sprintf(":%02x%02x", gid[i], gid[i+1])
	}
	h.write(dir+"/ports/1/gids/0", text[1:]+"\n")
}

// port adds a port with subsystems.
func (h *host) port(id, transport, traddr, trsvcid string, nqns ...string) {
	h.Helper()
	dir := "sys/kernel/config/nvmet/ports/" + id
	h.write(dir+"/addr_trtype", transport+"\n")
	h.write(dir+"/addr_traddr", traddr+"\n")
	h.write(dir+"/addr_trsvcid", trsvcid+"\n")
	h.write(dir+"/referrals/other/addr_traddr", "192.0.2.9\n")
	if err := os.MkdirAll(h.root.Join(dir, "subsystems"), 0o755); err != nil {
		h.Fatal(err)
	}
	for _, nqn := range nqns {
		h.write("sys/kernel/config/nvmet/subsystems/"+nqn+"/attr_allow_any_host", "1\n")
		if err := os.Symlink("../../../subsystems/"+nqn, h.root.Join(dir, "subsystems", nqn)); err != nil {
			h.Fatal(err)
		}
	}
}

// links are the links of a port, each a file of its own: one that was made anew is another.
func (h *host) links(id string) []os.FileInfo {
	h.Helper()
	dir := h.root.Join("sys/kernel/config/nvmet/ports", id, "subsystems")
	entries, err := os.ReadDir(dir)
	if err != nil {
		h.Fatal(err)
	}
	var all []os.FileInfo
	for _, entry := range entries {
		info, err := os.Lstat(filepath.Join(dir, entry.Name()))
		if err != nil {
			h.Fatal(err)
		}
		all = append(all, info)
	}
	return all
}

// reset takes the listener of a port.
func (h *host) reset(id string) { h.dead[id] = h.links(id) }

// listeners is what the kernel would tell.
func (h *host) listeners() ([]rdma.Listener, error) {
	all := h.heard
	ports, err := Ports(h.root)
	for _, p := range ports {
		addr, err := p.address()
		if p.Transport != "rdma" || err != nil || len(p.Subsystems) == 0 {
			continue
		}
		if before := h.dead[p.ID]; before != nil && sameAny(before, h.links(p.ID)) {
			continue
		}
		all = append(all, rdma.Listener{Device: "rxe0", Addr: addr, Owner: "nvmet_rdma"})
	}
	return all, err
}

// sameAny tells whether a link of before is still there: inodes may be used again, so the time counts too.
func sameAny(before, now []os.FileInfo) bool {
	for _, a := range before {
		for _, b := range now {
			if os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) {
				return true
			}
		}
	}
	return false
}

// heal returns what became of the ports, a line for each.
func (h *host) heal(dryRun bool, ids ...string) string {
	h.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	results, err := Healer{Root: h.root, Listeners: h.listeners, DryRun: dryRun}.Heal(ctx, ids...)
	text := ""
	for _, r := range results {
		text += fmt.Sprintf("%s: %s %s", r.Port, r.State, strings.Join(r.Subsystems, " "))
		if r.Err != nil {
			text += ": " + r.Err.Error()
		}
		text += "\n"
	}
	if err != nil {
		text += err.Error() + "\n"
	}
	return strings.ReplaceAll(text, string(h.root), "")
}

func (h *host) expect(got, want string) {
	h.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		h.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHeal(t *testing.T) {
	h := newHost(t)
	h.expect(h.heal(false), "")
	h.port("1", "rdma", "192.0.2.1", "4420", "nqn.a", "nqn.b")
	h.port("2", "tcp", "192.0.2.1", "4420", "nqn.a")
	h.port("3", "rdma", "192.0.2.1", "4421", "nqn.a")
	h.port("10", "rdma", "192.0.2.7", "4420", "nqn.b")
	h.port("11", "rdma", "::", "4420", "nqn.b")
	h.port("12", "rdma", "192.0.2.1", "4422")
	healthy := `port 1 (192.0.2.1:4420): listening nqn.a nqn.b
port 3 (192.0.2.1:4421): listening nqn.a
port 10 (192.0.2.7:4420): listening nqn.b
port 11 ([::]:4420): listening nqn.b
port 12 (192.0.2.1:4422): empty 
`
	before := h.links("3")
	h.expect(h.heal(false), healthy)

	h.reset("1")
	h.expect(h.heal(true, "1"), "port 1 (192.0.2.1:4420): dead nqn.a nqn.b\n")
	h.expect(h.heal(true, "1"), "port 1 (192.0.2.1:4420): dead nqn.a nqn.b\n")
	h.expect(h.heal(false), strings.Replace(healthy, "4420): listening", "4420): healed", 1))
	h.expect(h.heal(false), healthy)
	if !sameAny(before, h.links("3")) {
		t.Error("a port that listens was touched")
	}
	if target, err := os.Stat(h.root.Join("sys/kernel/config/nvmet/ports/1/subsystems/nqn.a/attr_allow_any_host")); err != nil {
		t.Errorf("the link leads nowhere: %v, %v", target, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(h.root.Unlinked("1"))); len(entries) != 0 {
		t.Errorf("notes left: %v", entries)
	}

	h.reset("10")
	h.expect(h.heal(false, "10"), "port 10 (192.0.2.7:4420): stranded nqn.b: cannot heal port 10 (192.0.2.7:4420): "+
		"it listens no more, and no RDMA device has its address\n")
	h.device("mlx5_0", "192.0.2.7")
	h.expect(h.heal(false, "10"), "port 10 (192.0.2.7:4420): healed nqn.b\n")
}

// A run was killed, or the kernel refused, when some subsystems were off the port: the next one puts them back.
func TestHealInterrupted(t *testing.T) {
	h := newHost(t)
	h.port("1", "rdma", "192.0.2.1", "4420", "nqn.a", "nqn.b")
	link := func(nqn string) string { return h.root.Join("sys/kernel/config/nvmet/ports/1/subsystems", nqn) }
	note := func() { h.write("run/nvme/discoverd/nvmet/1", "192.0.2.1:4420\nnqn.a\nnqn.b\nnqn.gone\n..\n") }
	for _, off := range [][]string{{"nqn.a"}, {"nqn.a", "nqn.b"}} {
		for _, nqn := range off {
			if err := os.Remove(link(nqn)); err != nil {
				t.Fatal(err)
			}
		}
		note()
		h.expect(h.heal(false), "port 1 (192.0.2.1:4420): healed nqn.a nqn.b\n")
		h.expect(h.heal(false), "port 1 (192.0.2.1:4420): listening nqn.a nqn.b\n")
	}

	// What was noted of a port that is now another one is not put back.
	if err := os.Remove(link("nqn.a")); err != nil {
		t.Fatal(err)
	}
	note()
	h.write("sys/kernel/config/nvmet/ports/1/addr_trsvcid", "4421\n")
	h.expect(h.heal(false), "port 1 (192.0.2.1:4421): listening nqn.b\n")
}

func TestHealFails(t *testing.T) {
	h := newHost(t)
	h.port("1", "rdma", "192.0.2.1", "4420", "nqn.a")
	h.port("2", "rdma", "x", "4420", "nqn.a")
	h.port("3", "rdma", "192.0.2.1", "x", "nqn.a")
	h.port("4", "rdma", "192.0.2.1", "4424", "nqn.a")
	h.reset("1")
	h.reset("4")
	h.heard = []rdma.Listener{{Addr: netip.MustParseAddrPort("192.0.2.1:4424")}}
	// Nothing can be noted, so nothing is done.
	h.write("run/nvme/discoverd/nvmet", "")
	h.expect(h.heal(false), `port 1 (192.0.2.1:4420): failed nqn.a: cannot heal port 1 (192.0.2.1:4420): mkdir /run/nvme/discoverd/nvmet: not a directory
port 2 (x:4420): failed nqn.a: cannot tell where port 2 (x:4420) listens: its address is no IP address
port 3 (192.0.2.1:x): failed nqn.a: cannot tell where port 3 (192.0.2.1:x) listens: its trsvcid is no number from 0 to 65535
port 4 (192.0.2.1:4424): failed nqn.a: cannot heal port 4 (192.0.2.1:4424): something else listens there: a program
`)
	if len(h.links("1")) != 1 {
		t.Error("the link was removed although nothing could be noted")
	}

	_, err := Healer{Root: h.root, Listeners: func() ([]rdma.Listener, error) { return nil, errors.New("no answer") }}.Heal(context.Background())
	if want := "cannot tell which ports listen: no answer"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// A port is healed when its address is there.
func TestHealWaits(t *testing.T) {
	h := newHost(t)
	h.port("1", "rdma", "192.0.2.7", "4420", "nqn.a")
	h.reset("1")
	looks := 0
	healer := Healer{Root: h.root, Listeners: func() ([]rdma.Listener, error) {
		if looks++; looks == 2 {
			h.device("mlx5_0", "192.0.2.7")
		}
		return h.listeners()
	}}
	results, err := healer.Heal(t.Context())
	if err != nil || len(results) != 1 || results[0].State != Healed {
		t.Errorf("got %v, %v, want the port healed", results, err)
	}
}

func TestCheckPort(t *testing.T) {
	for _, id := range []string{"0", "1", "65535"} {
		if err := CheckPort(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", "-1", "01", "65536", "1/2", "..", "x"} {
		want := fmt.Sprintf("cannot use port %q: it must be the number of a port of the target, 0 to 65535", id)
		if err := CheckPort(id); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
