package nbft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Lengths in bytes of the structures of revision 1.0, and the values of their first byte.
const (
	headerLen     = 64
	controlLen    = 64
	hostLen       = 32
	hfiLen        = 32
	hfiInfoLen    = 128
	ssnsLen       = 128
	ssnsExtLen    = 18
	securityLen   = 64
	discoveryLen  = 32
	controlID     = 1
	hostID        = 2
	hfiID         = 3
	ssnsID        = 4
	securityID    = 5
	discoveryID   = 6
	hfiInfoID     = 7
	ssnsExtID     = 9
	transportTCP  = 3
	maxVLAN       = 4094
	maxText       = 1024   // a longer host name, path or URI is none
	valid         = 1 << 0 // in the flags of every structure
	uuidNQNPrefix = "nqn.2014-08.org.nvmexpress:uuid:"
)

// Flags.
const (
	hostIDConfigured    = 1 << 1
	hostNQNConfigured   = 1 << 2
	hfiGlobalRoute      = 1 << 1
	hfiDHCP             = 1 << 2
	originDHCP          = 3
	ssnsNonBootable     = 1 << 1
	ssnsUseSecurity     = 1 << 2
	ssnsDHCPRootPath    = 1 << 3
	ssnsExtended        = 1 << 4
	ssnsDiscovered      = 1 << 6
	ssnsAvailability    = 3 << 7
	ssnsUnavailable     = 2 << 7
	extAdminQueueSize   = 1 << 1
	transportFlagsValid = 1 << 0
	headerDigest        = 1 << 1
	dataDigest          = 1 << 2
)

var le = binary.LittleEndian

// parser goes through one table. Strings of the result are pieces of text, so that records that share a heap object cost no
// memory for it.
type parser struct {
	data  []byte
	text  string // the same bytes
	heap  struct{ begin, end uint64 }
	table Table
}

// Parse reads a table. What is wrong with the table as a whole (signature, length, checksum, revision, heap, host
// descriptor, place of a list) is an error and nothing of it is to be used; what is wrong with one record costs that record
// and leaves a warning. Records whose valid flag is clear are left out without one. Bytes behind the length that the
// table gives itself are ignored with a warning.
func Parse(data []byte) (Table, error) {
	p := &parser{}
	control, err := p.header(data)
	if err == nil {
		err = p.host(control[8:])
	}
	if err == nil {
		err = p.lists(control)
	}
	if err != nil {
		return Table{}, fmt.Errorf("cannot use the NBFT: %v", err)
	}
	return p.table, nil
}

// header checks the table header (figure 7) and returns the control descriptor (figure 8).
func (p *parser) header(data []byte) (control []byte, err error) {
	if len(data) < headerLen+controlLen {
		return nil, fmt.Errorf("it has %d bytes, at least %d are needed", len(data), headerLen+controlLen)
	}
	if string(data[:4]) != "NBFT" {
		return nil, fmt.Errorf("its signature is %q, not \"NBFT\"", data[:4])
	}
	length := uint64(le.Uint32(data[4:]))
	if length < headerLen+controlLen || length > uint64(len(data)) {
		return nil, fmt.Errorf("it says that it has %d bytes, and has %d", length, len(data))
	}
	if length < uint64(len(data)) {
		p.warn("table", 0, fmt.Errorf("%d bytes behind its end are ignored", uint64(len(data))-length))
	}
	p.data, p.text = data[:length], string(data[:length])
	p.table.Size = len(p.data)
	var sum uint8
	for _, b := range p.data {
		sum += b
	}
	if sum != 0 {
		return nil, fmt.Errorf("its checksum is wrong: its bytes add up to %#02x, not to 0", sum)
	}
	if data[8] != 1 {
		return nil, fmt.Errorf("its major revision is %d, only 1 is known", data[8])
	}
	if !p.inside(le.Uint32(data[36:]), uint64(le.Uint32(data[40:]))) {
		return nil, errors.New("its heap ends outside of it")
	}
	p.heap.begin = uint64(le.Uint32(data[36:]))
	p.heap.end = p.heap.begin + uint64(le.Uint32(data[40:]))
	control = p.data[headerLen:][:controlLen]
	switch {
	case control[0] != controlID:
		return nil, fmt.Errorf("its control descriptor has structure ID %d, not %d", control[0], controlID)
	case control[6]&valid == 0:
		return nil, errors.New("its control descriptor is marked as not valid")
	}
	return control, nil
}

// inside tells whether length bytes at offset are in the table.
func (p *parser) inside(offset uint32, length uint64) bool {
	return uint64(offset)+length <= uint64(len(p.data))
}

// host reads the host descriptor that ref, an offset and a length, names.
func (p *parser) host(ref []byte) error {
	offset, length := le.Uint32(ref), le.Uint16(ref[4:])
	if offset < headerLen+controlLen || length < hostLen || !p.inside(offset, hostLen) {
		return fmt.Errorf("its host descriptor, %d bytes at %d, is not inside of it", length, offset)
	}
	d := p.data[offset:][:hostLen]
	switch {
	case d[0] != hostID:
		return fmt.Errorf("its host descriptor has structure ID %d, not %d", d[0], hostID)
	case d[1]&valid == 0:
		return errors.New("its host descriptor is marked as not valid")
	}
	nqn, err := p.object(d[18:])
	if err == nil {
		err = tid.CheckNQN(nqn)
	}
	if err != nil {
		return fmt.Errorf("its host NQN: %v", err)
	}
	p.table.Host = Host{Flags: d[1], NQN: nqn}
	if [16]byte(d[2:18]) == ([16]byte{}) {
		p.warn("host", 0, errors.New("it has no host ID"))
	} else {
		p.table.Host.ID = uuid(d[2:18])
	}
	return nil
}

// lists reads the four lists of the control descriptor, those that others refer to first.
func (p *parser) lists(control []byte) error {
	for _, list := range []struct {
		kind string
		ref  []byte // offset, length of one, version, count
		size int
		id   byte
		read func(d []byte, position int) error
	}{
		{"HFI", control[16:], hfiLen, hfiID, p.hfi},
		{"security", control[32:], securityLen, securityID, p.security},
		{"discovery", control[40:], discoveryLen, discoveryID, p.discovery},
		{"SSNS", control[24:], ssnsLen, ssnsID, p.ssns},
	} {
		offset, size, count := le.Uint32(list.ref), int(le.Uint16(list.ref[4:])), int(list.ref[7])
		if count == 0 {
			continue // the other fields are reserved
		}
		if offset < headerLen+controlLen || size < list.size || !p.inside(offset, uint64(size)*uint64(count)) {
			return fmt.Errorf("its list of %d %s descriptors, %d bytes each at %d, is not inside of it", count, list.kind, size, offset)
		}
		for i := range count {
			d := p.data[int(offset)+i*size:][:list.size]
			var err error
			if d[0] != list.id {
				err = fmt.Errorf("it is skipped: its structure ID is %d, not %d", d[0], list.id)
			} else {
				err = list.read(d, i+1)
			}
			if err != nil {
				p.warn(list.kind, i+1, err)
			}
		}
	}
	return nil
}

// warn notes what is wrong with a record, by its position in its list.
func (p *parser) warn(kind string, position int, err error) {
	if position > 0 {
		kind += " " + strconv.Itoa(position)
	}
	p.table.Warnings = append(p.table.Warnings, kind+": "+err.Error())
}

// skipped makes an error of the reason for which a record is left out.
func skipped(format string, args ...any) error {
	return fmt.Errorf("it is skipped: "+format, args...)
}

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
		p.warn("discovery", position, noSuch("security profile", s.Security))
		s.Security = 0
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
			p.warn("SSNS", position, noSuch("security profile", s.Security))
			s.Security = 0
		}
	}
	if s.Flags&ssnsExtended != 0 {
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

// noSuch says that a record refers to nothing.
func noSuch(what string, index uint8) error {
	return fmt.Errorf("it is used without %s %d, not in the table", what, index)
}

// object returns the heap object that ref, an offset of 4 bytes and a length of 2, names; "" if it names none.
func (p *parser) object(ref []byte) (string, error) {
	offset, length := uint64(le.Uint32(ref)), uint64(le.Uint16(ref[4:]))
	if length == 0 {
		return "", nil
	}
	if offset < p.heap.begin || offset+length > p.heap.end {
		return "", fmt.Errorf("%d bytes at %d are outside of the heap", length, offset)
	}
	return p.text[offset : offset+length], nil
}

// printable returns a heap object as a string that can be shown. The NUL that ends it may be part of the object or not.
func (p *parser) printable(ref []byte) (string, error) {
	s, err := p.object(ref)
	if err != nil {
		return "", err
	}
	s = strings.TrimRight(s, "\x00")
	if len(s) > maxText {
		return "", fmt.Errorf("it has %d bytes, at most %d are allowed", len(s), maxText)
	}
	if !utf8.ValidString(s) {
		return "", errors.New("it is not UTF-8")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", errors.New("it contains a control character")
	}
	return s, nil
}

// nqn returns a heap object as an NQN, "" if there is none.
func (p *parser) nqn(ref []byte) (string, error) {
	s, err := p.object(ref)
	if err != nil {
		return "", fmt.Errorf("its NQN: %v", err)
	}
	s = strings.TrimRight(s, "\x00")
	if s != "" {
		err = tid.CheckNQN(s)
	}
	return s, err
}

// traddr returns a heap object as the address of a target.
func (p *parser) traddr(ref []byte) (netip.Addr, error) {
	s, err := p.object(ref)
	switch {
	case err != nil:
		return netip.Addr{}, err
	case len(s) != 16:
		return netip.Addr{}, fmt.Errorf("it has %d bytes, an IP address has 16", len(s))
	}
	addr := address([]byte(s))
	if !addr.IsValid() {
		err = errors.New("it is unspecified")
	}
	return addr, err
}

// port returns a heap object as a port in decimal, "" if there is none.
func (p *parser) port(ref []byte) (string, error) {
	s, err := p.object(ref)
	s = strings.TrimRight(s, "\x00")
	if err != nil || s == "" {
		return "", err
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("%.20q is no port: they go from 1 to 65535", s)
	}
	return strconv.FormatUint(n, 10), nil
}

// address returns an IP address of 16 bytes, IPv4 ones being mapped into IPv6; the zero Addr if it is unspecified.
func address(b []byte) netip.Addr {
	addr := netip.AddrFrom16([16]byte(b)).Unmap()
	if addr.IsUnspecified() {
		return netip.Addr{}
	}
	return addr
}
