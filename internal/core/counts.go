// SPDX-License-Identifier: GPL-3.0-or-later

package core

// Counts are how many connections are desired, and how far they have got. Each is in one field besides Wanted and Unread.
type Counts struct {
	// Wanted are those that should be connected now: the sum of those from Connected to Collision. All is well when
	// Connected == Wanted and nothing is Unread.
	Wanted       int
	Connected    int // and live
	Reconnecting int // the kernel reconnects them
	Connecting   int // an attempt is under way
	Waiting      int // not yet tried
	Retrying     int // failed, and tried again later
	Unresolved   int // host names without an address
	Collision    int // another connection has the same unit name

	// These are as they should be without being connected by this daemon:

	Excluded int // by the exclusion list
	Foreign  int // another program has them
	Stopped  int // by an administrator
	Parked   int // discovery controllers that are polled
	Retained int // discovery controllers that nothing names any more, and that are kept for a while; connected ones are in Connected

	// Unread are the discovery controllers among Connected whose log page was never read: what they name is not wanted yet.
	Unread int
}

// Counts returns what View has of them.
func (m *Machine) Counts() Counts { return m.told.Counts }

// Configured reports whether there has been a ConfigLoaded.
func (m *Machine) Configured() bool { return m.configured }

// Ready returns what View has of that: whether everything was compared with the outside once.
func (m *Machine) Ready() bool { return m.ready }

// counted fills in how many connections there are of each kind.
func (m *Machine) counted() Counts {
	m.targets.index()
	n := Counts{Unresolved: m.names.unresolved}
	if !m.audited {
		n.Waiting = len(m.views.preview)
	}
	fields := [stateCount]*int{
		Waiting: &n.Waiting, Connecting: &n.Connecting, Connected: &n.Connected, Reconnecting: &n.Reconnecting, Excluded: &n.Excluded,
		Foreign: &n.Foreign, Stopped: &n.Stopped, Parked: &n.Parked, Collision: &n.Collision,
	}
	for y, count := range m.targets.count {
		if y.unread {
			n.Unread += count
		}
		switch {
		case y.retained && y.state != Excluded && y.state != Foreign && y.state != Stopped && y.state != Parked:
			n.Retained += count
		case y.retrying:
			n.Retrying += count
		case y.down:
			n.Reconnecting += count
		default:
			*fields[y.state] += count
		}
	}
	n.Wanted = n.Connected + n.Reconnecting + n.Connecting + n.Waiting + n.Retrying + n.Unresolved + n.Collision
	return n
}
