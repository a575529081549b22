// SPDX-License-Identifier: GPL-3.0-or-later

// Package nbft reads the NVMe Boot Firmware Table: the ACPI table in which firmware tells the operating system which
// controllers it booted from, over which interfaces and under which host identity.
//
// The layout is that of the NVM Express Boot Specification 1.0, whose figures the comments name; later minor revisions only
// add to it. A table is bytes from outside: Parse trusts none of them.
package nbft

import (
	"encoding/hex"
	"fmt"
	"net/netip"
)

// Table is what one NBFT holds. References from one record to another go by the Index fields and are checked: they name
// a record that is there, or are 0 for none.
type Table struct {
	File      string // it was read from, empty after Parse
	Size      int    // in bytes
	Host      Host
	HFIs      []HFI
	SSNS      []SSNS
	Security  []Security
	Discovery []Discovery

	// Warnings are one sentence each about what was skipped or left out, beginning with the kind of the record and its
	// position in its list, counted from 1.
	Warnings []string
}

// Host is the Host Descriptor (figure 9): who this host is to the controllers of the table.
type Host struct {
	Flags uint8
	NQN   string
	// ID is a UUID in its usual form, its 16 bytes in the order in which they stand in the table. Firmware that keeps
	// UUIDs as UEFI does has them swapped against the UUID in its NQN; it connects with these bytes, and so do nvme-cli in
	// the initramfs and we. Empty if the table has none.
	ID string
}

// Configured tells whether an administrator set the NQN and the ID, as opposed to the firmware's own defaults.
func (h Host) Configured() (nqn, id bool) {
	return h.Flags&hostNQNConfigured != 0, h.Flags&hostIDConfigured != 0
}

// HFI is a Host Fabric Interface Descriptor with its transport information (figures 11 and 13). Addresses of IPv4 are
// plain IPv4 ones; an address that the table leaves unspecified is the zero Addr.
type HFI struct {
	Index       uint8  // not 0
	Transport   string // "tcp"
	Flags       uint8  // of the transport information
	PCI         PCI
	Link        Link
	Origin      uint8 // of the address: NL_PREFIX_ORIGIN of Windows; firmware also leaves garbage here
	Address     netip.Addr
	Prefix      uint8 // length of the subnet's in bits, 0 if unknown
	Gateway     netip.Addr
	RouteMetric uint16 // 0 if unset
	DNS         [2]netip.Addr
	DHCPServer  netip.Addr
	HostName    string
}

// DHCP tells whether the address came by DHCP.
func (h HFI) DHCP() bool { return h.Flags&hfiDHCP != 0 || h.Origin == originDHCP }

// DefaultRoute tells whether firmware used the interface for its default route.
func (h HFI) DefaultRoute() bool { return h.Flags&hfiGlobalRoute != 0 }

// PCI is the PCI Express address of a function: 16 bits of segment, 8 of bus, 5 of device, 3 of function.
type PCI uint32

// String returns the address as Linux spells it, 0000:00:03.0.
func (p PCI) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%x", uint32(p)>>16, uint8(p>>8), uint8(p)>>3, uint8(p)&7)
}

// SSNS is a Subsystem Namespace Descriptor (figure 15) with its extended information (figure 19).
type SSNS struct {
	Index          uint16 // not 0
	Flags          uint16
	TransportFlags uint16
	Transport      string // "tcp"
	Traddr         netip.Addr
	Trsvcid        string // a port from 1 to 65535, empty if the table has none
	PortID         uint16
	NSID           uint32 // 0 if unset
	NIDType        NIDType
	NID            [16]byte // an EUI-64 is in the first 8
	NQN            string
	HFIs           []uint8 // by index, the primary one first, each once
	Discovery      uint8   // by index, the one that led here
	Security       uint8   // by index

	ControllerID   uint16
	AdminQueueSize uint16 // 0 unless an administrator set it
	DHCPRootPath   string
}

// NonBootable tells whether the namespace serves an administrative purpose only.
func (s SSNS) NonBootable() bool { return s.Flags&ssnsNonBootable != 0 }

// Discovered tells whether the namespace was found through discovery, as opposed to being configured in the firmware.
func (s SSNS) Discovered() bool { return s.Flags&ssnsDiscovered != 0 }

// Unavailable tells whether firmware could not reach the namespace, or did not try.
func (s SSNS) Unavailable() bool { return s.Flags&ssnsAvailability == ssnsUnavailable }

// Digests tells which digests an administrator wants on the connection.
func (s SSNS) Digests() (header, data bool) {
	if s.TransportFlags&transportFlagsValid == 0 {
		return false, false
	}
	return s.TransportFlags&headerDigest != 0, s.TransportFlags&dataDigest != 0
}

// NIDType tells what a namespace is identified by (NVMe Base Specification 2.0, NIDT).
type NIDType uint8

// The identifiers of namespaces.
const (
	NIDNone NIDType = iota
	NIDEUI64
	NIDNGUID
	NIDUUID
)

// String returns "eui64", "nguid", "uuid", or "" for none.
func (t NIDType) String() string { return [...]string{"", "eui64", "nguid", "uuid"}[t&3] }

// NIDString returns the identifier of the namespace in hexadecimal, a UUID with its dashes, or "" for none.
func (s SSNS) NIDString() string {
	switch s.NIDType {
	case NIDEUI64:
		return hex.EncodeToString(s.NID[:8])
	case NIDNGUID:
		return hex.EncodeToString(s.NID[:])
	case NIDUUID:
		return uuid(s.NID[:])
	}
	return ""
}

// Security is a Security Profile Descriptor (figure 21). The table holds no secret.
type Security struct {
	Index   uint8 // not 0
	Flags   uint16
	Keypath string // URI of the secret, empty if there is none
}

// Authentication tells what the profile says about in-band authentication.
func (s Security) Authentication() Need { return Need(s.Flags >> 1 & 3) }

// SecureChannel tells what the profile says about TLS.
func (s Security) SecureChannel() Need { return Need(s.Flags >> 5 & 3) }

// Need tells how far a subsystem wants a security feature (figure 22). 3 is reserved, and counts as Required.
type Need uint8

// What a subsystem may want.
const (
	Unsupported Need = iota
	Supported
	Required
)

// String returns the name of the need.
func (n Need) String() string {
	return [...]string{"unsupported", "supported", "required", "reserved"}[n&3]
}

// Discovery is a Discovery Descriptor (figure 24).
type Discovery struct {
	Index    uint8  // not 0
	HFI      uint8  // by index
	Security uint8  // by index
	URI      string // printable
	NQN      string // empty for the well-known one
}

// uuid spells 16 bytes as a UUID.
func uuid(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
