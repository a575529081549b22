// SPDX-License-Identifier: GPL-3.0-or-later

package discoverylog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Subtype says what an entry stands for (NVMe Base Specification 2.1, figure 295, SUBTYPE). Other numbers than the
// three may come from newer controllers.
type Subtype uint8

const (
	// Referral is another discovery subsystem.
	Referral Subtype = 1
	// NVM is a subsystem with namespaces.
	NVM Subtype = 2
	// Current is the discovery subsystem that was asked; the entry is there for its flags.
	Current Subtype = 3
)

// String returns a word for log lines and listings.
func (s Subtype) String() string {
	switch s {
	case Referral:
		return "referral"
	case NVM:
		return "nvm"
	case Current:
		return "current"
	}
	return fmt.Sprintf("subtype %d", uint8(s))
}

// Entry is one entry of the page. Its strings are checked as package tid does: they hold no commas, white space or
// control characters, and IP addresses are normalised.
type Entry struct {
	Subtype       Subtype
	Transport     string // tcp, rdma, fc or loop; empty for one that is unknown here
	Adrfam        string // ipv4, ipv6, ib, fc or loop; empty for one that is unknown here
	Traddr        string // empty for a Current entry that gives no usable one
	Trsvcid       string // of fc and loop empty; of tcp and rdma a port, the default one where the entry names none
	NQN           string // at most 223 bytes
	PortID        uint16
	CntlID        uint16 // 0xffff: the controller is allocated at connect; 0xfffe: static, any
	TREQ          uint8  // the raw transport requirements; bits 1:0 are SecureChannel's
	SecureChannel bool   // the subsystem must be connected through a secure channel, TLS for tcp
	SecType       uint8  // of tcp, how its port secures connections: SecNone, SecTLS12, SecTLS13, or a number from newer targets
	DupRetInfo    bool   // EFLAGS bit 0, of Current entries only: they all return this same page
	EPCSD         bool   // EFLAGS bit 1: explicit persistent connections are supported
}

// Values of SecType (NVMe/TCP Transport Specification 1.1, TSAS of the discovery log page entry).
const (
	SecNone  = 0
	SecTLS12 = 1
	SecTLS13 = 2
)

// OffersTLS tells whether the subsystem can, but need not be connected through TLS.
func (e Entry) OffersTLS() bool {
	return e.SecType != SecNone && e.TREQ&secureChannelMask == secureChannelNotRequired
}

// Layout of an entry (NVMe Base Specification 2.1, figure 295; struct nvmf_disc_rsp_page_entry of include/linux/nvme.h).
const (
	entrySize = 1024

	secureChannelRequired    = 1 // TREQ bits 1:0
	secureChannelNotRequired = 2
	secureChannelMask        = 3

	eflagDupRetInfo = 1 << 0
	eflagEPCSD      = 1 << 1
)

var transports = map[uint8]string{1: tid.RDMA, 2: tid.FC, 3: tid.TCP, 254: tid.Loop}

var families = map[uint8]string{1: "ipv4", 2: "ipv6", 3: "ib", 4: "fc", 254: "loop"}

// parseEntry reads the entry that raw, of entrySize bytes, holds, and checks it.
func parseEntry(raw []byte) (Entry, error) {
	eflags := binary.LittleEndian.Uint16(raw[10:])
	e := Entry{
		Subtype:       Subtype(raw[2]),
		Transport:     transports[raw[0]],
		Adrfam:        families[raw[1]],
		Traddr:        text(raw[512:768]),
		Trsvcid:       text(raw[32:64]),
		NQN:           text(raw[256:512]),
		PortID:        binary.LittleEndian.Uint16(raw[4:]),
		CntlID:        binary.LittleEndian.Uint16(raw[6:]),
		TREQ:          raw[3],
		SecureChannel: raw[3]&secureChannelMask == secureChannelRequired,
		DupRetInfo:    eflags&eflagDupRetInfo != 0,
		EPCSD:         eflags&eflagEPCSD != 0,
	}
	if e.Transport == tid.TCP {
		e.SecType = raw[768] // the first byte of TSAS
	}
	// Where ports mean nothing the field says "none", or whatever the target was configured with.
	if e.Transport == tid.FC || e.Transport == tid.Loop {
		e.Trsvcid = ""
	}
	checked, err := e.check()
	if err != nil && e.Subtype == Current {
		// Its flags count, its address does not: nobody connects to it.
		e.Traddr, e.Trsvcid = "", ""
		checked, err = e, tid.CheckNQN(e.NQN)
	}
	return checked, err
}

// check returns e with its address and NQN as tid.New accepts and normalises them.
func (e Entry) check() (Entry, error) {
	t := tid.TID{Transport: e.Transport, Traddr: e.Traddr, Trsvcid: e.Trsvcid, NQN: e.NQN}
	kind := tid.IO
	if e.Subtype == Referral || e.Subtype == Current {
		kind = tid.Discovery
	}
	if e.Transport == "" {
		t.Transport = tid.Loop // the transport without rules of its own: only the characters are checked
	}
	t, err := tid.New(t, kind)
	if err != nil {
		return Entry{}, err
	}
	if addr, err := netip.ParseAddr(t.Traddr); err == nil && addr.IsUnspecified() {
		return Entry{}, fmt.Errorf("cannot use traddr %q: it is no address of one host", t.Traddr)
	}
	e.Traddr, e.Trsvcid, e.NQN = t.Traddr, t.Trsvcid, t.NQN
	return e, nil
}

// text returns what a field padded with spaces or NULs holds.
func text(field []byte) string {
	field, _, _ = bytes.Cut(field, []byte{0})
	return strings.Trim(string(field), " ")
}
