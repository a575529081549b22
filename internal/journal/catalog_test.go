// SPDX-License-Identifier: GPL-3.0-or-later

package journal

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
)

var (
	catalogID = regexp.MustCompile(`^[0-9a-f]{32}$`)
	variable  = regexp.MustCompile(`@([A-Z_]+)@`)
)

// parseCatalog reads message IDs and texts by systemd's rules (journalctl --update-catalog, systemd.io/CATALOG): an entry
// begins with "-- ", its ID and perhaps a language, after an empty line; lines that begin with # or ; are comments; there is
// nothing before the first entry, and none without a text.
func parseCatalog(source string) (map[string]string, error) {
	entries := map[string]string{}
	id, empty := "", true
	for i, line := range strings.Split(source, "\n") {
		if line == "" {
			empty = true
			continue
		}
		if strings.ContainsRune("#;", rune(line[0])) {
			continue
		}
		head, isHead := strings.CutPrefix(line, "-- ")
		if empty && isHead && len(head) >= 32 && catalogID.MatchString(head[:32]) && (len(head) == 32 || head[32] == ' ') {
			if id != "" && entries[id] == "" {
				return nil, fmt.Errorf("line %d: %s has no text", i+1, id)
			}
			if _, again := entries[head]; again {
				return nil, fmt.Errorf("line %d: %s for the second time", i+1, head)
			}
			id, empty = head, false
			entries[id] = ""
			continue
		}
		if id == "" {
			return nil, fmt.Errorf("line %d: text before the first ID", i+1)
		}
		if empty {
			entries[id] += "\n"
		}
		entries[id] += line + "\n"
		empty = false
	}
	if id != "" && entries[id] == "" {
		return nil, fmt.Errorf("%s has no text", id)
	}
	return entries, nil
}

func TestParseCatalog(t *testing.T) {
	one, two := strings.Repeat("1", 32), strings.Repeat("2", 32)
	for _, test := range []struct{ source, err string }{
		{"# comment\n-- " + one + "\nSubject: x\n\ntext\n\n-- " + two + " de\nSubject: y\n", ""},
		{"text\n", "line 1: text before the first ID"},
		{"-- " + one + "\n\n-- " + two + "\nx\n", "line 3: " + one + " has no text"},
		{"-- " + one + "\n", one + " has no text"},
		{"-- " + one + "\nx\n\n-- " + one + "\ny\n", "line 4: " + one + " for the second time"},
	} {
		_, err := parseCatalog(test.source)
		if err == nil && test.err != "" || err != nil && err.Error() != test.err {
			t.Errorf("%q: got %v, want %q", test.source, err, test.err)
		}
	}
}

// Every kind of line has an ID of its own and an explanation, and there is no explanation for anything else.
func TestCatalog(t *testing.T) {
	source, err := os.ReadFile("../../systemd/nvme-discoverd.catalog")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := parseCatalog(string(source))
	if err != nil {
		t.Fatal(err)
	}
	if messageIDs[core.KindNone] != "" {
		t.Error("lines of no kind have a message ID")
	}
	user := map[string]string{droppedID: "dropped lines"}
	for kind := core.KindNone + 1; int(kind) < core.Kinds; kind++ {
		id := messageIDs[kind]
		if !catalogID.MatchString(id) {
			t.Errorf("kind %d: %q is no message ID", kind, id)
			continue
		}
		if other := user[id]; other != "" {
			t.Errorf("kind %d has the message ID of %s", kind, other)
		}
		user[id] = fmt.Sprintf("kind %d", kind)
	}
	for id, who := range user {
		if entries[id] == "" {
			t.Errorf("%s, %s, is not explained", id, who)
		}
	}
	known := map[string]bool{}
	for _, a := range About("u", "d", fullTID) {
		known[a.Key] = true
	}
	for id, text := range entries {
		if user[id] == "" {
			t.Errorf("%s is explained and is the ID of nothing", id)
		}
		header, body, _ := strings.Cut(text, "\n\n")
		if !regexp.MustCompile(`^Subject: \S.*\nDefined-By: nvme-discoverd\nDocumentation: man:\S.*$`).MatchString(header) {
			t.Errorf("%s: the header is not Subject, Defined-By, Documentation:\n%s", id, header)
		}
		if strings.TrimSpace(body) == "" {
			t.Errorf("%s: nothing but a header", id)
		}
		for _, m := range variable.FindAllStringSubmatch(text, -1) {
			if !known[m[1]] {
				t.Errorf("%s: @%s@ is no field of ours", id, m[1])
			}
		}
	}
}
