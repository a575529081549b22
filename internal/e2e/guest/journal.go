// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// connections matches the units of connections.
const connections = "nvme-discoverd-*.service"

// Mark is a place in the journal. Its Cursor is for journalctl.
type Mark = follow.Place

// Mark notes where the journal stands now: all that has been logged before is before the mark.
func (m *Machine) Mark() Mark {
	m.Helper()
	return mark(m)
}

func mark(t T) Mark {
	t.Helper()
	h := following(t)
	if h.journal == nil {
		return Mark{}
	}
	place, err := h.journal.Sync()
	if err != nil {
		t.Fatalf("cannot read the journal: %v", err)
	}
	return place
}

// Journal returns the messages of the daemon and the connections' units since the mark, or since the scenario began, all that
// have been logged before the call.
func (m *Machine) Journal(since ...Mark) string {
	m.Helper()
	from := m.journal
	if len(since) > 0 {
		from = since[0]
	}
	return m.messages(from, func(e *follow.Entry) bool { return e.Of(Service, connections) })
}

// WaitLogged waits until ok holds for what Journal returns.
func (m *Machine) WaitLogged(timeout time.Duration, what string, ok func(journal string) bool, since ...Mark) {
	m.Helper()
	eventually(m, follow.Logged, timeout, what, func() (bool, string) {
		journal := m.Journal(since...)
		return ok(journal), journal
	})
}

// Everything returns what anybody has logged since the mark.
func (m *Machine) Everything(since Mark) string {
	m.Helper()
	return m.messages(since, func(*follow.Entry) bool { return true })
}

// KernelMessages returns what the kernel has logged since the mark.
func (m *Machine) KernelMessages(since Mark) string {
	m.Helper()
	return m.messages(since, func(e *follow.Entry) bool { return e.Transport == "kernel" })
}

// Complaints returns what units have written at the level of warning or above since the mark, systemd's own words about
// them included.
func (m *Machine) Complaints(since Mark, units ...string) string {
	m.Helper()
	const warning = 4
	return m.messages(since, func(e *follow.Entry) bool { return e.Priority <= warning && e.Of(units...) })
}

// ForgetJournal drops what was logged before the mark, for programs that run long.
func (m *Machine) ForgetJournal(before Mark) {
	m.Helper()
	if h := following(m); h.journal != nil {
		h.journal.Forget(before)
	}
}

// messages are those of the entries since the mark that keep holds for, one line each or more.
func (m *Machine) messages(since Mark, keep func(*follow.Entry) bool) string {
	m.Helper()
	var text strings.Builder
	for _, entry := range m.entries(since, keep) {
		text.WriteString(entry.Message)
		text.WriteByte('\n')
	}
	return text.String()
}

// MessageIDs returns the message IDs of what the daemon has logged about an NQN since the mark.
func (m *Machine) MessageIDs(since Mark, nqn string) []string {
	m.Helper()
	var ids []string
	for _, entry := range m.entries(since, func(e *follow.Entry) bool { return e.Of(Service) && e.NQN == nqn && e.MessageID != "" }) {
		ids = append(ids, entry.MessageID)
	}
	return ids
}

// entries are those since the mark that keep holds for, up to the newest that has been logged by now.
func (m *Machine) entries(since Mark, keep func(*follow.Entry) bool) []follow.Entry {
	m.Helper()
	h := following(m)
	if h.journal == nil {
		return nil
	}
	mark(m)
	return h.journal.After(since, keep)
}
