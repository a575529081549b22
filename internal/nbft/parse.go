// SPDX-License-Identifier: GPL-3.0-or-later

package nbft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
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
	nqn, err := p.string(d[18:])
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

// string returns a heap object as a string. Firmware puts NULs behind its strings, and some counts them in the length.
func (p *parser) string(ref []byte) (string, error) {
	s, err := p.object(ref)
	return strings.TrimRight(s, "\x00"), err
}

// printable returns a heap object as a string that can be shown.
func (p *parser) printable(ref []byte) (string, error) {
	s, err := p.string(ref)
	if err != nil {
		return "", err
	}
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
	s, err := p.string(ref)
	if err != nil {
		return "", fmt.Errorf("its NQN: %v", err)
	}
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
	s, err := p.string(ref)
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
