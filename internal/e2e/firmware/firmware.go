// SPDX-License-Identifier: GPL-3.0-or-later

// Package firmware is what the emulated computer's firmware left for the scenarios: two NVMe Boot Firmware Tables, a good one
// and a spoiled one. The host side gives them to QEMU as ACPI tables; the scenarios know from here what they name.
package firmware

import (
	"net/netip"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft/nbfttest"
)

// The identity under which the firmware booted, and how the table spells its NQN. SwappedID is the same with its first three
// groups in the other byte order, as some firmware and the files in /etc/nvme disagree.
const (
	HostNQN   = "nqn.2014-08.org.nvmexpress:uuid:7777abcd-77ef-4777-8777-77777777abcd"
	TableNQN  = "nqn.2014-08.org.nvmexpress:uuid:7777ABCD-77EF-4777-8777-77777777ABCD"
	HostID    = "7777abcd-77ef-4777-8777-77777777abcd"
	SwappedID = "cdab7777-ef77-7747-8777-77777777abcd"
)

// Where the table says that the controllers are: behind the other end of a cable whose near end has MAC, on addresses and
// ports that no other scenario uses.
const (
	MAC       = "02:00:00:00:00:77"
	Address   = "192.0.2.2" // of this host, on the interface with MAC
	Second    = "192.0.2.3" // on the same interface, if a scenario gives it to this host
	VLAN      = 5           // on the same interface
	OnVLAN    = "192.0.3.2" // of this host, on that VLAN
	Target    = "192.0.2.1"
	FarOnVLAN = "192.0.3.1"
	Nowhere   = "192.0.2.9" // nobody answers there
	Port      = 4477        // of the discovery controller and of BootNQN, at Target
	LeasePort = 4478        // of LeaseNQN, at Target
	VLANPort  = 4479        // of VLANNQN, at FarOnVLAN, and of a discovery controller that is named by Host
	Host      = "boot.array.example"
)

// What the table names.
const (
	BootNQN  = "nqn.2024-01.com.example:boot"  // two namespaces of it; also at Nowhere, which the firmware could not reach either
	LeaseNQN = "nqn.2024-01.com.example:lease" // from an address that the firmware had by DHCP and this host does not have
	VLANNQN  = "nqn.2024-01.com.example:vlan"
	PathsNQN = "nqn.2024-01.com.example:paths" // from Address and from Second, at Target

	GuardedNQN = "nqn.2024-01.com.example:guarded" // with authentication only; behind the discovery controller too
)

// Why is what is wrong with the second table.
const Why = "its control descriptor is marked as not valid"

// Indexes of the host fabric interfaces in the table.
const (
	cable = 1 + iota
	lease
	vlan
	second
)

// Tables returns the tables in the order of their numbers in /sys/firmware/acpi/tables.
func Tables() [][]byte {
	spoiled := nbfttest.EncodeCounted(table())
	spoiled[nbfttest.Control+6] &^= 1 // QEMU repairs checksums, so it is spoiled inside
	return [][]byte{nbfttest.EncodeCounted(table()), nbfttest.Seal(spoiled)}
}

func table() nbft.Table {
	near, target := netip.MustParseAddr(Address), netip.MustParseAddr(Target)
	mac := [6]byte{0x02, 0, 0, 0, 0, 0x77}
	absent := [6]byte{0x02, 0, 0, 0, 0, 0x78}
	const dhcp, unavailable, secured, authentication = 1 << 2, 2 << 7, 1 << 2, 2 << 1
	return nbft.Table{
		Host: nbft.Host{NQN: TableNQN, ID: HostID},
		HFIs: []nbft.HFI{
			{Index: cable, Link: nbft.Link{MAC: mac}, Address: near, Prefix: 24},
			{Index: lease, Link: nbft.Link{MAC: absent}, Flags: dhcp, Address: netip.MustParseAddr("192.0.2.222"), Prefix: 24},
			{Index: vlan, Link: nbft.Link{MAC: mac, VLAN: VLAN}, Address: netip.MustParseAddr(OnVLAN), Prefix: 24},
			{Index: second, Link: nbft.Link{MAC: mac}, Address: netip.MustParseAddr(Second), Prefix: 24},
		},
		Security: []nbft.Security{{Index: 1, Flags: authentication}},
		Discovery: []nbft.Discovery{
			{Index: 1, HFI: cable, URI: "nvme+tcp://" + Target + ":4477/"},
			{Index: 2, HFI: vlan, URI: "nvme+tcp://" + Host + ":4479/"},
		},
		SSNS: []nbft.SSNS{
			{Index: 1, Traddr: target, Trsvcid: "4477", NQN: BootNQN, NSID: 1, HFIs: []uint8{cable}, Discovery: 1},
			{Index: 2, Traddr: target, Trsvcid: "4477", NQN: BootNQN, NSID: 2, HFIs: []uint8{cable}, Discovery: 1},
			{Index: 3, Traddr: netip.MustParseAddr(Nowhere), Trsvcid: "4477", NQN: BootNQN, NSID: 1, HFIs: []uint8{cable}, Flags: unavailable},
			{Index: 4, Traddr: target, Trsvcid: "4478", NQN: LeaseNQN, NSID: 1, HFIs: []uint8{lease}},
			{Index: 5, Traddr: netip.MustParseAddr(FarOnVLAN), Trsvcid: "4479", NQN: VLANNQN, NSID: 1, HFIs: []uint8{vlan}},
			{Index: 6, Traddr: target, Trsvcid: "4477", NQN: PathsNQN, NSID: 1, HFIs: []uint8{cable, second}, Discovery: 1},
			{Index: 7, Traddr: target, Trsvcid: "4477", NQN: GuardedNQN, NSID: 1, HFIs: []uint8{cable}, Discovery: 1, Flags: secured, Security: 1},
		},
	}
}
