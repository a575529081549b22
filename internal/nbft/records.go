// SPDX-License-Identifier: GPL-3.0-or-later

package nbft

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// hfi reads a Host Fabric Interface Descriptor (figure 11).
func (p *parser) hfi(d []byte, position int) error {
	if d[2]&valid == 0 {
		return nil
	}
	index := d[1]
	switch {
	case index == 0 || p.hasHFI(index):
		return skipped("its index %d is 0 or taken", index)
	case d[3] != transportTCP:
		return skipped("its transport type %d is unknown", d[3])
	}
	text, err := p.object(d[16:])
	if err != nil {
		return skipped("its transport information: %v", err)
	}
	if len(text) < hfiInfoLen {
		return skipped("its transport information has %d bytes, %d are needed", len(text), hfiInfoLen)
	}
	return p.hfiInfo([]byte(text[:hfiInfoLen]), index, position)
}

// hfiInfo reads an HFI Transport Info Descriptor (figure 13).
func (p *parser) hfiInfo(d []byte, index uint8, position int) error {
	switch {
	case d[0] != hfiInfoID:
		return skipped("its transport information has structure ID %d, not %d", d[0], hfiInfoID)
	case d[1] != 1 || d[2] != transportTCP:
		return skipped("its transport information has version %d and transport type %d, not 1 and %d", d[1], d[2], transportTCP)
	case d[6]&valid == 0:
		return skipped("its transport information is marked as not valid")
	case le.Uint16(d[4:]) != uint16(index):
		return skipped("its transport information belongs to HFI %d", le.Uint16(d[4:]))
	case le.Uint16(d[17:]) > maxVLAN:
		return skipped("its VLAN %d is none: they go from 1 to %d", le.Uint16(d[17:]), maxVLAN)
	}
	h := HFI{
		Index: index, Transport: tid.TCP, Flags: d[6],
		PCI:     PCI(le.Uint32(d[7:])),
		Link:    Link{MAC: [6]byte(d[11:17]), VLAN: le.Uint16(d[17:])},
		Origin:  d[19],
		Address: address(d[20:36]), Prefix: d[36],
		Gateway:     address(d[37:53]),
		RouteMetric: le.Uint16(d[54:]),
		DNS:         [2]netip.Addr{address(d[56:72]), address(d[72:88])},
	}
	if h.Flags&hfiDHCP != 0 { // reserved otherwise
		h.DHCPServer = address(d[88:104])
	}
	if int(h.Prefix) > h.Address.BitLen() {
		if h.Address.IsValid() {
			p.warn("HFI", position, fmt.Errorf("its prefix length %d is left out: %v has %d bits", h.Prefix, h.Address, h.Address.BitLen()))
		}
		h.Prefix = 0
	}
	var err error
	if h.HostName, err = p.printable(d[104:]); err != nil {
		p.warn("HFI", position, fmt.Errorf("its host name is left out: %v", err))
	}
	p.table.HFIs = append(p.table.HFIs, h)
	return nil
}

// security reads a Security Profile Descriptor (figure 21).
func (p *parser) security(d []byte, position int) error {
	s := Security{Index: d[1], Flags: le.Uint16(d[2:])}
	if s.Flags&valid == 0 {
		return nil
	}
	if s.Index == 0 || p.hasSecurity(s.Index) {
		return skipped("its index %d is 0 or taken", s.Index)
	}
	var err error
	if s.Keypath, err = p.printable(d[36:]); err != nil {
		p.warn("security", position, fmt.Errorf("its key path is left out: %v", err))
	}
	p.table.Security = append(p.table.Security, s)
	return nil
}

// discovery reads a Discovery Descriptor (figure 24).
func (p *parser) discovery(d []byte, position int) error {
	if d[1]&valid == 0 {
		return nil
	}
	s := Discovery{Index: d[2], HFI: d[3], Security: d[4]}
	if s.Index == 0 || p.hasDiscovery(s.Index) {
		return skipped("its index %d is 0 or taken", s.Index)
	}
	var err error
	if s.URI, err = p.printable(d[6:]); err != nil {
		return skipped("its URI: %v", err)
	}
	if s.URI == "" {
		return skipped("it has no URI")
	}
	if s.NQN, err = p.nqn(d[12:]); err != nil {
		return skipped("%v", err)
	}
	if s.HFI != 0 && !p.hasHFI(s.HFI) {
		p.warn("discovery", position, noSuch("HFI", s.HFI))
		s.HFI = 0
	}
	if s.Security != 0 && !p.hasSecurity(s.Security) {
		return skipped("%s", noProfile(s.Security))
	}
	p.table.Discovery = append(p.table.Discovery, s)
	return nil
}

// ssns reads a Subsystem Namespace Descriptor (figure 15).
func (p *parser) ssns(d []byte, position int) error {
	s := SSNS{
		Index: le.Uint16(d[1:]), Flags: le.Uint16(d[3:]), TransportFlags: le.Uint16(d[6:]),
		Transport: tid.TCP, Discovery: d[8],
		PortID: le.Uint16(d[22:]), NSID: le.Uint32(d[24:]), NIDType: NIDType(d[28]), NID: [16]byte(d[29:45]),
	}
	if s.Flags&valid == 0 {
		return nil
	}
	switch {
	case s.Index == 0 || slices.ContainsFunc(p.table.SSNS, func(o SSNS) bool { return o.Index == s.Index }):
		return skipped("its index %d is 0 or taken", s.Index)
	case d[5] != transportTCP:
		return skipped("its transport type %d is unknown", d[5])
	}
	var err error
	if s.Traddr, err = p.traddr(d[10:]); err != nil {
		return skipped("its transport address: %v", err)
	}
	if s.Trsvcid, err = p.port(d[16:]); err != nil {
		return skipped("its transport service ID: %v", err)
	}
	if s.NQN, err = p.nqn(d[54:]); err != nil {
		return skipped("%v", err)
	}
	if s.NQN == "" {
		return skipped("it has no NQN")
	}
	if s.HFIs, err = p.ssnsHFIs(d, position); err != nil {
		return skipped("its secondary HFIs: %v", err)
	}
	if s.NIDType > NIDUUID {
		p.warn("SSNS", position, fmt.Errorf("its namespace identifier is left out: type %d is unknown", s.NIDType))
		s.NIDType, s.NID = NIDNone, [16]byte{}
	}
	if s.Discovery != 0 && !p.hasDiscovery(s.Discovery) {
		p.warn("SSNS", position, noSuch("discovery descriptor", s.Discovery))
		s.Discovery = 0
	}
	if s.Flags&ssnsUseSecurity != 0 {
		if s.Security = d[45]; !p.hasSecurity(s.Security) {
			return skipped("%s", noProfile(s.Security))
		}
	}
	if s.Flags&ssnsExtended != 0 && le.Uint16(d[64:]) != 0 { // some firmware sets the flag and has nothing to say
		if err := p.ssnsExtension(&s, d[60:]); err != nil {
			p.warn("SSNS", position, fmt.Errorf("its extended information is left out: %v", err))
		}
	}
	p.table.SSNS = append(p.table.SSNS, s)
	return nil
}

// ssnsHFIs returns the primary HFI and the secondary ones that are there.
func (p *parser) ssnsHFIs(d []byte, position int) ([]uint8, error) {
	secondary, err := p.object(d[48:])
	if err != nil {
		return nil, err
	}
	var seen [256]bool
	var hfis []uint8
	var missing []string
	for i := -1; i < len(secondary); i++ {
		index := d[46]
		if i >= 0 {
			index = secondary[i]
		}
		if index == 0 || seen[index] {
			continue // 0 is none, and firmware lists the primary one among the secondary ones too
		}
		seen[index] = true
		if !p.hasHFI(index) {
			missing = append(missing, strconv.Itoa(int(index)))
			continue
		}
		hfis = append(hfis, index)
	}
	if len(missing) > 0 {
		p.warn("SSNS", position, fmt.Errorf("it is used without HFI %s, not in the table", strings.Join(missing, ", ")))
	}
	return hfis, nil
}

// ssnsExtension reads the SSNS Extended Information Descriptor (figure 19) that ref names.
func (p *parser) ssnsExtension(s *SSNS, ref []byte) error {
	d, err := p.object(ref)
	switch {
	case err != nil:
		return err
	case len(d) < ssnsExtLen:
		return fmt.Errorf("it has %d bytes, %d are needed", len(d), ssnsExtLen)
	}
	ext := []byte(d[:ssnsExtLen])
	flags := le.Uint32(ext[4:])
	switch {
	case ext[0] != ssnsExtID:
		return fmt.Errorf("its structure ID is %d, not %d", ext[0], ssnsExtID)
	case le.Uint16(ext[2:]) != s.Index:
		return fmt.Errorf("it belongs to SSNS %d", le.Uint16(ext[2:]))
	case flags&valid == 0:
		return nil
	}
	if s.Flags&ssnsDHCPRootPath != 0 {
		if s.DHCPRootPath, err = p.printable(ext[12:]); err != nil {
			return fmt.Errorf("its root path: %v", err)
		}
	}
	s.ControllerID = le.Uint16(ext[8:])
	if flags&extAdminQueueSize != 0 {
		s.AdminQueueSize = le.Uint16(ext[10:])
	}
	return nil
}

func (p *parser) hasHFI(index uint8) bool {
	return slices.ContainsFunc(p.table.HFIs, func(h HFI) bool { return h.Index == index })
}

func (p *parser) hasSecurity(index uint8) bool {
	return slices.ContainsFunc(p.table.Security, func(s Security) bool { return s.Index == index })
}

func (p *parser) hasDiscovery(index uint8) bool {
	return slices.ContainsFunc(p.table.Discovery, func(d Discovery) bool { return d.Index == index })
}

// noProfile says why a record is not connected that asks for a security profile that cannot be read: it would be connected
// with less security than it asks for.
func noProfile(index uint8) string {
	return fmt.Sprintf("it asks for security profile %d, not in the table", index)
}

// noSuch says that a record refers to nothing.
func noSuch(what string, index uint8) error {
	return fmt.Errorf("it is used without %s %d, not in the table", what, index)
}
