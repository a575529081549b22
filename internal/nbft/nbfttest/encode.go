// SPDX-License-Identifier: GPL-3.0-or-later

// Package nbfttest makes NBFTs for tests.
package nbfttest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
)

// Positions in the tables that Encode makes, for tests that spoil something.
const (
	Length     = 4
	Checksum   = 9
	HeapOffset = 36
	HeapLength = 40
	Control    = 64
	Host       = 128
	HFIs       = 160 // each of 32 bytes; then the security profiles of 64, discovery descriptors of 32, and SSNS of 128
)

var le = binary.LittleEndian

// encoder grows a heap behind records whose size is known before.
type encoder struct {
	start   int // of the heap in the table
	heap    []byte
	counted bool // the lengths of strings count their NUL
}

// Encode returns the table whose Parse gives t, its File, Size and Warnings apart. Every record is marked as valid. As most
// firmware does, it puts a NUL behind every heap object that the object's length does not count.
func Encode(t nbft.Table) []byte { return encode(t, false) }

// EncodeCounted returns the same table as other firmware writes it: the length of every string counts its NUL.
func EncodeCounted(t nbft.Table) []byte { return encode(t, true) }

func encode(t nbft.Table, counted bool) []byte {
	security := HFIs + 32*len(t.HFIs)
	discovery := security + 64*len(t.Security)
	ssns := discovery + 32*len(t.Discovery)
	e := &encoder{start: ssns + 128*len(t.SSNS), counted: counted}
	data := make([]byte, e.start)

	control := data[Control:]
	copy(control, []byte{1, 1, 0, 0, 64, 0, 1})
	list(control[8:], Host, 32, 0)
	list(control[16:], HFIs, 32, len(t.HFIs))
	list(control[24:], ssns, 128, len(t.SSNS))
	list(control[32:], security, 64, len(t.Security))
	list(control[40:], discovery, 32, len(t.Discovery))

	host := data[Host:]
	copy(host, []byte{2, t.Host.Flags | 1})
	id, err := hex.DecodeString(strings.ReplaceAll(t.Host.ID, "-", ""))
	if err != nil {
		panic(err)
	}
	copy(host[2:18], id)
	e.string(host[18:], t.Host.NQN)
	for i, h := range t.HFIs {
		d := data[HFIs+32*i:]
		copy(d, []byte{3, h.Index, 1, 3})
		e.object(d[16:], e.hfi(h))
	}
	for i, s := range t.Security {
		d := data[security+64*i:]
		copy(d, []byte{5, s.Index})
		le.PutUint16(d[2:], s.Flags|1)
		e.string(d[36:], s.Keypath)
	}
	for i, s := range t.Discovery {
		d := data[discovery+32*i:]
		copy(d, []byte{6, 1, s.Index, s.HFI, s.Security})
		e.string(d[6:], s.URI)
		e.string(d[12:], s.NQN)
	}
	for i, s := range t.SSNS {
		e.ssns(data[ssns+128*i:], s)
	}
	copy(data, "NBFT")
	data[8] = 1
	le.PutUint32(data[HeapOffset:], uint32(e.start))
	le.PutUint32(data[HeapLength:], uint32(len(e.heap)))
	return Seal(append(data, e.heap...))
}

// Seal makes the length and the checksum of a table right in place, and returns it. Data must have a header.
func Seal(data []byte) []byte {
	le.PutUint32(data[Length:], uint32(len(data)))
	data[Checksum] = 0
	var sum byte
	for _, b := range data {
		sum += b
	}
	data[Checksum] = -sum
	return data
}

// list writes the place of a list into the control descriptor.
func list(d []byte, offset, size, count int) {
	le.PutUint32(d, uint32(offset))
	le.PutUint16(d[4:], uint16(size))
	d[6], d[7] = 1, byte(count)
}

// string puts s on the heap and its place into ref.
func (e *encoder) string(ref []byte, s string) {
	e.object(ref, []byte(s))
	if e.counted && s != "" {
		le.PutUint16(ref[4:], uint16(len(s)+1))
	}
}

// object puts object on the heap, a NUL behind it, and its place into ref.
func (e *encoder) object(ref, object []byte) {
	if len(object) == 0 {
		return
	}
	le.PutUint32(ref, uint32(e.start+len(e.heap)))
	le.PutUint16(ref[4:], uint16(len(object)))
	e.heap = append(append(e.heap, object...), 0)
}

func (e *encoder) hfi(h nbft.HFI) []byte {
	d := make([]byte, 128)
	copy(d, []byte{7, 1, 3, 1, h.Index, 0, h.Flags | 1})
	le.PutUint32(d[7:], uint32(h.PCI))
	copy(d[11:], h.Link.MAC[:])
	le.PutUint16(d[17:], h.Link.VLAN)
	d[19] = h.Origin
	copy(d[20:], address(h.Address))
	d[36] = h.Prefix
	address := func(a netip.Addr) []byte {
		if !a.IsValid() && h.Address.Is4() { // as firmware leaves out an IPv4 address: ::ffff:0.0.0.0
			a = netip.IPv4Unspecified()
		}
		return address(a)
	}
	copy(d[37:], address(h.Gateway))
	le.PutUint16(d[54:], h.RouteMetric)
	copy(d[56:], address(h.DNS[0]))
	copy(d[72:], address(h.DNS[1]))
	copy(d[88:], address(h.DHCPServer))
	e.string(d[104:], h.HostName)
	return d
}

func (e *encoder) ssns(d []byte, s nbft.SSNS) {
	d[0] = 4
	le.PutUint16(d[1:], s.Index)
	le.PutUint16(d[3:], s.Flags|1)
	d[5] = 3
	le.PutUint16(d[6:], s.TransportFlags)
	d[8] = s.Discovery
	e.object(d[10:], address(s.Traddr))
	e.string(d[16:], s.Trsvcid)
	le.PutUint16(d[22:], s.PortID)
	le.PutUint32(d[24:], s.NSID)
	d[28] = byte(s.NIDType)
	copy(d[29:45], s.NID[:])
	d[45] = s.Security
	if len(s.HFIs) > 0 {
		d[46] = s.HFIs[0]
	}
	e.object(d[48:], bytes.Clone(s.HFIs))
	e.string(d[54:], s.NQN)
	if s.Flags&0x10 != 0 {
		ext := make([]byte, 18)
		copy(ext, []byte{9, 1})
		le.PutUint16(ext[2:], s.Index)
		le.PutUint32(ext[4:], 3)
		le.PutUint16(ext[8:], s.ControllerID)
		le.PutUint16(ext[10:], s.AdminQueueSize)
		e.string(ext[12:], s.DHCPRootPath)
		e.object(d[60:], ext)
	}
}

// address returns 16 bytes, an IPv4 address being mapped into IPv6.
func address(a netip.Addr) []byte {
	if !a.IsValid() {
		return make([]byte, 16)
	}
	b := a.As16()
	return b[:]
}
