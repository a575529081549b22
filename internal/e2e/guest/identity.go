// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// The identity of the host in every scenario.
const (
	HostNQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"
	HostID  = "11111111-2222-3333-4444-555555555555"
)

// TID names one connection: the fields of a transport ID in their canonical order, unset ones empty.
type TID struct {
	Transport, Traddr, Trsvcid, NQN, HostTraddr, HostIface, HostNQN, HostID string
}

// TID returns the transport ID under which the host reaches an NQN on the port.
func (p *Port) TID(nqn string) TID {
	return TID{
		Transport: p.Transport, Traddr: p.Traddr, Trsvcid: p.Trsvcid, NQN: nqn, HostNQN: HostNQN, HostID: HostID,
	}
}

// Canonical is the text that the unit's name is made from.
func (id TID) Canonical() string {
	var fields []string
	for _, field := range []struct{ key, value string }{
		{"transport", id.Transport},
		{"traddr", id.Traddr},
		{"trsvcid", id.Trsvcid},
		{"nqn", id.NQN},
		{"host-traddr", id.HostTraddr},
		{"host-iface", id.HostIface},
		{"hostnqn", id.HostNQN},
		{"hostid", id.HostID},
	} {
		if field.value != "" {
			fields = append(fields, field.key+"="+field.value)
		}
	}
	return strings.Join(fields, ";")
}

// Unit is the name of the connection's unit.
func (id TID) Unit() string {
	hash := fnv.New64a()
	hash.Write([]byte(id.Canonical()))
	return fmt.Sprintf("nvme-discoverd-%012x.service", hash.Sum64()&0xffffffffffff)
}
