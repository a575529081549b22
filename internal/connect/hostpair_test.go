// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"context"
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/fabrics"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// A refusal that is due to the pair of host NQN and ID names the controller that holds the pair, in the error as in the
// unit's result; any other stays as it is.
func TestHeldPair(t *testing.T) {
	const (
		hostNQN = "nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0044-4410-8030-b8c04f445833"
		hostID  = "4c4c4544-0044-4410-8030-b8c04f445833"
		swapped = "44454c4c-4400-1044-8030-b8c04f445833"
	)
	for _, test := range []struct {
		name, holderNQN, holderID, hostID string
		meaning                           string // of the result
		advice                            string
	}{
		{
			"other ID", hostNQN, swapped, hostID,
			"nvme1 is connected with hostid " + swapped + " for hostnqn " + hostNQN + ", and as long as it is the kernel takes no other, such as " + hostID + ", for that hostnqn",
			"connect with hostid " + swapped + ", or disconnect nvme1",
		},
		{
			"no ID", hostNQN, swapped, "",
			"nvme1 is connected with hostid " + swapped + " for hostnqn " + hostNQN + ", and as long as it is the kernel takes no other, such as the kernel's own, for that hostnqn",
			"connect with hostid " + swapped + ", or disconnect nvme1",
		},
		{
			"other NQN", "nqn.2024-01.com.example:csi", strings.ToUpper(hostID), hostID,
			"nvme1 is connected with hostnqn nqn.2024-01.com.example:csi for hostid " + strings.ToUpper(hostID) + ", and as long as it is the kernel takes no other, such as " + hostNQN + ", for that hostid",
			"give this hostnqn a hostid of its own, or disconnect nvme1",
		},
		{"the same pair", hostNQN, hostID, hostID, "refused", "see dmesg"},
		{"another pair", "nqn.2024-01.com.example:csi", swapped, hostID, "refused", "see dmesg"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			other := ioc().TID
			other.NQN, other.HostNQN, other.HostID = "nqn.2024-01.com.example:other", test.holderNQN, test.holderID
			h.controller("nvme1", other)
			req := h.request()
			req.Wish.TID.HostNQN, req.Wish.TID.HostID = hostNQN, test.hostID
			h.refuse = &fabrics.Error{TID: req.Wish.TID, Errno: syscall.EINVAL, Meaning: "refused", Advice: "see dmesg"}
			_, err := h.Connector.Connect(context.Background(), req)
			want := "cannot connect " + req.Wish.TID.String() + ": " + test.meaning + " (invalid argument): " + test.advice
			if err == nil || err.Error() != want {
				t.Errorf("error\n%v, want\n%s", err, want)
			}
			var got state.Result
			if err := json.Unmarshal([]byte(h.records()[result]), &got); err != nil || got.Errno != int(syscall.EINVAL) || got.Meaning != test.meaning {
				t.Errorf("result: got %+v, %v, want %q", got, err, test.meaning)
			}
			if len(h.wished) != 1 {
				t.Errorf("%d connects written to the kernel, want 1", len(h.wished))
			}
		})
	}
}

// A controller that another program connected holds the pair with the UUID in capitals: the kernel would refuse any other
// spelling, so this one is taken.
func TestHeldPairInCapitals(t *testing.T) {
	const hostID = "4c4c4544-0044-4410-8030-b8c04f445833"
	capitals := "nqn.2014-08.org.nvmexpress:uuid:" + strings.ToUpper(hostID)
	h := newHost(t)
	other := ioc().TID
	other.NQN, other.HostNQN, other.HostID = "nqn.2024-01.com.example:other", capitals, hostID
	h.controller("nvme1", other)
	req := h.request()
	req.Wish.TID.HostNQN, req.Wish.TID.HostID = capitals, hostID
	h.before = func() {
		h.refuse = nil
		if len(h.wished) == 0 {
			h.refuse = &fabrics.Error{TID: req.Wish.TID, Errno: syscall.EINVAL, Meaning: "refused", Advice: "see dmesg"}
		}
	}
	device, err := h.Connector.Connect(context.Background(), req)
	if err != nil || device != "nvme3" || len(h.wished) != 2 {
		t.Fatalf("got %q, %v after %d connects, want nvme3 after 2", device, err, len(h.wished))
	}
	h.refuse, h.before = nil, func() {
		h.refuse = &fabrics.Error{TID: req.Wish.TID, Errno: syscall.EINVAL, Meaning: "refused", Advice: "see dmesg"}
		if len(h.wished) == 3 {
			h.refuse = &fabrics.Error{TID: req.Wish.TID, Errno: syscall.EIO, Meaning: "not allowed", Advice: "allow it"}
		}
	}
	again := req
	again.Wish.TID.NQN = "nqn.2024-01.com.example:vol2"
	_, err = h.Connector.Connect(context.Background(), again)
	if want := "not allowed; the hostnqn is spelled " + capitals + ", as nvme1, which has it, was connected with"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a target that does not take the capitals: got %v, want %q", err, want)
	}
	for i, want := range []string{tid.FoldNQN(capitals), capitals} {
		if got := h.wished[i].TID.HostNQN; got != want {
			t.Errorf("connect %d: host NQN %q, want %q", i+1, got, want)
		}
	}
}
