// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// table is what a service says is announced, in the order in which it came. It is safe for concurrent use: the service fills it while
// the Browser looks at it.
type table struct {
	changed chan struct{} // of capacity 1: something is other than it was

	mu       sync.Mutex
	services map[any]service
	order    []any // keys of services
	ready    bool  // the service has said all that it knows
	dropped  int   // names that the service could not keep
	example  string
}

func newTable() *table { return &table{changed: make(chan struct{}, 1), services: map[any]service{}} }

func (t *table) change(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// put notes a service under a key that its source knows it by. Sources bound how many keys there are.
func (t *table) put(key any, s service) {
	t.change(func() {
		if _, ok := t.services[key]; !ok {
			t.order = append(t.order, key)
		}
		t.services[key] = s
	})
}

// take forgets a service.
func (t *table) take(key any) {
	t.change(func() {
		if _, ok := t.services[key]; ok {
			delete(t.services, key)
			t.order = slices.DeleteFunc(t.order, func(k any) bool { return k == key })
		}
	})
}

// complete notes whether the source has said all that it knows, and how many names it could not keep.
func (t *table) complete(ready bool, dropped int, example string) {
	t.mu.Lock()
	same := t.ready == ready && t.dropped == dropped && t.example == example
	t.mu.Unlock()
	if !same { // it is said every second
		t.change(func() { t.ready, t.dropped, t.example = ready, dropped, example })
	}
}

// fill puts what there is into a report and tells whether the service has said all that it knows.
func (t *table) fill(r *Report, host network) (ready bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.Ignored, r.Example = t.dropped, t.example
	ignore := func(instance string, err error) {
		if r.Ignored++; r.Example == "" {
			r.Example = fmt.Sprintf("%s: %v", instance, err)
		}
	}
	in := map[Announcement]bool{}
	r.Found = nil
	for _, key := range t.order {
		a, err := t.services[key].announcement(host)
		switch {
		case err != nil:
			ignore(a.Instance, err)
		case in[a]:
		case len(in) >= MaxAnnouncements:
			ignore(a.Instance, fmt.Errorf("only %d are looked after", MaxAnnouncements))
		default:
			in[a] = true
			r.Found = append(r.Found, a)
		}
	}
	slices.SortFunc(r.Found, Compare)
	return t.ready
}

// Compare orders announcements.
func Compare(a, b Announcement) int {
	return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Iface, b.Iface), cmp.Compare(a.TID.Canonical(), b.TID.Canonical()))
}

// touch has the table looked at again.
func (t *table) touch() { t.change(func() {}) }
