// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

// RDMA is a network card of this host that speaks RDMA: soft RoCE on one end of a cable.
type RDMA struct {
	t T
}

// The card's network interface, the address that it has, and its RDMA device.
const (
	rdmaLink    = "roce"
	RDMAAddress = "198.51.100.1"
	rdmaDevice  = "rxe0"
)

// NewRDMA puts the card in. To be called before Begin, so that it outlives the connections that use it.
func NewRDMA(t T) *RDMA {
	t.Helper()
	Run(t, "modprobe", "-a", "rdma_rxe", "nvme-rdma", "nvmet-rdma")
	r := &RDMA{t: t}
	t.Cleanup(func() {
		reset(t)
		// The RDMA device goes with its interface.
		Run(t, "ip", "link", "delete", rdmaLink)
	})
	Run(t, "ip", "link", "add", rdmaLink, "type", "veth", "peer", "name", rdmaLink+"-far")
	Run(t, "ip", "address", "add", RDMAAddress+"/24", "dev", rdmaLink)
	Run(t, "ip", "link", "set", rdmaLink, "up")
	Run(t, "ip", "link", "set", rdmaLink+"-far", "up")
	r.Appear()
	return r
}

// Disappear takes the RDMA device away, as a reset of the card begins: the kernel deletes the controllers on it at once,
// and the target's ports on it listen no more.
func (r *RDMA) Disappear() {
	r.t.Helper()
	Run(r.t, "rdma", "link", "delete", rdmaDevice)
}

// Appear brings the RDMA device, as a reset of the card ends.
func (r *RDMA) Appear() {
	r.t.Helper()
	Run(r.t, "rdma", "link", "add", rdmaDevice, "type", "rxe", "netdev", rdmaLink)
}
