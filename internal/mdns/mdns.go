// SPDX-License-Identifier: GPL-3.0-or-later

// Package mdns hears of the discovery controllers that announce themselves by multicast DNS as services of the type
// _nvme-disc._tcp (docs/design.md, "mDNS"; NVMe TP 8009, RFC 6762 and 6763). It has a service of the host browse, Avahi or systemd-resolved,
// and decides nothing.
//
// Whatever is announced was written by anybody on the network: it is checked here, and bounded.
package mdns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// What is announced, and where (RFC 6763).
const (
	serviceType = "_nvme-disc._tcp"
	domain      = "local"
)

// MaxAnnouncements is how many announcements a Report has at most. Those that came first stay.
const MaxAnnouncements = 256

// Announcement is a discovery controller as it announces itself on one interface of this host with one of its addresses.
type Announcement struct {
	Instance string // what it calls itself, made fit to print
	Iface    string // the interface that heard it
	// TID is how to connect it: bound to Iface, and without the host's identity.
	TID tid.TID
}

// Report is what browsing has found out so far.
type Report struct {
	Service  string // that browses, for people; "" is none
	Problem  string // what keeps announcements from being heard, and what to do; "" is nothing
	Complete bool   // Found is all that is announced: what is not in it is gone
	Found    []Announcement
	Ignored  int    // announcements that cannot be used, or are too many …
	Example  string // … and what is wrong with one of them
	Beside   bool   // nvme-stas runs and browses too
}

// Families are the kinds of addresses that are of use.
type Families struct{ IPv4, IPv6 bool }

func (f Families) has(addr netip.Addr) bool { return addr.Is4() && f.IPv4 || addr.Is6() && f.IPv6 }

// service is one announcement as a service of the host passes it on: nothing of it has been checked.
type service struct {
	instance string
	link     int // index of the interface
	addr     netip.Addr
	port     uint16
	txt      [][]byte
}

// announcement checks a service and says how to connect it. The error says what is wrong with it, fit to print.
func (s service) announcement(host network) (Announcement, error) {
	a := Announcement{Instance: printable(s.instance), Iface: host.name(s.link)}
	if a.Iface == "" {
		return a, fmt.Errorf("its interface %d is gone", s.link)
	}
	txt, err := parseTXT(s.txt)
	if err != nil {
		return a, err
	}
	addr := s.addr.Unmap()
	switch {
	case !addr.IsGlobalUnicast() && !addr.IsLinkLocalUnicast():
		return a, fmt.Errorf("nothing can be connected at its address %s", addr)
	case host.owns(addr.WithZone("")):
		return a, fmt.Errorf("its address %s is one of this host", addr.WithZone(""))
	case addr.Is6() && addr.IsLinkLocalUnicast():
		addr = addr.WithZone(a.Iface)
	}
	id := tid.TID{Transport: txt.transport, Traddr: addr.String(), Trsvcid: strconv.Itoa(int(s.port)), NQN: txt.nqn}
	if tid.Takes(id.Transport, "host-iface") {
		id.HostIface = a.Iface
	} else if source := host.source(s.link, addr); source.IsValid() {
		id.HostTraddr = source.String()
	} else {
		return a, fmt.Errorf("interface %s has no address from which %s is reached over %s", a.Iface, addr, id.Transport)
	}
	if a.TID, err = tid.New(id, tid.Discovery); err != nil {
		return a, fitToPrint(err)
	}
	return a, nil
}

// fitToPrint makes an error that may quote what was announced fit to print.
func fitToPrint(err error) error { return errors.New(printableUpTo(400, err.Error())) }

// maxInstance is how long the name of an instance is at most, in bytes: a label (RFC 6763, section 4.1.1).
const maxInstance = 63

// printable is a text of anybody's as it may be shown: of limited length, in UTF-8, without control characters.
func printable(text string) string { return printableUpTo(maxInstance, text) }

func printableUpTo(most int, text string) string {
	if len(text) > most {
		text = text[:most]
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// same reports whether two reports say the same.
func (r Report) same(o Report) bool {
	return r.Service == o.Service && r.Problem == o.Problem && r.Complete == o.Complete && r.Ignored == o.Ignored && r.Example == o.Example &&
		r.Beside == o.Beside && slices.Equal(r.Found, o.Found)
}
