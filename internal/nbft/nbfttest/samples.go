// SPDX-License-Identifier: GPL-3.0-or-later

package nbfttest

import (
	"net/netip"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
)

// Sample is a table after one of a real firmware: the same records, flags and peculiarities, with names and addresses for
// documentation. Data is what testdata/nbft at the top of the repository has under Name; its README says what it shows.
type Sample struct {
	Name  string
	Table nbft.Table // what Parse gives, its File and Size apart
	Data  []byte
}

// Samples returns all samples.
func Samples() []Sample {
	return []Sample{
		{"two-ids", twoIDs(), Encode(twoIDs())},
		{"security", security(), EncodeCounted(security())},
		{"dhcp-ipv6", dhcpIPv6(), Encode(dhcpIPv6())},
		{"capitals", capitals(), EncodeCounted(capitals())},
	}
}

// Flags of SSNS and HFI that the samples have.
const (
	ssnsValid, ssnsSecurity, ssnsExtended, ssnsDiscovered = 0x01, 0x04, 0x10, 0x40
	hfiValid, hfiDefaultRoute, hfiDHCP                    = 0x01, 0x02, 0x04
	hostConfigured                                        = 0x07
)

func twoIDs() nbft.Table {
	ssns := nbft.SSNS{
		Index: 1, Flags: ssnsValid | ssnsExtended, Transport: "tcp", Traddr: netip.MustParseAddr("192.0.2.60"), Trsvcid: "4420",
		NSID: 270, NIDType: nbft.NIDNGUID, NID: [16]byte{0x53, 0x80, 0xb4, 15: 0xa7}, NQN: "nqn.2024-01.com.example:array:00:88b402df2d762AA7AF94", HFIs: []uint8{1},
		ControllerID: 4105,
	}
	other := ssns
	other.Index, other.NSID, other.NID = 2, 1671, [16]byte{0xf4, 0x0c, 0x66, 15: 0xae}
	return nbft.Table{
		Host: nbft.Host{
			Flags: hostConfigured, NQN: "nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0044-4410-8030-b8c04f445833",
			ID: "44454c4c-4400-1044-8030-b8c04f445833",
		},
		HFIs: []nbft.HFI{{
			Index: 1, Transport: "tcp", Flags: hfiValid | hfiDefaultRoute, PCI: 0x6a00, Link: nbft.Link{MAC: [6]byte{0x02, 0x62, 0x0b, 0xcb, 0xeb, 0x70}},
			Origin: 94, Address: netip.MustParseAddr("192.0.2.1"), Prefix: 24, RouteMetric: 500,
		}},
		SSNS: []nbft.SSNS{ssns, other},
	}
}

func security() nbft.Table {
	const dc, profile, flags = 1, 1, ssnsValid | ssnsSecurity | ssnsExtended | ssnsDiscovered
	alpha := nbft.SSNS{
		Index: 1, Flags: flags, TransportFlags: 0x03, Transport: "tcp", Traddr: netip.MustParseAddr("192.0.2.5"), Trsvcid: "4420",
		NSID: 1, NIDType: nbft.NIDUUID, NID: [16]byte{0xaa, 0xbb, 0xcc, 15: 0x99}, NQN: "nqn.2024-01.com.example:alpha", HFIs: []uint8{1}, Discovery: dc, Security: profile,
	}
	second := alpha
	second.Index, second.TransportFlags, second.NSID, second.NID[15] = 2, 0, 2, 0x80
	return nbft.Table{
		Host: nbft.Host{
			Flags: hostConfigured, NQN: "nqn.2014-08.org.nvmexpress:uuid:22222222-2222-4222-8222-222222222222", ID: "22222222-2222-4222-8222-222222222222",
		},
		HFIs: []nbft.HFI{
			{
				Index: 1, Transport: "tcp", Flags: hfiValid | hfiDefaultRoute, Link: nbft.Link{MAC: [6]byte{0x02, 0x54, 0, 0xaa, 0xbb, 0x01}},
				Origin: 1, Address: netip.MustParseAddr("192.0.2.50"), Prefix: 24, Gateway: netip.MustParseAddr("192.0.2.254"), RouteMetric: 500,
			},
			{
				Index: 2, Transport: "tcp", Flags: hfiValid, Link: nbft.Link{MAC: [6]byte{0x02, 0x54, 0, 0xaa, 0xbb, 0x02}},
				Origin: 1, Address: netip.MustParseAddr("198.51.100.50"), Prefix: 24, Gateway: netip.MustParseAddr("198.51.100.254"), RouteMetric: 600,
			},
		},
		Security:  []nbft.Security{{Index: profile, Flags: 0x55, Keypath: "redfish://192.0.2.3/keys/boot"}},
		Discovery: []nbft.Discovery{{Index: dc, HFI: 1, URI: "nvme+tcp://192.0.2.5:8009/", NQN: "nqn.2014-08.org.nvmexpress.discovery"}},
		SSNS: []nbft.SSNS{alpha, second, {
			Index: 3, Flags: flags &^ ssnsExtended &^ ssnsSecurity, Transport: "tcp", Traddr: netip.MustParseAddr("198.51.100.5"), Trsvcid: "4420",
			NSID: 1, NIDType: nbft.NIDNGUID, NID: [16]byte{0xfe, 0xdc, 15: 0x89}, NQN: "nqn.2024-01.com.example:beta", HFIs: []uint8{2},
		}},
	}
}

func dhcpIPv6() nbft.Table {
	return nbft.Table{
		Host: nbft.Host{
			Flags: hostConfigured, NQN: "nqn.2014-08.org.nvmexpress:uuid:a1b759e3-035d-4777-b3cc-1754b8b819b9",
			ID: "e359b7a1-5d03-7747-b3cc-1754b8b819b9",
		},
		HFIs: []nbft.HFI{{
			Index: 1, Transport: "tcp", Flags: hfiValid | hfiDefaultRoute | hfiDHCP, PCI: 0x08, Link: nbft.Link{MAC: [6]byte{0x02, 0x54, 0, 0xb8, 0x19, 0xb9}},
			Origin: 3, Address: netip.MustParseAddr("2001:db8::eb"), Prefix: 64, HostName: "host1",
		}},
		SSNS: []nbft.SSNS{{
			Index: 1, Flags: ssnsValid | ssnsExtended, Transport: "tcp", Traddr: netip.MustParseAddr("2001:db8::10"), Trsvcid: "4420",
			NSID: 1, NIDType: nbft.NIDUUID, NID: [16]byte{0xdf, 0x66, 15: 0x35}, NQN: "nqn.2024-01.com.example:boot.subsys02", HFIs: []uint8{1}, ControllerID: 34,
		}},
	}
}

func capitals() nbft.Table {
	t := dhcpIPv6()
	t.Host.NQN, t.Host.ID = "nqn.2014-08.org.nvmexpress:uuid:A1B759E3-035D-4777-B3CC-1754B8B819B9", "a1b759e3-035d-4777-b3cc-1754b8b819b9"
	return t
}
