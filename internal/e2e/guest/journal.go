//go:build e2e

package guest

import (
	"strings"
)

// journalCursor says where the journal stands.
func journalCursor(t T) string {
	t.Helper()
	output := Run(t, "journalctl", "--quiet", "--lines=1", "--output=short", "--show-cursor")
	_, cursor, found := strings.Cut(output, "-- cursor: ")
	if !found {
		t.Fatalf("cannot find the journal's end: %q", output)
	}
	return strings.TrimSpace(cursor)
}

// Mark is a place in the journal.
type Mark string

// Mark notes where the journal stands now.
func (m *Machine) Mark() Mark {
	m.Helper()
	return Mark(journalCursor(m))
}

// Journal returns the messages of the daemon and the connections' units since the mark, or since the scenario began.
func (m *Machine) Journal(since ...Mark) string {
	m.Helper()
	cursor := m.journal
	if len(since) > 0 {
		cursor = string(since[0])
	}
	Run(m, "journalctl", "--sync")
	return Run(m, "journalctl", "--quiet", "--output=cat", "--after-cursor="+cursor,
		"--unit="+Service, "--unit=nvme-discoverd-*.service")
}
