// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/varlink/go/varlink"
	"golang.org/x/sys/unix"
)

// resolvedMDNS are the flags by which systemd-resolved is asked to use mDNS alone (SD_RESOLVED_MDNS_IPV4 and _IPV6).
const resolvedMDNS = 1<<3 | 1<<4

const (
	resolvedAnswer = 15 * time.Second // for a name: mDNS itself gives up after some seconds
	resolvedQuiet  = 5 * time.Second  // without news, until it has said all that it knows: it does not tell
	resolvedAnew   = time.Minute      // between looks at a name: it tells of names that come and go, not of changes of one
)

// resolved browses by systemd-resolved's io.systemd.Resolve.BrowseServices (systemd 258).
type resolved struct {
	socket   string
	families Families
}

func (resolved) String() string { return "systemd-resolved" }

// instance is a name that systemd-resolved has heard on an interface.
type instance struct {
	link         int
	name, domain string
}

// address is one that an instance has.
type address struct {
	instance
	addr netip.Addr
}

// browsed is a reply of BrowseServices.
type browsed struct {
	Services []struct {
		Update string `json:"updateFlag"`
		Family int    `json:"family"`
		Name   string `json:"name"`
		Domain string `json:"domain"`
		Link   int    `json:"ifindex"`
	} `json:"browserServiceData"`
}

// resolvedService is the reply of ResolveService.
type resolvedService struct {
	Services []struct {
		Port      uint16 `json:"port"`
		Addresses []struct {
			Link    int   `json:"ifindex"`
			Address []int `json:"address"`
		} `json:"addresses"`
	} `json:"services"`
	TXT []string `json:"txt"`
}

// browse implements source.
func (r resolved) browse(ctx context.Context, t *table) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := varlink.NewConnection(ctx, "unix:"+r.socket)
	if err != nil {
		return fmt.Errorf("cannot reach systemd-resolved: %w", err)
	}
	defer conn.Close()
	receive, err := conn.Send(ctx, "io.systemd.Resolve.BrowseServices", map[string]any{
		"domain": domain, "type": serviceType, "ifindex": 0, "flags": resolvedMDNS,
	}, varlink.More)
	if err != nil {
		return fmt.Errorf("cannot have systemd-resolved browse: %w", err)
	}
	s := &resolvedSession{
		resolved: r, table: t, families: map[instance]map[int]bool{}, addresses: map[instance][]address{}, quiet: time.Now(),
	}
	replies, failed := make(chan browsed), make(chan error, 1)
	go func() {
		for {
			var reply browsed
			flags, err := receive(ctx, &reply)
			if err == nil && flags&varlink.Continues == 0 {
				err = errors.New("it does not go on")
			}
			if err != nil {
				failed <- browseError(err)
				return
			}
			select {
			case replies <- reply:
			case <-ctx.Done():
				return
			}
		}
	}()
	return s.run(ctx, replies, failed)
}

// browseError says what to do about a failed BrowseServices.
func browseError(err error) error {
	var unknown *varlink.MethodNotFound
	if errors.As(err, &unknown) {
		return errors.New("systemd-resolved is older than version 258, which cannot browse")
	}
	return fmt.Errorf("systemd-resolved does not browse: %s", printableUpTo(300, err.Error()))
}

// resolvedSession is one browse. All of it belongs to the goroutine of run.
type resolvedSession struct {
	resolved
	table     *table
	families  map[instance]map[int]bool // by which it was heard
	addresses map[instance][]address    // in the table
	queue     []instance                // to be resolved
	dropped   int
	example   string
	quiet     time.Time // of the last news
}

func (s *resolvedSession) run(ctx context.Context, replies <-chan browsed, failed <-chan error) error {
	type answer struct {
		instance
		resolvedService
		err error
	}
	answers := make(chan answer, 1)
	busy := false
	tick, anew := time.NewTicker(time.Second), time.NewTicker(resolvedAnew)
	defer tick.Stop()
	defer anew.Stop()
	for {
		if !busy && len(s.queue) > 0 {
			next := s.queue[0]
			s.queue = s.queue[1:]
			busy = true
			go func() {
				found, err := s.resolve(ctx, next)
				answers <- answer{next, found, err}
			}()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case reply := <-replies:
			s.heard(reply)
		case a := <-answers:
			busy = false
			if a.err == nil {
				s.resolvedTo(a.instance, a.resolvedService)
			} // else nothing is known: what was found before stays
		case <-anew.C:
			s.queue = nil
			for i := range s.families {
				s.queue = append(s.queue, i)
			}
		case <-tick.C:
		}
		s.table.complete(!busy && len(s.queue) == 0 && time.Since(s.quiet) >= resolvedQuiet, s.dropped, s.example)
		if s.dropped > 0 && len(s.families) < maxItems/2 {
			return errAgain
		}
	}
}

// heard takes in names that came or went.
func (s *resolvedSession) heard(reply browsed) {
	s.quiet = time.Now()
	for _, update := range reply.Services {
		i := instance{update.Link, update.Name, update.Domain}
		switch have := s.families[i]; {
		case update.Update == "removed":
			delete(have, update.Family)
			if have != nil && len(have) == 0 {
				delete(s.families, i)
				s.keep(i, nil)
			}
		case have != nil:
			have[update.Family] = true
		case len(s.families) >= maxItems:
			s.dropped++
			s.example = fmt.Sprintf("%s: only %d names are looked at", printable(i.name), maxItems)
		default:
			s.families[i] = map[int]bool{update.Family: true}
			s.queue = append(s.queue, i)
		}
	}
}

// resolve asks for the addresses of a name, on a connection of its own, since a connection makes one call at a time.
func (s *resolvedSession) resolve(ctx context.Context, i instance) (found resolvedService, err error) {
	ctx, cancel := context.WithTimeout(ctx, resolvedAnswer)
	defer cancel()
	conn, err := varlink.NewConnection(ctx, "unix:"+s.socket)
	if err != nil {
		return found, err
	}
	defer conn.Close()
	err = conn.Call(ctx, "io.systemd.Resolve.ResolveService", map[string]any{
		"name": i.name, "type": serviceType, "domain": i.domain, "ifindex": i.link, "family": unix.AF_UNSPEC, "flags": resolvedMDNS,
	}, &found)
	return found, err
}

// resolvedTo takes in the addresses of a name.
func (s *resolvedSession) resolvedTo(i instance, reply resolvedService) {
	if s.families[i] == nil { // it has gone meanwhile
		return
	}
	var txt [][]byte
	for _, text := range reply.TXT {
		txt = append(txt, unescape(text))
	}
	var have []address
	for _, srv := range reply.Services {
		for _, a := range srv.Addresses {
			addr, ok := addrOf(a.Address)
			if !ok || !s.resolved.families.has(addr) || a.Link != 0 && a.Link != i.link || len(have) >= maxAddresses {
				continue
			}
			key := address{i, addr}
			have = append(have, key)
			s.table.put(key, service{instance: i.name, link: i.link, addr: addr, port: srv.Port, txt: txt})
		}
	}
	s.keep(i, have)
}

// maxAddresses is how many addresses of one name are looked at.
const maxAddresses = 8

// keep takes the addresses of a name out of the table that it has no more.
func (s *resolvedSession) keep(i instance, have []address) {
	for _, old := range s.addresses[i] {
		if !slices.Contains(have, old) {
			s.table.take(old)
		}
	}
	if s.addresses[i] = have; have == nil {
		delete(s.addresses, i)
	}
}

// addrOf makes an address of its bytes.
func addrOf(numbers []int) (netip.Addr, bool) {
	raw := make([]byte, 0, 16)
	for _, n := range numbers {
		if n < 0 || n > 255 || len(raw) == 16 {
			return netip.Addr{}, false
		}
		raw = append(raw, byte(n))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return addr.Unmap(), ok
}

// unescape returns the bytes that systemd's octescape wrote: what is no printable ASCII is a backslash and three octal digits.
func unescape(text string) []byte {
	var out []byte
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				out = append(out, byte(n))
				i += 3
				continue
			}
		}
		out = append(out, text[i])
	}
	return out
}
