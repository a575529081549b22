// SPDX-License-Identifier: GPL-3.0-or-later

package nvmet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/flock"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/rdma"
)

// State is what became of a port.
type State string

const (
	// Listening ports are healthy and were not touched.
	Listening State = "listening"
	// Healed ports listened no more; their subsystems were linked anew, and they listen.
	Healed State = "healed"
	// Dead ports listen no more and were not touched, as nothing was to be done.
	Dead State = "dead"
	// Stranded ports listen no more, and no RDMA device has their address: they were not touched.
	Stranded State = "stranded"
	// Empty ports show no subsystem, so that they need not listen.
	Empty State = "empty"
	// Failed ports could not be looked at or healed.
	Failed State = "failed"
)

// Result is one RDMA port and what became of it.
type Result struct {
	Port
	State State
	Err   error // of Stranded and Failed
}

// Healer heals ports.
type Healer struct {
	Root      paths.Root
	Listeners func() ([]rdma.Listener, error) // rdma.Listeners, or a stand-in in tests
	DryRun    bool                            // says what it would do, and does nothing
}

// look is how often a port is looked at whose address no RDMA device has yet.
const look = 500 * time.Millisecond

// Heal looks at the RDMA ports with the numbers given, or at all, and heals those that listen no more. For one whose address no
// RDMA device has it waits until ctx ends.
func (h Healer) Heal(ctx context.Context, ids ...string) ([]Result, error) {
	results, err := h.pass(ids)
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for err == nil && ctx.Err() == nil {
		var stranded []string
		for _, r := range results {
			if r.State == Stranded {
				stranded = append(stranded, r.ID)
			}
		}
		if len(stranded) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return results, nil
		case <-ticker.C:
		}
		var again []Result
		again, err = h.pass(stranded)
		for _, r := range again {
			results[slices.IndexFunc(results, func(old Result) bool { return old.ID == r.ID })] = r
		}
	}
	return results, err
}

// pass looks at each port once, while no other process does.
func (h Healer) pass(ids []string) ([]Result, error) {
	if !h.DryRun {
		unlock, err := flock.Lock(h.Root.NVMeTLock())
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("cannot heal the target: only root may: %w", err)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot heal the target: %w", err)
		}
		defer unlock()
	}
	ports, err := Ports(h.Root)
	if err != nil {
		return nil, err
	}
	ports = slices.DeleteFunc(ports, func(p Port) bool {
		return p.Transport != "rdma" || len(ids) > 0 && !slices.Contains(ids, p.ID)
	})
	listeners, err := h.Listeners()
	if err != nil {
		return nil, fmt.Errorf("cannot tell which ports listen: %w", err)
	}
	var results []Result
	for _, p := range ports {
		results = append(results, h.port(p, listeners))
	}
	return results, nil
}

// port heals one port.
func (h Healer) port(p Port, listeners []rdma.Listener) Result {
	linked := p.Subsystems
	p.Subsystems = h.withUnlinked(p)
	fail := func(state State, err error) Result { return Result{p, state, err} }
	if len(p.Subsystems) == 0 {
		return Result{Port: p, State: Empty}
	}
	addr, err := p.address()
	if err != nil {
		return fail(Failed, err)
	}
	owner, listens := findOwner(listeners, addr)
	switch {
	case listens && owner != "nvmet_rdma":
		return fail(Failed, fmt.Errorf("cannot heal %s: something else listens there: %s", p, owner))
	case listens && len(linked) == len(p.Subsystems):
		return Result{Port: p, State: Listening}
	case !listens && !rdma.Has(h.Root, addr.Addr()):
		return fail(Stranded, fmt.Errorf("cannot heal %s: it listens no more, and no RDMA device has its address", p))
	case h.DryRun:
		return Result{Port: p, State: Dead}
	}
	if listens {
		linked = nil // those that are there are good: only the others are linked
	}
	if err := h.relink(p, linked); err != nil {
		return fail(Failed, err)
	}
	if listeners, err = h.Listeners(); err != nil {
		return fail(Failed, fmt.Errorf("cannot tell whether %s listens now: %w", p, err))
	}
	if _, listens := findOwner(listeners, addr); !listens {
		return fail(Failed, fmt.Errorf("cannot heal %s: it does not listen although its subsystems were linked anew", p))
	}
	return Result{Port: p, State: Healed}
}

// findOwner tells whether something listens at the address, and what. A port for every address of the host listens on every
// RDMA device that there is and will be (cma_listen_on_all in drivers/infiniband/core/cma.c): it needs no healing.
func findOwner(listeners []rdma.Listener, addr netip.AddrPort) (string, bool) {
	if addr.Addr().IsUnspecified() {
		return "nvmet_rdma", true
	}
	for _, l := range listeners {
		if l.Addr != addr {
			continue
		}
		if l.Owner == "" {
			return "a program", true
		}
		return l.Owner, true
	}
	return "", false
}

// relink takes the linked subsystems off the port and links all that it shall show. What it takes off is noted before that, so
// that the next run does what one that was killed, or could not link, has left.
func (h Healer) relink(p Port, linked []string) error {
	if err := h.note(p); err != nil {
		return fmt.Errorf("cannot heal %s: %w", p, err)
	}
	var errs []error
	for _, nqn := range linked {
		errs = append(errs, p.unlink(h.Root, nqn))
	}
	var missing []string
	for _, nqn := range p.Subsystems {
		if err := p.link(h.Root, nqn); err != nil {
			errs = append(errs, err)
			missing = append(missing, nqn)
		}
	}
	if err := errors.Join(errs...); err != nil {
		err = fmt.Errorf("cannot heal %s: %s", p, strings.ReplaceAll(err.Error(), "\n", "; "))
		if len(missing) > 0 {
			err = fmt.Errorf("%w (not linked now: %s; the next run links them)", err, strings.Join(missing, ", "))
		}
		return err
	}
	return h.forget(p)
}
