// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/fabrics"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// asHolder explains a refusal, EINVAL, that is due to the pair of host NQN and host ID: the kernel takes one ID for each NQN and
// one NQN for each ID as long as a controller has them, and compares NQNs byte by byte (drivers/nvme/host/fabrics.c,
// nvmf_host_add). Where the pair differs by no more than the case of the UUID in the NQN, which says the same to
// everybody else, it asks again as the kernel has it.
func (c *Connector) asHolder(ctx context.Context, req Request, secrets secret.Set, refusal error) (fabrics.Result, error) {
	var refused *fabrics.Error
	hosts, err := c.sysfs.Hosts()
	if err != nil || !errors.As(refusal, &refused) {
		return fabrics.Result{}, refusal
	}
	for _, h := range hosts {
		sameNQN, sameID := h.NQN == req.Wish.TID.HostNQN, strings.EqualFold(h.ID, req.Wish.TID.HostID)
		switch {
		case sameNQN == sameID:
		case sameID && tid.SameNQN(h.NQN, req.Wish.TID.HostNQN):
			req.Wish.TID.HostNQN = h.NQN
			result, err := c.ask(ctx, req, secrets)
			return result, spelledAs(h, err)
		default:
			return fabrics.Result{}, heldBy(h, *refused)
		}
	}
	return fabrics.Result{}, refusal
}

// spelledAs adds to a refusal how the host NQN was spelled, and why: a target may know it in lower case only.
func spelledAs(h sysfs.Host, err error) error {
	var refused *fabrics.Error
	if !errors.As(err, &refused) {
		return err
	}
	spelled := *refused
	spelled.Meaning += fmt.Sprintf("; the hostnqn is spelled %s, as %s, which has it, was connected with", h.NQN, h.Name)
	return &spelled
}

// heldBy says of a refusal which controller is its cause.
func heldBy(h sysfs.Host, refused fabrics.Error) error {
	t := refused.TID
	if h.NQN == t.HostNQN {
		refused.Meaning = fmt.Sprintf("%s is connected with hostid %s for hostnqn %s, and as long as it is the kernel takes no other, such as %s, for that hostnqn", h.Name, h.ID, h.NQN, orNone(t.HostID))
		refused.Advice = fmt.Sprintf("connect with hostid %s, or disconnect %s", h.ID, h.Name)
		return &refused
	}
	refused.Meaning = fmt.Sprintf("%s is connected with hostnqn %s for hostid %s, and as long as it is the kernel takes no other, such as %s, for that hostid", h.Name, h.NQN, h.ID, orNone(t.HostNQN))
	refused.Advice = fmt.Sprintf("give this hostnqn a hostid of its own, or disconnect %s", h.Name)
	return &refused
}

// orNone returns a value that the kernel chooses where it is not given.
func orNone(value string) string {
	if value == "" {
		return "the kernel's own"
	}
	return value
}
