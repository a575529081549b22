// SPDX-License-Identifier: GPL-3.0-or-later

// Package tid holds the transport ID: the eight fields that name one NVMe over Fabrics connection that is wished for.
//
// A TID is a value: comparable, normalised and validated by New, so that two spellings of one address are one TID and
// nothing that could inject an option into the string written to the kernel gets any further than this package.
package tid

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// DiscoveryNQN is the well-known NQN of every discovery subsystem (NVMe Base Specification 2.0, section 4.5).
const DiscoveryNQN = "nqn.2014-08.org.nvmexpress.discovery"

// MaxNQN is the longest NQN in bytes (NVMe Base Specification, section 4.5).
const MaxNQN = 223

// Kind tells the two kinds of controllers apart.
type Kind int

const (
	// IO is an I/O controller (IOC).
	IO Kind = iota
	// Discovery is a discovery controller (DC).
	Discovery
)

// String returns the name that unit descriptions and log lines use.
func (k Kind) String() string {
	if k == Discovery {
		return "Discovery"
	}
	return "I/O"
}

// Transports that a TID may name.
const (
	TCP  = "tcp"
	RDMA = "rdma"
	FC   = "fc"
	Loop = "loop"
)

// TID is a transport ID. The zero value of a field means unset.
type TID struct {
	Transport  string
	Traddr     string
	Trsvcid    string
	NQN        string
	HostTraddr string
	HostIface  string
	HostNQN    string
	HostID     string
}

// field is one TID field under the key that the canonical form, the exclusion list and the configuration share.
type field struct {
	key string
	ptr func(*TID) *string
}

// fields stands in the order of the canonical form.
var fields = [...]field{
	{"transport", func(t *TID) *string { return &t.Transport }},
	{"traddr", func(t *TID) *string { return &t.Traddr }},
	{"trsvcid", func(t *TID) *string { return &t.Trsvcid }},
	{"nqn", func(t *TID) *string { return &t.NQN }},
	{"host-traddr", func(t *TID) *string { return &t.HostTraddr }},
	{"host-iface", func(t *TID) *string { return &t.HostIface }},
	{"hostnqn", func(t *TID) *string { return &t.HostNQN }},
	{"hostid", func(t *TID) *string { return &t.HostID }},
}

// Keys returns the names of the fields in canonical order.
func Keys() []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

// Get returns the field called key, and whether there is such a field.
func (t TID) Get(key string) (string, bool) {
	for _, f := range fields {
		if f.key == key {
			return *f.ptr(&t), true
		}
	}
	return "", false
}

// Set sets the field called key and reports whether there is such a field. It does not validate: New does.
func (t *TID) Set(key, value string) bool {
	for _, f := range fields {
		if f.key == key {
			*f.ptr(t) = value
			return true
		}
	}
	return false
}

// FieldError says which field New refuses, for callers that know where its value was written.
type FieldError struct {
	Key     string // of the field, as Keys spells it
	Lacks   string // what the TID lacks, "a transport: …"; "" if the field is there and no good
	message string
}

// Error says what is wrong with the field.
func (e *FieldError) Error() string { return e.message }

func fieldErrorf(key, format string, args ...any) error {
	return &FieldError{Key: key, message: fmt.Sprintf(format, args...)}
}

func lackingError(key, what, lacks string) error {
	return &FieldError{Key: key, Lacks: lacks, message: "cannot connect " + what + "without " + lacks}
}

// New returns t normalised and with its defaults, or a *FieldError that says what is wrong with which field. A traddr of
// tcp and rdma must be an IP address by now: host names are resolved before. hostnqn and hostid are checked, not
// defaulted: the caller knows whose they are. A UUID in the hostnqn becomes lower case.
func New(t TID, kind Kind) (TID, error) {
	if err := t.normaliseFC(); err != nil { // first: a comma may be part of it
		return TID{}, err
	}
	for _, f := range fields {
		if err := checkText(*f.ptr(&t)); err != nil {
			return TID{}, fieldErrorf(f.key, "cannot use %s %q: %v", f.key, *f.ptr(&t), err)
		}
	}
	switch t.Transport {
	case TCP, RDMA:
		if t.Traddr == "" {
			return TID{}, lackingError("traddr", "", "a traddr: transport "+t.Transport+" needs an IP address")
		}
		addr, err := netip.ParseAddr(t.Traddr)
		if err != nil {
			return TID{}, fieldErrorf("traddr", "cannot use traddr %q: transport %s needs an IP address", t.Traddr, t.Transport)
		}
		t.Traddr = addr.Unmap().String()
		if t.HostTraddr != "" {
			addr, err := netip.ParseAddr(t.HostTraddr)
			if err != nil {
				return TID{}, fieldErrorf("host-traddr", "cannot use host-traddr %q: transport %s needs an IP address", t.HostTraddr, t.Transport)
			}
			t.HostTraddr = addr.Unmap().String()
		}
		if t.Trsvcid == "" {
			t.Trsvcid = DefaultTrsvcid(t.Transport, kind)
		}
		port, err := strconv.ParseUint(t.Trsvcid, 10, 16)
		if err != nil || port == 0 {
			return TID{}, fieldErrorf("trsvcid", "cannot use trsvcid %q: a port is a number from 1 to 65535", t.Trsvcid)
		}
		t.Trsvcid = strconv.FormatUint(port, 10)
	case FC:
		if t.Traddr == "" {
			return TID{}, lackingError("traddr", "", "a traddr: transport fc needs one such as nn-0x…:pn-0x…")
		}
	case Loop:
	case "":
		return TID{}, lackingError("transport", "", "a transport: give tcp, rdma, fc or loop")
	default:
		return TID{}, fieldErrorf("transport", "cannot use transport %q: it must be tcp, rdma, fc or loop", t.Transport)
	}
	if t.NQN == "" && kind == Discovery {
		t.NQN = DiscoveryNQN
	}
	if t.NQN == "" {
		return TID{}, lackingError("nqn", "an I/O controller ", "the nqn of its subsystem")
	}
	for _, key := range []string{"nqn", "hostnqn"} {
		nqn, _ := t.Get(key)
		if err := CheckNQN(nqn); nqn != "" && err != nil {
			return TID{}, &FieldError{Key: key, message: err.Error()}
		}
	}
	// Not so NQN: targets compare it byte by byte (nvmet_find_get_subsys in the kernel's drivers/nvme/target/core.c), and it is
	// theirs to spell.
	t.HostNQN = FoldNQN(t.HostNQN)
	if strings.ContainsRune(t.HostIface, '/') || len(t.HostIface) > 15 {
		return TID{}, fieldErrorf("host-iface", "cannot use host-iface %q: it is no name of a network interface", t.HostIface)
	}
	return t, nil
}

// normaliseFC brings the addresses of a Fibre Channel TID into their normal form.
func (t *TID) normaliseFC() error {
	if t.Transport != FC {
		return nil
	}
	for _, f := range fields {
		value := f.ptr(t)
		if *value == "" || f.key != "traddr" && f.key != "host-traddr" {
			continue
		}
		addr, err := parseFC(*value)
		if err != nil {
			return fieldErrorf(f.key, "cannot use %s %.80q: %v", f.key, *value, err)
		}
		*value = addr
	}
	return nil
}

// DefaultTrsvcid is the port that a target listens on when none is named: 8009 for discovery over TCP, 4420 otherwise
// (NVMe TCP Transport Specification, section 3.1.1), none for fc and loop.
func DefaultTrsvcid(transport string, kind Kind) string {
	switch {
	case transport == TCP && kind == Discovery:
		return "8009"
	case transport == TCP || transport == RDMA:
		return "4420"
	}
	return ""
}

// Takes tells whether a connection by this transport can have the field called key: allowed_opts in the kernel's
// drivers/nvme/host/{tcp,rdma,fc}.c and drivers/nvme/target/loop.c. The kernel answers EINVAL to what it does not take.
func Takes(transport, key string) bool {
	switch key {
	case "trsvcid":
		return transport == TCP || transport == RDMA
	case "host-traddr":
		return transport != Loop
	case "host-iface":
		return transport == TCP
	}
	return true
}

// CheckNQN tells why nqn cannot be used as one.
func CheckNQN(nqn string) error {
	switch {
	case nqn == "":
		return fmt.Errorf("cannot use an empty NQN")
	case len(nqn) > MaxNQN:
		return fmt.Errorf("cannot use NQN %.40q…: it has %d bytes, at most %d are allowed", nqn, len(nqn), MaxNQN)
	}
	if err := checkText(nqn); err != nil {
		return fmt.Errorf("cannot use NQN %q: %w", nqn, err)
	}
	return nil
}

// uuidNQN begins an NQN that is made from a UUID.
const uuidNQN = "nqn.2014-08.org.nvmexpress" + uuidMark

// CheckForm tells how nqn departs from the form that the NVMe Base Specification 2.0, section 4.5, gives NQNs. That is no reason
// not to connect: the kernel's own target takes any name. But whoever types one that departs has most likely mistyped it.
func CheckForm(nqn string) error {
	if id, ok := strings.CutPrefix(nqn, uuidNQN); ok {
		if !IsUUID(id) {
			return fmt.Errorf("%q is not an NQN: what follows :uuid: must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6", nqn)
		}
		return nil
	}
	rest, ok := strings.CutPrefix(nqn, "nqn.")
	date, rest, dotted := strings.Cut(rest, ".")
	domain, _, _ := strings.Cut(rest, ":")
	labels := strings.Split(strings.ToLower(domain), ".")
	if _, err := time.Parse("2006-01", date); !ok || !dotted || err != nil || slices.Contains(labels, "") || strings.Trim(strings.Join(labels, ""), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("%q is not an NQN: it must begin as nqn.2024-01.com.example does, with nqn, a year and month, and a domain name in reverse", nqn)
	}
	return nil
}

// uuidMark is in front of the UUID in an NQN that is made from one (NVMe Base Specification 2.0, section 4.5).
const uuidMark = ":uuid:"

// FoldNQN returns nqn with the UUID that ends it, if one does, in lower case. The rest of an NQN is case-sensitive.
func FoldNQN(nqn string) string {
	i := len(nqn) - len("00000000-0000-0000-0000-000000000000")
	if i < len(uuidMark) || nqn[i-len(uuidMark):i] != uuidMark || !IsUUID(nqn[i:]) {
		return nqn
	}
	return nqn[:i] + strings.ToLower(nqn[i:])
}

// SameNQN tells whether two NQNs are one: the case of a UUID in them does not matter.
func SameNQN(a, b string) bool { return a == b || len(a) == len(b) && FoldNQN(a) == FoldNQN(b) }

// IsUUID tells whether s is a UUID in any case, as the kernel takes them (lib/uuid.c, uuid_is_valid).
func IsUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && !strings.Contains("0123456789abcdefABCDEF", s[i:i+1]) {
			return false
		}
	}
	return true
}

// checkText refuses what could end one option of the kernel's comma separated string and begin another.
func checkText(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("it is not UTF-8")
	}
	for _, r := range s {
		switch {
		case r == ',':
			return fmt.Errorf("it contains a comma")
		case unicode.IsControl(r) || unicode.IsSpace(r):
			return fmt.Errorf("it contains a control character or white space")
		}
	}
	return nil
}

// HostName returns s in lower case if it is the name of a host (RFC 1123, section 2.1), else "". What ends in a number is
// meant to be an address.
func HostName(s string) string {
	name := strings.ToLower(s)
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	if len(name) > 253 || strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return ""
	}
	for _, label := range labels {
		if len(label) < 1 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return ""
		}
	}
	return name
}

// Canonical returns the set fields as "key=value" joined by ";", in the order that the unit name is a hash of.
func (t TID) Canonical() string {
	var b strings.Builder
	for _, f := range fields {
		if v := *f.ptr(&t); v != "" {
			if b.Len() > 0 {
				b.WriteByte(';')
			}
			b.WriteString(f.key + "=" + v)
		}
	}
	return b.String()
}

// UnitName returns the name of the systemd service of the connection: the low 48 bits of the 64-bit FNV-1a hash of the
// canonical form in hexadecimal.
func (t TID) UnitName() string {
	h := fnv.New64a()
	h.Write([]byte(t.Canonical())) // never fails
	return fmt.Sprintf("nvme-discoverd-%012x.service", h.Sum64()&(1<<48-1))
}

// String returns the log form: (transport, traddr, trsvcid, nqn, host_iface, host_traddr), unset fields left out.
func (t TID) String() string {
	var set []string
	for _, v := range []string{t.Transport, t.Traddr, t.Trsvcid, t.NQN, t.HostIface, t.HostTraddr} {
		if v != "" {
			set = append(set, v)
		}
	}
	return "(" + strings.Join(set, ", ") + ")"
}

// SameAddr tells whether two transport addresses are one: IP addresses by value, Fibre Channel ones in whatever spelling.
func SameAddr(transport, a, b string) bool {
	if a == b {
		return true
	}
	switch transport {
	case FC:
		x, errX := FCAddr(a)
		y, errY := FCAddr(b)
		return errX == nil && errY == nil && x == y
	case TCP, RDMA:
		x, errX := netip.ParseAddr(a)
		y, errY := netip.ParseAddr(b)
		return errX == nil && errY == nil && x.Unmap() == y.Unmap()
	}
	return false
}
