// SPDX-License-Identifier: GPL-3.0-or-later

package fabrics

import (
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// The defaults of the configuration are for all transports; each gets what it takes.
func TestTransports(t *testing.T) {
	var all param.Set
	for _, set := range [][2]string{
		{"ctrl-loss-tmo", "600"},
		{"reconnect-delay", "10"},
		{"nr-write-queues", "1"},
		{"nr-poll-queues", "2"},
		{"tos", "3"},
		{"hdr-digest", "true"},
		{"data-digest", "true"},
		{"queue-size", "64"},
		{"fast-io-fail-tmo", "5"},
		{"keep-alive-tmo", "30"},
	} {
		p, ok := param.ByName(set[0])
		if !ok {
			t.Fatalf("there is no parameter %s", set[0])
		}
		var err error
		if all, err = all.With(p, set[1]); err != nil {
			t.Fatal(err)
		}
	}
	known := baselineOptions()
	known["fast_io_fail_tmo"] = true
	for _, test := range []struct{ transport, traddr, want string }{
		{tid.TCP, "192.0.2.1", "keep_alive_tmo=30,ctrl_loss_tmo=600,reconnect_delay=10,fast_io_fail_tmo=5,nr_write_queues=1,nr_poll_queues=2,queue_size=64,tos=3,hdr_digest,data_digest"},
		{tid.RDMA, "192.0.2.1", "keep_alive_tmo=30,ctrl_loss_tmo=600,reconnect_delay=10,fast_io_fail_tmo=5,nr_write_queues=1,nr_poll_queues=2,queue_size=64,tos=3"},
		{tid.FC, "nn-0x0000000000000001:pn-0x0000000000000002", "keep_alive_tmo=30,ctrl_loss_tmo=600,reconnect_delay=10,fast_io_fail_tmo=5,queue_size=64"},
		{tid.Loop, "", "keep_alive_tmo=30,fast_io_fail_tmo=5,queue_size=64"},
	} {
		id, err := tid.New(tid.TID{Transport: test.transport, Traddr: test.traddr, NQN: "nqn.vol"}, tid.IO)
		if err != nil {
			t.Fatal(err)
		}
		got, dropped, err := OptionString(wish.Wish{TID: id, Params: all}, Keys{}, known)
		_, got, _ = strings.Cut(got, "nqn=nqn.vol,")
		if got != test.want || dropped != nil || err != nil {
			t.Errorf("%s: got %s, %v, %v, want %s", test.transport, got, dropped, err, test.want)
		}
	}
}

// What would make it another connection is never left out, nor sent where the transport does not take it.
func TestNotTaken(t *testing.T) {
	known := baselineOptions()
	for _, option := range []string{"host_iface", "tls", "concat"} {
		known[option] = true
	}
	without := baselineOptions()
	for _, test := range []struct {
		transport, iface, param string
		known                   map[string]bool
		err                     string
	}{
		{tid.TCP, "eth0", "", known, ""},
		{tid.TCP, "eth0", "", without, `cannot connect (tcp, 192.0.2.1, 4420, nqn.vol, eth0): this kernel does not know the option "host_iface": do without it, or use a kernel that has it`},
		{tid.RDMA, "eth0", "", known, "cannot connect (rdma, 192.0.2.1, 4420, nqn.vol, eth0): transport rdma takes no host-iface"},
		{tid.RDMA, "", "tls", known, "cannot connect (rdma, 192.0.2.1, 4420, nqn.vol): transport rdma takes no tls"},
		{tid.RDMA, "", "concat", known, "cannot connect (rdma, 192.0.2.1, 4420, nqn.vol): transport rdma takes no concat"},
		{tid.TCP, "", "tls", known, ""},
	} {
		w := wish.Wish{TID: tid.TID{Transport: test.transport, Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.vol", HostIface: test.iface}}
		if p, ok := param.ByName(test.param); ok {
			w.Params, _ = w.Params.With(p, "true")
		}
		_, dropped, err := OptionString(w, Keys{}, test.known)
		if message(err) != test.err || len(dropped) > 0 {
			t.Errorf("%+v: dropped %v, error %v", w, dropped, err)
		}
	}
}
