package core

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// hostPair is a host NQN and a host ID that a source gives it.
type hostPair struct{ nqn, id string }

// identified returns w with the host ID that its host NQN is in use with. The kernel takes one ID for each NQN as long as a
// controller has it (drivers/nvme/host/fabrics.c, nvmf_host_add). The target and its unit keep the TID of the wish.
func (m *Machine) identified(w wish.Wish) wish.Wish {
	if id, _ := m.hostIDInUse(w.TID.HostNQN); id != "" && !strings.EqualFold(id, w.TID.HostID) {
		w.TID.HostID = id
	}
	return w
}

// hostIDInUse returns the host ID that a host NQN has in sysfs, or else in the boot firmware's tables, and who has it so, in
// words; "" if none is in use.
func (m *Machine) hostIDInUse(nqn string) (id, by string) {
	if nqn == "" {
		return "", ""
	}
	var holder *device
	for _, d := range m.devices {
		if d.HostID == "" || !tid.SameNQN(d.HostNQN, nqn) {
			continue
		}
		if holder == nil || d.Name < holder.Name {
			holder = d
		}
	}
	if holder != nil {
		return holder.HostID, holder.Name + " is connected"
	}
	if table, id := m.tableHostID(nqn); id != "" {
		return id, "the firmware's table " + table + " boots this host"
	}
	return "", ""
}

// tableHostID returns the host ID that the boot firmware's tables have for a host NQN, and which of them. One that was only
// derived from the NQN is no reason to use another than the files have.
func (m *Machine) tableHostID(nqn string) (table, id string) {
	for _, c := range m.boot.connections {
		if c.Wish.TID.HostID != "" && !c.Derived && tid.SameNQN(c.Wish.TID.HostNQN, nqn) {
			return c.Table, c.Wish.TID.HostID
		}
	}
	return "", ""
}

// tellHostID warns once that a wish is connected with another host ID than its source says.
func (m *Machine) tellHostID(w wish.Wish) {
	nqn, own := w.TID.HostNQN, w.TID.HostID
	used, by := m.hostIDInUse(nqn)
	if own == "" || used == "" || strings.EqualFold(used, own) || m.hostIDs[hostPair{nqn, own}] == used {
		return
	}
	m.hostIDs[hostPair{nqn, own}] = used
	from := m.cfg.HostIDFrom[nqn]
	if table, id := m.tableHostID(nqn); id == own {
		from = table
	}
	m.log(slog.LevelWarn, KindConfigWarning, nil, fmt.Sprintf("connecting with hostid %s instead of %s (%s): %s as hostnqn %s with that hostid, and the kernel takes one for each hostnqn; make the two agree",
		used, own, from, by, nqn))
}

// hostFreed tries what may wait because the kernel let d alone have its host NQN, or its host ID, and what is excluded by the host
// ID that was in use. The kernel keeps the pair as long as another controller has it.
func (m *Machine) hostFreed(d *device) {
	for _, other := range m.devices {
		if other.HostNQN == d.HostNQN && strings.EqualFold(other.HostID, d.HostID) {
			return
		}
	}
	m.readmit()
	for _, t := range m.targets {
		if t.state != Waiting || t.phase != idle || t.attempts == 0 {
			continue
		}
		id := m.identified(t.wish).TID
		sameNQN, sameID := id.HostNQN == d.HostNQN, strings.EqualFold(id.HostID, d.HostID)
		if at := m.now.Add(kickDelay); sameNQN != sameID && at.Before(t.next) && !at.Before(t.notBefore) {
			t.attempts, t.next = 0, at
		}
	}
}
