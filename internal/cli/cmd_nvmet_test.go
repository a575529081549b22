// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/rdma"
)

func TestNVMeTHeal(t *testing.T) {
	d := newDesk(t)
	d.expect([]string{"nvmet", "heal"}, "! this host's target has no RDMA port\n")
	d.expect([]string{"nvmet", "heal", "1"}, "! cannot heal port 1: the target has no RDMA port of that number\nstatus 1\n")
	d.expect([]string{"nvmet", "heal", "--json"}, "{\n  \"ports\": []\n}\n")
	d.expect([]string{"nvmet", "heal", "../1"},
		"! cannot use port \"../1\": it must be the number of a port of the target, 0 to 65535: see nvme-discoverctl nvmet heal --help\nstatus 2\n")
	d.expect([]string{"nvmet", "heal", "--wait=-1s"}, "! cannot wait for -1s: --wait takes a time from 0: see nvme-discoverctl nvmet heal --help\nstatus 2\n")

	for _, port := range []struct{ id, traddr, nqn string }{{"1", "192.0.2.1", "nqn.a"}, {"2", "192.0.2.2", "nqn.b"}, {"3", "192.0.2.3", ""}} {
		dir := "sys/kernel/config/nvmet/ports/" + port.id
		d.write(dir+"/addr_trtype", "rdma\n")
		d.write(dir+"/addr_traddr", port.traddr+"\n")
		d.write(dir+"/addr_trsvcid", "4420\n")
		if err := os.MkdirAll(d.root.Join(dir, "subsystems"), 0o755); err != nil {
			t.Fatal(err)
		}
		if port.nqn != "" {
			d.write("sys/kernel/config/nvmet/subsystems/"+port.nqn+"/attr_allow_any_host", "1\n")
			d.write(dir+"/subsystems/"+port.nqn, "")
		}
	}
	listens := func(addrs ...string) func() ([]rdma.Listener, error) {
		var all []rdma.Listener
		for _, addr := range addrs {
			all = append(all, rdma.Listener{Device: "rxe0", Addr: netip.MustParseAddrPort(addr), Owner: "nvmet_rdma"})
		}
		return func() ([]rdma.Listener, error) { return all, nil }
	}
	d.listeners = listens("192.0.2.1:4420")
	const empty = "port 3 (192.0.2.3:4420) shows no subsystem, so it need not listen\n"
	d.expect([]string{"nvmet", "heal"}, "port 1 (192.0.2.1:4420) listens\n"+empty+
		"! cannot heal port 2 (192.0.2.2:4420): it listens no more, and no RDMA device has its address\nstatus 1\n")
	d.expect([]string{"nvmet", "heal", "2", "--json"}, `{
  "ports": [
    {
      "port": "2",
      "traddr": "192.0.2.2",
      "trsvcid": "4420",
      "state": "stranded",
      "subsystems": [
        "nqn.b"
      ],
      "error": "cannot heal port 2 (192.0.2.2:4420): it listens no more, and no RDMA device has its address"
    }
  ]
}
! cannot heal port 2 (192.0.2.2:4420): it listens no more, and no RDMA device has its address
status 1
`)
	d.write("sys/class/infiniband/ib0/ports/1/link_layer", "InfiniBand\n")
	d.expect([]string{"nvmet", "heal", "2", "--dry-run"}, "port 2 (192.0.2.2:4420) listens no more: would link anew nqn.b\n")
	d.expect([]string{"nvmet", "heal", "2"}, "! cannot heal port 2 (192.0.2.2:4420): it does not listen although its subsystems were linked anew\nstatus 1\n")
	calls := 0
	d.listeners = func() ([]rdma.Listener, error) {
		if calls++; calls == 1 {
			return nil, nil
		}
		return listens("192.0.2.2:4420")()
	}
	d.expect([]string{"nvmet", "heal", "2"}, "port 2 (192.0.2.2:4420) listened no more and does again: linked anew nqn.b\n")

	completions, _ := (&app{root: d.root}).completePort(nil, nil, "")
	if diff := cmp.Diff([]string{"1\t192.0.2.1 4420", "2\t192.0.2.2 4420", "3\t192.0.2.3 4420"}, completions); diff != "" {
		t.Errorf("completions (-want +got):\n%s", diff)
	}
	d.listeners = func() ([]rdma.Listener, error) { return nil, errors.New("no answer") }
	d.expect([]string{"nvmet", "heal"}, "! cannot tell which ports listen: no answer\nstatus 1\n")
}
