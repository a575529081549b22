// SPDX-License-Identifier: GPL-3.0-or-later

package follow

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var sequence = [16]byte{0xab, 15: 1}

// cursor is one of entry number n.
func cursor(n int) string {
	return fmt.Sprintf("s=%s;i=%x;b=00;m=1;t=2;x=3", hex.EncodeToString(sequence[:]), n)
}

// exported is an entry as journalctl writes it.
func exported(n int, fields ...string) string {
	return "__CURSOR=" + cursor(n) + "\n" + strings.Join(fields, "\n") + "\n\n"
}

// followed is a Journal that has followed the entries given.
func followed(t *testing.T, entries ...string) *Journal {
	t.Helper()
	j := &Journal{events: NewEvents()}
	if err := j.read(strings.NewReader(strings.Join(entries, ""))); !errors.Is(err, io.EOF) {
		t.Fatalf("cannot read the entries: %v", err)
	}
	return j
}

func (j *Journal) messages(p Place, keep func(*Entry) bool) []string {
	var all []string
	for _, e := range j.After(p, keep) {
		all = append(all, e.Message)
	}
	return all
}

func all(*Entry) bool { return true }

func TestJournal(t *testing.T) {
	const unit, other = "d.service", "d-1.service"
	j := followed(t,
		exported(1, "MESSAGE=own", "_SYSTEMD_UNIT="+unit, "_PID=7", "_UID=0", "PRIORITY=4"),
		exported(2, "MESSAGE=about", "UNIT="+unit, "_PID=1", "_UID=0", "_SYSTEMD_UNIT=init.scope"),
		exported(3, "MESSAGE=forged", "UNIT="+unit, "_PID=8", "_UID=65534"),
		exported(4, "MESSAGE=root's", "OBJECT_SYSTEMD_UNIT="+unit, "_PID=9", "_UID=0"),
		exported(5, "MESSAGE=nobody's", "OBJECT_SYSTEMD_UNIT="+unit, "_PID=9", "_UID=65534"),
		exported(6, "MESSAGE=connection", "_SYSTEMD_UNIT="+other),
		exported(7, "MESSAGE=kernel", "_TRANSPORT=kernel", "PRIORITY=3"),
	)
	for _, test := range []struct {
		name string
		keep func(*Entry) bool
		want []string
	}{
		{"unit", func(e *Entry) bool { return e.Of(unit) }, []string{"own", "about", "root's"}},
		{"pattern", func(e *Entry) bool { return e.Of(unit, "d-*.service") }, []string{"own", "about", "root's", "connection"}},
		{"warnings", func(e *Entry) bool { return e.Priority <= 4 }, []string{"own", "kernel"}},
		{"kernel", func(e *Entry) bool { return e.Transport == "kernel" }, []string{"kernel"}},
	} {
		if diff := cmp.Diff(test.want, j.messages(Place{}, test.keep)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestJournalPlaces(t *testing.T) {
	j := followed(t, exported(1, "MESSAGE=1"), exported(2, "MESSAGE=2"))
	place := j.place()
	if place.Cursor != cursor(2) {
		t.Errorf("cursor: got %s", place.Cursor)
	}
	if got := j.messages(place, all); got != nil {
		t.Errorf("after the end: got %q", got)
	}
	if err := j.read(strings.NewReader(exported(3, "MESSAGE=3") + exported(4, "MESSAGE=4"))); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	later := j.place()
	for range 2 { // Forget changes nothing after its place
		if diff := cmp.Diff([]string{"3", "4"}, j.messages(place, all)); diff != "" {
			t.Errorf("after the place (-want +got):\n%s", diff)
		}
		j.Forget(place)
	}
	if got := len(j.entries); got != 3 {
		t.Errorf("entries kept: got %d, want 3", got)
	}
	j.Forget(later)
	if got := j.place(); got != later {
		t.Errorf("the end after all was forgotten: got %v, want %v", got, later)
	}
}

func TestJournalReached(t *testing.T) {
	j := followed(t, exported(17, "MESSAGE=x"))
	for _, test := range []struct {
		to   position
		want bool
	}{
		{position{sequence, 16}, true},
		{position{sequence, 17}, true},
		{position{sequence, 18}, false},
		{position{[16]byte{1}, 16}, false}, // journald began another sequence
	} {
		if got, err := j.reached(test.to); got != test.want || err != nil {
			t.Errorf("%v: got %v, %v", test.to, got, err)
		}
	}
	j.end(errors.New("gone"))
	if _, err := j.reached(position{sequence, 18}); err == nil {
		t.Error("nobody is told that the journal is not followed any more")
	}
}

func TestParsePosition(t *testing.T) {
	if got, err := parsePosition(cursor(0x2f)); err != nil || got != (position{sequence, 0x2f}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "s=00;i=1", "s=" + strings.Repeat("zz", 16) + ";i=1", "s=" + strings.Repeat("00", 16), "s=" + strings.Repeat("00", 16) + ";i=x"} {
		if _, err := parsePosition(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// writeJournal makes a journal file that has no more than what a position is read from.
func writeJournal(t *testing.T, file string, p position) {
	t.Helper()
	header := make([]byte, 256)
	copy(header[headerSequence:], p.sequence[:])
	binary.LittleEndian.PutUint64(header[headerNumber:], p.number)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, header, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestJournalEnd(t *testing.T) {
	run, persistent := t.TempDir(), t.TempDir()
	file := filepath.Join(run, "machine", "system.journal")
	if _, _, err := journalEnd([]string{run, persistent}); err == nil {
		t.Error("no error without a file")
	}
	writeJournal(t, filepath.Join(run, "machine", "system@old.journal"), position{sequence, 8})
	writeJournal(t, filepath.Join(run, "machine", "system@older.journal"), position{[16]byte{1}, 80})
	writeJournal(t, file, position{sequence, 9})
	at, files, err := journalEnd([]string{run, persistent})
	if want := (position{sequence, 9}); err != nil || at != want || len(files) != 1 || files[0] != file {
		t.Errorf("got %v, %v, %v, want %v", at, files, err, want)
	}
	writeJournal(t, file, position{sequence, 0}) // rotated just now
	if at, _, err := journalEnd([]string{run, persistent}); err != nil || at.number != 8 {
		t.Errorf("after a rotation: got %v, %v", at, err)
	}
}
