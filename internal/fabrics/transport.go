package fabrics

import (
	"slices"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// onlyOn are the options that some transports refuse, with those that take them: allowed_opts in the kernel's
// drivers/nvme/host/{tcp,rdma,fc}.c and drivers/nvme/target/loop.c. The options for encryption are not among them: to go without
// would be another connection.
var onlyOn = map[string][]string{
	"reconnect_delay": {tid.TCP, tid.RDMA, tid.FC},
	"ctrl_loss_tmo":   {tid.TCP, tid.RDMA, tid.FC},
	"nr_write_queues": {tid.TCP, tid.RDMA},
	"nr_poll_queues":  {tid.TCP, tid.RDMA},
	"tos":             {tid.TCP, tid.RDMA},
	"hdr_digest":      {tid.TCP},
	"data_digest":     {tid.TCP},
}

// refuses tells whether a connect by a transport fails for an option that has no meaning there. Such a one is left out without
// a word: the defaults of the configuration are for all transports.
func refuses(transport, option string) bool {
	takers, some := onlyOn[option]
	return some && !slices.Contains(takers, transport)
}
