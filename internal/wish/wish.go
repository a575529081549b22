// SPDX-License-Identifier: GPL-3.0-or-later

// Package wish holds what one connection should be: its TID, its kind, its parameters and whose it is.
//
// A Wish is what every source of the desired set produces, what the core decides about, and what a unit's command line
// spells out; Args and the flags of `nvme-discoverctl connect` are each other's inverse.
package wish

import (
	"fmt"
	"net/netip"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Owner is the value of the registry's owner attribute.
type Owner string

// The owners whose controllers this daemon manages.
const (
	OwnerDiscoverd Owner = "discoverd"
	OwnerNBFT      Owner = "nbft"
)

// OwnerAutoconnect is the owner of what nvme-cli 3's udev rule and units have connected. It has a say only while those are in
// force: nothing else looks after its controllers.
const OwnerAutoconnect Owner = "autoconnect"

// Ours tells whether the daemon manages a controller of this owner.
func (o Owner) Ours() bool { return o == OwnerDiscoverd || o == OwnerNBFT }

// Foreign tells whether another orchestrator looks after a controller of this owner. autoconnect tells whether nvme-cli's
// automatic connects are in force.
func (o Owner) Foreign(autoconnect bool) bool {
	return o != "" && !o.Ours() && (o != OwnerAutoconnect || autoconnect)
}

// Wish is one connection as it should be. Comparable with ==.
type Wish struct {
	Kind   tid.Kind
	TID    tid.TID
	Params param.Set
	Owner  Owner

	// Secrets names what the connection authenticates and encrypts with, which itself goes another way than the wish.
	Secrets secret.Ref
}

// At returns a wish that lacks its traddr, because its controller is at a host that has a name, for one of the host's
// addresses. An address that the wish's host-traddr cannot reach, being of the other IP version, is an error.
func (w Wish) At(host string, addr netip.Addr) (Wish, error) {
	addr = addr.Unmap()
	w.TID.Traddr = addr.String()
	err := OneIPVersion(w.TID)
	if err != nil {
		return Wish{}, fmt.Errorf("cannot connect %s at %s: %w", host, addr, err)
	}
	if w.TID, err = tid.New(w.TID, w.Kind); err != nil {
		return Wish{}, fmt.Errorf("cannot connect %s at %s: %w", host, addr, err)
	}
	return w, nil
}

// OneIPVersion returns an error if both traddr and host-traddr are IP addresses and of different versions: neither reaches the
// other. ::ffff:192.0.2.1 counts as the IPv4 address that it stands for.
func OneIPVersion(t tid.TID) error {
	to, errTo := netip.ParseAddr(t.Traddr)
	from, errFrom := netip.ParseAddr(t.HostTraddr)
	if errTo == nil && errFrom == nil && to.Unmap().Is4() != from.Unmap().Is4() {
		return fmt.Errorf("host-traddr %s is of the other IP version", t.HostTraddr)
	}
	return nil
}

// Args returns the options that `nvme-discoverctl connect` and `nvme connect` both understand, as they are spelled there.
// --discovery is ours alone: it marks a DC that is wished for by its unique NQN, which the name does not tell.
func (w Wish) Args() []string {
	var args []string
	add := func(key, value string) {
		if value != "" {
			args = append(args, "--"+key+"="+value)
		}
	}
	t := w.TID
	add("transport", t.Transport)
	add("traddr", t.Traddr)
	add("trsvcid", t.Trsvcid)
	add("nqn", t.NQN)
	add("hostnqn", t.HostNQN)
	add("hostid", t.HostID)
	add("host-traddr", t.HostTraddr)
	add("host-iface", t.HostIface)
	for _, p := range param.All() {
		value, ok := w.Params.Get(p)
		switch {
		case !ok:
		case p.Info().Form == param.Switch:
			args = append(args, "--"+p.String())
		default:
			add(p.String(), value)
		}
	}
	if w.Kind == tid.Discovery && t.NQN != tid.DiscoveryNQN {
		args = append(args, "--discovery")
	}
	return args
}

// Description is the unit's description, docs/design.md, "Unit of a connection".
func (w Wish) Description() string {
	t := w.TID
	where := t.Traddr
	if t.Trsvcid != "" {
		where += ":" + t.Trsvcid
	}
	return fmt.Sprintf("NVMe %s Controller %s @ %s", w.Kind, t.NQN, where)
}
