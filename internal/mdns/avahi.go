// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/nvme-discoverd/nvme-discoverd/internal/systembus"
)

// Names of Avahi's side of the bus (avahi-daemon/org.freedesktop.Avahi.*.xml in its sources).
const (
	avahiName     = "org.freedesktop.Avahi"
	avahiPath     = dbus.ObjectPath("/")
	avahiServer   = "org.freedesktop.Avahi.Server"
	avahiBrowser  = "org.freedesktop.Avahi.ServiceBrowser"
	avahiResolver = "org.freedesktop.Avahi.ServiceResolver"
)

// Avahi's numbers for what a browser or resolver looks at.
const (
	anyInterface = int32(-1)
	anyProtocol  = int32(-1)
	protocolIPv4 = int32(0)
	protocolIPv6 = int32(1)
)

const (
	// maxItems bounds the names that are resolved at one time. Avahi allows a client 1024 objects (objects-per-client-max=), and
	// each name has two resolvers.
	maxItems = 400
	// maxSignal is the length in bytes of the longest signal that is heard: one with all the TXT data that are looked at.
	maxSignal = 16 << 10
	// avahiAnswer is how long Avahi may take to answer a call.
	avahiAnswer = 20 * time.Second
	// unresolved is how long a name may stay without an address before it is not waited for: Avahi itself gives up after 5 s.
	unresolved = 6 * time.Second
)

// errAgain ends a browse that is to begin anew: there is room again for names that were dropped.
var errAgain = errors.New("there is room for further names")

// avahi browses by the Avahi that has a unique name on the bus.
type avahi struct {
	socket   string // of the bus
	owner    string
	families Families
	log      *slog.Logger
}

func (avahi) String() string { return "Avahi" }

// item is one name of an instance, as heard over one protocol on one interface.
type item struct {
	link, protocol int32
	name, domain   string
}

// found is one address of an item: there is a resolver for each kind.
type found struct {
	item
	kind int32 // protocolIPv4 or protocolIPv6
}

// resolving is how far an item has got.
type resolving struct {
	since     time.Time
	answered  bool
	resolvers []dbus.ObjectPath
}

// browsing is one session with Avahi. All of it belongs to the goroutine of run.
type browsing struct {
	avahi
	table   *table
	bus     *systembus.Conn
	items   map[item]*resolving
	calls   []func(context.Context) func() // to be made one after the other; each returns what is to be done with its answer
	allHere bool                           // Avahi has said all that it knew when browsing began
	dropped int                            // names beyond maxItems
	failed  int                            // names that Avahi refuses to resolve
	example string
	err     error // what ends the session
}

// browse implements source. Avahi forgets all that it made for a connection when that ends.
func (a avahi) browse(ctx context.Context, t *table) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bus, err := systembus.Dial(ctx, a.socket, maxSignal, a.log)
	if err != nil {
		return err
	}
	b := &browsing{avahi: a, table: t, bus: bus, items: map[item]*resolving{}}
	b.call(func(ctx context.Context) func() {
		_, err := b.server(ctx, "ServiceBrowserNew", anyInterface, anyProtocol, serviceType, domain, uint32(0))
		return func() {
			if err != nil {
				b.err = fmt.Errorf("cannot browse by Avahi: %w", err)
			}
		}
	})
	return b.run(ctx)
}

// run takes signals and answers in until the session ends. It never waits for anything else: no answer comes while a signal is not taken.
func (b *browsing) run(ctx context.Context) error {
	answers := make(chan func(), 1)
	busy := false
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for b.err == nil {
		if !busy && len(b.calls) > 0 {
			next := b.calls[0]
			b.calls = b.calls[1:]
			busy = true
			go func() {
				ctx, cancel := context.WithTimeout(ctx, avahiAnswer)
				defer cancel()
				answers <- next(ctx)
			}()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.bus.Done():
			return errors.New("the connection to the system bus was lost")
		case answer := <-answers:
			busy = false
			answer()
		case sig := <-b.bus.Signals():
			if sig.Sender == b.owner { // anybody may send signals
				b.signal(sig)
			}
		case <-tick.C:
		}
		b.table.complete(b.ready(), b.dropped+b.failed, b.example)
		if b.dropped > 0 && b.allHere && len(b.items) < maxItems/2 {
			return errAgain
		}
	}
	return b.err
}

func (b *browsing) call(f func(context.Context) func()) { b.calls = append(b.calls, f) }

func (b *browsing) server(ctx context.Context, method string, args ...any) (path dbus.ObjectPath, err error) {
	body, err := b.bus.Call(ctx, b.owner, avahiPath, avahiServer+"."+method, args...)
	if err == nil {
		err = dbus.Store(body, &path)
	}
	return path, err
}

// signal takes in what Avahi says.
func (b *browsing) signal(sig *dbus.Signal) {
	var i item
	kind, port := "", uint16(0)
	var flags uint32
	switch sig.Name {
	case avahiBrowser + ".ItemNew":
		if dbus.Store(sig.Body, &i.link, &i.protocol, &i.name, &kind, &i.domain, &flags) == nil {
			b.appeared(i)
		}
	case avahiBrowser + ".ItemRemove":
		if dbus.Store(sig.Body, &i.link, &i.protocol, &i.name, &kind, &i.domain, &flags) == nil {
			b.vanished(i)
		}
	case avahiBrowser + ".AllForNow":
		b.allHere = true
	case avahiBrowser + ".Failure":
		why := ""
		_ = dbus.Store(sig.Body, &why)
		b.err = fmt.Errorf("cannot go on browsing by Avahi: %s", printable(why))
	case avahiResolver + ".Found":
		var host, text string
		var addressKind int32
		var strings [][]byte
		err := dbus.Store(sig.Body, &i.link, &i.protocol, &i.name, &kind, &i.domain, &host, &addressKind, &text, &port, &strings, &flags)
		if err == nil {
			b.resolved(found{i, addressKind}, text, port, strings)
		}
	}
}

func (b *browsing) appeared(i item) {
	switch {
	case b.items[i] != nil:
		return
	case len(b.items) >= maxItems:
		b.dropped++
		b.example = fmt.Sprintf("%s: only %d names are looked at", printable(i.name), maxItems)
		return
	}
	b.items[i] = &resolving{since: time.Now()}
	for _, kind := range b.kinds() {
		b.call(func(ctx context.Context) func() {
			path, err := b.server(ctx, "ServiceResolverNew", i.link, i.protocol, i.name, serviceType, i.domain, kind, uint32(0))
			return func() { b.begun(i, path, err) }
		})
	}
}

// kinds are the kinds of addresses to ask for, whichever protocol an item came by: an announcement over one may have both.
func (b *browsing) kinds() (kinds []int32) {
	if b.families.IPv4 {
		kinds = append(kinds, protocolIPv4)
	}
	if b.families.IPv6 {
		kinds = append(kinds, protocolIPv6)
	}
	return kinds
}

// begun takes in the answer to the making of a resolver.
func (b *browsing) begun(i item, path dbus.ObjectPath, err error) {
	r := b.items[i]
	switch {
	case err != nil && r != nil:
		b.failed++
		b.example = fmt.Sprintf("%s: Avahi does not resolve it: %s", printable(i.name), printableUpTo(200, err.Error()))
	case err != nil:
	case r != nil:
		r.resolvers = append(r.resolvers, path)
	default: // it has gone meanwhile
		b.free(path)
	}
}

func (b *browsing) free(path dbus.ObjectPath) {
	b.call(func(ctx context.Context) func() {
		_, _ = b.bus.Call(ctx, b.owner, path, avahiResolver+".Free") // at the latest it goes with the connection
		return func() {}
	})
}

func (b *browsing) vanished(i item) {
	r := b.items[i]
	if r == nil {
		return
	}
	delete(b.items, i)
	for _, path := range r.resolvers {
		b.free(path)
	}
	for _, kind := range []int32{protocolIPv4, protocolIPv6} {
		b.table.take(found{i, kind})
	}
}

func (b *browsing) resolved(f found, address string, port uint16, txt [][]byte) {
	r := b.items[f.item]
	addr, err := netip.ParseAddr(address)
	if r == nil || err != nil || !b.families.has(addr.Unmap()) {
		return
	}
	r.answered = true
	b.table.put(f, service{instance: f.name, link: int(f.link), addr: addr.WithZone(""), port: port, txt: txt})
}

// ready reports whether Avahi has said all that it knows, and resolved the names of which it was asked a while ago.
func (b *browsing) ready() bool {
	if !b.allHere {
		return false
	}
	for _, r := range b.items {
		if !r.answered && time.Since(r.since) < unresolved {
			return false
		}
	}
	return true
}
