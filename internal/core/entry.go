// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Origin is what the entries of a log page take over from their DC.
type Origin struct {
	tid     tid.TID           // of the DC's wish: its bindings count, not what sysfs shows
	found   config.Discovered // parameters and secrets of what the page names
	concats bool              // TLS can be had with a key from the authentication: by the kernel, and by a DH-HMAC-CHAP secret among those
}

// verdict is what becomes of one entry of a log page.
type verdict struct {
	wish    wish.Wish // the zero Wish where nothing is connected
	skipped string    // why an entry that names a connection gets none
	plain   bool      // it offers a secure channel without requiring one, and is connected without
}

// originOf returns what the log page of t is judged by.
func (m *Machine) originOf(t *target) Origin {
	return Origin{t.wish.TID, t.found, !m.noConcat && m.cfg.Secrets[t.found.Secrets][secret.DHChap].Value.IsSet()}
}

// judge decides about one entry. It is the only place that does: the wishes, the count in the journal and the listing
// follow from its verdict. The DC's own entries are no connections, only flags; whether a referral says that it leads to
// nothing new (DUPRETINFO) does not count, since that is defined for the own entries only.
func judge(o Origin, e discoverylog.Entry) verdict {
	w := wish.Wish{Owner: wish.OwnerDiscoverd, Secrets: o.found.Secrets}
	switch e.Subtype {
	case discoverylog.NVM:
		w.Kind, w.Params = tid.IO, o.found.IO
	case discoverylog.Referral:
		w.Kind, w.Params = tid.Discovery, o.found.Discovery
	case discoverylog.Current:
		return verdict{}
	default:
		return verdict{skipped: fmt.Sprintf("its subtype %d is unknown", e.Subtype)}
	}
	if err := leadsTo(o.tid, e.Transport); err != nil {
		return verdict{skipped: err.Error()}
	}
	id, err := tid.New(o.inherited(e), w.Kind)
	if err != nil {
		return verdict{skipped: err.Error()}
	}
	if err := wish.OneIPVersion(id); err != nil {
		return verdict{skipped: fmt.Sprintf("cannot connect to %s: %v", id.Traddr, err)}
	}
	w.TID = id
	plain, err := o.secure(&w.Params, e)
	if err != nil {
		return verdict{skipped: err.Error()}
	}
	return verdict{wish: w, plain: plain}
}

// learnConcat takes from a failed connect that this kernel has no concat, as older ones. What is only offered is
// connected without from then on; what the configuration asks for is not.
func (m *Machine) learnConcat(ev JobDone) {
	if m.noConcat || ev.Failure == nil || ev.Failure.Lacks != param.Concat.Info().Kernel {
		return
	}
	m.noConcat, m.stale = true, true
	m.log(slog.LevelInfo, KindNone, nil, "this kernel cannot make a TLS key from the authentication (concat): what log pages offer TLS for without requiring it is connected without")
}

// leadsTo returns why a DC cannot name what is reached by a transport, nil if it can. An address is of use only where it is
// known which port or network of this host it is meant for. The loop transport leads to this host's own target: a page
// from elsewhere must not connect that.
func leadsTo(dc tid.TID, transport string) error {
	switch {
	case transport == "":
		return fmt.Errorf("its transport is unknown")
	case transport == tid.Loop && dc.Transport != tid.Loop:
		return fmt.Errorf("transport loop is the target of this host itself, which a discovery controller on %s cannot name", dc.Transport)
	case transport == tid.FC && dc.Transport != tid.FC:
		return fmt.Errorf("transport fc needs the host-traddr of a port of this host, which a discovery controller on %s does not tell", dc.Transport)
	case dc.Transport == tid.FC && transport != tid.FC:
		return fmt.Errorf("a discovery controller on fc does not tell over which network of this host its %s address is reached", transport)
	}
	return nil
}

// inherited is the TID that an entry names: reached the way the DC is, as far as its transport has such a way, by the same
// host. A link-local address without a zone is in the DC's.
func (o Origin) inherited(e discoverylog.Entry) tid.TID {
	t := tid.TID{
		Transport: e.Transport, Traddr: e.Traddr, Trsvcid: e.Trsvcid, NQN: e.NQN,
		HostNQN: o.tid.HostNQN, HostID: o.tid.HostID,
	}
	for _, key := range []string{"host-traddr", "host-iface"} {
		if value, _ := o.tid.Get(key); tid.Takes(e.Transport, key) && ip(e.Transport) == ip(o.tid.Transport) {
			t.Set(key, value)
		}
	}
	to, errTo := netip.ParseAddr(e.Traddr)
	dc, errDC := netip.ParseAddr(o.tid.Traddr)
	if errTo == nil && errDC == nil && to.Is6() && to.IsLinkLocalUnicast() && to.Zone() == "" {
		t.Traddr = to.WithZone(dc.Zone()).String()
	}
	return t
}

// secure gives the parameters the secure channel that an entry asks for, as `nvme connect-all` does: TLS where it is
// required, and where it is only offered, TLS with a key from the authentication (concat), if that can be had.
// What is required or configured and cannot be had is an error: nothing is connected with less. plain tells that an offer is
// not used.
func (o Origin) secure(params *param.Set, e discoverylog.Entry) (plain bool, err error) {
	_, tls := params.Get(param.TLS)
	_, concat := params.Get(param.Concat)
	switch {
	case e.SecureChannel && !param.TLS.Info().On(e.Transport):
		return false, fmt.Errorf("it requires a secure channel, which this host does not have over %s", e.Transport)
	case e.SecureChannel:
		*params = requireTLS(*params)
	case e.OffersTLS() && !tls && !concat && o.concats:
		*params, err = params.With(param.Concat, "true")
	case e.OffersTLS() && !tls && !concat:
		plain = true
	case tls && !param.TLS.Info().On(e.Transport):
		return false, fmt.Errorf("the configuration asks for tls, which transport %s does not take", e.Transport)
	case concat && !param.Concat.Info().On(e.Transport):
		return false, fmt.Errorf("the configuration asks for concat, which transport %s does not take", e.Transport)
	}
	return plain, err
}

// requireTLS returns the parameters with TLS from the first byte: a port that requires it takes no connection that begins
// without, as those with concat do.
func requireTLS(params param.Set) param.Set {
	params, _ = params.With(param.TLS, "true") // a good value
	params, _ = params.With(param.Concat, "")
	return params
}

// ownEntry returns what a page says of the DC itself, reached by t, and whether it says anything. A DC lists all its ports,
// and each may have other flags. An entry without a usable address stands for the port that was asked.
func ownEntry(t tid.TID, page []PageEntry) (own discoverylog.Entry, ok bool) {
	for _, e := range page {
		switch {
		case e.Subtype != discoverylog.Current:
		case e.Transport == t.Transport && (t.Transport == tid.Loop || e.Trsvcid == t.Trsvcid && samePort(t, e.Traddr)):
			return e.Entry, true
		case e.Traddr == "" && !ok:
			own, ok = e.Entry, true
		}
	}
	return own, ok
}

// samePort tells whether a DC that was reached by t calls itself traddr. Zones mean nothing outside of this host.
func samePort(t tid.TID, traddr string) bool {
	x, errX := netip.ParseAddr(traddr)
	y, errY := netip.ParseAddr(t.Traddr)
	if errX == nil && errY == nil {
		return x.Unmap().WithZone("") == y.Unmap().WithZone("")
	}
	return tid.SameAddr(t.Transport, traddr, t.Traddr)
}

func ip(transport string) bool { return transport == tid.TCP || transport == tid.RDMA }
