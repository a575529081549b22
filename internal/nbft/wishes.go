// SPDX-License-Identifier: GPL-3.0-or-later

package nbft

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// maxConnections bounds what one table can ask for: 255 SSNS with 255 HFIs each would be 65025.
const maxConnections = 1024

// Connection is one path to a controller that a table names.
type Connection struct {
	// Wish has the persona of the table and is owned as nbft. Its host-traddr is the HFI's address, its host-iface unset.
	Wish wish.Wish

	// Host is the name that a discovery URI has in the place of an address, in lower case; "" where there is an address. While
	// it is set, Wish.TID.Traddr is empty and the wish not to be connected: Wish.At completes it.
	Host string

	// Link is what host-iface is to be at connect time, Link.Interface finding its name. Zero: no interface is pinned.
	Link Link

	// Authentication tells that the table demands in-band authentication, for which it holds no secret: without a dhchap-secret
	// of the configuration the wish is not to be connected.
	Authentication bool

	// Derived tells that the table has no host ID, and that of the wish is the UUID of the host NQN.
	Derived bool

	// Table is the file of the table that names the connection; who reads it sets it.
	Table string

	// DHCP tells that host-traddr came by DHCP: a connect that fails with EADDRNOTAVAIL is to be retried without it.
	DHCP bool

	// From tells people where it stands in the table: "SSNS 1 over HFI 2".
	From string
}

// Wishes returns the connections that t asks for, each once, discovery controllers among them (docs/design.md, "NBFT"). discovery and io
// are the default parameters of the two kinds; digests and TLS that the table asks for are added to them. A warning is one
// sentence about a record that gives no connection, or not the one it might be thought to give.
func Wishes(t Table, discovery, io param.Set) (connections []Connection, warnings []string) {
	w := &wisher{
		table:    t,
		defaults: map[tid.Kind]param.Set{tid.Discovery: discovery, tid.IO: io},
		hfis:     make(map[uint8]HFI), security: make(map[uint8]Security),
		at: make(map[target]int),
	}
	for _, h := range t.HFIs {
		w.hfis[h.Index] = h
	}
	for _, s := range t.Security {
		w.security[s.Index] = s
	}
	for _, d := range t.Discovery {
		w.discovery(d)
	}
	for _, s := range t.SSNS {
		w.ssns(s)
	}
	if w.full {
		w.warnf("table: connections are left out: it may ask for %d", maxConnections)
	}
	return w.connections, w.warnings
}

// wisher collects what one table asks for.
type wisher struct {
	table       Table
	defaults    map[tid.Kind]param.Set
	hfis        map[uint8]HFI
	security    map[uint8]Security
	at          map[target]int // index of its connection
	connections []Connection
	warnings    []string
	full        bool // and more was asked for
}

// target is what makes two records name one connection. An interface and a source address are pinned together, so that
// two links with one address are two.
type target struct {
	kind tid.Kind
	tid  tid.TID
	host string
	link Link
}

func (w *wisher) warnf(format string, args ...any) {
	w.warnings = append(w.warnings, fmt.Sprintf(format, args...))
}

func (w *wisher) discovery(d Discovery) {
	name := fmt.Sprintf("discovery %d", d.Index)
	id, err := parseURI(d.URI)
	if err != nil {
		w.warnf("%s: it is not connected: cannot use URI %.80q: %v", name, d.URI, err)
		return
	}
	id.NQN = d.NQN
	asks := w.asked(d.Security)
	if d.HFI == 0 {
		w.unpinned(name, tid.Discovery, id, asks)
		return
	}
	w.pinned(name, tid.Discovery, id, d.HFI, asks)
}

func (w *wisher) ssns(s SSNS) {
	name := fmt.Sprintf("SSNS %d", s.Index)
	if s.Unavailable() {
		w.warnf("%s: firmware says that it is unavailable; it is connected all the same", name)
	}
	kind := tid.IO
	if s.NQN == tid.DiscoveryNQN {
		kind = tid.Discovery
	}
	id := tid.TID{Transport: s.Transport, Traddr: s.Traddr.String(), Trsvcid: s.Trsvcid, NQN: s.NQN}
	asks := w.asked(s.Security)
	header, data := s.Digests()
	if header {
		asks.switches = append(asks.switches, param.HdrDigest)
	}
	if data {
		asks.switches = append(asks.switches, param.DataDigest)
	}
	if len(s.HFIs) == 0 {
		w.unpinned(name, kind, id, asks)
	}
	for _, hfi := range s.HFIs {
		w.pinned(name, kind, id, hfi, asks)
	}
}

// asked is what a record asks of its connections.
type asked struct {
	switches       []param.Param
	authentication bool
}

// asked returns what a security profile, 0 for none, asks of a connection.
func (w *wisher) asked(security uint8) asked {
	profile := w.security[security]
	asks := asked{authentication: profile.Authentication() >= Required}
	if profile.SecureChannel() >= Required {
		asks.switches = []param.Param{param.TLS}
	}
	return asks
}

// pinned adds a connection over one HFI.
func (w *wisher) pinned(name string, kind tid.Kind, id tid.TID, index uint8, asks asked) {
	if w.full = len(w.connections) == maxConnections; w.full {
		return
	}
	hfi := w.hfis[index]
	name = fmt.Sprintf("%s over HFI %d", name, index)
	c := Connection{Link: hfi.Link, From: name}
	if c.Link.MAC == ([6]byte{}) {
		c.Link = Link{}
	}
	if hfi.Address.IsValid() {
		from := id
		from.HostTraddr = hfi.Address.String()
		if wish.OneIPVersion(from) == nil {
			id, c.DHCP = from, hfi.DHCP()
		} else {
			w.warnf("%s: it is connected without host-traddr: %v and %s are of different families", name, hfi.Address, id.Traddr)
		}
	}
	w.add(c, kind, id, asks)
}

// unpinned adds a connection of a record that names no HFI: the kernel chooses the path.
func (w *wisher) unpinned(name string, kind tid.Kind, id tid.TID, asks asked) {
	if w.full = len(w.connections) == maxConnections; w.full {
		return
	}
	w.warnf("%s: it names no HFI of the table; it is connected over any interface", name)
	w.add(Connection{From: name}, kind, id, asks)
}

// add completes c and adds it, unless it is there: then only what it asks for is.
func (w *wisher) add(c Connection, kind tid.Kind, id tid.TID, asks asked) {
	id.HostNQN, id.HostID = w.table.Host.NQN, w.table.Host.ID
	if uuid, ok := strings.CutPrefix(id.HostNQN, uuidNQNPrefix); ok && id.HostID == "" {
		id.HostID, c.Derived = strings.ToLower(uuid), true
	}
	if c.Host = tid.HostName(id.Traddr); c.Host != "" {
		id.Traddr = "::" // stands in while the rest is checked
	}
	id, err := tid.New(id, kind)
	if err != nil {
		w.warnf("%s: it is not connected: %v", c.From, err)
		return
	}
	if c.Host != "" {
		id.Traddr = ""
	}
	key := target{kind, id, c.Host, c.Link}
	key.tid.NQN = tid.FoldNQN(id.NQN)
	i, known := w.at[key]
	if !known {
		c.Wish = wish.Wish{Kind: kind, TID: id, Params: w.defaults[kind], Owner: wish.OwnerNBFT}
		i = len(w.connections)
		w.at[key] = i
		w.connections = append(w.connections, c)
	}
	w.connections[i].Authentication = w.connections[i].Authentication || asks.authentication
	params := &w.connections[i].Wish.Params
	for _, p := range asks.switches {
		*params, _ = params.With(p, "true") // a switch takes it
	}
}

// parseURI returns the address in the URI of a discovery controller: nvme+tcp://host:port/, an IPv6 address in brackets, or
// its name. A path behind it means nothing here.
func parseURI(text string) (tid.TID, error) {
	uri, err := url.Parse(text)
	var urlErr *url.Error
	switch {
	case errors.As(err, &urlErr):
		return tid.TID{}, urlErr.Err
	case uri.Scheme != "nvme+tcp":
		return tid.TID{}, errors.New("its scheme must be nvme+tcp")
	case uri.User != nil || uri.RawQuery != "" || uri.Fragment != "",
		strings.Contains(uri.Hostname(), ":") != strings.HasPrefix(uri.Host, "["):
		return tid.TID{}, errors.New("it must be nvme+tcp://address:port/, an IPv6 address in brackets")
	}
	return tid.TID{Transport: tid.TCP, Traddr: uri.Hostname(), Trsvcid: uri.Port()}, nil
}
