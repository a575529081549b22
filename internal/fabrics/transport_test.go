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
		{tid.FC, "nn-0x1:pn-0x2", "keep_alive_tmo=30,ctrl_loss_tmo=600,reconnect_delay=10,fast_io_fail_tmo=5,queue_size=64"},
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
